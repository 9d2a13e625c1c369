-- Limits: calls at once and calls per second, of a peer, of a route (a vendor in a route class) and of a peer's code.
-- A customer's are counted here, with the hold that admits the call. A vendor's are counted where its legs begin, in the
-- node: here nodes lease shares of them, and all shares of a limit together are never more than the limit.

ALTER TABLE route_class_entries
    ADD COLUMN IF NOT EXISTS max_concurrent int NOT NULL DEFAULT 0 CHECK (max_concurrent BETWEEN 0 AND 100000),  -- 0: no limit
    ADD COLUMN IF NOT EXISTS max_cps        int NOT NULL DEFAULT 0 CHECK (max_cps BETWEEN 0 AND 10000);          -- 0: no limit

-- Of a peer's codes that a number begins with, the longest counts.
CREATE TABLE code_limits (
    peer_id         int NOT NULL REFERENCES peers ON DELETE CASCADE,
    code            text NOT NULL CHECK (code ~ '^[0-9]{1,15}$'),
    max_concurrent  int NOT NULL DEFAULT 0 CHECK (max_concurrent BETWEEN 0 AND 100000),  -- 0: no limit
    max_cps         int NOT NULL DEFAULT 0 CHECK (max_cps BETWEEN 0 AND 10000),          -- 0: no limit
    PRIMARY KEY (peer_id, code),
    CONSTRAINT code_limits_needed_check CHECK (max_concurrent > 0 OR max_cps > 0)
);
CREATE TRIGGER code_limits_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON code_limits
    FOR EACH STATEMENT EXECUTE FUNCTION configuration_changed();

-- Every limit that is set, by its key (router/routing/limit_keys.py).
CREATE VIEW limits AS
    SELECT 'p' || peer_id AS limit_key, peer_id, role, NULL::int AS route_class_id, NULL::text AS code,
           max_concurrent, max_cps
    FROM peers WHERE max_concurrent > 0 OR max_cps > 0
    UNION ALL
    SELECT 'r' || route_class_id || '-' || peer_id, peer_id, 'terminator', route_class_id, NULL, max_concurrent, max_cps
    FROM route_class_entries WHERE max_concurrent > 0 OR max_cps > 0
    UNION ALL
    SELECT 'c' || peer_id || '-' || code, peer_id, role, NULL, code, code_limits.max_concurrent, code_limits.max_cps
    FROM code_limits JOIN peers USING (peer_id);

-- ---- customers: counted with the hold

-- Locked in the order of limit_key, after account_balances and holds.
CREATE TABLE limit_counters (
    limit_key    text COLLATE "C" PRIMARY KEY CHECK (limit_key ~ '^[prc][0-9]+(-[0-9]+)?$'),
    concurrent   int NOT NULL DEFAULT 0 CHECK (concurrent >= 0),
    second       bigint NOT NULL DEFAULT 0,   -- the unix second that `in_second` counts
    in_second    int NOT NULL DEFAULT 0
);
INSERT INTO limit_counters SELECT 'p' || peer_id, concurrent, second, in_second FROM peer_counters;
DROP TABLE peer_counters;
CREATE VIEW peer_counters AS
    SELECT substr(limit_key, 2)::int AS peer_id, concurrent, second, in_second FROM limit_counters
    WHERE limit_key LIKE 'p%';

CREATE FUNCTION forget_counters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM limit_counters WHERE limit_key = 'p' || OLD.peer_id OR limit_key LIKE 'c' || OLD.peer_id || '-%';
    RETURN NULL;
END $$;
CREATE TRIGGER peers_forget_counters AFTER DELETE ON peers FOR EACH ROW EXECUTE FUNCTION forget_counters();

ALTER TABLE holds ADD COLUMN limit_keys text[] COLLATE "C" NOT NULL DEFAULT '{}';  -- the counters that count the call
UPDATE holds SET limit_keys = ARRAY['p' || peer_id];

-- The counters that a customer's call counts in, sorted.
CREATE FUNCTION originator_keys(the_peer int, callee text) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT 'c' || peer_id || '-' || code FROM code_limits
        WHERE peer_id = the_peer AND starts_with(callee, code) ORDER BY length(code) DESC LIMIT 1
    ) || ('p' || the_peer)
$$;

DROP FUNCTION count_down(int[]);
CREATE FUNCTION count_down(keys text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM limit_counters WHERE limit_key = ANY (keys) ORDER BY limit_key FOR NO KEY UPDATE;
    UPDATE limit_counters SET concurrent = greatest(0, concurrent - ended.calls)
    FROM (SELECT limit_key, count(*) AS calls FROM unnest(keys) AS limit_key GROUP BY limit_key) AS ended
    WHERE limit_counters.limit_key = ended.limit_key;
END $$;

CREATE FUNCTION count_up(keys text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO limit_counters (limit_key) SELECT DISTINCT unnest(keys) COLLATE "C" ORDER BY 1 ON CONFLICT DO NOTHING;
    PERFORM FROM limit_counters WHERE limit_key = ANY (keys) ORDER BY limit_key FOR NO KEY UPDATE;
    UPDATE limit_counters SET concurrent = concurrent + new.calls
    FROM (SELECT limit_key, count(*) AS calls FROM unnest(keys) AS limit_key GROUP BY limit_key) AS new
    WHERE limit_counters.limit_key = new.limit_key;
END $$;

DROP FUNCTION admit;
-- Admit a call: money is held and the call is counted, or nothing changes. `free` is what the account could spend before
-- this hold (balance + credit - held): the longest call is worked out from it; NULL where nothing is asked of its money.
-- Less than `first_seconds` can be paid: what can be is held, down to `least_seconds`. `call_start` is by its node's clock.
-- `the_keys` are the counters it counts in, sorted, each with its limits (0: none).
CREATE FUNCTION admit(
    the_call text, the_node text, the_peer int, the_account int, first_seconds int, least_seconds int, further_seconds int,
    the_price numeric, the_fee numeric, the_minimum int, the_increment int, the_decimals int,
    the_keys text[], concurrent_limits int[], cps_limits int[], call_start timestamptz, expires timestamptz,
    OUT outcome text, OUT free numeric, OUT held_amount numeric
) LANGUAGE plpgsql AS $$
DECLARE
    this_second bigint := floor(extract(epoch FROM call_start));
    covered int := first_seconds;
    seen boolean;
    by_money boolean;
    is_prepaid boolean;
BEGIN
    SELECT balance + credit_limit - held, hold, payment = 'prepaid' INTO free, by_money, is_prepaid
    FROM account_balances JOIN accounts USING (account_id)
    WHERE account_balances.account_id = the_account
    FOR NO KEY UPDATE OF account_balances;
    IF NOT FOUND THEN
        outcome := 'NO ACCOUNT';
        RETURN;
    END IF;
    SELECT amount INTO held_amount FROM holds WHERE call_id = the_call;
    IF FOUND THEN  -- asked twice: the answer is the same
        free := CASE WHEN by_money THEN free + held_amount END;
        outcome := 'ADMITTED';
        RETURN;
    END IF;
    -- Too late: it is billed already, and nothing but a sweep would give this hold back. No call is billed so soon that
    -- every admission should have to look.
    IF call_start NOT BETWEEN clock_timestamp() - interval '0.5 seconds' AND clock_timestamp() + interval '0.5 seconds' THEN
        -- (A condition of its own: one with a query in it is started as a query, however it begins.)
        IF EXISTS (SELECT FROM ledger_entries WHERE reference = the_call || '/0' AND occurred_at = call_start) THEN
            outcome := 'ENDED';
            RETURN;
        END IF;
    END IF;
    IF by_money THEN
        held_amount := talk_price(covered, the_price, the_fee, the_decimals);
        IF held_amount > free THEN
            covered := paid_seconds(free, the_price, the_fee, the_minimum, the_increment, the_decimals);
            IF covered < least_seconds THEN
                outcome := 'NO BALANCE';
                RETURN;
            END IF;
            held_amount := talk_price(covered, the_price, the_fee, the_decimals);
        END IF;
        -- Nobody would cut the call when its money ends.
        IF is_prepaid THEN
            IF NOT EXISTS (
                SELECT FROM nodes WHERE name = the_node AND last_seen_at > clock_timestamp() - interval '15 seconds'
            ) THEN
                outcome := 'NODE SILENT';
                RETURN;
            END IF;
        END IF;
    ELSE
        SELECT NULL, 0, 86400, 0, 0 INTO free, held_amount, covered, the_price, the_fee;
    END IF;
    FOR place IN 1 .. cardinality(the_keys) LOOP  -- sorted by whoever asks: everybody locks in one order
        seen := false;
        LOOP
            -- Nodes' clocks differ a little: a call from an earlier second counts in the newest. A counter far in the future
            -- is the trace of a clock that was wrong, and starts anew.
            UPDATE limit_counters
            SET concurrent = concurrent + 1,
                second = CASE WHEN second NOT BETWEEN this_second AND this_second + 5 THEN this_second ELSE second END,
                in_second = CASE WHEN second NOT BETWEEN this_second AND this_second + 5 THEN 1 ELSE in_second + 1 END
            WHERE limit_key = the_keys[place]
              AND (concurrent_limits[place] = 0 OR concurrent < concurrent_limits[place])
              AND (cps_limits[place] = 0 OR in_second < cps_limits[place]
                   OR second NOT BETWEEN this_second AND this_second + 5);
            EXIT WHEN FOUND;
            INSERT INTO limit_counters (limit_key) VALUES (the_keys[place]) ON CONFLICT DO NOTHING;
            IF NOT FOUND AND NOT seen THEN  -- it is there: perhaps somebody has made it just now
                seen := true;
            ELSIF NOT FOUND THEN  -- it was there, and is full
                UPDATE limit_counters SET concurrent = concurrent - 1, in_second = in_second - 1
                WHERE limit_key = ANY (the_keys[:place - 1]);
                outcome := 'LIMIT';
                RETURN;
            END IF;
        END LOOP;
    END LOOP;
    UPDATE account_balances SET held = held + held_amount WHERE account_id = the_account AND held_amount > 0;
    INSERT INTO holds (call_id, node, peer_id, account_id, amount, covered_seconds, quantum_seconds, price, connect_fee,
                       minimum_seconds, increment_seconds, rounding_decimals, admitted_at, expires_at, limit_keys)
    VALUES (the_call, the_node, the_peer, the_account, held_amount, covered, further_seconds, the_price, the_fee,
            the_minimum, the_increment, the_decimals, call_start, expires, the_keys);
    outcome := 'ADMITTED';
END $$;

-- These calls have been seen to end: they no longer count as concurrent. Their money stays held until their legs post.
CREATE OR REPLACE FUNCTION uncount_calls(the_calls text[]) RETURNS int LANGUAGE plpgsql AS $$
DECLARE keys text[];
    calls int;
BEGIN
    PERFORM FROM holds WHERE call_id = ANY (the_calls) AND counted ORDER BY call_id FOR UPDATE;
    WITH uncounted AS (
        UPDATE holds SET counted = false, gone_at = clock_timestamp() WHERE call_id = ANY (the_calls) AND counted
        RETURNING call_id, limit_keys
    )
    SELECT (SELECT count(*) FROM uncounted), (SELECT array_agg(limit_key) FROM uncounted, unnest(limit_keys) AS limit_key)
    INTO calls, keys;
    PERFORM count_down(keys);
    RETURN calls;
END $$;

-- What a heartbeat knows: calls of this node that were admitted before `before` and are not up are not concurrent; and
-- those that are up are, whatever was thought while nobody heard of the node. Returns how many were not.
CREATE OR REPLACE FUNCTION uncount_missing(the_node text, live_calls text[], before timestamptz) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE keys text[];
BEGIN
    IF EXISTS (SELECT FROM holds WHERE call_id = ANY (live_calls) AND node = the_node AND NOT counted AND gone_at < before) THEN
        PERFORM FROM holds WHERE call_id = ANY (live_calls) AND node = the_node AND NOT counted ORDER BY call_id FOR UPDATE;
        WITH counted AS (
            UPDATE holds SET counted = true, gone_at = NULL
            WHERE call_id = ANY (live_calls) AND node = the_node AND NOT counted AND gone_at < before
            RETURNING limit_keys
        )
        SELECT array_agg(limit_key) INTO keys FROM counted, unnest(limit_keys) AS limit_key;
        PERFORM count_up(keys);
    END IF;
    RETURN uncount_calls(ARRAY(
        SELECT call_id FROM holds
        WHERE node = the_node AND counted AND admitted_at < before AND call_id <> ALL (live_calls)
    ));
END $$;

-- The calls are over and their inbound legs are being posted: give the money and the places back. A repeat does nothing.
CREATE OR REPLACE FUNCTION release_holds(the_calls text[]) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    gone record;
BEGIN
    PERFORM FROM account_balances
    WHERE account_id IN (SELECT account_id FROM holds WHERE call_id = ANY (the_calls))
    ORDER BY account_id FOR NO KEY UPDATE;
    PERFORM FROM holds WHERE call_id = ANY (the_calls) ORDER BY call_id FOR UPDATE;
    WITH deleted AS (
        DELETE FROM holds WHERE call_id = ANY (the_calls) RETURNING account_id, amount, limit_keys, counted
    ), money AS (
        UPDATE account_balances SET held = held - sums.amount
        FROM (SELECT account_id, sum(amount) AS amount FROM deleted GROUP BY account_id) AS sums
        WHERE account_balances.account_id = sums.account_id AND sums.amount > 0
    )
    SELECT (SELECT count(*) FROM deleted) AS calls,
           (SELECT array_agg(limit_key) FROM deleted, unnest(limit_keys) AS limit_key WHERE counted) AS keys
    INTO gone;
    PERFORM count_down(gone.keys);
    RETURN gone.calls;
END $$;

-- As before, and its counters are those of its number.
CREATE OR REPLACE FUNCTION place_holds(the_node text, calls jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    one record;
    placed text[] := '{}';
    its_keys text[];
BEGIN
    PERFORM FROM account_balances
    WHERE account_id IN (SELECT account_id FROM jsonb_to_recordset(calls) AS wanted (account_id int))
    ORDER BY account_id FOR NO KEY UPDATE;
    FOR one IN
        SELECT wanted.*, accounts.hold AS by_money, peers.max_call_seconds,
               timestamptz 'epoch' + started_at_seconds * interval '1 second' AS started_at
        FROM jsonb_to_recordset(calls) AS wanted (
                 call_id text, peer_id int, account_id int, covered_seconds int, quantum_seconds int, price numeric,
                 connect_fee numeric, minimum_seconds int, increment_seconds int, rounding_decimals int,
                 started_at_seconds bigint, callee text
             )
             JOIN accounts USING (account_id) JOIN account_balances USING (account_id) JOIN peers USING (peer_id)
        ORDER BY wanted.call_id
    LOOP
        -- A ledger entry stands at the call's start, which its id knows to the second.
        CONTINUE WHEN EXISTS (
            SELECT FROM ledger_entries WHERE reference = one.call_id || '/0'
            AND occurred_at >= one.started_at - interval '1 minute' AND occurred_at < one.started_at + interval '1 minute'
        );
        its_keys := originator_keys(one.peer_id, one.callee);
        INSERT INTO holds (call_id, node, peer_id, account_id, amount, covered_seconds, quantum_seconds, price, connect_fee,
                           minimum_seconds, increment_seconds, rounding_decimals, admitted_at, expires_at, limit_keys)
        SELECT one.call_id, the_node, one.peer_id, one.account_id,
               CASE WHEN one.by_money
                    THEN talk_price(one.covered_seconds, one.price, one.connect_fee, one.rounding_decimals) ELSE 0 END,
               CASE WHEN one.by_money THEN one.covered_seconds ELSE 86400 END, one.quantum_seconds,
               CASE WHEN one.by_money THEN one.price ELSE 0 END, CASE WHEN one.by_money THEN one.connect_fee ELSE 0 END,
               one.minimum_seconds, one.increment_seconds, one.rounding_decimals, one.started_at,
               one.started_at + (one.max_call_seconds + 900) * interval '1 second', its_keys
        ON CONFLICT DO NOTHING;
        CONTINUE WHEN NOT FOUND;
        UPDATE account_balances SET held = held + holds.amount FROM holds
        WHERE account_balances.account_id = one.account_id AND holds.call_id = one.call_id AND holds.amount > 0;
        placed := placed || its_keys;
        RETURN NEXT one.call_id;
    END LOOP;
    PERFORM count_up(placed);
END $$;

-- As before, by the counters that each call counts in.
CREATE OR REPLACE FUNCTION sweep_holds(the_node text, the_agent text, live_calls text[], never_ended text[], before timestamptz)
RETURNS SETOF swept_holds LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    dead_calls text[] := ARRAY(
        SELECT call_id FROM holds
        WHERE node = the_node AND call_id <> ALL (live_calls) AND admitted_at < before
          AND (expires_at < moment OR (NOT counted AND (call_id = ANY (never_ended) OR EXISTS (
              SELECT FROM ledger_entries WHERE reference = call_id || '/0'
              AND occurred_at BETWEEN admitted_at - interval '1 minute' AND admitted_at + interval '1 minute'
          ))))
        UNION ALL
        SELECT call_id FROM holds
        WHERE expires_at < moment AND node <> the_node AND NOT EXISTS (
            SELECT FROM nodes WHERE nodes.name = holds.node AND last_seen_at > moment - interval '1 minute'
        )
    );
    keys text[];
BEGIN
    PERFORM FROM account_balances
    WHERE account_id IN (SELECT account_id FROM holds WHERE call_id = ANY (dead_calls))
    ORDER BY account_id FOR NO KEY UPDATE;
    PERFORM FROM holds
    WHERE call_id = ANY (dead_calls) OR (call_id = ANY (live_calls) AND expires_at < moment + interval '5 minutes')
    ORDER BY call_id FOR UPDATE;
    UPDATE holds SET expires_at = moment + interval '15 minutes'
    WHERE call_id = ANY (live_calls) AND expires_at < moment + interval '5 minutes';
    WITH deleted AS (
        DELETE FROM holds WHERE call_id = ANY (dead_calls) RETURNING *
    ), money AS (
        UPDATE account_balances SET held = held - sums.amount
        FROM (SELECT account_id, sum(amount) AS amount FROM deleted GROUP BY account_id) AS sums
        WHERE account_balances.account_id = sums.account_id AND sums.amount > 0
    ), kept AS (
        INSERT INTO swept_holds
        SELECT call_id, node, account_id, amount, covered_seconds, admitted_at, expires_at,
               CASE WHEN expires_at < moment THEN 'expired' WHEN call_id = ANY (never_ended) THEN 'no end in the journal'
                    ELSE 'billed already' END, the_agent, moment
        FROM deleted
    )
    SELECT array_agg(limit_key) INTO keys FROM deleted, unnest(limit_keys) AS limit_key WHERE counted;
    PERFORM count_down(keys);
    DELETE FROM swept_holds WHERE swept_at < moment - interval '90 days';
    RETURN QUERY SELECT * FROM swept_holds WHERE call_id = ANY (dead_calls) AND swept_at = moment;
END $$;

-- ---- vendors: nodes lease shares

-- When a node last asked for its shares. What it had lapses there before anybody else may have it (see lease_limits).
CREATE TABLE limit_nodes (
    node         text PRIMARY KEY,
    reported_at  timestamptz NOT NULL
);

-- A node's part of a limit. `_share` is what its Asterisk is told, `_held` what it may be using all the same until it has
-- reported otherwise. NULL: no limit of that kind.
CREATE TABLE limit_leases (
    limit_key          text COLLATE "C" NOT NULL,
    node               text NOT NULL REFERENCES limit_nodes ON DELETE CASCADE,
    concurrent_share   int,
    concurrent_held    int,
    concurrent_wanted  int NOT NULL,
    cps_share          int,
    cps_held           int,
    cps_wanted         int NOT NULL,
    used               int NOT NULL,               -- calls that go on
    refused            bigint NOT NULL DEFAULT 0,  -- routes that were passed over, since the node began
    PRIMARY KEY (limit_key, node)
);

-- One node's part of a limit, by what each wants: who wants least gets it, what nobody wants is divided evenly; where all
-- want more than there is, by what they want. `rank`: how many others come before this node when a unit is left over.
CREATE FUNCTION fair_share(the_limit int, wants int, others_want bigint, others_floors bigint, nodes int, rank int)
RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN nodes = 1 THEN the_limit
        WHEN wants + others_want <= the_limit THEN
            wants + (the_limit - wants - others_want) / nodes
            + CASE WHEN rank < (the_limit - wants - others_want) % nodes THEN 1 ELSE 0 END
        ELSE the_limit::bigint * wants / (wants + others_want)
            + CASE WHEN rank < the_limit - the_limit::bigint * wants / (wants + others_want) - others_floors THEN 1 ELSE 0 END
    END::int
$$;

-- A node reports what it may be using, and gets its shares anew: rows (limit_key, calls at once, calls per second), NULL
-- for what has no limit. `reports` is an array of {limit_key, concurrent, cps, used, concurrent_wanted, cps_wanted,
-- refused}: `concurrent` and `cps` are what its Asterisk has been told, and the calls that go on where those are more.
-- A share that is lowered counts as held until the node reports that it is; so the sum of what is held is never above
-- the limit, whatever is lost on the way. A node that has not reported for `silent` seconds has none any more: its own
-- lapse before. No row at all: this agent does not hold the node's name.
CREATE FUNCTION lease_limits(the_node text, the_agent text, reports jsonb, silent interval)
RETURNS TABLE (limit_key text, concurrent_share int, cps_share int) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE moment timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(7361600);  -- one at a time
    moment := clock_timestamp();
    PERFORM FROM nodes WHERE name = the_node AND agent_id = the_agent;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    DELETE FROM limit_nodes WHERE reported_at < moment - silent AND node <> the_node;
    INSERT INTO limit_nodes VALUES (the_node, moment)
    ON CONFLICT (node) DO UPDATE SET reported_at = excluded.reported_at;
    DELETE FROM limit_leases
    WHERE node = the_node AND limit_leases.limit_key NOT IN (SELECT limits.limit_key FROM limits WHERE role = 'terminator');
    RETURN QUERY
    WITH reported AS (
        SELECT * FROM jsonb_to_recordset(reports) AS report (
            limit_key text, concurrent int, cps int, used int, concurrent_wanted int, cps_wanted int, refused bigint
        )
    ), wanted AS (
        SELECT limits.limit_key, nullif(max_concurrent, 0) AS concurrent_limit, nullif(max_cps, 0) AS cps_limit,
               -- What is not reported may be as it was. Of a node that was forgotten all has lapsed but the calls that go on,
               -- also when it cannot yet tell its Asterisk so: more than was held it may not use, whatever it was told once.
               CASE WHEN own.node IS NULL THEN coalesce(reported.used, 0)
                    ELSE greatest(reported.used, least(concurrent, own.concurrent_held), 0) END AS concurrent,
               CASE WHEN own.node IS NULL THEN 0 ELSE greatest(least(cps, own.cps_held), 0) END AS cps,
               coalesce(reported.used, 0) AS used,
               coalesce(reported.concurrent_wanted, 0) AS concurrent_wanted,
               coalesce(reported.cps_wanted, 0) AS cps_wanted, coalesce(reported.refused, 0) AS refused
        FROM limits LEFT JOIN reported USING (limit_key)
             LEFT JOIN (SELECT * FROM limit_leases WHERE node = the_node) AS own USING (limit_key)
        WHERE role = 'terminator'
    ), others AS (
        SELECT limit_key,
               coalesce(sum(concurrent_held), 0) AS concurrent_held, coalesce(sum(cps_held), 0) AS cps_held,
               coalesce(sum(lease.concurrent_wanted), 0) AS concurrent_wanted,
               coalesce(sum(lease.cps_wanted), 0) AS cps_wanted,
               count(lease.node)::int + 1 AS nodes,
               count(*) FILTER (WHERE lease.concurrent_wanted > wanted.concurrent_wanted
                   OR (lease.concurrent_wanted = wanted.concurrent_wanted AND lease.node < the_node))::int AS concurrent_rank,
               count(*) FILTER (WHERE lease.cps_wanted > wanted.cps_wanted
                   OR (lease.cps_wanted = wanted.cps_wanted AND lease.node < the_node))::int AS cps_rank
        FROM wanted LEFT JOIN (SELECT * FROM limit_leases WHERE node <> the_node) AS lease USING (limit_key)
        GROUP BY limit_key
    ), floors AS (  -- what the others get where all want more than there is
        SELECT limit_key,
               sum(concurrent_limit::bigint * lease.concurrent_wanted
                   / nullif(wanted.concurrent_wanted + others.concurrent_wanted, 0))::bigint AS concurrent_floors,
               sum(cps_limit::bigint * lease.cps_wanted / nullif(wanted.cps_wanted + others.cps_wanted, 0))::bigint AS cps_floors
        FROM wanted JOIN others USING (limit_key)
             JOIN (SELECT * FROM limit_leases WHERE node <> the_node) AS lease USING (limit_key)
        GROUP BY limit_key
    ), granted AS (
        SELECT wanted.*,
               greatest(0, least(concurrent_limit - others.concurrent_held, fair_share(concurrent_limit,
                   wanted.concurrent_wanted, others.concurrent_wanted::bigint, coalesce(concurrent_floors, 0), nodes,
                   concurrent_rank)))::int AS concurrent_granted,
               greatest(0, least(cps_limit - others.cps_held, fair_share(cps_limit,
                   wanted.cps_wanted, others.cps_wanted::bigint, coalesce(cps_floors, 0), nodes, cps_rank)))::int AS cps_granted
        FROM wanted JOIN others USING (limit_key) LEFT JOIN floors USING (limit_key)
    )
    INSERT INTO limit_leases AS lease (limit_key, node, concurrent_share, concurrent_held, concurrent_wanted, cps_share,
                                       cps_held, cps_wanted, used, refused)
    SELECT limit_key, the_node,
           CASE WHEN concurrent_limit IS NOT NULL THEN concurrent_granted END,
           CASE WHEN concurrent_limit IS NOT NULL THEN greatest(concurrent, concurrent_granted) END, concurrent_wanted,
           CASE WHEN cps_limit IS NOT NULL THEN cps_granted END,
           CASE WHEN cps_limit IS NOT NULL THEN greatest(cps, cps_granted) END, cps_wanted, used, refused
    FROM granted ORDER BY limit_key
    ON CONFLICT ON CONSTRAINT limit_leases_pkey DO UPDATE
    SET concurrent_share = excluded.concurrent_share, concurrent_held = excluded.concurrent_held,
        concurrent_wanted = excluded.concurrent_wanted, cps_share = excluded.cps_share, cps_held = excluded.cps_held,
        cps_wanted = excluded.cps_wanted, used = excluded.used, refused = excluded.refused
    RETURNING lease.limit_key, lease.concurrent_share, lease.cps_share;
END $$;

-- Nodes that nobody has heard of for `silent` have died with their machine, or their agent is gone for good: their calls
-- do not count as concurrent until one of their heartbeats lists them again. Returns how many counted until now.
CREATE FUNCTION uncount_silent(silent interval) RETURNS int LANGUAGE sql AS $$
    SELECT uncount_calls(ARRAY(
        SELECT call_id FROM holds WHERE counted AND node IN (
            SELECT name FROM nodes LEFT JOIN limit_nodes ON node = name
            WHERE greatest(last_seen_at, reported_at) < clock_timestamp() - silent
        )
    ))
$$;

-- Every limit with what is used of it now. A vendor's is what the nodes last reported, a second or two old.
CREATE VIEW limits_now AS
    SELECT limit_key, limits.peer_id, peers.name AS peer, limits.role, limits.route_class_id, code, limits.max_concurrent,
           limits.max_cps, coalesce(concurrent, leased.used, 0)::int AS used, coalesce(leased.refused, 0)::bigint AS refused,
           leased.nodes
    FROM limits JOIN peers USING (peer_id)
         LEFT JOIN limit_counters AS counter USING (limit_key)
         LEFT JOIN (
             SELECT limit_key, sum(used) AS used, sum(refused) AS refused, jsonb_object_agg(node, jsonb_build_object(
                        'used', used, 'concurrent_share', concurrent_share, 'cps_share', cps_share)) AS nodes
             FROM limit_leases GROUP BY limit_key
         ) AS leased USING (limit_key);
