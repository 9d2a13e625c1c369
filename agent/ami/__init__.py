"""Asterisk's manager: its connection, its events, and what they tell of vendors."""
