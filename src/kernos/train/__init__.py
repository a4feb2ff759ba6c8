"""Search over parameters."""
