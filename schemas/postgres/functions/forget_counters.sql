-- A peer that is gone takes its counters with it.
-- As the owner: who deletes a peer may not change counters.
CREATE OR REPLACE FUNCTION forget_counters() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM limit_counters WHERE limit_key = 'p' || OLD.peer_id OR limit_key LIKE 'c' || OLD.peer_id || '-%';
    RETURN NULL;
END $$;
