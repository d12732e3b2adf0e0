-- Why: customers, what they subscribe to, what they were charged and where their mailboxes lived. Owned by the bulk loads.
-- Facts carry both times: when it was so, and when we learned it (recorded_at); nothing is edited. Other systems' names
-- that stand in keys compare by their bytes ("C"), so that no index depends on the collations of an operating system.
-- Locks: nothing, the tables are new.
CREATE TABLE account (
    account_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- The operator's own name for the account, which account_id is derived from.
    reference text NOT NULL,
    name text NOT NULL,
    zone text NOT NULL,
    currency text NOT NULL,
    -- The references of the account above this one, and of the one that its bill goes to; null for itself.
    parent text,
    bill_to text,
    email text,
    customer_since date,
    CONSTRAINT account_pkey PRIMARY KEY (account_id, recorded_at)
);

-- The row that a transaction on an account locks first, and the count that orders the account's outbox rows.
CREATE TABLE account_head (
    account_id uuid NOT NULL CONSTRAINT account_head_pkey PRIMARY KEY,
    seq bigint NOT NULL DEFAULT 0
);

CREATE TABLE subscription (
    account_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    reference text NOT NULL,
    plan text NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz,
    CONSTRAINT subscription_pkey PRIMARY KEY (account_id, subscription_id, recorded_at),
    CONSTRAINT subscription_ends_after_it_starts CHECK (valid_to > valid_from)
);

CREATE TABLE charge (
    account_id uuid NOT NULL,
    charge_no text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL,
    subscription_id uuid NOT NULL,
    invoiced_on date NOT NULL,
    service_from date NOT NULL,
    service_to date NOT NULL,
    quantity integer NOT NULL,
    currency text NOT NULL,
    net_minor bigint NOT NULL,
    tax_minor bigint NOT NULL,
    gross_minor bigint NOT NULL,
    tax_code text NOT NULL,
    tax_rate_bp integer NOT NULL,
    CONSTRAINT charge_pkey PRIMARY KEY (account_id, charge_no, recorded_at),
    CONSTRAINT charge_adds_up CHECK (net_minor + tax_minor = gross_minor),
    CONSTRAINT charge_is_for_some_days CHECK (service_to > service_from),
    CONSTRAINT charge_is_for_something CHECK (quantity > 0),
    CONSTRAINT charge_is_not_negative CHECK (net_minor >= 0 AND tax_minor >= 0)
);

-- Change events: from valid_from on, says this source, the mailbox lived on shard (null: nowhere). The interval is lead().
CREATE TABLE placement (
    account_id uuid NOT NULL,
    mailbox text COLLATE "C" NOT NULL,
    valid_from timestamptz NOT NULL,
    source text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL,
    shard text,
    CONSTRAINT placement_pkey PRIMARY KEY (account_id, mailbox, valid_from, source, recorded_at)
);

GRANT SELECT, INSERT ON account, subscription, charge, placement TO makegood_app;
GRANT SELECT, INSERT, UPDATE (seq) ON account_head TO makegood_app;
GRANT SELECT ON account, subscription, charge, placement TO makegood_customer;

ALTER TABLE account ENABLE ROW LEVEL SECURITY;
ALTER TABLE account FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON account TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON account TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));
ALTER TABLE subscription ENABLE ROW LEVEL SECURITY;
ALTER TABLE subscription FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON subscription TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON subscription TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));
ALTER TABLE charge ENABLE ROW LEVEL SECURITY;
ALTER TABLE charge FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON charge TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON charge TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));
ALTER TABLE placement ENABLE ROW LEVEL SECURITY;
ALTER TABLE placement FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON placement TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON placement TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));
