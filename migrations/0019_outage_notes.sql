-- Why: what operations write to each other about an outage is for them alone. It stood in the window's body, which customers' receipts hold
-- whole; it stands beside the window now, in a table that the role of customers cannot read. Insert-only.
-- Locks: nothing, the table is new.
CREATE TABLE outage_note (
    window_id uuid NOT NULL CONSTRAINT outage_note_pkey PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    note text NOT NULL,
    -- `issuer|subject` of whoever wrote it.
    recorded_by text NOT NULL
);
GRANT SELECT, INSERT ON outage_note TO makegood_app;
