-- Why: what was computed for a period, and the credits proposed from it.
-- Locks: nothing, the tables are new.

-- One computing of one period. Its assessments count once finished_at is set: that is how they become visible all at once.
CREATE TABLE assessment_run (
    period text NOT NULL,
    recorded_as_of timestamptz NOT NULL,
    accounts_seen bigint,
    finished_at timestamptz,
    CONSTRAINT assessment_run_pkey PRIMARY KEY (period, recorded_as_of)
);

-- The downtime of one subscription in one period. The receipt is not stored: it is the same sum done again from the evidence
-- as recorded at recorded_as_of, and inputs_hash shows that it is.
CREATE TABLE assessment (
    account_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    period text NOT NULL,
    recorded_as_of timestamptz NOT NULL,
    plan text NOT NULL,
    terms_version integer NOT NULL,
    promise text NOT NULL,
    counted_micros bigint NOT NULL,
    mailboxes integer NOT NULL,
    affected_mailboxes integer NOT NULL,
    currency text NOT NULL,
    -- What the terms give; null where it cannot be said, and then blockers says why.
    amount_minor bigint,
    -- Why a run may not pay it yet; empty where it may.
    blockers text[] NOT NULL,
    inputs_hash bytea NOT NULL,
    CONSTRAINT assessment_pkey PRIMARY KEY (account_id, subscription_id, period, recorded_as_of),
    CONSTRAINT assessment_says_why_not CHECK (amount_minor IS NOT NULL OR cardinality(blockers) > 0)
);

CREATE TABLE credit_run (
    run_id uuid NOT NULL CONSTRAINT credit_run_pkey PRIMARY KEY,
    road text NOT NULL,
    period text NOT NULL,
    recorded_as_of timestamptz NOT NULL,
    state text NOT NULL,
    currency text NOT NULL,
    total_minor bigint NOT NULL,
    credits bigint NOT NULL,
    held_back bigint NOT NULL,
    nothing_due bigint NOT NULL,
    inputs_hash bytea NOT NULL,
    proposed_by text NOT NULL,
    proposed_by_name text NOT NULL,
    proposed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    approved_by text,
    approved_by_name text,
    approved_at timestamptz,
    -- The last account whose credits are issued: a crash goes on from here.
    applied_through uuid,
    applied_at timestamptz,
    CONSTRAINT credit_run_is_in_a_known_state CHECK (state IN ('proposed', 'approved', 'applied')),
    CONSTRAINT credit_run_is_approved_by_somebody_else CHECK (approved_by <> proposed_by)
);

-- The saved plan: every subscription that was hit, and what becomes of it.
CREATE TABLE credit_run_item (
    account_id uuid NOT NULL,
    run_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    outcome text NOT NULL,
    -- What this run gives: due now less what was credited for the same cause before.
    amount_minor bigint NOT NULL,
    already_minor bigint NOT NULL,
    generation integer NOT NULL,
    promise text NOT NULL,
    reasons text[] NOT NULL,
    CONSTRAINT credit_run_item_pkey PRIMARY KEY (account_id, run_id, subscription_id),
    CONSTRAINT credit_run_item_has_a_known_outcome CHECK (outcome IN ('credit', 'held_back', 'nothing_due')),
    CONSTRAINT credit_run_item_pays_only_credits CHECK ((outcome = 'credit') = (amount_minor > 0)),
    CONSTRAINT credit_run_item_says_why_held CHECK (outcome <> 'held_back' OR cardinality(reasons) > 0)
);
CREATE INDEX credit_run_item_in_order ON credit_run_item (run_id, account_id);

GRANT SELECT, INSERT ON assessment_run, assessment, credit_run, credit_run_item TO makegood_app;
GRANT UPDATE (accounts_seen, finished_at) ON assessment_run TO makegood_app;
GRANT DELETE ON assessment TO makegood_app;
GRANT UPDATE (state, approved_by, approved_by_name, approved_at, applied_through, applied_at) ON credit_run TO makegood_app;
GRANT SELECT ON assessment_run, assessment TO makegood_customer;
ALTER TABLE assessment ENABLE ROW LEVEL SECURITY;
ALTER TABLE assessment FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON assessment TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON assessment TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));
