-- The router's decision on one call, whole.
SELECT decision
FROM decisions FINAL
WHERE call_id = {call_id:String}
  AND routed_at >= fromUnixTimestamp64Milli({started_ms:Int64}) - INTERVAL 1 HOUR
  AND routed_at <= fromUnixTimestamp64Milli({started_ms:Int64}) + INTERVAL 25 HOUR
LIMIT 1
