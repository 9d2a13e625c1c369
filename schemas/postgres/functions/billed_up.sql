-- Seconds as they are billed: at least the minimum, then whole increments.
CREATE OR REPLACE FUNCTION billed_up(seconds int, minimum int, increment int) RETURNS int
LANGUAGE sql IMMUTABLE AS $$ SELECT minimum + greatest(0, (seconds - minimum + increment - 1) / increment) * increment $$;
