"""What the operator decides: settings, loaders, and the reviewed TOML files."""
