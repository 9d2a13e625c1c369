"""The web server, the shell around the pages, and how callbacks are guarded."""
