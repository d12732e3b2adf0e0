-- Why: the books. Credits, transfers and audit rows are only ever inserted; what has to be numbered after commit stands in
-- the outbox until the sequencer takes it out. No foreign keys: on the mass path they cost 2.2 times the whole, so the
-- control totals check instead.
-- Locks: nothing, the tables are new.
CREATE TABLE credit (
    account_id uuid NOT NULL,
    credit_id uuid NOT NULL,
    road text NOT NULL,
    -- What is answered, in words that derive credit_id: contract:<subscription>:<period>:<promise>, claim:<claim id>.
    cause text NOT NULL,
    generation integer NOT NULL,
    reason text NOT NULL,
    currency text NOT NULL,
    gross_minor bigint NOT NULL,
    net_minor bigint NOT NULL,
    tax_minor bigint NOT NULL,
    tax_code text NOT NULL,
    tax_rate_bp integer NOT NULL,
    subscription_id uuid,
    claim_id uuid,
    run_id uuid,
    -- The service period, as local dates [from, to) of the zone.
    service_from date,
    service_to date,
    zone text NOT NULL,
    effective_on date NOT NULL,
    issued_at timestamptz NOT NULL,
    issued_by text NOT NULL,
    approved_by text NOT NULL,
    CONSTRAINT credit_pkey PRIMARY KEY (account_id, credit_id),
    CONSTRAINT credit_is_positive CHECK (gross_minor > 0),
    CONSTRAINT credit_splits_into_net_and_tax CHECK (net_minor + tax_minor = gross_minor AND net_minor >= 0 AND tax_minor >= 0),
    CONSTRAINT credit_takes_a_known_road CHECK (road IN ('contract', 'claim', 'goodwill')),
    CONSTRAINT credit_is_approved_by_somebody_else CHECK (approved_by <> issued_by)
);

-- One row, debit to credit: it cannot be unbalanced. document is the credit that it belongs to, event what happened to it.
CREATE TABLE transfer (
    account_id uuid NOT NULL,
    transfer_id uuid NOT NULL,
    document uuid NOT NULL,
    event text NOT NULL,
    debit text NOT NULL,
    credit text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    reason text NOT NULL,
    effective_on date NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT transfer_pkey PRIMARY KEY (account_id, transfer_id),
    CONSTRAINT transfer_is_positive CHECK (amount_minor > 0),
    CONSTRAINT transfer_moves_something CHECK (debit <> credit)
);

-- Every state change and every refused privileged try. account_id is the nil uuid where no account is concerned.
CREATE TABLE audit (
    account_id uuid NOT NULL,
    audit_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    -- What changed, in figures and ids; never names, addresses or free text, which may have to be erased one day.
    detail jsonb NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (account_id, audit_id)
);

-- A working table: what was committed and is not numbered yet.
CREATE TABLE outbox (
    account_id uuid NOT NULL,
    event_id uuid NOT NULL,
    lane smallint NOT NULL,
    account_seq bigint NOT NULL,
    transfer_ids uuid[] NOT NULL,
    audit_ids uuid[] NOT NULL,
    -- What the feed says of it; null where the event is for the chain alone.
    credit_id uuid,
    op text,
    body jsonb,
    created_at timestamptz NOT NULL,
    CONSTRAINT outbox_pkey PRIMARY KEY (account_id, event_id),
    CONSTRAINT outbox_feeds_a_whole_item CHECK ((credit_id IS NULL) = (body IS NULL) AND (op IS NULL) = (body IS NULL))
);
CREATE INDEX outbox_in_order ON outbox (lane, account_id, account_seq);

-- The row that a transaction without an account locks, as one on an account locks that account's.
INSERT INTO account_head (account_id, seq) VALUES ('00000000-0000-0000-0000-000000000000', 0);

-- Answers given once to a caller's key, for thirty days at least.
CREATE TABLE idempotency (
    caller text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status smallint NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

GRANT SELECT, INSERT ON credit, transfer, audit, idempotency TO makegood_app;
GRANT SELECT, INSERT, DELETE ON outbox TO makegood_app;
GRANT SELECT ON credit TO makegood_customer;
ALTER TABLE credit ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON credit TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON credit TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));
