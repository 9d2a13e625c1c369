"""The shell around the core: AGI sessions, admission, look-ups, what is known of now, the spool of decisions."""
