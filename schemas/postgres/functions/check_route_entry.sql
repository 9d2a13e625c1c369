-- The entries of a route class are terminators.
CREATE OR REPLACE FUNCTION check_route_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT role FROM peers WHERE peer_id = NEW.peer_id) <> 'terminator' THEN
        RAISE EXCEPTION 'route_class_entries.peer_id %: a route class holds terminators only', NEW.peer_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
