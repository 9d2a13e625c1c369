"""The contracts of the platform and nothing else: events, topics, codecs, money, SQL migrations, golden examples.

Everything that one process says to another, or to a store, has its shape here. Nothing here does I/O.
"""
