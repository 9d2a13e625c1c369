-- A peer agrees with its account: company, kind, currency.
CREATE OR REPLACE FUNCTION check_peer() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE account accounts; pack billing_packs;
BEGIN
    SELECT * INTO account FROM accounts WHERE account_id = NEW.account_id;
    SELECT * INTO pack FROM billing_packs WHERE pack_id = NEW.pack_id;
    IF account.company_id IS DISTINCT FROM NEW.company_id THEN
        RAISE EXCEPTION 'peer %: account % belongs to another company', NEW.name, account.name USING ERRCODE = 'check_violation';
    END IF;
    IF account.kind <> (CASE NEW.role WHEN 'originator' THEN 'customer' ELSE 'vendor' END) THEN
        RAISE EXCEPTION 'peer %: account % is a % account, the peer a %', NEW.name, account.name, account.kind, NEW.role
            USING ERRCODE = 'check_violation';
    END IF;
    IF account.currency <> pack.currency THEN
        RAISE EXCEPTION 'peer %: pack % is in %, account % in %', NEW.name, pack.name, pack.currency, account.name, account.currency
            USING ERRCODE = 'check_violation';
    END IF;
    IF masklen(NEW.host) <> (CASE family(NEW.host) WHEN 4 THEN 32 ELSE 128 END) AND NEW.role = 'terminator' THEN
        RAISE EXCEPTION 'peer %: host %: a terminator is one address', NEW.name, NEW.host USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
