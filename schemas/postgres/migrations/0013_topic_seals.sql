-- Ranges of topics that were settled, counted and deleted; what is left of them is a row here.

-- Where the leg's bill stands in rated-legs (the partition is the account's), so that each entry belongs to one range,
-- however often its leg was rated. NULL: posted before this was kept, or by no stream.
ALTER TABLE ledger_entries ADD COLUMN rated_offset bigint;

CREATE TABLE topic_segments (
    topic         text NOT NULL,
    partition     int NOT NULL,
    from_offset   bigint NOT NULL,
    to_offset     bigint NOT NULL,          -- the first message that is not of the range
    messages      bigint NOT NULL,
    legs          bigint NOT NULL,          -- closed legs; of rated-legs: those whose first entry has its rated_offset here
    leg_hash      bigint NOT NULL,          -- as in audit_hours, of those
    refused       bigint NOT NULL,          -- rated legs that the ledger refused here: dead letters, decided
    refused_hash  bigint NOT NULL,
    first_at      timestamptz NOT NULL,     -- moments of its messages, earliest and latest
    last_at       timestamptz NOT NULL,
    sealed_at     timestamptz NOT NULL DEFAULT now(),
    deleted_at    timestamptz,
    PRIMARY KEY (topic, partition, from_offset),
    CHECK (to_offset > from_offset)
);
CREATE INDEX topic_segments_to_delete ON topic_segments (topic, partition) WHERE deleted_at IS NULL;

-- The money of a range of rated-legs: the ledger's entries with their rated_offset in it.
CREATE TABLE topic_segment_money (
    topic        text NOT NULL,
    partition    int NOT NULL,
    from_offset  bigint NOT NULL,
    side         text NOT NULL CHECK (side IN ('receivable', 'payable')),
    currency     text NOT NULL,
    amount       numeric(24,6) NOT NULL,    -- as a positive
    PRIMARY KEY (topic, partition, from_offset, side, currency),
    FOREIGN KEY (topic, partition, from_offset) REFERENCES topic_segments
);
