-- Money: balances, the append-only ledger, and the holds of calls that go on.
-- Sign: an account's balance is what we owe its holder. A customer's payment adds, his calls take away; a vendor's calls add.

INSERT INTO currencies VALUES ('USD'), ('EUR'), ('GBP');

-- 1: the account of legs that no account is known for (refused calls of unknown callers): always at zero.
INSERT INTO accounts (account_id, name, kind, currency, payment) VALUES (1, 'unidentified', 'system', 'USD', 'postpaid');
-- The other side of every entry, one of each kind in each currency.
INSERT INTO accounts (account_id, name, kind, currency, payment)
SELECT 10 * row_number() OVER (ORDER BY currency) + position, kind || ' ' || currency, 'system', currency, 'postpaid'
FROM currencies, unnest(ARRAY['revenue', 'cost', 'cash', 'corrections']) WITH ORDINALITY AS kinds (kind, position);
ALTER SEQUENCE accounts_account_id_seq RESTART WITH 1001;

-- Of party accounts only: the system accounts' balances are sums over the ledger, so that no row is hot.
CREATE TABLE account_balances (
    account_id  int PRIMARY KEY REFERENCES accounts,
    balance     numeric(18,6) NOT NULL DEFAULT 0,
    held        numeric(18,6) NOT NULL DEFAULT 0 CHECK (held >= 0)
);

CREATE FUNCTION open_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_balances (account_id) VALUES (NEW.account_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_open_balance AFTER INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION open_balance();
INSERT INTO account_balances (account_id) SELECT account_id FROM accounts;

-- One row is one double entry: `amount` to account_id, the same taken from contra_account_id.
-- A leg posts once per account and revision, however often it arrives. Partitioned by the call's start, which is the
-- same whenever a leg is made again; the partitions are made by ledger_partition().
CREATE TABLE ledger_entries (
    reference          text NOT NULL,       -- leg_id, or the payment's own reference
    account_id         int NOT NULL REFERENCES accounts,
    revision           smallint NOT NULL DEFAULT 0,
    occurred_at        timestamptz NOT NULL, -- the call's start; a payment's moment
    kind               text NOT NULL CHECK (kind IN ('leg', 'payment', 'correction')),
    contra_account_id  int NOT NULL REFERENCES accounts,
    amount             numeric(18,6) NOT NULL,
    billed_seconds     int NOT NULL DEFAULT 0 CHECK (billed_seconds >= 0),
    reason             text NOT NULL DEFAULT '',
    posted_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (reference, account_id, revision, occurred_at),
    CHECK (account_id <> contra_account_id)
) PARTITION BY RANGE (occurred_at);

CREATE FUNCTION ledger_partition(moment timestamptz) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    first_day date := date_trunc('month', moment AT TIME ZONE 'UTC')::date;
    partition text := 'ledger_entries_' || to_char(first_day, 'YYYYMM');
BEGIN
    IF to_regclass(partition) IS NULL THEN
        PERFORM pg_advisory_xact_lock(7361001);
        EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF ledger_entries FOR VALUES FROM (%L) TO (%L)',
            partition, first_day::text || ' 00:00:00+00', (first_day + interval '1 month')::date::text || ' 00:00:00+00');
    END IF;
    RETURN partition;
END $$;

CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger_entries is append-only: a wrong entry is mended by a correction';
END $$;
CREATE TRIGGER ledger_no_change BEFORE UPDATE OR DELETE ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER ledger_no_truncate BEFORE TRUNCATE ON ledger_entries EXECUTE FUNCTION ledger_is_append_only();

-- A call that was admitted and has not ended: the money held for it, and its place in the peer's concurrent calls.
-- hold id = call_id. Released by call_id alone when the inbound leg posts.
CREATE TABLE holds (
    call_id           text PRIMARY KEY,
    node              text NOT NULL,
    peer_id           int NOT NULL REFERENCES peers,
    account_id        int NOT NULL REFERENCES accounts,
    amount            numeric(18,6) NOT NULL CHECK (amount >= 0),
    covered_seconds   int NOT NULL CHECK (covered_seconds >= 0),   -- of talk that the amount pays for
    quantum           numeric(18,6) NOT NULL CHECK (quantum >= 0), -- money of each further quantum
    quantum_seconds   int NOT NULL CHECK (quantum_seconds > 0),
    admitted_at       timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    counted           boolean NOT NULL DEFAULT true                -- still in peer_counters
);
CREATE INDEX holds_account ON holds (account_id);
CREATE INDEX holds_node ON holds (node);

CREATE TABLE peer_counters (
    peer_id      int PRIMARY KEY REFERENCES peers ON DELETE CASCADE,
    concurrent   int NOT NULL DEFAULT 0 CHECK (concurrent >= 0),
    second       bigint NOT NULL DEFAULT 0,   -- the unix second that `in_second` counts
    in_second    int NOT NULL DEFAULT 0
);
