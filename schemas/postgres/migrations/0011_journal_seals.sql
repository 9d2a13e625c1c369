-- The journals, each counted by its own agent: what the ledger must have, and which file may be deleted.

-- Every file of every journal, from its first line on; its manifest, once it is sealed. A file that is deleted keeps its row.
CREATE TABLE journal_segments (
    node         text NOT NULL,
    file         text NOT NULL,             -- digest of its beginning: a rename keeps it
    name         text NOT NULL,             -- as it was called last
    bytes        bigint NOT NULL,           -- of it that are counted; of a sealed one: all
    tail         text NOT NULL,             -- digest of what ends there
    legs         bigint NOT NULL,           -- closing lines
    leg_hash     bigint NOT NULL,           -- as in audit_hours, of those
    undecodable  bigint NOT NULL,           -- lines that are none of ours: dead letters
    first_at     timestamptz,               -- end of the first closed leg
    last_at      timestamptz,               -- and of the last one
    seen_at      timestamptz NOT NULL DEFAULT now(),
    sha256       text NOT NULL DEFAULT '',  -- of the whole file, when it was sealed
    sealed_at    timestamptz,               -- nobody writes to it any more, and all of it is counted
    posted_at    timestamptz,               -- all its legs are in the ledger, or discarded as dead letters
    deleted_at   timestamptz,
    PRIMARY KEY (node, file),
    CHECK (posted_at IS NULL OR sealed_at IS NOT NULL)
);

-- The closing lines of a file by the hour of their call's start. Those of deleted files are added up under file ''.
CREATE TABLE audit_journal_hours (
    node          text NOT NULL,
    hour          timestamptz NOT NULL,
    file          text NOT NULL,
    legs          bigint NOT NULL,
    leg_hash      bigint NOT NULL,
    posted_below  bigint NOT NULL,          -- what was found in the ledger has a smaller posted_xact
    PRIMARY KEY (node, hour, file)
);

-- What is not as it should be between a journal and the ledger. A leg that is a dead letter stays here until it is posted.
CREATE TABLE audit_journal_findings (
    node     text NOT NULL,
    kind     text NOT NULL,
    subject  text NOT NULL,                 -- a leg, the origin of a line, a file, an hour
    state    text NOT NULL CHECK (state IN ('wrong', 'dead letter', 'discarded')),
    file     text NOT NULL DEFAULT '',      -- that it stands in
    hour     timestamptz,                   -- of a leg: its call's start
    detail   text NOT NULL DEFAULT '',
    since    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (node, kind, subject)
);

-- How far each agent has come with its own journal.
CREATE TABLE audit_journals (
    node           text PRIMARY KEY,
    at             timestamptz NOT NULL,    -- of its last look
    waiting_bytes  bigint NOT NULL          -- older than the time to settle, and not counted yet
);
