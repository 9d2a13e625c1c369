"""Who may do what: logins, users, tokens, and the one table of roles."""
