-- A time zone that PostgreSQL knows.
CREATE OR REPLACE FUNCTION check_time_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = NEW.time_zone) THEN
        RAISE EXCEPTION 'route class %: time_zone % is none of the IANA database', NEW.name, NEW.time_zone
            USING ERRCODE = 'check_violation', CONSTRAINT = 'route_classes_time_zone_check';
    END IF;
    RETURN NEW;
END $$;
