"""The continuous audit: each minute what is new in the ledger, among the rated legs and the CDRs is compared.

settings   what the auditor is told
fold       pure: what waits for its other half, what is equal, what differs and since when
posted     PostgreSQL: the ledger's new entries in the order of commits, balances, holds
rated      Kafka: rated legs from the last position on
journals   PostgreSQL: what the nodes' agents found in their journals
letters    PostgreSQL: dead letters that nobody has decided about
calls      pure: calls that have no end yet: up, young, on a silent node, or lost
open_calls PostgreSQL and ClickHouse: decisions without an end, holds, heartbeats
cdrs       ClickHouse: are these legs there, and as rated; an hour's sums
sealer     old ranges of topics: counted in a manifest, then deleted (seal_fold, seal_rows, seal_topics)
store      PostgreSQL: positions, sums and findings, kept in one transaction a run
main       the process: one run after the other
"""
