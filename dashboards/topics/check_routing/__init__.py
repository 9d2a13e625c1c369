"""Where a call would go, and why."""
