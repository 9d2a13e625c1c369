-- A class that falls back to itself, by whatever way, would have no end. One change of bases at a time: two at once could
-- close a circle that neither sees.
CREATE OR REPLACE FUNCTION check_base_class() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE above int := NEW.base_class_id;
BEGIN
    PERFORM pg_advisory_xact_lock(7361020);
    WHILE above IS NOT NULL LOOP
        IF above = NEW.route_class_id THEN
            RAISE EXCEPTION 'route class %: its base falls back to it again', NEW.name
                USING ERRCODE = 'check_violation', CONSTRAINT = 'route_classes_base_cycle';
        END IF;
        above := (SELECT base_class_id FROM route_classes WHERE route_class_id = above);
    END LOOP;
    RETURN NULL;
END $$;
