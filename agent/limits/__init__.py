"""The node's shares of vendors' limits."""
