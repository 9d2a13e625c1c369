-- One currency at least is the system's.
CREATE OR REPLACE FUNCTION check_system_currency() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM currencies WHERE is_system) THEN
        RAISE EXCEPTION 'currencies: one must be the system''s' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
