-- Moves the generation if the statement has changed its table. EXCEPT ALL, not EXCEPT: of two equal rows that become
-- different ones each counts. An UPDATE has as many new rows as old ones, so one direction is enough. Rows are compared
-- as text because some types (json) have no equality.
-- As the owner: whoever changes a configured row moves the generation by it, and in no other way.
CREATE OR REPLACE FUNCTION configuration_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE changed boolean; moved bigint;
BEGIN
    CASE TG_OP
        WHEN 'INSERT' THEN changed := EXISTS (SELECT FROM new_rows);
        WHEN 'DELETE' THEN changed := EXISTS (SELECT FROM old_rows);
        WHEN 'UPDATE' THEN changed := EXISTS (
            SELECT new_row::text COLLATE "C" FROM new_rows AS new_row
            EXCEPT ALL SELECT old_row::text COLLATE "C" FROM old_rows AS old_row);
        WHEN 'TRUNCATE' THEN EXECUTE format('SELECT EXISTS (SELECT FROM %s)', TG_RELID::regclass) INTO changed;
    END CASE;
    IF changed THEN
        UPDATE configuration_generation SET generation = generation + 1 RETURNING generation INTO moved;
        PERFORM pg_notify('streamco_configuration', moved::text);
    END IF;
    RETURN NULL;
END $$;
