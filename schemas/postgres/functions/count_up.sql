-- One call more in each of these counters, as often as a key is given; those that are not there are made.
CREATE OR REPLACE FUNCTION count_up(keys text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO limit_counters (limit_key) SELECT DISTINCT unnest(keys) COLLATE "C" ORDER BY 1 ON CONFLICT DO NOTHING;
    PERFORM FROM limit_counters WHERE limit_key = ANY (keys) ORDER BY limit_key FOR NO KEY UPDATE;
    UPDATE limit_counters SET concurrent = concurrent + new.calls
    FROM (SELECT limit_key, count(*) AS calls FROM unnest(keys) AS limit_key GROUP BY limit_key) AS new
    WHERE limit_counters.limit_key = new.limit_key;
END $$;
