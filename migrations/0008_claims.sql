-- Why: claims, what happened to each, and the references that people call them by.
-- Locks: nothing, the tables are new.
CREATE TABLE claim (
    account_id uuid NOT NULL,
    claim_id uuid NOT NULL,
    reference text NOT NULL,
    version integer NOT NULL,
    state text NOT NULL,
    ground text NOT NULL,
    incident text,
    currency text NOT NULL,
    asked_minor bigint,
    words text NOT NULL,
    contact text NOT NULL,
    filed_by text NOT NULL,
    filed_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    -- domain/claim.rs `Opinion` and `Decision`.
    recommendation jsonb,
    decision jsonb,
    -- When a decision that gives something falls due for posting; null when there is nothing to post.
    posts_at timestamptz,
    CONSTRAINT claim_pkey PRIMARY KEY (account_id, claim_id),
    CONSTRAINT claim_asks_for_something CHECK (asked_minor > 0),
    CONSTRAINT claim_is_in_a_known_state CHECK (
        state IN ('submitted', 'in_review', 'awaiting_second', 'approved', 'part_approved', 'rejected', 'withdrawn')
    )
);
CREATE UNIQUE INDEX claim_open_once ON claim (account_id, incident)
    WHERE state IN ('submitted', 'in_review', 'awaiting_second');
CREATE INDEX claim_to_decide ON claim (due_at, claim_id) WHERE state IN ('submitted', 'in_review', 'awaiting_second');
CREATE INDEX claim_to_post ON claim (posts_at) WHERE posts_at IS NOT NULL;

-- What happened with a claim, in the customer's view and the staff's.
CREATE TABLE claim_event (
    account_id uuid NOT NULL,
    claim_id uuid NOT NULL,
    version integer NOT NULL,
    action text NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    actor_name text NOT NULL,
    amount_minor bigint,
    CONSTRAINT claim_event_pkey PRIMARY KEY (account_id, claim_id, version)
);

-- From the reference that is on letters to the row. Small beside the books, so every node holds it all.
CREATE TABLE claim_reference (
    reference text NOT NULL CONSTRAINT claim_reference_pkey PRIMARY KEY,
    account_id uuid NOT NULL,
    claim_id uuid NOT NULL
);
-- Only for references that people can read out; gaps are nothing.
CREATE SEQUENCE claim_number;

GRANT SELECT, INSERT ON claim, claim_event, claim_reference TO makegood_app;
GRANT UPDATE (version, state, recommendation, decision, posts_at) ON claim TO makegood_app;
GRANT USAGE ON SEQUENCE claim_number TO makegood_app;
GRANT SELECT ON claim, claim_event TO makegood_customer;
ALTER TABLE claim ENABLE ROW LEVEL SECURITY;
ALTER TABLE claim FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON claim TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON claim TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));
ALTER TABLE claim_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE claim_event FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON claim_event TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON claim_event TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));
