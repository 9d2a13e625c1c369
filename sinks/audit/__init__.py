"""Whether every leg is in every store: `full` counts all of it, `continuous` what is new."""
