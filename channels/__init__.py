"""How it leaves: one contract, one adapter per provider."""
