-- The disk of a node's journal is nearly full since then, by its agent: new calls from the node are refused.
ALTER TABLE nodes ADD COLUMN disk_low_since timestamptz;
