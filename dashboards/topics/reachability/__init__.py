"""Which vendors answer."""
