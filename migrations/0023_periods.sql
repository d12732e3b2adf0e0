-- Why: accounting periods. A period begins to close once and is locked once; what is dated into it from then on takes effect on
-- the first open day. Provisions are what was expected to be credited when it closed.
-- Locks: nothing, the tables are new.

-- The first day that postings may take effect on. A working table of one row: whoever posts holds it shared until commit, and
-- whoever closes a period waits for them and keeps new ones out, so that nothing slips into a closed period.
CREATE TABLE books_open (
    id smallint CONSTRAINT books_open_pkey PRIMARY KEY CONSTRAINT books_open_is_one CHECK (id = 1),
    open_from date NOT NULL
);
INSERT INTO books_open VALUES (1, '1970-01-01');

CREATE TABLE accounting_step (
    period text NOT NULL,
    state text NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    by_name text NOT NULL,
    -- Who began to close it.
    closed_by text NOT NULL,
    -- locked: what was signed; see domain/accounting.rs.
    balance_hash bytea,
    -- closing: the document of the provisions, where there are any.
    document uuid,
    CONSTRAINT accounting_step_pkey PRIMARY KEY (period, state),
    CONSTRAINT accounting_step_is_known CHECK (state IN ('closing', 'locked')),
    CONSTRAINT accounting_step_locked_is_signed CHECK ((state = 'locked') = (balance_hash IS NOT NULL)),
    CONSTRAINT accounting_step_locked_by_somebody_else CHECK (state = 'closing' OR by <> closed_by)
);

-- The list behind the provisions of a period: what was open on each account, without tax.
CREATE TABLE provision (
    account_id uuid NOT NULL,
    period text NOT NULL,
    -- contract:<subscription>:<service period>, claim:<claim id>
    cause text NOT NULL,
    code text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    CONSTRAINT provision_pkey PRIMARY KEY (account_id, period, cause),
    CONSTRAINT provision_is_positive CHECK (amount_minor > 0)
);
CREATE INDEX provision_by_period ON provision (period, account_id, cause);

GRANT SELECT, UPDATE ON books_open TO makegood_app;
GRANT SELECT, INSERT ON accounting_step, provision TO makegood_app;
