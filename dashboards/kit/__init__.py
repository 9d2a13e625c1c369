"""What several topics show with: figures, formats, names, queries, the live view."""
