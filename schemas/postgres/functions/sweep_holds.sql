-- Give back the holds that no end of a call will give back, and keep a row of each. Swept is, of this node's holds whose
-- call is not up (`live_calls`, as it was at `before` by the node's clock): what has expired, the calls of `never_ended`
-- that no heartbeat lists any more, and calls that are billed already; and what has expired on a node that nobody has
-- heard of for a minute. A call that is up keeps its hold: its expiry moves. A leg that comes after all posts as ever.
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
