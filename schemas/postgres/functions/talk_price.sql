-- What so many billed seconds cost: tariffs/rating.py's own rule. Twenty decimals of the quotient never make a tie.
CREATE OR REPLACE FUNCTION talk_price(seconds int, price numeric, connect_fee numeric, decimals int) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$ SELECT round(connect_fee + (seconds * price)::numeric(40,20) / 60, decimals) $$;
