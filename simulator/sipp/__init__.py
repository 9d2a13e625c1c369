"""Real calls by SIPp: scenarios, and a trickle of them for a demo."""
