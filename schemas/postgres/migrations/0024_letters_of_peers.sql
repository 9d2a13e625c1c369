-- Dead letters belong to a peer where their bytes name one, and each peer has a limit of open ones of its own: one peer
-- whose every call makes a dead letter stops no worker, and with it no bill of anybody else.

ALTER TABLE dead_letters ADD COLUMN peer_id int NOT NULL DEFAULT 0;  -- 0: it names none
CREATE INDEX dead_letters_open_by_peer ON dead_letters (peer_id) WHERE state = 'open';

-- Peers that have reached their limit: routers refuse the new calls of a customer, and pass a vendor over.
CREATE TABLE letter_stops (
    peer_id  int PRIMARY KEY,
    since    timestamptz NOT NULL DEFAULT now()
);

-- Letters beyond it. They wait in the topic dead-letters, between these offsets, until there is room in the table.
CREATE TABLE waiting_letters (
    peer_id      int NOT NULL,
    partition    int NOT NULL,
    from_offset  bigint NOT NULL,
    to_offset    bigint NOT NULL,          -- the first message that is not looked at
    since        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (peer_id, partition),
    CHECK (to_offset > from_offset)
);
