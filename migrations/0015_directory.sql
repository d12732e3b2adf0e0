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
