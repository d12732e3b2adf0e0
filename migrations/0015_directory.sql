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
