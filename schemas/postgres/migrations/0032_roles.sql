-- Each room has a role of its own (schemas/postgres_roles.py). What a role needs done without having the right to do it is
-- done by functions that act as the owner, each with a search path of its own, in which nobody else may create anything.

-- A month's partition of the ledger is made by who posts first in it.
ALTER FUNCTION ledger_partition(timestamptz) SECURITY DEFINER SET search_path = public, pg_temp;
-- Whoever changes a configured row moves the generation and the versions by it, and in no other way.
ALTER FUNCTION configuration_changed() SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION prices_changed() SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION pool_numbers_changed() SECURITY DEFINER SET search_path = public, pg_temp;
-- A new account begins at zero; a peer that is gone is counted no more.
ALTER FUNCTION open_balance() SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION forget_counters() SECURITY DEFINER SET search_path = public, pg_temp;

-- Has the ledger's index by position say what its newest pages hold: only an index's owner may. How many ranges of pages.
CREATE FUNCTION summarize_ledger() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT coalesce(sum(brin_summarize_new_values(indexrelid)), 0) FROM pg_index
    JOIN pg_class AS indexes ON indexes.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
    JOIN pg_inherits ON inhrelid = indrelid
    WHERE inhparent = 'ledger_entries'::regclass AND amname = 'brin' AND relkind = 'i'
$$;
