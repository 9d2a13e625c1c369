-- Which made-up world was seeded here, so that a second seed changes nothing. No row: none was.
CREATE TABLE seeded_world (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    size       text NOT NULL,
    seed       bigint NOT NULL,
    seeded_at  timestamptz NOT NULL DEFAULT now()
);
