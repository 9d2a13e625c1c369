"""What the auditor has found."""
