-- A new account has a balance.
-- As the owner: it begins at zero.
CREATE OR REPLACE FUNCTION open_balance() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO account_balances (account_id) VALUES (NEW.account_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
