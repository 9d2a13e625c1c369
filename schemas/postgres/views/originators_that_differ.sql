-- Pairs of enabled originators at the same network, both on some node, that differ in what their one endpoint has.
-- A disabled one does not count: its calls are refused, whatever its codecs are.
CREATE OR REPLACE VIEW originators_that_differ AS
SELECT one.peer_id, other.peer_id AS other_peer_id, one.name, other.name AS other_name, one.host,
       differs.field, differs.value, differs.other_value
FROM peers AS one
JOIN peers AS other ON network(other.host) = network(one.host) AND other.peer_id <> one.peer_id
CROSS JOIN LATERAL (VALUES
    ('codecs', one.codecs, other.codecs),
    ('rtp_timeout_seconds', one.rtp_timeout_seconds::text, other.rtp_timeout_seconds::text),
    ('rtp_timeout_hold_seconds', one.rtp_timeout_hold_seconds::text, other.rtp_timeout_hold_seconds::text)
) AS differs (field, value, other_value)
WHERE one.role = 'originator' AND other.role = 'originator' AND one.enabled AND other.enabled
  AND differs.value <> differs.other_value
  AND EXISTS (
      SELECT FROM (SELECT node_id FROM peer_nodes WHERE peer_id = one.peer_id
                   UNION ALL SELECT NULL WHERE NOT EXISTS (SELECT FROM peer_nodes WHERE peer_id = one.peer_id)) AS here
      JOIN (SELECT node_id FROM peer_nodes WHERE peer_id = other.peer_id
            UNION ALL SELECT NULL WHERE NOT EXISTS (SELECT FROM peer_nodes WHERE peer_id = other.peer_id)) AS there
        ON here.node_id IS NULL OR there.node_id IS NULL OR here.node_id = there.node_id);
