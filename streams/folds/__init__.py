"""The pure parts of the streams: bytes and values in, values out; no clock, no I/O."""
