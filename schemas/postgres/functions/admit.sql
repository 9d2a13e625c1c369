-- Admit a call: money is held and the call is counted, or nothing changes. `free` is what the account could spend before
-- this hold (balance + credit - held): the longest call is worked out from it; NULL where nothing is asked of its money.
-- Less than `first_seconds` can be paid: what can be is held, down to `least_seconds`. `call_start` is by its node's clock.
-- `the_keys` are the counters it counts in, sorted, each with its limits (0: none). For a call that is held already, whoever
-- asks again, at another machine's router perhaps, gets no routes.
--
-- Everybody locks in one order, so that nobody waits in a circle: account_balances by account_id, then holds by call_id,
-- then limit_counters by limit_key.
CREATE OR REPLACE FUNCTION admit(
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
    IF FOUND THEN  -- a session is good once, and so is a call's id
        free := NULL;
        held_amount := NULL;
        outcome := 'REPEATED';
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
