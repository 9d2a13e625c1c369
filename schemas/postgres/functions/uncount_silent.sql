-- Nodes that nobody has heard of for `silent` have died with their machine, or their agent is gone for good: their calls
-- do not count as concurrent until one of their heartbeats lists them again. Returns how many counted until now.
CREATE OR REPLACE FUNCTION uncount_silent(silent interval) RETURNS int LANGUAGE sql AS $$
    SELECT uncount_calls(ARRAY(
        SELECT call_id FROM holds WHERE counted AND node IN (
            SELECT name FROM nodes LEFT JOIN limit_nodes ON node = name
            WHERE greatest(last_seen_at, reported_at) < clock_timestamp() - silent
        )
    ))
$$;
