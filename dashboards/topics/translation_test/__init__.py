"""Patterns of numbers, tried before they are saved."""
