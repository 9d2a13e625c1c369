"""The calls that are up."""
