-- `mon-fri 08:00-18:00, sat 09:00-13:00`: tariffs/timetable.py reads it.
CREATE OR REPLACE FUNCTION is_timetable(timetable text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT length(timetable) <= 500 AND (timetable = '' OR NOT EXISTS (
        SELECT FROM unnest(string_to_array(timetable, ', ')) AS rule
        WHERE rule !~ '^(daily|(mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?) ([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$'))
$$;
