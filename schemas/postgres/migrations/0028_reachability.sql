-- Whether vendors can be reached: by OPTIONS probes where a vendor wants them, else by what becomes of INVITEs.

-- Of terminators. A vendor that is not probed is called whatever it makes of OPTIONS.
ALTER TABLE peers
    ADD COLUMN probe boolean NOT NULL DEFAULT false,  -- OPTIONS are sent to it; skipped while they are not answered
    ADD CONSTRAINT peers_probe_check CHECK (role = 'terminator' OR NOT probe);

-- A dead vendor must not cost a whole ring timeout: terminators without a limit of their own get the default one.
UPDATE peers SET pdd_timeout_seconds = 10 WHERE role = 'terminator' AND pdd_timeout_seconds = 0;

-- A vendor as a node's agent knows it. State, not configuration: no generation moves with it.
CREATE TABLE vendor_reachability (
    node              text NOT NULL CHECK (node ~ '^[a-z][a-z0-9]{0,15}$'),
    peer_id           int NOT NULL REFERENCES peers ON DELETE CASCADE,
    silent_invites    int NOT NULL DEFAULT 0 CHECK (silent_invites >= 0),  -- in a row, without any SIP response
    last_silent_at    timestamptz,          -- the end of the last of them
    last_response_at  timestamptz,          -- to an INVITE
    skip_until        timestamptz,          -- then one call tries it; NULL: it is not skipped for its INVITEs
    probe             text CHECK (probe IN ('reachable', 'unreachable', 'unknown')),  -- NULL: it is not probed
    probe_since       timestamptz,          -- since when the probes say so
    probed_at         timestamptz,          -- when that was read last
    reported_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (node, peer_id)
);
