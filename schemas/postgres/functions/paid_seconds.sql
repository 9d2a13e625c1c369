-- The most billed seconds that a budget buys (no more than a million); -1 where it does not buy the minimum.
CREATE OR REPLACE FUNCTION paid_seconds(budget numeric, price numeric, connect_fee numeric, minimum int, increment int, decimals int)
RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    -- The cost is rounded half up: it stays within the budget as long as it is below the budget's last half unit.
    room numeric := trunc(budget, decimals) + 0.5 * power(10::numeric, -decimals) - connect_fee;
    seconds int;
BEGIN
    IF budget < 0 OR room <= 0 THEN
        RETURN -1;
    END IF;
    seconds := CASE WHEN price = 0 THEN 1000000 ELSE least(1000000, ceil((room * 60)::numeric(60,30) / price) - 1) END;
    RETURN CASE WHEN seconds < minimum THEN -1 ELSE minimum + (seconds - minimum) / increment * increment END;
END $$;
