-- Originators told apart. Tech prefixes may hold `#` and `*`. A network is one, however its address is written. Asterisk
-- knows an originator by its network alone: those at one network share an endpoint, and what an endpoint has.

ALTER TABLE peers DROP CONSTRAINT peers_tech_prefix_check,
    ADD CONSTRAINT peers_tech_prefix_check CHECK (tech_prefix ~ '^[0-9*#]{0,8}$');

DROP INDEX peers_identify;
CREATE UNIQUE INDEX peers_identify ON peers (network(host), tech_prefix) WHERE role = 'originator' AND enabled;

-- Pairs of enabled originators at the same network, both on some node, that differ in what their one endpoint has.
-- A disabled one does not count: its calls are refused, whatever its codecs are.
CREATE VIEW originators_that_differ AS
SELECT one.peer_id, other.peer_id AS other_peer_id, one.name, other.name AS other_name, one.host,
       differs.field, differs.value, differs.other_value
FROM peers AS one
JOIN peers AS other ON network(other.host) = network(one.host) AND other.peer_id <> one.peer_id
CROSS JOIN LATERAL (VALUES ('codecs', one.codecs, other.codecs)) AS differs (field, value, other_value)
WHERE one.role = 'originator' AND other.role = 'originator' AND one.enabled AND other.enabled
  AND differs.value <> differs.other_value
  AND EXISTS (
      SELECT FROM (SELECT node_id FROM peer_nodes WHERE peer_id = one.peer_id
                   UNION ALL SELECT NULL WHERE NOT EXISTS (SELECT FROM peer_nodes WHERE peer_id = one.peer_id)) AS here
      JOIN (SELECT node_id FROM peer_nodes WHERE peer_id = other.peer_id
            UNION ALL SELECT NULL WHERE NOT EXISTS (SELECT FROM peer_nodes WHERE peer_id = other.peer_id)) AS there
        ON here.node_id IS NULL OR there.node_id IS NULL OR here.node_id = there.node_id);

-- Asked when the transaction ends: a file changes several peers, one after the other.
CREATE FUNCTION check_originators_alike() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE pair originators_that_differ;
BEGIN
    SELECT * INTO pair FROM originators_that_differ WHERE peer_id = coalesce(NEW.peer_id, OLD.peer_id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'peer %: % %: must be % as those of peer %, which has the same network %',
            pair.name, pair.field, pair.value, pair.other_value, pair.other_name, pair.host
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER peers_alike AFTER INSERT OR UPDATE ON peers DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION check_originators_alike();
CREATE CONSTRAINT TRIGGER peer_nodes_alike AFTER INSERT OR UPDATE OR DELETE ON peer_nodes DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION check_originators_alike();
