-- Why: alerts of a delivery that say nothing which can be held to be true. Their neighbours are taken, and they are listed for
-- operations beside the alerts that mean nothing yet, of which the last are looked at.
-- Reference table, insert-only, as all evidence.
-- Locks: `observation` against writes while its index is built: about a second for a million rows.

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
