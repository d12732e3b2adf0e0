-- Why: which shards there are, so that a placement on one that nobody knows (a typing error, a column moved by one) is an
-- error and not a mailbox that no outage ever reaches; and what sources numbered, so that a line sent again is known by its
-- number. Shards that placements name already are registered as of their first placement.
-- `shard` is a reference table: hundreds of rows, the same for every account. `source_line` stands beside `idempotency`, on
-- the first server alone: it has a row only for lines that carry a number.
-- Locks: nothing that anybody waits for: the tables are new, and placement is read once.
CREATE TABLE shard (
    name text COLLATE "C" NOT NULL CONSTRAINT shard_pkey PRIMARY KEY,
    recorded_at timestamptz NOT NULL
);

CREATE TABLE source_line (
    -- accounts, subscriptions, charges or placements.
    noun text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    source_seq text COLLATE "C" NOT NULL,
    -- The first 16 bytes of SHA-256 over what the line said.
    content uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT source_line_pkey PRIMARY KEY (noun, source, source_seq)
);

INSERT INTO shard SELECT shard, min(recorded_at) FROM placement WHERE shard IS NOT NULL GROUP BY shard;

GRANT SELECT, INSERT ON shard, source_line TO makegood_app;
