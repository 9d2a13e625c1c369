"""From PostgreSQL to a snapshot: configuration and decks read, rows built anew where something changed."""
