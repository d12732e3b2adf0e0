-- Why: a source that is asked is held against its alerts that ended in the time asked about or fire still, and a heartbeat against
-- those that ended near it. Without these, all that the source ever told is read each time.
-- Locks: `observation` against writes while the indexes are built: about two seconds for a million rows.

CREATE INDEX observation_by_end ON observation (source, ends_at);
CREATE INDEX observation_open ON observation (source) WHERE ends_at IS NULL;
