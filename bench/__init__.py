"""Benches: one command a row of docs/performance.md."""
