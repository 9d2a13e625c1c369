-- Whether a leg's end is an estimate: Asterisk crashed with the call up, and nobody has seen its true end (yet).
ALTER TABLE legs ADD COLUMN IF NOT EXISTS estimated Bool DEFAULT false
    COMMENT 'closed at the last heartbeat before a crash of Asterisk' AFTER clock_disagreement;
-- Made anew, because a view keeps the columns that its table had.
CREATE OR REPLACE VIEW judged_legs AS
SELECT
    *,
    NOT answered AND dial_status = 'CANCEL' AND pdd_ms IS NULL AS early_cancel,
    answered
        OR cause = 17
        OR sip_code IN (486, 600, 603)
        OR (cause = 21 AND sip_code NOT IN (401, 402, 403, 407))
        OR (pdd_ms IS NOT NULL AND (cause IN (16, 18, 19) OR dial_status IN ('CANCEL', 'NOANSWER'))) AS reached
FROM legs FINAL;
