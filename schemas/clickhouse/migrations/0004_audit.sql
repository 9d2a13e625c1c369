-- What the auditor asks for: legs that must be among the CDRs, as rated. Emptied before and after each run.
CREATE TABLE IF NOT EXISTS audit_asked (
    run         UInt64,
    leg_id      String,
    start_time  DateTime64(3, 'UTC') COMMENT 'start of the leg',
    revision    UInt16,
    amount      Decimal(18, 6)
) ENGINE = MergeTree ORDER BY (run, leg_id)
COMMENT 'the continuous audit: the legs that it looks for just now';
