-- Why: monitors that say what failed by themselves, names that alerts know a component by, and the silences of monitors,
-- in which it is not known whether what they watch worked.
-- All insert-only: the latest version holds.
-- Locks: `observation` and `outage_window` for a moment each; `observation_window` while its key is built anew, which takes a
-- second for a million alerts.

-- When the source says that it saw this, and what failed, where it says so by itself (domain/observation.rs `Said`).
ALTER TABLE observation ADD COLUMN observed_at timestamptz;
ALTER TABLE observation ADD COLUMN said jsonb;
CREATE INDEX observation_by_said ON observation (said) WHERE said IS NOT NULL;

-- The component that alerts mean whose label has this value, from an instant on. The latest version for that instant holds.
CREATE TABLE label_map (
    label text NOT NULL,
    value text NOT NULL,
    valid_from timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- domain/monitors `LabelMap`, whole.
    body jsonb NOT NULL,
    CONSTRAINT label_map_pkey PRIMARY KEY (label, value, valid_from, recorded_at)
);

-- From a heartbeat to the next, where they lie further apart than the source's gap. The latest version for a start holds.
CREATE TABLE silence (
    source text NOT NULL,
    begins_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- Null while it goes on; the start itself where a heartbeat came to be known that breaks it.
    ends_at timestamptz,
    CONSTRAINT silence_pkey PRIMARY KEY (source, begins_at, recorded_at),
    CONSTRAINT silence_does_not_end_before_it_begins CHECK (ends_at >= begins_at)
);

-- One alert may speak of several capabilities, and so is evidence for a window of each. Empty: of the only one.
ALTER TABLE observation_window ADD COLUMN capability text NOT NULL DEFAULT '';
ALTER TABLE observation_window DROP CONSTRAINT observation_window_pkey;
ALTER TABLE observation_window ADD CONSTRAINT observation_window_pkey
    PRIMARY KEY (source, fingerprint, starts_at, capability, recorded_at);

-- What is held of one thing: no alert leads to a time that is unknown, nor to one on which several had to agree.
CREATE INDEX outage_window_by_about ON outage_window ((body -> 'about')) WHERE body ? 'about';

GRANT SELECT, INSERT ON label_map, silence TO makegood_app;
