"""One folder a topic: its page, its store, its words, its API."""
