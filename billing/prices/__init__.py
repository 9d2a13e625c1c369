"""Decks: a peer's prices from a CSV file."""
