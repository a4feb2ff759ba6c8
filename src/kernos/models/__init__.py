"""Model versions, signed packages, registry."""
