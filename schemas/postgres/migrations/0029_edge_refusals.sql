-- SIP requests that a node refused by itself, before its dialplan: no call, no leg, no money, in no figure of traffic.
-- Written by the node's agent, so many of a source and of a node in a minute; `not_recorded` counts the others.
CREATE TABLE edge_refusals (
    refusal_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL,                          -- by the node's clock
    node          text NOT NULL CHECK (node ~ '^[a-z][a-z0-9]{0,15}$'),
    address       inet NOT NULL,                                 -- who sent it
    port          int NOT NULL CHECK (port BETWEEN 0 AND 65535),
    peer_id       int REFERENCES peers ON DELETE SET NULL,       -- the one originator at that address; NULL: none, or several
    method        text NOT NULL CHECK (length(method) <= 16),
    sip_code      smallint NOT NULL CHECK (sip_code BETWEEN 300 AND 699),
    reason        text NOT NULL CHECK (length(reason) <= 200),   -- the phrase, and what Warning or Unsupported say
    sip_call_id   text NOT NULL CHECK (length(sip_call_id) <= 128),
    not_recorded  int NOT NULL DEFAULT 0 CHECK (not_recorded >= 0) -- refusals of this source since its record before
);
CREATE INDEX edge_refusals_at ON edge_refusals (at);
