"""A node's Asterisk: its fixed dialplan and files, rendered for the configured world, and the process that keeps it.

files/      the files as they are shipped; @NAMES@ are filled in
render      pure: a world and a node's settings in, texts of files out
reader      the peers of a node, read from PostgreSQL
fetch       Asterisk and SIPp as Debian's packages, without root, into the user's cache
node        the launcher: epoch, files, Asterisk as a child, reload on change
"""
