-- Why: what happens to a credit after it was issued. What people decide about it stands beside billing's answers, and both count the
-- steps of one credit: a step's number is unique over the two tables, since whoever writes one holds the account's head.
--   credit_deed      reversed, expired, written off, debited, offered again, unclaimed, paid, kept. Insert-only.
--   billing_answer   answers to `cancel` and `debit` items; answers to what was offered again are of another round; by how much billing's
--                    tax differs from ours; and which bill another one stands in the place of.
-- Locks: billing_answer exclusively, for as long as it takes to read it once.
CREATE TABLE credit_deed (
    account_id uuid NOT NULL,
    credit_id uuid NOT NULL,
    -- Counts what happened to the credit, together with billing_answer.answer_no.
    step_no integer NOT NULL,
    kind text NOT NULL,
    gross_minor bigint NOT NULL,
    net_minor bigint NOT NULL,
    tax_minor bigint NOT NULL,
    -- Why, as a code, and in somebody's own words, which may have to be erased one day.
    reason text NOT NULL,
    note text NOT NULL,
    -- What a payment is called by who made it; else empty.
    reference text NOT NULL,
    done_on date NOT NULL,
    -- `issuer|subject`.
    done_by text NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- What billing hears of it; null where it hears nothing.
    op text,
    CONSTRAINT credit_deed_pkey PRIMARY KEY (account_id, credit_id, step_no),
    CONSTRAINT credit_deed_is_of_a_known_kind CHECK (kind IN (
        'reversed', 'expired', 'written_off', 'debited', 'offered', 'unclaimed', 'paid', 'kept'
    )),
    CONSTRAINT credit_deed_splits CHECK (net_minor + tax_minor = gross_minor AND net_minor >= 0 AND tax_minor >= 0),
    CONSTRAINT credit_deed_tells_billing CHECK (op IN ('cancel', 'debit', 'offer'))
);
-- Taken back once: the second of two at once finds this.
CREATE UNIQUE INDEX credit_deed_takes_back_once ON credit_deed (account_id, credit_id) WHERE kind IN ('reversed', 'expired');

GRANT SELECT, INSERT ON credit_deed TO makegood_app;
GRANT SELECT (account_id, credit_id, step_no, kind, gross_minor, net_minor, tax_minor, reason, reference, done_on, recorded_at, op)
    ON credit_deed TO makegood_customer;
ALTER TABLE credit_deed ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit_deed FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON credit_deed TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON credit_deed TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));

ALTER TABLE billing_answer ADD COLUMN round integer NOT NULL DEFAULT 0;
ALTER TABLE billing_answer ADD COLUMN rounding_minor bigint NOT NULL DEFAULT 0;
ALTER TABLE billing_answer ADD COLUMN supersedes text;
ALTER TABLE billing_answer DROP CONSTRAINT billing_answer_is_a_known_kind;
ALTER TABLE billing_answer ADD CONSTRAINT billing_answer_is_a_known_kind CHECK (kind IN (
    'accepted', 'applied', 'returned', 'refused', 'cancelled', 'debited', 'superseding'
));
ALTER TABLE billing_answer DROP CONSTRAINT billing_answer_once;
ALTER TABLE billing_answer ADD CONSTRAINT billing_answer_once UNIQUE (account_id, credit_id, round, kind, reference);
ALTER TABLE billing_answer ADD CONSTRAINT billing_answer_supersedes_a_bill CHECK ((kind = 'superseding') = (supersedes IS NOT NULL));
