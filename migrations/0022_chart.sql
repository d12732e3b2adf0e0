-- Why: what the accounts of the books are called in the operator's own general ledger, what each reason code is written
-- against, and the tax rules. Every version stays; the newest counts for what is issued from then on.
-- Locks: nothing, the table is new.
CREATE TABLE chart_version (
    version integer NOT NULL CONSTRAINT chart_version_pkey PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    -- See domain/chart.rs.
    body jsonb NOT NULL,
    hash bytea NOT NULL,
    recorded_by text NOT NULL,
    CONSTRAINT chart_version_counts_up CHECK (version > 0)
);
GRANT SELECT, INSERT ON chart_version TO makegood_app;
