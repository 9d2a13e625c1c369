-- Attempts of the last seconds, and of the same seconds an hour before.
SELECT
    countIf(routed_at >= {now_from:DateTime64(3)} AND routed_at < {now_until:DateTime64(3)}) AS attempts_now,
    countIf(routed_at >= {before_from:DateTime64(3)} AND routed_at < {before_until:DateTime64(3)}) AS attempts_before
FROM decisions FINAL
WHERE routed_at >= {before_from:DateTime64(3)}
