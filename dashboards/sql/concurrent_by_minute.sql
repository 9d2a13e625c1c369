-- How many calls, ended by now, were up or being set up at the start of each minute.
SELECT minute, count() AS concurrent
FROM
(
    SELECT arrayJoin(range(
        toUInt32(ceil(toUnixTimestamp64Milli(greatest(start_time, {since:DateTime64(3)})) / 60000)) * 60,
        toUInt32(toUnixTimestamp64Milli(end_time) / 1000) + 1, 60)) AS minute
    FROM legs FINAL
    WHERE side = 'receivable' AND (reason = '' OR answered) AND start_time >= {since:DateTime64(3)} - INTERVAL 5 HOUR
      AND end_time >= {since:DateTime64(3)}
)
GROUP BY minute
ORDER BY minute
LIMIT 1000
