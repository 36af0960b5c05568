"""What we remember: schema, migrations and every line of SQL."""
