"""The configuration as the router holds it: immutable, mmapped, built beside the running one by its own process."""
