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
