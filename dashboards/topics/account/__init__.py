"""A user's own page."""
