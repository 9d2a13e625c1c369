-- The continuous audit: what it has counted, what waits for its other half, what it found.

-- The place of an entry in the order of commits, as far as there is one: all transactions before a snapshot's xmin are
-- over, so what the audit has read below it is complete, whatever the clocks say.
ALTER TABLE ledger_entries ADD COLUMN posted_xact bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint);
-- Entries are only ever added, so their order on disk is nearly that of their transactions: a few bytes a page suffice.
CREATE INDEX ledger_entries_posted ON ledger_entries USING brin (posted_xact) WITH (pages_per_range = 16, autosummarize = on);

-- Where the auditor stands. `waiting` is what has been seen on one side and not yet on the others.
CREATE TABLE audit_state (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version        int NOT NULL,
    server         text NOT NULL,          -- of the PostgreSQL that the transaction numbers are from
    posted_xact    bigint NOT NULL,        -- entries below it are counted
    rated_offsets  bigint[] NOT NULL,      -- next message of rated-legs, by partition
    waiting        bytea NOT NULL
);

-- Of every account with entries: the sum of the entries that are counted.
CREATE TABLE audit_accounts (
    account_id  int PRIMARY KEY,
    entries     numeric(24,6) NOT NULL
);

-- The ledger's legs by the hour of their call's start, counted once each. leg_hash is an order-free sum, modulo 2^64, of
-- the first eight bytes of md5(leg_id).
CREATE TABLE audit_hours (
    hour      timestamptz NOT NULL,
    node      text NOT NULL,
    legs      bigint NOT NULL,
    leg_hash  bigint NOT NULL,
    amount    numeric(24,6) NOT NULL,      -- of both sides, each as a positive
    changed_at timestamptz NOT NULL,
    compared  boolean NOT NULL DEFAULT false, -- with the CDRs, since it changed
    PRIMARY KEY (hour, node)
);
CREATE INDEX audit_hours_to_compare ON audit_hours (hour) WHERE NOT compared;

CREATE TABLE audit_runs (
    run_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL,
    seconds      real NOT NULL,
    ok           boolean NOT NULL,
    rated        bigint NOT NULL,          -- rated legs read in this run, repeats included
    posted       bigint NOT NULL,          -- entries of legs counted in this run
    compared     bigint NOT NULL,          -- legs found equal in rated legs, ledger and CDRs in this run
    waiting      bigint NOT NULL,          -- legs that wait for another side
    differences  bigint NOT NULL
);
CREATE INDEX audit_runs_at ON audit_runs (at);

CREATE TABLE audit_differences (
    difference_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind           text NOT NULL,
    subject        text NOT NULL,          -- a leg, an account, an hour, a node
    detail         text NOT NULL DEFAULT '',
    since          timestamptz NOT NULL,
    last_seen_at   timestamptz NOT NULL,
    resolved_at    timestamptz
);
CREATE UNIQUE INDEX audit_differences_open ON audit_differences (kind, subject) WHERE resolved_at IS NULL;

-- A sum of 64-bit numbers, modulo 2^64, as a signed one.
CREATE FUNCTION wrapped(total numeric) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN rest >= 9223372036854775808 THEN rest - 18446744073709551616 ELSE rest END::bigint
    FROM (SELECT mod(mod(coalesce(total, 0), 18446744073709551616) + 18446744073709551616, 18446744073709551616)) AS it (rest)
$$;
