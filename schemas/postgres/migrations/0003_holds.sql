-- Holds and counters: a call is admitted, extended and released by one function each. Any of them may be repeated.
-- Everybody locks in one order, so that nobody waits in a circle: account_balances by account_id, then holds by
-- call_id, then peer_counters by peer_id.

-- Admit a call: money is held and the call is counted, or nothing changes. `free` is what the account could spend before
-- this hold (balance + credit - held): the longest call is worked out from it. `now` is the call's start on its node's clock.
CREATE FUNCTION admit(
    the_call text, the_node text, the_peer int, the_account int, hold_amount numeric, hold_seconds int,
    further_amount numeric, further_seconds int, concurrent_limit int, cps_limit int, now timestamptz, expires timestamptz,
    OUT outcome text, OUT free numeric
) LANGUAGE plpgsql AS $$
DECLARE
    this_second bigint := floor(extract(epoch FROM now));
    held_before numeric;
    counter peer_counters;
BEGIN
    SELECT balance + credit_limit - held INTO free
    FROM account_balances JOIN accounts USING (account_id)
    WHERE account_balances.account_id = the_account
    FOR NO KEY UPDATE OF account_balances;
    IF NOT FOUND THEN
        outcome := 'NO ACCOUNT';
        RETURN;
    END IF;
    SELECT amount INTO held_before FROM holds WHERE call_id = the_call;
    IF FOUND THEN  -- asked twice: the answer is the same
        free := free + held_before;
        outcome := 'ADMITTED';
        RETURN;
    END IF;
    IF hold_amount > free THEN
        outcome := 'NO BALANCE';
        RETURN;
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
    UPDATE account_balances SET held = held + hold_amount WHERE account_id = the_account AND hold_amount > 0;
    INSERT INTO holds (call_id, node, peer_id, account_id, amount, covered_seconds, quantum, quantum_seconds, admitted_at, expires_at)
    VALUES (the_call, the_node, the_peer, the_account, hold_amount, hold_seconds, further_amount, further_seconds, now, expires);
    UPDATE peer_counters
    SET concurrent = concurrent + 1, second = counter.second, in_second = counter.in_second + 1
    WHERE peer_id = the_peer;
    outcome := 'ADMITTED';
END $$;

-- Extend the holds of calls that go on, so that each covers its talk and `margin` seconds more. Returns the calls whose
-- account has no money for their next quantum.
CREATE FUNCTION extend_holds(the_calls text[], talk_seconds int[], margin int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    due record;
    quanta int;
BEGIN
    PERFORM FROM account_balances
    WHERE account_id IN (
        SELECT account_id FROM holds JOIN unnest(the_calls, talk_seconds) AS live (call_id, talk) USING (call_id)
        WHERE live.talk + margin > holds.covered_seconds
    )
    ORDER BY account_id FOR NO KEY UPDATE;
    FOR due IN
        SELECT holds.*, live.talk FROM holds JOIN unnest(the_calls, talk_seconds) AS live (call_id, talk) USING (call_id)
        WHERE live.talk + margin > holds.covered_seconds ORDER BY holds.call_id FOR UPDATE OF holds
    LOOP
        quanta := ceil((due.talk + margin - due.covered_seconds)::numeric / due.quantum_seconds);
        UPDATE account_balances SET held = held + quanta * due.quantum
        FROM accounts
        WHERE account_balances.account_id = due.account_id AND accounts.account_id = due.account_id
          AND balance + credit_limit - held >= quanta * due.quantum;
        IF FOUND THEN
            UPDATE holds
            SET amount = amount + quanta * due.quantum, covered_seconds = covered_seconds + quanta * due.quantum_seconds
            WHERE call_id = due.call_id;
        ELSE
            RETURN NEXT due.call_id;
        END IF;
    END LOOP;
END $$;

-- These calls have been seen to end: they no longer count as concurrent. Their money stays held until their legs post.
CREATE FUNCTION uncount_calls(the_calls text[]) RETURNS int LANGUAGE plpgsql AS $$
DECLARE peers int[];
BEGIN
    PERFORM FROM holds WHERE call_id = ANY (the_calls) AND counted ORDER BY call_id FOR UPDATE;
    WITH uncounted AS (
        UPDATE holds SET counted = false WHERE call_id = ANY (the_calls) AND counted RETURNING peer_id
    )
    SELECT array_agg(peer_id) INTO peers FROM uncounted;
    PERFORM count_down(peers);
    RETURN coalesce(cardinality(peers), 0);
END $$;

-- What a heartbeat knows: calls of this node that were admitted before `before` and are not up are not concurrent.
CREATE FUNCTION uncount_missing(the_node text, live_calls text[], before timestamptz) RETURNS int LANGUAGE sql AS $$
    SELECT uncount_calls(ARRAY(
        SELECT call_id FROM holds
        WHERE node = the_node AND counted AND admitted_at < before AND call_id <> ALL (live_calls)
    ))
$$;

-- The calls are over and their inbound legs are being posted: give the money and the places back. A repeat does nothing.
CREATE FUNCTION release_holds(the_calls text[]) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    gone record;
BEGIN
    PERFORM FROM account_balances
    WHERE account_id IN (SELECT account_id FROM holds WHERE call_id = ANY (the_calls))
    ORDER BY account_id FOR NO KEY UPDATE;
    PERFORM FROM holds WHERE call_id = ANY (the_calls) ORDER BY call_id FOR UPDATE;
    WITH deleted AS (
        DELETE FROM holds WHERE call_id = ANY (the_calls) RETURNING account_id, amount, peer_id, counted
    ), money AS (
        UPDATE account_balances SET held = held - sums.amount
        FROM (SELECT account_id, sum(amount) AS amount FROM deleted GROUP BY account_id) AS sums
        WHERE account_balances.account_id = sums.account_id AND sums.amount > 0
    )
    SELECT count(*) AS calls, array_agg(peer_id) FILTER (WHERE counted) AS peers INTO gone FROM deleted;
    PERFORM count_down(gone.peers);
    RETURN gone.calls;
END $$;

CREATE FUNCTION count_down(peers int[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM peer_counters WHERE peer_id = ANY (peers) ORDER BY peer_id FOR NO KEY UPDATE;
    UPDATE peer_counters SET concurrent = greatest(0, concurrent - ended.calls)
    FROM (SELECT peer_id, count(*) AS calls FROM unnest(peers) AS peer_id GROUP BY peer_id) AS ended
    WHERE peer_counters.peer_id = ended.peer_id;
END $$;
