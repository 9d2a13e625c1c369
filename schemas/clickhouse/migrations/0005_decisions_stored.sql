-- When a decision was written: the auditor reads what is new by it, however late a decision comes.
ALTER TABLE decisions ADD COLUMN IF NOT EXISTS stored_at DateTime64(3, 'UTC') DEFAULT routed_at
    COMMENT 'when this row was written; of rows from before this column: routed_at';
ALTER TABLE decisions ADD INDEX IF NOT EXISTS decisions_by_stored stored_at TYPE minmax GRANULARITY 1;
