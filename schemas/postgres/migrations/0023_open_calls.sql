-- What the audit holds admitted calls and holds against: the calls that are really there, by each node's own heartbeat.

-- The calls of a node's last status, each time whole. A hold's `counted` says nearly the same; this is another witness.
CREATE TABLE node_calls (
    node      text PRIMARY KEY,
    heard_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    calls     text[] NOT NULL
);

-- Admitted calls (decisions without a refusal) of which the auditor has seen no end yet.
CREATE TABLE audit_open_calls (
    call_id        text PRIMARY KEY,
    node           text NOT NULL,
    routed_at      timestamptz NOT NULL,
    missing_since  timestamptz,  -- since when no heartbeat of its node has listed it; NULL: it is up, or not known
    decision       text NOT NULL DEFAULT ''  -- of one that is missing: call_routed as JSON, for the agent that closes it
);
CREATE INDEX audit_open_calls_missing ON audit_open_calls (node) WHERE decision <> '';

-- Decisions that were stored before this moment have been looked at. NULL: the auditor has not begun with them.
ALTER TABLE audit_state ADD COLUMN decided_at timestamptz;
