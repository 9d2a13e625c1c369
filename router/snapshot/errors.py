"""What is raised for a configuration or a file that is no snapshot."""


class SnapshotError(ValueError):
    """A configuration that cannot be made into a snapshot, or a file that is none: says what and which rule."""
