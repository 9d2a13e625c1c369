"""Calls that are cut because their money has ended."""
