-- Why: monitors are asked what they did not tell, and what came of asking is a kind of its own.
-- Locks: `delivery` for a moment, against everybody: a column with a constant default, which rewrites nothing.

-- How the bytes came to us: told by the monitor, or the answer to a question of ours. An observation is of its delivery's kind.
ALTER TABLE delivery ADD COLUMN origin text NOT NULL DEFAULT 'told'
    CONSTRAINT delivery_origin_is_known CHECK (origin IN ('told', 'asked_alertmanager', 'asked_prometheus'));

-- Until when Prometheus was asked, and when a source was asked last. No evidence: what was found is.
CREATE TABLE source_asked (
    source text NOT NULL,
    -- What fired before this is known. None: Prometheus was never asked.
    asked_to timestamptz,
    asked_at timestamptz NOT NULL,
    CONSTRAINT source_asked_pkey PRIMARY KEY (source)
);
GRANT SELECT, INSERT, UPDATE ON source_asked TO makegood_app;
