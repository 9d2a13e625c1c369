-- CDRs: one row a leg, deduplicated by (sorting key, revision). A leg's start and vendor never change between its
-- revisions, so a repeat or a correction always meets its predecessor in the same partition.
CREATE TABLE IF NOT EXISTS legs (
    start_time          DateTime64(3, 'UTC') COMMENT 'start of this leg',
    call_start_time     DateTime64(3, 'UTC') COMMENT 'start of the attempt (the INVITE of the customer)',
    answer_time         Nullable(DateTime64(3, 'UTC')),
    end_time            DateTime64(3, 'UTC'),
    call_id             String,
    leg                 UInt8 COMMENT '0 inbound, 1... attempts in hunt order',
    leg_id              String,
    linked_leg_id       String COMMENT 'inbound: the last hunted leg or empty; outbound: the inbound leg',
    revision            UInt16,
    node                LowCardinality(String),
    side                LowCardinality(String) COMMENT 'receivable (inbound) or payable (outbound)',
    customer_company_id UInt32,
    customer            LowCardinality(String) COMMENT 'company name when the leg was rated',
    customer_peer_id    UInt32,
    originator          LowCardinality(String),
    vendor_company_id   UInt32 COMMENT 'inbound: of the last hunted leg, 0 if none',
    vendor              LowCardinality(String),
    vendor_peer_id      UInt32,
    terminator          LowCardinality(String),
    account_id          UInt32,
    caller              String COMMENT 'as billed',
    callee              String COMMENT 'as billed, E.164 without plus',
    caller_dialled      String COMMENT 'inbound: as the INVITE said',
    callee_dialled      String,
    destination_id      UInt32,
    destination         LowCardinality(String),
    country             LowCardinality(String),
    code                LowCardinality(String) COMMENT 'code matched in this side''s deck',
    price_id            UInt64,
    price               Decimal(18, 8) COMMENT 'per minute',
    connect_fee         Decimal(18, 6),
    currency            LowCardinality(String),
    answered            Bool,
    duration_ms         UInt32 COMMENT 'answer to release, monotonic',
    billed_seconds      UInt32,
    amount              Decimal(18, 6) COMMENT 'revenue of an inbound leg, cost of an outbound leg',
    pdd_ms              Nullable(UInt32),
    cause               UInt8 COMMENT 'Q.850',
    sip_code            UInt16 COMMENT 'outbound: the vendor''s final answer, 0 if none',
    dial_status         LowCardinality(String),
    release_side        LowCardinality(String),
    reason              LowCardinality(String) COMMENT 'why the call was refused; empty: it was routed',
    clock_disagreement  Bool,
    legs_hunted         UInt8,
    endpoint            LowCardinality(String),
    remote_address      LowCardinality(String),
    generation          UInt64,
    rated_at            DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
) ENGINE = ReplacingMergeTree(revision)
PARTITION BY toDate(start_time)
ORDER BY (toStartOfHour(start_time), vendor_peer_id, start_time, leg_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- Why a call went where it went: the router's decision, whole.
CREATE TABLE IF NOT EXISTS decisions (
    routed_at         DateTime64(3, 'UTC'),
    call_id           String,
    node              LowCardinality(String),
    customer_peer_id  UInt32,
    callee            String,
    reason            LowCardinality(String),
    generation        UInt64,
    decision          String COMMENT 'the call_routed event as JSON' CODEC(ZSTD(3)),
    INDEX decisions_by_call call_id TYPE bloom_filter(0.001) GRANULARITY 4
) ENGINE = ReplacingMergeTree
PARTITION BY toDate(routed_at)
ORDER BY (routed_at, call_id)
SETTINGS non_replicated_deduplication_window = 10000;
