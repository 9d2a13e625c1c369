-- The ledger's partition of a month, made where it is not there yet.
-- As the owner: who posts first in a month makes its partition, and may make no other table.
CREATE OR REPLACE FUNCTION ledger_partition(moment timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
