"""Requests that were refused before the dialplan."""
