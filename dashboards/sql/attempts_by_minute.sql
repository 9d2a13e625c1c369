-- Attempts by the minute in which the router decided on them: every INVITE that reached it, refused ones too.
SELECT toUnixTimestamp(toStartOfMinute(routed_at)) AS minute, count() AS attempts
FROM decisions FINAL
WHERE routed_at >= {since:DateTime64(3)} AND routed_at < {until:DateTime64(3)}
GROUP BY minute
ORDER BY minute
LIMIT 1000
