-- `allow` beside `deny` is an exception under the rule that it is more specific than. Until now any rule that allows made
-- the rules of its kind an allow-list; that is a switch of its own now.

-- A kind of rule in which nothing passes but what a rule allows: of a peer, or (NULL) of all calls.
CREATE TABLE allow_lists (
    peer_id  int REFERENCES peers ON DELETE CASCADE,    -- NULL: of all calls
    kind     text NOT NULL CHECK (kind IN ('callee', 'zone', 'caller', 'callee_pool', 'caller_pool')),
    UNIQUE NULLS NOT DISTINCT (peer_id, kind)
);
CALL announce_changes('allow_lists');

-- Rules that are an allow-list stay one.
INSERT INTO allow_lists (peer_id, kind)
SELECT DISTINCT peer_id, kind FROM blocks
WHERE action = 'allow' AND enabled AND (valid_from IS NULL OR valid_from <= now())
  AND (valid_until IS NULL OR valid_until > now());
