-- Has the ledger's index by position say what its newest pages hold: only an index's owner may. How many ranges of pages.
CREATE OR REPLACE FUNCTION summarize_ledger() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT coalesce(sum(brin_summarize_new_values(indexrelid)), 0) FROM pg_index
    JOIN pg_class AS indexes ON indexes.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
    JOIN pg_inherits ON inhrelid = indrelid
    WHERE inhparent = 'ledger_entries'::regclass AND amname = 'brin' AND relkind = 'i'
$$;
