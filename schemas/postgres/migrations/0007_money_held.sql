-- Money held, to the last micro-unit: a hold carries the rate terms of its call, so that what it covers costs exactly what
-- the bill will say, and the last extension takes what is left, down to the pack's smallest step.

-- A postpaid account may go without holds: its calls are counted for their peer's limits, and nothing is asked of its money.
ALTER TABLE accounts ADD COLUMN hold boolean NOT NULL DEFAULT true,
    ADD CONSTRAINT accounts_hold_check CHECK (hold OR payment = 'postpaid');

ALTER TABLE holds
    ADD COLUMN price numeric(18,8) NOT NULL DEFAULT 0 CHECK (price >= 0),                -- per minute
    ADD COLUMN connect_fee numeric(18,6) NOT NULL DEFAULT 0 CHECK (connect_fee >= 0),
    ADD COLUMN minimum_seconds int NOT NULL DEFAULT 0 CHECK (minimum_seconds >= 0),
    ADD COLUMN increment_seconds int NOT NULL DEFAULT 1 CHECK (increment_seconds > 0),
    ADD COLUMN rounding_decimals smallint NOT NULL DEFAULT 6 CHECK (rounding_decimals BETWEEN 0 AND 6),
    ADD COLUMN gone_at timestamptz;                                                       -- since when it is not counted
UPDATE holds SET price = quantum * 60 / quantum_seconds,
                 connect_fee = greatest(0, amount - covered_seconds * quantum / quantum_seconds);
ALTER TABLE holds DROP COLUMN quantum;

-- The holds that were given back without the end of their call, each with why. Kept for 90 days.
CREATE TABLE swept_holds (
    call_id          text NOT NULL,
    node             text NOT NULL,
    account_id       int NOT NULL REFERENCES accounts,
    amount           numeric(18,6) NOT NULL,
    covered_seconds  int NOT NULL,
    admitted_at      timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    why              text NOT NULL CHECK (why IN ('expired', 'no end in the journal', 'billed already')),
    swept_by         text NOT NULL,
    swept_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (call_id, swept_at)
);
CREATE INDEX swept_holds_at ON swept_holds (swept_at);

-- What so many billed seconds cost: tariffs/rating.py's own rule. Twenty decimals of the quotient never make a tie.
CREATE FUNCTION talk_price(seconds int, price numeric, connect_fee numeric, decimals int) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$ SELECT round(connect_fee + (seconds * price)::numeric(40,20) / 60, decimals) $$;

-- Seconds as they are billed: at least the minimum, then whole increments.
CREATE FUNCTION billed_up(seconds int, minimum int, increment int) RETURNS int
LANGUAGE sql IMMUTABLE AS $$ SELECT minimum + greatest(0, (seconds - minimum + increment - 1) / increment) * increment $$;

-- The most billed seconds that a budget buys (no more than a million); -1 where it does not buy the minimum.
CREATE FUNCTION paid_seconds(budget numeric, price numeric, connect_fee numeric, minimum int, increment int, decimals int)
RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    -- The cost is rounded half up: it stays within the budget as long as it is below the budget's last half unit.
    room numeric := trunc(budget, decimals) + 0.5 * power(10::numeric, -decimals) - connect_fee;
    seconds int;
BEGIN
    IF budget < 0 OR room <= 0 THEN
        RETURN -1;
    END IF;
    seconds := CASE WHEN price = 0 THEN 1000000 ELSE least(1000000, ceil((room * 60)::numeric(60,30) / price) - 1) END;
    RETURN CASE WHEN seconds < minimum THEN -1 ELSE minimum + (seconds - minimum) / increment * increment END;
END $$;

DROP FUNCTION admit;
-- Admit a call: money is held and the call is counted, or nothing changes. `free` is what the account could spend before
-- this hold (balance + credit - held): the longest call is worked out from it; NULL where nothing is asked of its money.
-- Less than `first_seconds` can be paid: what can be is held, down to `least_seconds`. `call_start` is by its node's clock.
CREATE FUNCTION admit(
    the_call text, the_node text, the_peer int, the_account int, first_seconds int, least_seconds int, further_seconds int,
    the_price numeric, the_fee numeric, the_minimum int, the_increment int, the_decimals int,
    concurrent_limit int, cps_limit int, call_start timestamptz, expires timestamptz,
    OUT outcome text, OUT free numeric, OUT held_amount numeric
) LANGUAGE plpgsql AS $$
DECLARE
    this_second bigint := floor(extract(epoch FROM call_start));
    covered int := first_seconds;
    by_money boolean;
    is_prepaid boolean;
    counter peer_counters;
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
    INSERT INTO peer_counters (peer_id) VALUES (the_peer) ON CONFLICT DO NOTHING;
    SELECT * INTO counter FROM peer_counters WHERE peer_id = the_peer FOR NO KEY UPDATE;
    -- Nodes' clocks differ a little: a call from an earlier second counts in the newest. A counter far in the future is
    -- the trace of a clock that was wrong, and starts anew.
    IF this_second > counter.second OR counter.second > this_second + 5 THEN
        counter.second := this_second;
        counter.in_second := 0;
    END IF;
    IF (concurrent_limit > 0 AND counter.concurrent >= concurrent_limit) OR (cps_limit > 0 AND counter.in_second >= cps_limit) THEN
        outcome := 'LIMIT';
        RETURN;
    END IF;
    UPDATE account_balances SET held = held + held_amount WHERE account_id = the_account AND held_amount > 0;
    INSERT INTO holds (call_id, node, peer_id, account_id, amount, covered_seconds, quantum_seconds, price, connect_fee,
                       minimum_seconds, increment_seconds, rounding_decimals, admitted_at, expires_at)
    VALUES (the_call, the_node, the_peer, the_account, held_amount, covered, further_seconds, the_price, the_fee,
            the_minimum, the_increment, the_decimals, call_start, expires);
    UPDATE peer_counters
    SET concurrent = concurrent + 1, second = counter.second, in_second = counter.in_second + 1
    WHERE peer_id = the_peer;
    outcome := 'ADMITTED';
END $$;

DROP FUNCTION extend_holds;
-- Extend the holds of calls that go on, so that each covers its talk and `margin` seconds more: by whole quanta where the
-- account affords them, else by what it affords. Returns the calls that are covered for less, and up to which second of
-- talk: there the money ends.
CREATE FUNCTION extend_holds(the_calls text[], talk_seconds int[], margin int, OUT unpaid_call text, OUT paid_until int)
RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
    due record;
    due_accounts int[] := ARRAY(
        SELECT DISTINCT account_id FROM holds JOIN unnest(the_calls, talk_seconds) AS live (call_id, talk) USING (call_id)
        WHERE live.talk + margin > holds.covered_seconds
    );
    free numeric;
    more numeric;
BEGIN
    PERFORM FROM account_balances WHERE account_id = ANY (due_accounts) ORDER BY account_id FOR NO KEY UPDATE;
    FOR due IN
        SELECT holds.*, live.talk FROM holds JOIN unnest(the_calls, talk_seconds) AS live (call_id, talk) USING (call_id)
        WHERE live.talk + margin > holds.covered_seconds AND account_id = ANY (due_accounts)
        ORDER BY holds.call_id FOR UPDATE OF holds
    LOOP
        paid_until := billed_up(
            due.covered_seconds
            + ceil((due.talk + margin - due.covered_seconds)::numeric / due.quantum_seconds)::int * due.quantum_seconds,
            due.minimum_seconds, due.increment_seconds
        );
        SELECT balance + credit_limit - held INTO free
        FROM account_balances JOIN accounts USING (account_id) WHERE account_id = due.account_id;
        more := talk_price(paid_until, due.price, due.connect_fee, due.rounding_decimals) - due.amount;
        IF more > free THEN
            paid_until := greatest(due.covered_seconds, paid_seconds(due.amount + free, due.price, due.connect_fee,
                due.minimum_seconds, due.increment_seconds, due.rounding_decimals));
            more := talk_price(paid_until, due.price, due.connect_fee, due.rounding_decimals) - due.amount;
        END IF;
        IF paid_until > due.covered_seconds THEN
            more := greatest(0, more);
            UPDATE account_balances SET held = held + more WHERE account_id = due.account_id AND more > 0;
            UPDATE holds SET amount = amount + more, covered_seconds = paid_until WHERE call_id = due.call_id;
        END IF;
        IF paid_until < due.talk + margin THEN
            unpaid_call := due.call_id;
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;

-- These calls have been seen to end: they no longer count as concurrent. Their money stays held until their legs post.
CREATE OR REPLACE FUNCTION uncount_calls(the_calls text[]) RETURNS int LANGUAGE plpgsql AS $$
DECLARE peers int[];
BEGIN
    PERFORM FROM holds WHERE call_id = ANY (the_calls) AND counted ORDER BY call_id FOR UPDATE;
    WITH uncounted AS (
        UPDATE holds SET counted = false, gone_at = clock_timestamp() WHERE call_id = ANY (the_calls) AND counted
        RETURNING peer_id
    )
    SELECT array_agg(peer_id) INTO peers FROM uncounted;
    PERFORM count_down(peers);
    RETURN coalesce(cardinality(peers), 0);
END $$;

-- Calls that go on without a hold (admitted while this database was away, or their hold was lost with its last unwritten
-- moments): each is held and counted as if it had been admitted, whatever the balance is. `calls` is an array of objects
-- with the columns named below. Returns those that were placed: not what is held already, has been billed, or names what
-- is not there.
CREATE FUNCTION place_holds(the_node text, calls jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    one record;
    placed int[] := '{}';
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
                 started_at_seconds bigint
             )
             JOIN accounts USING (account_id) JOIN account_balances USING (account_id) JOIN peers USING (peer_id)
        ORDER BY wanted.call_id
    LOOP
        -- A ledger entry stands at the call's start, which its id knows to the second.
        CONTINUE WHEN EXISTS (
            SELECT FROM ledger_entries WHERE reference = one.call_id || '/0'
            AND occurred_at >= one.started_at - interval '1 minute' AND occurred_at < one.started_at + interval '1 minute'
        );
        INSERT INTO holds (call_id, node, peer_id, account_id, amount, covered_seconds, quantum_seconds, price, connect_fee,
                           minimum_seconds, increment_seconds, rounding_decimals, admitted_at, expires_at)
        SELECT one.call_id, the_node, one.peer_id, one.account_id,
               CASE WHEN one.by_money
                    THEN talk_price(one.covered_seconds, one.price, one.connect_fee, one.rounding_decimals) ELSE 0 END,
               CASE WHEN one.by_money THEN one.covered_seconds ELSE 86400 END, one.quantum_seconds,
               CASE WHEN one.by_money THEN one.price ELSE 0 END, CASE WHEN one.by_money THEN one.connect_fee ELSE 0 END,
               one.minimum_seconds, one.increment_seconds, one.rounding_decimals, one.started_at,
               one.started_at + (one.max_call_seconds + 900) * interval '1 second'
        ON CONFLICT DO NOTHING;
        CONTINUE WHEN NOT FOUND;
        UPDATE account_balances SET held = held + holds.amount FROM holds
        WHERE account_balances.account_id = one.account_id AND holds.call_id = one.call_id AND holds.amount > 0;
        placed := placed || one.peer_id;
        RETURN NEXT one.call_id;
    END LOOP;
    INSERT INTO peer_counters (peer_id) SELECT DISTINCT unnest(placed) ORDER BY 1 ON CONFLICT DO NOTHING;
    PERFORM FROM peer_counters WHERE peer_id = ANY (placed) ORDER BY peer_id FOR NO KEY UPDATE;
    UPDATE peer_counters SET concurrent = concurrent + new.calls
    FROM (SELECT peer_id, count(*) AS calls FROM unnest(placed) AS peer_id GROUP BY peer_id) AS new
    WHERE peer_counters.peer_id = new.peer_id;
END $$;

-- Give back the holds that no end of a call will give back, and keep a row of each. Swept is, of this node's holds whose
-- call is not up (`live_calls`, as it was at `before` by the node's clock): what has expired, and the calls of `never_ended`
-- that no heartbeat lists any more, and calls that are billed already; and what has expired on a node that nobody has heard of for a minute. A call that is up
-- keeps its hold: its expiry moves. A leg that comes after all posts as ever.
CREATE FUNCTION sweep_holds(the_node text, the_agent text, live_calls text[], never_ended text[], before timestamptz)
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
    peers int[];
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
    SELECT array_agg(peer_id) FILTER (WHERE counted) INTO peers FROM deleted;
    PERFORM count_down(peers);
    DELETE FROM swept_holds WHERE swept_at < moment - interval '90 days';
    RETURN QUERY SELECT * FROM swept_holds WHERE call_id = ANY (dead_calls) AND swept_at = moment;
END $$;
