-- How routes are ordered: metrics by their weight, each strict or in steps. tariffs/order.py reads it.
CREATE OR REPLACE FUNCTION is_order(order_by text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT length(order_by) <= 500 AND count(*) = count(DISTINCT substring(metric FROM '^[a-z_]+')) AND bool_and(metric ~
        '^(random|portion|(cost|peer_priority|route_priority|price_priority|code_length)(/[0-9]{1,6}(\.[0-9]{1,8})?)?|(target|(asr|acd|ner|pdd)(_code)?)(/[0-9]{1,6}(\.[0-9]{1,8})?)?( else [0-9]{1,6}(\.[0-9]{1,4})?)?)$')
    FROM unnest(string_to_array(order_by, ', ')) AS metric
$$;
