-- Gives a table the triggers of one of these functions; a later migration calls it for each new table of configuration.
-- A trigger sees old and new rows only if it is for one event. TRUNCATE shows no rows: it is asked before they are gone.
CREATE OR REPLACE PROCEDURE announce_changes(the_table regclass, the_function regproc DEFAULT 'configuration_changed')
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
