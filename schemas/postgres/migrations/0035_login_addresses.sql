-- From where each user has logged in: from there a login goes on while somebody elsewhere guesses at its password.
CREATE TABLE login_addresses (
    user_id  int NOT NULL REFERENCES users ON DELETE CASCADE,
    address  text NOT NULL CHECK (length(address) BETWEEN 1 AND 64),  -- of IPv6 the network of 64 bits
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (user_id, address)
);
