-- Why: a mailbox may be moving, and a person may settle where it was while directories disagree; accounts close; and money was
-- given before this service or beside it, which counts when more is asked for.
-- Locks: placement and account for a moment each (columns without a default, checks that hold from now on: no row is read or
-- written anew); nothing else is old.

-- While it moves from shard to moving_to: the side that is live, `from` or `to`, null where nobody declared it.
ALTER TABLE placement ADD COLUMN moving_to text;
ALTER TABLE placement ADD COLUMN live text;
-- Set where source is `operations`: it was settled that from valid_from until then the mailbox was on shard, whatever other
-- sources say. At valid_from, the settlement was taken back.
ALTER TABLE placement ADD COLUMN settled_until timestamptz;
ALTER TABLE placement ADD CONSTRAINT placement_moves_between_two CHECK (moving_to IS NULL OR shard IS NOT NULL) NOT VALID;
ALTER TABLE placement ADD CONSTRAINT placement_live_is_a_side_of_a_move
    CHECK (live IS NULL OR (moving_to IS NOT NULL AND live IN ('from', 'to'))) NOT VALID;
ALTER TABLE placement ADD CONSTRAINT placement_is_settled_by_operations
    CHECK ((settled_until IS NOT NULL) = (source = 'operations')) NOT VALID;
-- The few mailboxes that move, found without reading all.
CREATE INDEX placement_moving ON placement (account_id, mailbox) WHERE moving_to IS NOT NULL;

-- Who settled where a mailbox was, and why: one row for each placement that operations recorded. Customers do not read it.
CREATE TABLE placement_settlement (
    account_id uuid NOT NULL,
    settlement_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    mailbox text COLLATE "C" NOT NULL,
    valid_from timestamptz NOT NULL,
    settled_until timestamptz NOT NULL,
    shard text,
    reason text NOT NULL,
    -- `issuer|subject`.
    settled_by text NOT NULL,
    CONSTRAINT placement_settlement_pkey PRIMARY KEY (account_id, settlement_id),
    CONSTRAINT placement_settlement_does_not_end_before_it_starts CHECK (settled_until >= valid_from)
);
GRANT SELECT, INSERT ON placement_settlement TO makegood_app;

-- The first day on which the account is no customer any more.
ALTER TABLE account ADD COLUMN closed_on date;

-- What was given elsewhere: typed into billing, or given before this service was there. A correction is a later version under the
-- same reference.
CREATE TABLE given_elsewhere (
    account_id uuid NOT NULL,
    -- What the other system calls the credit.
    reference text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL,
    subscription_id uuid NOT NULL,
    -- The month that it was given for.
    period text NOT NULL,
    -- `contract` counts as given for the same cause as the terms' own credits; others are roads as terms name them.
    kind text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    given_on date NOT NULL,
    CONSTRAINT given_elsewhere_pkey PRIMARY KEY (account_id, reference, recorded_at),
    CONSTRAINT given_elsewhere_is_not_negative CHECK (amount_minor >= 0)
);
GRANT SELECT, INSERT ON given_elsewhere TO makegood_app;
GRANT SELECT ON given_elsewhere TO makegood_customer;
ALTER TABLE given_elsewhere ENABLE ROW LEVEL SECURITY;
ALTER TABLE given_elsewhere FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON given_elsewhere TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON given_elsewhere TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));
