"""A seeded world in one process: the real cores of the line over fake clock, disk, broker, stores and Asterisk.

plan         a history as data: calls, faults and operators' actions, made from a seed; what shrinking drops from
clock        simulated time, and the processes that live in it: killed, frozen and started again at any effect
disk         an in-memory disk with inodes, for the node agents' real code
broker       Kafka: partitions, offsets, consumer groups, fenced commits, answers that are lost
tables       PostgreSQL's tables and their functions, as a Python model
statements   the SQL statements of the product, each carried out on that model
database     connections to it, with transactions that fail where a fault says so
clickhouse   ReplacingMergeTree, and answers lost after the insert
asterisk     nodes that hunt, talk, write journals, crash; and what their manager interface says
agents, workers, routers   the real code of the product's processes, driven step by step
patches      which modules of the product get the fake world, and how
world        all of it together: a plan carried out to the end, healed and drained
admitted     the calls that routers admitted, and which of them are in no book
watcher      what must hold at every moment
oracle       the audit, and what must hold at the end
mutations    deliberate bugs in the real code, each to be found
shrink       a failing plan made short
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
