-- Each leg once, with what NER (E.425) asks of it. Routers go by the same (streams/folds/quality.py); a test holds both equal.
--   early_cancel  the caller gave up before any sign of life: counts on neither side
--   reached       the called party's own answer: answered, busy, rejected, or no answer after ringing. A vendor's
--                 401, 402, 403 and 407 are cause 21 too, but speak of our account, not of the called party.
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
