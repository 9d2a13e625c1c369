-- A control is of a peer of its own side.
CREATE OR REPLACE FUNCTION check_control_peer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.peer_id IS NOT NULL AND (SELECT role FROM peers WHERE peer_id = NEW.peer_id) <> TG_ARGV[0] THEN
        RAISE EXCEPTION '%.peer_id %: must be a peer that is %', TG_TABLE_NAME, NEW.peer_id, TG_ARGV[0]
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
