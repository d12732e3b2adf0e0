-- Why: what billing is to hear stands in the outbox as the text that will be hashed and told, so that the sequencer passes it on and
-- neither it nor the database reads it. Rows from before come back as the database writes jsonb; the sequencer puts their keys in order.
-- Locks: outbox as a whole while its rows are written again; it holds only what has no number yet.
ALTER TABLE outbox ALTER COLUMN body TYPE json USING body::json;
