-- Why: runs of goodwill after an outage, within a budget that the database gates; plans that stand in the place of one that became
-- stale; and runs that take another run's credits back.
-- Locks: credit_run for a moment, against reading and writing; it is small.
CREATE TABLE goodwill_budget (
    name text NOT NULL CONSTRAINT goodwill_budget_pkey PRIMARY KEY,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    -- What the runs that were approved give, tax included. Whoever approves one locks this row after the run's.
    given_minor bigint NOT NULL,
    opened_at timestamptz NOT NULL,
    CONSTRAINT goodwill_budget_is_positive CHECK (amount_minor > 0),
    CONSTRAINT goodwill_budget_is_not_exceeded CHECK (given_minor BETWEEN 0 AND amount_minor)
);
GRANT SELECT, INSERT ON goodwill_budget TO makegood_app;
GRANT UPDATE (given_minor) ON goodwill_budget TO makegood_app;

-- What goodwill is given for, incident:<name> or outage:<id>, and its matrix.
ALTER TABLE credit_run ADD COLUMN subject text;
ALTER TABLE credit_run ADD COLUMN matrix jsonb;
-- The plan that this one stands in the place of, and the one that stands in the place of this.
ALTER TABLE credit_run ADD COLUMN replaces uuid;
ALTER TABLE credit_run ADD COLUMN replaced_by uuid;
-- The run whose credits this one takes back; why, as a code, and in somebody's own words, which may have to be erased one day.
ALTER TABLE credit_run ADD COLUMN reverses uuid;
ALTER TABLE credit_run ADD COLUMN reversal_reason text;
ALTER TABLE credit_run ADD COLUMN reversal_note text;
ALTER TABLE credit_run ADD CONSTRAINT credit_run_takes_a_known_road CHECK (road IN ('contract', 'goodwill'));
ALTER TABLE credit_run ADD CONSTRAINT credit_run_of_goodwill_has_a_subject CHECK ((road = 'goodwill') = (subject IS NOT NULL));
ALTER TABLE credit_run ADD CONSTRAINT credit_run_reverses_for_a_reason CHECK (
    (reverses IS NULL) = (reversal_reason IS NULL) AND (reverses IS NULL) = (reversal_note IS NULL)
);
GRANT UPDATE (replaced_by) ON credit_run TO makegood_app;
