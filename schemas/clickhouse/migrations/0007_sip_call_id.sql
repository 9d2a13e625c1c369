-- The SIP Call-ID of a leg: how its call is found in a trace, and told to a partner.
ALTER TABLE legs ADD COLUMN IF NOT EXISTS sip_call_id String DEFAULT ''
    COMMENT 'SIP Call-ID of the leg''s own INVITE, as received or sent; empty where no INVITE was sent' AFTER remote_address;
ALTER TABLE legs ADD INDEX IF NOT EXISTS by_sip_call_id sip_call_id TYPE bloom_filter(0.01) GRANULARITY 4;
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
