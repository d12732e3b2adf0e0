-- Why: who runs this, the order in which evidence is recorded, and the seal of a demo database.
-- Locks: nothing, the tables are new.
CREATE TABLE operator (
    id smallint CONSTRAINT operator_pkey PRIMARY KEY CONSTRAINT operator_is_one CHECK (id = 1),
    -- The operator's name, currency, zone, tax, limits and texts: see domain/operator.rs.
    settings jsonb NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON operator TO makegood_app;
GRANT SELECT ON operator TO makegood_customer;

CREATE TABLE evidence_clock (
    id smallint CONSTRAINT evidence_clock_pkey PRIMARY KEY CONSTRAINT evidence_clock_is_one CHECK (id = 1),
    last_recorded timestamptz NOT NULL
);
INSERT INTO evidence_clock VALUES (1, '1970-01-01T00:00:00Z');
GRANT SELECT, UPDATE ON evidence_clock TO makegood_app;
GRANT SELECT ON evidence_clock TO makegood_customer;

-- A row here marks the database as a demo's: only such a database has a story clock and the pick-a-person sign-in.
CREATE TABLE demo (
    id smallint CONSTRAINT demo_pkey PRIMARY KEY CONSTRAINT demo_is_one CHECK (id = 1),
    scale text NOT NULL,
    -- Business time less real time, in microseconds, as of the last step of the story.
    clock_offset_micros bigint NOT NULL,
    finished boolean NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON demo TO makegood_app;
