-- What a heartbeat knows: calls of this node that were admitted before `before` and are not up are not concurrent; and
-- those that are up are, whatever was thought while nobody heard of the node. Returns how many were not.
CREATE OR REPLACE FUNCTION uncount_missing(the_node text, live_calls text[], before timestamptz) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE keys text[];
BEGIN
    IF EXISTS (SELECT FROM holds WHERE call_id = ANY (live_calls) AND node = the_node AND NOT counted AND gone_at < before) THEN
        PERFORM FROM holds WHERE call_id = ANY (live_calls) AND node = the_node AND NOT counted ORDER BY call_id FOR UPDATE;
        WITH counted AS (
            UPDATE holds SET counted = true, gone_at = NULL
            WHERE call_id = ANY (live_calls) AND node = the_node AND NOT counted AND gone_at < before
            RETURNING limit_keys
        )
        SELECT array_agg(limit_key) INTO keys FROM counted, unnest(limit_keys) AS limit_key;
        PERFORM count_up(keys);
    END IF;
    RETURN uncount_calls(ARRAY(
        SELECT call_id FROM holds
        WHERE node = the_node AND counted AND admitted_at < before AND call_id <> ALL (live_calls)
    ));
END $$;
