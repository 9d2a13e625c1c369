-- A sum of 64-bit numbers, modulo 2^64, as a signed one.
CREATE OR REPLACE FUNCTION wrapped(total numeric) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN rest >= 9223372036854775808 THEN rest - 18446744073709551616 ELSE rest END::bigint
    FROM (SELECT mod(mod(coalesce(total, 0), 18446744073709551616) + 18446744073709551616, 18446744073709551616)) AS it (rest)
$$;
