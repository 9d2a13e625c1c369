-- Figures of what ended in a window and in the same window an hour before, by one column of the CDRs and by currency.
-- Calls are receivable legs that were admitted; legs are what vendors were sent.
SELECT
    toString({dimension:Identifier}) AS name,
    currency,
    end_time >= {now_from:DateTime64(3)} AS is_now,
    countIf(side = 'receivable' AND (reason = '' OR answered)) AS calls,
    countIf(side = 'receivable' AND reason != '' AND NOT answered) AS refused,
    countIf(side = 'receivable' AND answered) AS calls_answered,
    countIf(side = 'receivable' AND (reason = '' OR answered) AND NOT early_cancel) AS calls_judged,
    countIf(side = 'receivable' AND (reason = '' OR answered) AND NOT early_cancel AND reached) AS calls_reached,
    sumIf(duration_ms, side = 'receivable') AS calls_talk_ms,
    countIf(side = 'receivable' AND pdd_ms IS NOT NULL) AS calls_with_pdd,
    sumIf(ifNull(pdd_ms, 0), side = 'receivable') AS calls_pdd_ms,
    countIf(side = 'payable') AS legs,
    countIf(side = 'payable' AND answered) AS legs_answered,
    countIf(side = 'payable' AND NOT early_cancel) AS legs_judged,
    countIf(side = 'payable' AND NOT early_cancel AND reached) AS legs_reached,
    sumIf(duration_ms, side = 'payable') AS legs_talk_ms,
    countIf(side = 'payable' AND pdd_ms IS NOT NULL) AS legs_with_pdd,
    sumIf(ifNull(pdd_ms, 0), side = 'payable') AS legs_pdd_ms,
    toInt64(sumIf(amount, side = 'receivable') * 1000000) AS revenue_micros,
    toInt64(sumIf(amount, side = 'payable') * 1000000) AS cost_micros
FROM judged_legs
WHERE start_time >= {before_from:DateTime64(3)} - INTERVAL 5 HOUR
  AND ((end_time >= {now_from:DateTime64(3)} AND end_time < {now_until:DateTime64(3)})
    OR (end_time >= {before_from:DateTime64(3)} AND end_time < {before_until:DateTime64(3)}))
GROUP BY name, currency, is_now
ORDER BY name
LIMIT 20000
