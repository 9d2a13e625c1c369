-- A node's sessions carry a digest of its key. Those that are there already may go on without until their first one with it:
-- their Asterisk may still run on files of before. A node that comes later needs it from the first.
ALTER TABLE nodes ADD COLUMN digest_optional boolean NOT NULL DEFAULT false;
UPDATE nodes SET digest_optional = true;
