-- A change of numbers moves the version of their pools, which moves the generation.
-- As the owner, as configuration_changed().
CREATE OR REPLACE FUNCTION pool_numbers_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
