-- The direction of a pattern is that of its peer.
CREATE OR REPLACE FUNCTION check_translation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE needed text;
BEGIN
    SELECT CASE role WHEN 'originator' THEN 'in' ELSE 'out' END INTO needed FROM peers WHERE peer_id = NEW.peer_id;
    IF NEW.direction IS DISTINCT FROM needed THEN
        RAISE EXCEPTION 'translations.direction %: an originator''s patterns are in, a terminator''s are out', NEW.direction
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
