-- pass_diversion: of an originator, its Diversion and History-Info are passed on; of a terminator, it is sent them. Both
-- have to say so.
ALTER TABLE peers ADD COLUMN pass_diversion boolean NOT NULL DEFAULT false;
