-- Why: what the accounts of the books are called in the operator's own general ledger, what each reason code is written
-- against, and the tax rules. Every version stays; the newest counts for what is issued from then on.
-- Locks: the credits, for a moment; a column without a default is no work.
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

-- The account of the books that a credit was issued against, as the chart said then: what reverses it goes the same way. Null in
-- credits from before there was a chart, whose road says it.
ALTER TABLE credit ADD COLUMN against text;
