-- One call's legs, in hunt order. The call's id holds its second, so that only its hours are read.
SELECT
    leg, leg_id, side, customer, originator, vendor, terminator, caller, callee, callee_dialled, caller_dialled,
    destination, country, code, toString(price) AS price, toString(connect_fee) AS connect_fee, currency, answered,
    toUnixTimestamp64Milli(call_start_time) AS call_start_ms, toUnixTimestamp64Milli(start_time) AS start_ms,
    toUnixTimestamp64Milli(answer_time) AS answer_ms, toUnixTimestamp64Milli(end_time) AS end_ms,
    duration_ms, billed_seconds, toInt64(amount * 1000000) AS amount_micros, pdd_ms, cause, sip_code, dial_status,
    release_side, reason, clock_disagreement, estimated, node, endpoint, remote_address, sip_call_id, revision
FROM legs FINAL
WHERE call_id = {call_id:String}
  AND start_time >= fromUnixTimestamp64Milli({started_ms:Int64}) - INTERVAL 1 HOUR
  AND start_time <= fromUnixTimestamp64Milli({started_ms:Int64}) + INTERVAL 25 HOUR
ORDER BY leg
LIMIT 64
