"""What a configuration consists of: the document, its parts, and the rows that they become."""
