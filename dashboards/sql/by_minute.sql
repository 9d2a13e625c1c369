-- The last hour, minute by minute, by currency: the sparklines. What ended in the minute.
SELECT
    toUnixTimestamp(toStartOfMinute(end_time)) AS minute,
    currency,
    countIf(side = 'receivable' AND (reason = '' OR answered)) AS calls,
    countIf(side = 'receivable' AND answered) AS calls_answered,
    countIf(side = 'receivable' AND (reason = '' OR answered) AND NOT early_cancel) AS calls_judged,
    countIf(side = 'receivable' AND (reason = '' OR answered) AND NOT early_cancel AND reached) AS calls_reached,
    sumIf(duration_ms, side = 'receivable') AS calls_talk_ms,
    countIf(side = 'receivable' AND pdd_ms IS NOT NULL) AS calls_with_pdd,
    sumIf(ifNull(pdd_ms, 0), side = 'receivable') AS calls_pdd_ms,
    toInt64(sumIf(amount, side = 'receivable') * 1000000) AS revenue_micros,
    toInt64(sumIf(amount, side = 'payable') * 1000000) AS cost_micros
FROM judged_legs
WHERE start_time >= {since:DateTime64(3)} - INTERVAL 5 HOUR
  AND end_time >= {since:DateTime64(3)} AND end_time < {until:DateTime64(3)}
GROUP BY minute, currency
ORDER BY minute
LIMIT 10000
