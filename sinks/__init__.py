"""What the stream ends in: the PostgreSQL ledger, the ClickHouse CDRs, and the audit that compares them."""
