"""The users of the dashboards."""
