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
