-- Why: numbered journal batches for the operator's own finance system. A batch holds what a stretch of the chain wrote into one
-- period, summed, under the codes of the chart at that time. Once made it stays: what comes later stands in the next batch.
-- Locks: nothing, the table is new.
CREATE TABLE journal_batch (
    no bigint NOT NULL CONSTRAINT journal_batch_pkey PRIMARY KEY,
    period text NOT NULL,
    -- The stretch of the chain, (after, through].
    chain_after bigint NOT NULL,
    chain_through bigint NOT NULL,
    -- Zero where no chart was recorded yet.
    chart_version integer NOT NULL,
    transfers bigint NOT NULL,
    -- One member a currency: the sum of the debits, which is that of the credits, in minor units.
    totals jsonb NOT NULL,
    -- The file, and SHA-256 over its bytes.
    body text NOT NULL,
    hash bytea NOT NULL,
    made_at timestamptz NOT NULL,
    made_by text NOT NULL,
    CONSTRAINT journal_batch_counts_up CHECK (no > 0),
    CONSTRAINT journal_batch_holds_something CHECK (transfers > 0 AND chain_through > chain_after)
);
CREATE UNIQUE INDEX journal_batch_follows ON journal_batch (period, chain_after);
GRANT SELECT, INSERT ON journal_batch TO makegood_app;
