"""The interface: pages for the people who watch, bill and analyse. Behind a login, read-only towards the line.

A page is made as query → frame → figure or grid rows (pure) → callback (thin). It reads ClickHouse (figures, CDRs,
decisions), PostgreSQL (users, names) and the compacted topics of the live view; it never asks a worker.
"""
