"""Routing module: who calls, where to, may he pay, and in which order the vendors are tried. And the node agent."""
