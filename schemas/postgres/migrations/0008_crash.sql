-- Estimates: a leg that a crash of Asterisk left open is posted at revision 0, a leg that the journal closed at 1, and
-- a leg that was rated again at 2 and above. The sum of a leg's entries is always the amount of its highest revision.

-- Legs with an entry of another revision than 1: usually none. Posting asks this small table, and the ledger itself
-- only for the legs that it names.
CREATE TABLE revised_legs (
    leg_id  text PRIMARY KEY
);

-- Legs were posted at revision 0 before there were estimates. They are no estimates: were they left so, a message that
-- is rated again would bill its leg once more.
ALTER TABLE ledger_entries DISABLE TRIGGER ledger_no_change;
UPDATE ledger_entries SET revision = 1 WHERE kind = 'leg' AND revision = 0;
ALTER TABLE ledger_entries ENABLE TRIGGER ledger_no_change;
