-- The calls of which a leg has this SIP Call-ID, newest first. A partner gives one; it is theirs to repeat it.
SELECT call_id
FROM legs
WHERE sip_call_id = {sip_call_id:String}
GROUP BY call_id
ORDER BY max(call_start_time) DESC
LIMIT 20
