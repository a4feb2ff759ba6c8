"""The HTTP API from Python: what the CLI and the workers speak."""
