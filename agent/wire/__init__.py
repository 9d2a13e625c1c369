"""Copies of SIP messages: the legs by their packets, and requests that Asterisk refuses by itself."""
