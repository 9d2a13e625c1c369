-- A change of prices moves the version of its decks, which moves the generation. A price that goes to another deck is
-- found in neither deck's old and new rows together: both decks have changed.
-- As the owner, as configuration_changed().
CREATE OR REPLACE FUNCTION prices_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
