"""One call: its legs, its hunt, its decision."""
