"""What controllers hold, and its release."""
