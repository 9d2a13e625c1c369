-- Dead letters: what could not be processed, whole, with what people decided about it. Filled from the topic
-- `dead-letters`; a repeat of a letter changes nothing, since its origin is its key.
-- A letter that is replayed goes through the same door again. If that is refused once more, it comes back as a letter
-- of its own (a new origin), open, with `replay_of` and the number of its replays so far: so it is never lost, and
-- each round is somebody's decision.
CREATE TABLE dead_letters (
    origin       text PRIMARY KEY,             -- topic/partition/offset/index, or journal:NODE:FILE:OFFSET
    source       text NOT NULL,                -- the topic that it was read from, or `journal`
    reason       text NOT NULL,
    raw          bytea NOT NULL,               -- the event, the journal line, or the whole message of an origin …/frame
    leg_id       text NOT NULL DEFAULT '',     -- where it could still be told
    at           timestamptz NOT NULL,         -- when it was refused
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),
    replays      int NOT NULL DEFAULT 0 CHECK (replays >= 0), -- how often these bytes were sent again
    replay_of    text NOT NULL DEFAULT '',     -- origin of the replayed letter that came back as this one
    decided_by   text NOT NULL DEFAULT '',
    decided_why  text NOT NULL DEFAULT '',
    decided_at   timestamptz,
    CHECK (state = 'open' OR (decided_by <> '' AND decided_why <> '' AND decided_at IS NOT NULL))
);
CREATE INDEX dead_letters_open ON dead_letters (at) WHERE state = 'open';
CREATE INDEX dead_letters_replayed ON dead_letters (md5(raw)) WHERE replays > 0;
