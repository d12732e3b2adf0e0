-- Why: that a row stands in the chain once is looked up by its account first, as its own table is keyed. A run is numbered in the order of
-- its accounts, so the index grows beside what was written just before, and not at half a million places of it.
-- Locks: chain as a whole while the index is built anew, about three seconds for a million entries: numbering and verifying wait, and
-- nothing that issues does.
ALTER TABLE chain DROP CONSTRAINT chain_holds_once;
ALTER TABLE chain ADD CONSTRAINT chain_holds_once UNIQUE (lane, account_id, row_id);
