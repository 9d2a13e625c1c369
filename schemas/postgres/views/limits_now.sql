-- Every limit with what is used of it now. A vendor's is what the nodes last reported, a second or two old.
CREATE OR REPLACE VIEW limits_now AS
    SELECT limit_key, limits.peer_id, peers.name AS peer, limits.role, limits.route_class_id, code, limits.max_concurrent,
           limits.max_cps, coalesce(concurrent, leased.used, 0)::int AS used, coalesce(leased.refused, 0)::bigint AS refused,
           leased.nodes
    FROM limits JOIN peers USING (peer_id)
         LEFT JOIN limit_counters AS counter USING (limit_key)
         LEFT JOIN (
             SELECT limit_key, sum(used) AS used, sum(refused) AS refused, jsonb_object_agg(node, jsonb_build_object(
                        'used', used, 'concurrent_share', concurrent_share, 'cps_share', cps_share)) AS nodes
             FROM limit_leases GROUP BY limit_key
         ) AS leased USING (limit_key);
