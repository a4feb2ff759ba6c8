"""Keys, tokens, permissions, signatures."""
