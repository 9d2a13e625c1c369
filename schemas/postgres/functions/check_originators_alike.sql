-- Asked when the transaction ends: a file changes several peers, one after the other.
CREATE OR REPLACE FUNCTION check_originators_alike() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE pair originators_that_differ;
BEGIN
    SELECT * INTO pair FROM originators_that_differ WHERE peer_id = coalesce(NEW.peer_id, OLD.peer_id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'peer %: % %: must be % as those of peer %, which has the same network %',
            pair.name, pair.field, pair.value, pair.other_value, pair.other_name, pair.host
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
