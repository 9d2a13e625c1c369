"""The audit of everything that is retained."""
