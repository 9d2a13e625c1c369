-- Every limit that is set, by its key (router/core/limit_keys.py).
CREATE OR REPLACE VIEW limits AS
    SELECT 'p' || peer_id AS limit_key, peer_id, role, NULL::int AS route_class_id, NULL::text AS code,
           max_concurrent, max_cps
    FROM peers WHERE max_concurrent > 0 OR max_cps > 0
    UNION ALL
    SELECT 'r' || route_class_id || '-' || peer_id, peer_id, 'terminator', route_class_id, NULL, max_concurrent, max_cps
    FROM route_class_entries WHERE max_concurrent > 0 OR max_cps > 0
    UNION ALL
    SELECT 'c' || peer_id || '-' || code, peer_id, role, NULL, code, code_limits.max_concurrent, code_limits.max_cps
    FROM code_limits JOIN peers USING (peer_id);
