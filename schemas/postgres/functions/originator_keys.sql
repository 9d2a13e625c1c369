-- The counters that a customer's call counts in, sorted.
CREATE OR REPLACE FUNCTION originator_keys(the_peer int, callee text) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT 'c' || peer_id || '-' || code FROM code_limits
        WHERE peer_id = the_peer AND starts_with(callee, code) ORDER BY length(code) DESC LIMIT 1
    ) || ('p' || the_peer)
$$;
