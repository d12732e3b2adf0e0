-- Why: what monitors said, kept as it came, and the outage windows that we hold to be true because of it.
-- All reference tables: small beside the customers' tables, the same for every account. All insert-only: a correction is
-- a later version of the row, and the application cannot change or remove an earlier one.
-- Locks: nothing, the tables are new.

-- One monitor, by the name that its token carries. The latest version holds.
CREATE TABLE source (
    name text NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- domain/monitors.rs `Source`, whole.
    body jsonb NOT NULL,
    CONSTRAINT source_pkey PRIMARY KEY (name, recorded_at)
);

-- What an alert of a source means. The latest version holds.
CREATE TABLE alert_rule (
    source text NOT NULL,
    alertname text NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- domain/monitors.rs `Rule`, whole.
    body jsonb NOT NULL,
    CONSTRAINT alert_rule_pkey PRIMARY KEY (source, alertname, recorded_at)
);

-- Which mailboxes a component served from an instant on. The latest version for that instant holds.
CREATE TABLE component (
    name text NOT NULL,
    valid_from timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- domain/monitors.rs `Component`, whole.
    body jsonb NOT NULL,
    CONSTRAINT component_pkey PRIMARY KEY (name, valid_from, recorded_at)
);

-- The raw payloads, before anybody judged them. The same bytes again are the same delivery.
CREATE TABLE delivery (
    source text NOT NULL,
    sha256 bytea NOT NULL,
    -- When the bytes came first.
    received_at timestamptz NOT NULL,
    body bytea NOT NULL,
    -- How many alerts the source says it left out.
    truncated integer NOT NULL,
    CONSTRAINT delivery_pkey PRIMARY KEY (source, sha256),
    CONSTRAINT delivery_hash_is_sha256 CHECK (octet_length(sha256) = 32),
    CONSTRAINT delivery_left_out_none_or_more CHECK (truncated >= 0)
);

-- What was said of one alert. Source, fingerprint and start name the alert; a row for each time that it changed.
CREATE TABLE observation (
    source text NOT NULL,
    fingerprint text NOT NULL,
    starts_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    name text NOT NULL,
    labels jsonb NOT NULL,
    -- Null while it fires.
    ends_at timestamptz,
    -- The delivery that said so.
    sha256 bytea NOT NULL,
    CONSTRAINT observation_pkey PRIMARY KEY (source, fingerprint, starts_at, recorded_at),
    CONSTRAINT observation_does_not_end_before_it_starts CHECK (ends_at >= starts_at)
);
CREATE INDEX observation_by_name ON observation (source, name);

-- When a source showed that it lives.
CREATE TABLE heartbeat (
    source text NOT NULL,
    heard_at timestamptz NOT NULL,
    CONSTRAINT heartbeat_pkey PRIMARY KEY (source, heard_at)
);

CREATE TABLE outage_window (
    window_id uuid NOT NULL,
    version integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- domain/window.rs `OutageWindow`, whole; the columns beside it are for finding it.
    body jsonb NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz,
    -- The person, or the source whose delivery made this version.
    recorded_by text NOT NULL,
    -- False where a person made this version: from then on only people do.
    by_machine boolean NOT NULL,
    incident text,
    CONSTRAINT outage_window_pkey PRIMARY KEY (window_id, version),
    CONSTRAINT outage_window_ends_after_it_starts CHECK (ends_at > starts_at),
    CONSTRAINT outage_window_version_counts_from_one CHECK (version >= 1)
);
CREATE INDEX outage_window_by_recorded ON outage_window (recorded_at);

-- Which window an alert is evidence for. The latest row holds.
CREATE TABLE observation_window (
    source text NOT NULL,
    fingerprint text NOT NULL,
    starts_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    window_id uuid NOT NULL,
    CONSTRAINT observation_window_pkey PRIMARY KEY (source, fingerprint, starts_at, recorded_at)
);
CREATE INDEX observation_window_by_window ON observation_window (window_id);

GRANT SELECT, INSERT ON source, alert_rule, component, delivery, observation, heartbeat, outage_window, observation_window
    TO makegood_app;
GRANT SELECT ON outage_window TO makegood_customer;
