-- Why: an approved run is applied in batches that several workers take at once. Each batch is a row, so a crash leaves it whole or
-- undone, whoever was at it. And account heads, which each batch counts up, keep room on their pages, so that a count is changed in
-- place and no index is written.
-- Locks: account_head for a moment against other changes of its definition, not against reading or writing.
CREATE TABLE credit_run_batch (
    run_id uuid NOT NULL,
    batch_no integer NOT NULL,
    -- The accounts from this one on, up to and without the other; to the last where there is none.
    first_account uuid NOT NULL,
    before_account uuid,
    done_at timestamptz,
    CONSTRAINT credit_run_batch_pkey PRIMARY KEY (run_id, batch_no),
    CONSTRAINT credit_run_batch_ends_after_it_starts CHECK (before_account > first_account)
);
-- What was approved before and is not applied to its end goes on as one batch: what it issued already is not issued again.
INSERT INTO credit_run_batch (run_id, batch_no, first_account)
SELECT run_id, 1, coalesce(applied_through, '00000000-0000-0000-0000-000000000000') FROM credit_run WHERE state = 'approved';

GRANT SELECT, INSERT ON credit_run_batch TO makegood_app;
GRANT UPDATE (done_at) ON credit_run_batch TO makegood_app;

ALTER TABLE account_head SET (fillfactor = 50);
