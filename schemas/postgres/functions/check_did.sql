-- A DID leads to a terminator.
CREATE OR REPLACE FUNCTION check_did() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT role FROM peers WHERE peer_id = NEW.peer_id) <> 'terminator' THEN
        RAISE EXCEPTION 'dids.peer_id %: a number leads to a terminator', NEW.peer_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
