-- Who may use the REST API: a token of a user, kept only as its SHA-256, so that a copy of this table opens nothing.
CREATE TABLE api_tokens (
    token_hash  bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    user_id     int NOT NULL REFERENCES users ON DELETE CASCADE,
    name        text NOT NULL CHECK (name ~ '^[^[:cntrl:]]{1,64}$'),  -- what it is for, to tell it from others
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL CHECK (expires_at > created_at),
    UNIQUE (user_id, name)
);
CREATE INDEX api_tokens_expire ON api_tokens (expires_at);
