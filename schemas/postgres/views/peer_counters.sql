-- The counters of peers themselves, among those of limits.
CREATE OR REPLACE VIEW peer_counters AS
    SELECT substr(limit_key, 2)::int AS peer_id, concurrent, second, in_second FROM limit_counters
    WHERE limit_key LIKE 'p%';
