"""What an Asterisk took with it when it went down: its calls, closed from the journal, hold or decision."""
