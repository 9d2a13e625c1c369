-- What was posted is neither changed nor deleted.
CREATE OR REPLACE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger_entries is append-only: a wrong entry is mended by a correction';
END $$;
