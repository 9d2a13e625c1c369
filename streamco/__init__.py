"""The product as one command: settings from the environment, the embedded stack, processes under a supervisor."""
