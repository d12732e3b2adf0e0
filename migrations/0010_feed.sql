-- Why: the numbered feed that billing pulls, the chain over the books, and what billing answered.
-- Locks: nothing, the tables are new.

-- The sequencer's heads, one a lane. A working table: whoever numbers holds this row locked.
CREATE TABLE lane_head (
    lane smallint NOT NULL CONSTRAINT lane_head_pkey PRIMARY KEY,
    epoch integer NOT NULL,
    feed_pos bigint NOT NULL,
    feed_hash bytea NOT NULL,
    chain_no bigint NOT NULL,
    chain_hash bytea NOT NULL
);
INSERT INTO lane_head VALUES (0, 1, 0, decode(repeat('00', 32), 'hex'), 0, decode(repeat('00', 32), 'hex'));

-- Which server wrote the current epoch. Another one (a restore, a lossy fail-over) stops the feed until a new epoch is opened.
CREATE TABLE feed_origin (
    epoch integer NOT NULL CONSTRAINT feed_origin_pkey PRIMARY KEY,
    system_identifier bigint NOT NULL,
    timeline bigint NOT NULL,
    database_oid oid NOT NULL,
    opened_at timestamptz NOT NULL
);

CREATE TABLE feed (
    lane smallint NOT NULL,
    epoch integer NOT NULL,
    pos bigint NOT NULL,
    event_id uuid NOT NULL,
    account_id uuid NOT NULL,
    credit_id uuid NOT NULL,
    op text NOT NULL,
    body jsonb NOT NULL,
    -- Over the item before and this one: a cursor carries it, so that a machine that was rolled back is noticed.
    hash bytea NOT NULL,
    numbered_at timestamptz NOT NULL,
    CONSTRAINT feed_pkey PRIMARY KEY (lane, epoch, pos),
    CONSTRAINT feed_tells_once UNIQUE (lane, event_id)
);
CREATE INDEX feed_by_credit ON feed (lane, credit_id);

CREATE TABLE chain (
    lane smallint NOT NULL,
    no bigint NOT NULL,
    kind text NOT NULL,
    account_id uuid NOT NULL,
    row_id uuid NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT chain_pkey PRIMARY KEY (lane, no),
    CONSTRAINT chain_holds_once UNIQUE (lane, row_id),
    CONSTRAINT chain_is_of_known_rows CHECK (kind IN ('transfer', 'audit'))
);

-- How far each consumer was served: only what was delivered can be answered.
CREATE TABLE feed_delivery (
    lane smallint NOT NULL,
    consumer text NOT NULL,
    epoch integer NOT NULL,
    pos bigint NOT NULL,
    delivered_at timestamptz NOT NULL,
    CONSTRAINT feed_delivery_pkey PRIMARY KEY (lane, consumer, epoch)
);

-- Billing's answers, one row each, only inserted. The newest of a credit is where it stands.
CREATE TABLE billing_answer (
    account_id uuid NOT NULL,
    credit_id uuid NOT NULL,
    answer_no integer NOT NULL,
    kind text NOT NULL,
    -- The bill that it stands on; the answer's own words where it was refused.
    reference text NOT NULL,
    answered_on date NOT NULL,
    gross_minor bigint NOT NULL,
    net_minor bigint NOT NULL,
    tax_minor bigint NOT NULL,
    detail text NOT NULL,
    consumer text NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT billing_answer_pkey PRIMARY KEY (account_id, credit_id, answer_no),
    CONSTRAINT billing_answer_once UNIQUE (account_id, credit_id, kind, reference),
    CONSTRAINT billing_answer_is_a_known_kind CHECK (kind IN ('accepted', 'applied', 'returned', 'refused')),
    CONSTRAINT billing_answer_splits CHECK (net_minor + tax_minor = gross_minor AND gross_minor >= 0)
);

GRANT SELECT, UPDATE ON lane_head TO makegood_app;
GRANT SELECT, INSERT ON feed_origin, feed, chain, billing_answer TO makegood_app;
GRANT SELECT, INSERT, UPDATE ON feed_delivery TO makegood_app;
GRANT SELECT ON billing_answer TO makegood_customer;
ALTER TABLE billing_answer ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_answer FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON billing_answer TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON billing_answer TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));
