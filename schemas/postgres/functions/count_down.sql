-- One call fewer in each of these counters, as often as a key is given.
CREATE OR REPLACE FUNCTION count_down(keys text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM limit_counters WHERE limit_key = ANY (keys) ORDER BY limit_key FOR NO KEY UPDATE;
    UPDATE limit_counters SET concurrent = greatest(0, concurrent - ended.calls)
    FROM (SELECT limit_key, count(*) AS calls FROM unnest(keys) AS limit_key GROUP BY limit_key) AS ended
    WHERE limit_counters.limit_key = ended.limit_key;
END $$;
