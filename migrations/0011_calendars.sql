-- Why: which days are worked and in which hours, in versions. Terms and deadlines name a calendar; a correction is a new
-- version, so that a sum as recorded at some time finds the days as they were known then. A version counts as soon as it is
-- recorded: it needs no approval.
-- Both reference tables: small, the same for every account.
-- Locks: nothing, the tables are new.
CREATE TABLE calendar (
    name text COLLATE "C" NOT NULL CONSTRAINT calendar_pkey PRIMARY KEY,
    recorded_at timestamptz NOT NULL
);

CREATE TABLE calendar_version (
    name text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- domain/calendar.rs `Calendar` without its name and version, and SHA-256 over what it says.
    body jsonb NOT NULL,
    hash bytea NOT NULL,
    -- `issuer|subject` of the author.
    published_by text NOT NULL,
    CONSTRAINT calendar_version_pkey PRIMARY KEY (name, version),
    CONSTRAINT calendar_version_is_of_a_calendar FOREIGN KEY (name) REFERENCES calendar (name),
    CONSTRAINT calendar_version_counts_from_one CHECK (version >= 1),
    CONSTRAINT calendar_version_hash_is_sha256 CHECK (octet_length(hash) = 32)
);

GRANT SELECT, INSERT ON calendar, calendar_version TO makegood_app;
GRANT SELECT ON calendar, calendar_version TO makegood_customer;
