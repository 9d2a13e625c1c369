-- A node reports what it may be using, and gets its shares anew: rows (limit_key, calls at once, calls per second), NULL
-- for what has no limit. `reports` is an array of {limit_key, concurrent, cps, used, concurrent_wanted, cps_wanted,
-- refused}: `concurrent` and `cps` are what its Asterisk has been told, and the calls that go on where those are more.
-- A share that is lowered counts as held until the node reports that it is; so the sum of what is held is never above
-- the limit, whatever is lost on the way. A node that has not reported for `silent` seconds has none any more: its own
-- lapse before. No row at all: this agent does not hold the node's name.
CREATE OR REPLACE FUNCTION lease_limits(the_node text, the_agent text, reports jsonb, silent interval)
RETURNS TABLE (limit_key text, concurrent_share int, cps_share int) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE moment timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(7361600);  -- one at a time
    moment := clock_timestamp();
    PERFORM FROM nodes WHERE name = the_node AND agent_id = the_agent;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    DELETE FROM limit_nodes WHERE reported_at < moment - silent AND node <> the_node;
    INSERT INTO limit_nodes VALUES (the_node, moment)
    ON CONFLICT (node) DO UPDATE SET reported_at = excluded.reported_at;
    DELETE FROM limit_leases
    WHERE node = the_node AND limit_leases.limit_key NOT IN (SELECT limits.limit_key FROM limits WHERE role = 'terminator');
    RETURN QUERY
    WITH reported AS (
        SELECT * FROM jsonb_to_recordset(reports) AS report (
            limit_key text, concurrent int, cps int, used int, concurrent_wanted int, cps_wanted int, refused bigint
        )
    ), wanted AS (
        SELECT limits.limit_key, nullif(max_concurrent, 0) AS concurrent_limit, nullif(max_cps, 0) AS cps_limit,
               -- What is not reported may be as it was. Of a node that was forgotten all has lapsed but the calls that go on,
               -- also when it cannot yet tell its Asterisk so: more than was held it may not use, whatever it was told once.
               CASE WHEN own.node IS NULL THEN coalesce(reported.used, 0)
                    ELSE greatest(reported.used, least(concurrent, own.concurrent_held), 0) END AS concurrent,
               CASE WHEN own.node IS NULL THEN 0 ELSE greatest(least(cps, own.cps_held), 0) END AS cps,
               coalesce(reported.used, 0) AS used,
               coalesce(reported.concurrent_wanted, 0) AS concurrent_wanted,
               coalesce(reported.cps_wanted, 0) AS cps_wanted, coalesce(reported.refused, 0) AS refused
        FROM limits LEFT JOIN reported USING (limit_key)
             LEFT JOIN (SELECT * FROM limit_leases WHERE node = the_node) AS own USING (limit_key)
        WHERE role = 'terminator'
    ), others AS (
        SELECT limit_key,
               coalesce(sum(concurrent_held), 0) AS concurrent_held, coalesce(sum(cps_held), 0) AS cps_held,
               coalesce(sum(lease.concurrent_wanted), 0) AS concurrent_wanted,
               coalesce(sum(lease.cps_wanted), 0) AS cps_wanted,
               count(lease.node)::int + 1 AS nodes,
               count(*) FILTER (WHERE lease.concurrent_wanted > wanted.concurrent_wanted
                   OR (lease.concurrent_wanted = wanted.concurrent_wanted AND lease.node < the_node))::int AS concurrent_rank,
               count(*) FILTER (WHERE lease.cps_wanted > wanted.cps_wanted
                   OR (lease.cps_wanted = wanted.cps_wanted AND lease.node < the_node))::int AS cps_rank
        FROM wanted LEFT JOIN (SELECT * FROM limit_leases WHERE node <> the_node) AS lease USING (limit_key)
        GROUP BY limit_key
    ), floors AS (  -- what the others get where all want more than there is
        SELECT limit_key,
               sum(concurrent_limit::bigint * lease.concurrent_wanted
                   / nullif(wanted.concurrent_wanted + others.concurrent_wanted, 0))::bigint AS concurrent_floors,
               sum(cps_limit::bigint * lease.cps_wanted / nullif(wanted.cps_wanted + others.cps_wanted, 0))::bigint AS cps_floors
        FROM wanted JOIN others USING (limit_key)
             JOIN (SELECT * FROM limit_leases WHERE node <> the_node) AS lease USING (limit_key)
        GROUP BY limit_key
    ), granted AS (
        SELECT wanted.*,
               greatest(0, least(concurrent_limit - others.concurrent_held, fair_share(concurrent_limit,
                   wanted.concurrent_wanted, others.concurrent_wanted::bigint, coalesce(concurrent_floors, 0), nodes,
                   concurrent_rank)))::int AS concurrent_granted,
               greatest(0, least(cps_limit - others.cps_held, fair_share(cps_limit,
                   wanted.cps_wanted, others.cps_wanted::bigint, coalesce(cps_floors, 0), nodes, cps_rank)))::int AS cps_granted
        FROM wanted JOIN others USING (limit_key) LEFT JOIN floors USING (limit_key)
    )
    INSERT INTO limit_leases AS lease (limit_key, node, concurrent_share, concurrent_held, concurrent_wanted, cps_share,
                                       cps_held, cps_wanted, used, refused)
    SELECT limit_key, the_node,
           CASE WHEN concurrent_limit IS NOT NULL THEN concurrent_granted END,
           CASE WHEN concurrent_limit IS NOT NULL THEN greatest(concurrent, concurrent_granted) END, concurrent_wanted,
           CASE WHEN cps_limit IS NOT NULL THEN cps_granted END,
           CASE WHEN cps_limit IS NOT NULL THEN greatest(cps, cps_granted) END, cps_wanted, used, refused
    FROM granted ORDER BY limit_key
    ON CONFLICT ON CONSTRAINT limit_leases_pkey DO UPDATE
    SET concurrent_share = excluded.concurrent_share, concurrent_held = excluded.concurrent_held,
        concurrent_wanted = excluded.concurrent_wanted, cps_share = excluded.cps_share, cps_held = excluded.cps_held,
        cps_wanted = excluded.cps_wanted, used = excluded.used, refused = excluded.refused
    RETURNING lease.limit_key, lease.concurrent_share, lease.cps_share;
END $$;
