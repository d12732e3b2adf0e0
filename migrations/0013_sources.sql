-- Why: sources that say by themselves what failed and when they saw it (generic JSON and CSV, CloudEvents), and alerts of a
-- delivery that say nothing which can be held to be true: their neighbours are taken, and they are listed for operations.
-- Reference table, insert-only, as all evidence.
-- Locks: `observation` exclusively for a moment, to add columns that are empty, and against writes while its two indexes are
-- built: about a second for a million rows.

ALTER TABLE observation
    -- When the source saw it, where it says so: of several statements about one alert, the latest holds.
    ADD COLUMN observed_at timestamptz,
    -- domain/observation.rs `Said`: what failed, where the source says it in its own words. Null where a rule has to say.
    ADD COLUMN said jsonb;
CREATE INDEX observation_by_said ON observation USING hash (said) WHERE said IS NOT NULL;
CREATE INDEX observation_by_recorded ON observation (recorded_at);

-- What is wrong with one alert of a delivery. The bytes are in `delivery`.
CREATE TABLE rejected_alert (
    source text NOT NULL,
    sha256 bytea NOT NULL,
    -- Where in the body it stands.
    pointer text NOT NULL,
    received_at timestamptz NOT NULL,
    message text NOT NULL,
    CONSTRAINT rejected_alert_pkey PRIMARY KEY (source, sha256, pointer),
    CONSTRAINT rejected_alert_hash_is_sha256 CHECK (octet_length(sha256) = 32)
);
CREATE INDEX rejected_alert_by_received ON rejected_alert (received_at);

GRANT SELECT, INSERT ON rejected_alert TO makegood_app;
