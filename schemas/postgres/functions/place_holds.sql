-- Calls that go on without a hold (admitted while this database was away, or their hold was lost with its last unwritten
-- moments): each is held and counted as if it had been admitted, whatever the balance is. `calls` is an array of objects
-- with the columns named below; its counters are those of its number. Returns those that were placed: not what is held
-- already, has been billed, or names what is not there.
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
