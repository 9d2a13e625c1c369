-- One node's part of a limit, by what each wants: who wants least gets it, what nobody wants is divided evenly; where all
-- want more than there is, by what they want. `rank`: how many others come before this node when a unit is left over.
CREATE OR REPLACE FUNCTION fair_share(the_limit int, wants int, others_want bigint, others_floors bigint, nodes int, rank int)
RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN nodes = 1 THEN the_limit
        WHEN wants + others_want <= the_limit THEN
            wants + (the_limit - wants - others_want) / nodes
            + CASE WHEN rank < (the_limit - wants - others_want) % nodes THEN 1 ELSE 0 END
        ELSE the_limit::bigint * wants / (wants + others_want)
            + CASE WHEN rank < the_limit - the_limit::bigint * wants / (wants + others_want) - others_floors THEN 1 ELSE 0 END
    END::int
$$;
