"""Vault: secrets at rest. The only place that knows the key; it knows no table and no site."""
