-- The rules travel with every call of the peer: their number is bounded.
CREATE OR REPLACE FUNCTION check_release_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM release_rules WHERE release_table_id = NEW.release_table_id) > 100 THEN
        RAISE EXCEPTION 'release_rules: a table has at most 100 rules' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
