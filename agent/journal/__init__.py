"""The node's journal: its files and marks, what it opened, and what is counted, sealed and answered of it."""
