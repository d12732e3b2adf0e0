-- Why: what monitors said, kept as it came, and the outage windows that we hold to be true because of it.
-- All reference tables: small beside the customers' tables, the same for every account.
-- Locks: nothing, the tables are new.
CREATE TABLE outage_window (
    window_id uuid NOT NULL,
    version integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- domain/window.rs `OutageWindow`, whole; the columns beside it are for finding it.
    body jsonb NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz,
    recorded_by text NOT NULL,
    incident text,
    CONSTRAINT outage_window_pkey PRIMARY KEY (window_id, version),
    CONSTRAINT outage_window_ends_after_it_starts CHECK (ends_at > starts_at),
    CONSTRAINT outage_window_version_counts_from_one CHECK (version >= 1)
);
CREATE INDEX outage_window_by_recorded ON outage_window (recorded_at);
GRANT SELECT, INSERT ON outage_window TO makegood_app;
GRANT SELECT ON outage_window TO makegood_customer;
