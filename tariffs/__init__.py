"""Pure: numbers, decks, billing notation, and THE rating function. No clock, no I/O; money is integer micro-units."""
