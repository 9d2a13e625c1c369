-- Extend the holds of calls that go on, so that each covers its talk and `margin` seconds more: by whole quanta where the
-- account affords them, else by what it affords. Returns the calls that are covered for less, and up to which second of
-- talk: there the money ends.
CREATE OR REPLACE FUNCTION extend_holds(the_calls text[], talk_seconds int[], margin int, OUT unpaid_call text, OUT paid_until int)
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
