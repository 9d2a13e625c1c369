-- The generation moves when a configured row has changed, and only then. Until now every statement on a configured table
-- moved it: an UPDATE that matched no row had all routers take a new snapshot of the same configuration.

-- Moves the generation if the statement has changed its table. EXCEPT ALL, not EXCEPT: of two equal rows that become
-- different ones each counts. An UPDATE has as many new rows as old ones, so one direction is enough. Rows are compared
-- as text because some types (json) have no equality.
CREATE OR REPLACE FUNCTION configuration_changed() RETURNS trigger LANGUAGE plpgsql AS $$
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

-- A change of prices moves the version of its decks, which moves the generation. A price that goes to another deck is
-- found in neither deck's old and new rows together: both decks have changed.
CREATE OR REPLACE FUNCTION prices_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed int[];
BEGIN
    CASE TG_OP
        WHEN 'INSERT' THEN changed := ARRAY(SELECT DISTINCT deck_id FROM new_rows);
        WHEN 'DELETE' THEN changed := ARRAY(SELECT DISTINCT deck_id FROM old_rows);
        WHEN 'UPDATE' THEN changed := ARRAY(
            SELECT DISTINCT deck_id FROM old_rows AS old_row FULL JOIN new_rows AS new_row USING (deck_id, price_id)
            WHERE old_row IS DISTINCT FROM new_row);
        WHEN 'TRUNCATE' THEN changed := ARRAY(
            SELECT deck_id FROM decks WHERE EXISTS (SELECT FROM prices WHERE prices.deck_id = decks.deck_id));
    END CASE;
    UPDATE decks SET version = version + 1 WHERE deck_id = ANY (changed);
    RETURN NULL;
END $$;

-- The same for the numbers of pools.
CREATE OR REPLACE FUNCTION pool_numbers_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE changed int[];
BEGIN
    CASE TG_OP
        WHEN 'INSERT' THEN changed := ARRAY(SELECT DISTINCT pool_id FROM new_rows);
        WHEN 'DELETE' THEN changed := ARRAY(SELECT DISTINCT pool_id FROM old_rows);
        WHEN 'UPDATE' THEN changed := ARRAY(
            SELECT DISTINCT pool_id FROM old_rows AS old_row FULL JOIN new_rows AS new_row USING (pool_id, number)
            WHERE old_row IS DISTINCT FROM new_row);
        WHEN 'TRUNCATE' THEN changed := ARRAY(
            SELECT pool_id FROM number_pools
            WHERE EXISTS (SELECT FROM pool_numbers WHERE pool_numbers.pool_id = number_pools.pool_id));
    END CASE;
    UPDATE number_pools SET version = version + 1 WHERE pool_id = ANY (changed);
    RETURN NULL;
END $$;

-- Gives a table the triggers of one of these functions; a later migration calls it for each new table of configuration.
-- A trigger sees old and new rows only if it is for one event. TRUNCATE shows no rows: it is asked before they are gone.
CREATE PROCEDURE announce_changes(the_table regclass, the_function regproc DEFAULT 'configuration_changed')
LANGUAGE plpgsql AS $$
DECLARE part text[];
BEGIN
    FOREACH part SLICE 1 IN ARRAY ARRAY[
        ['inserted', 'AFTER INSERT', 'REFERENCING NEW TABLE AS new_rows'],
        ['updated', 'AFTER UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'],
        ['deleted', 'AFTER DELETE', 'REFERENCING OLD TABLE AS old_rows'],
        ['truncated', 'BEFORE TRUNCATE', '']]
    LOOP
        EXECUTE format('CREATE TRIGGER %I %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION %s()',
                       the_table || '_' || part[1], part[2], the_table, part[3], the_function);
    END LOOP;
END $$;

DO $$
DECLARE watched record; name text;
BEGIN
    FOR watched IN
        SELECT tgrelid::regclass AS the_table, tgfoid::regproc AS the_function, array_agg(tgname) AS names
        FROM pg_trigger
        WHERE tgfoid IN ('configuration_changed'::regproc, 'prices_changed'::regproc, 'pool_numbers_changed'::regproc)
        GROUP BY tgrelid, tgfoid
    LOOP
        FOREACH name IN ARRAY watched.names LOOP
            EXECUTE format('DROP TRIGGER %I ON %s', name, watched.the_table);
        END LOOP;
        CALL announce_changes(watched.the_table, watched.the_function);
    END LOOP;
END $$;
