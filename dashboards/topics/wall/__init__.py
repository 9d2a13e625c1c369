"""The wall: everything on one screen."""
