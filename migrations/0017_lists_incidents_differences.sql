-- Why: what operations say of an outage beyond its windows, and what late truth means for money that was given.
--   mailbox_list, mailbox_list_entry   which mailboxes an outage hit, where no shard says it. The entries are the accounts' own, so that
--                                      no sum of one account sees the mailboxes of another.
--   incident                           windows that belong together for people, in versions: title, restored, caught up.
--   difference_listing, difference     what a period's accounts should have got, beside what they were credited: found, never
--                                      booked. The newest listing of a period holds.
--   difference_decision                what a person decided about one difference. A decision moves no money by itself.
-- All insert-only.
-- Locks: nothing, the tables are new.
CREATE TABLE mailbox_list (
    list_id uuid NOT NULL CONSTRAINT mailbox_list_pkey PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    -- `issuer|subject` of whoever sent it.
    recorded_by text NOT NULL,
    accounts bigint NOT NULL,
    mailboxes bigint NOT NULL,
    CONSTRAINT mailbox_list_names_some CHECK (mailboxes > 0)
);

CREATE TABLE mailbox_list_entry (
    account_id uuid NOT NULL,
    list_id uuid NOT NULL,
    mailbox text COLLATE "C" NOT NULL,
    CONSTRAINT mailbox_list_entry_pkey PRIMARY KEY (account_id, list_id, mailbox)
);
CREATE INDEX mailbox_list_entry_by_list ON mailbox_list_entry (list_id);

CREATE TABLE incident (
    -- What outage_window.incident says.
    name text NOT NULL,
    version integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    title text NOT NULL,
    -- When the service worked again; null: the latest end of its windows.
    restored_at timestamptz,
    -- When all that had waited was delivered; null while nobody said.
    caught_up_at timestamptz,
    -- `issuer|subject` of whoever made this version.
    recorded_by text NOT NULL,
    CONSTRAINT incident_pkey PRIMARY KEY (name, version),
    CONSTRAINT incident_version_counts_from_one CHECK (version >= 1)
);

CREATE TABLE difference_listing (
    period text NOT NULL,
    listed_at timestamptz NOT NULL,
    -- The evidence is the one that was recorded up to here.
    recorded_as_of timestamptz NOT NULL,
    listed_by text NOT NULL,
    CONSTRAINT difference_listing_pkey PRIMARY KEY (period, listed_at)
);

CREATE TABLE difference (
    account_id uuid NOT NULL,
    period text NOT NULL,
    listed_at timestamptz NOT NULL,
    subscription_id uuid NOT NULL,
    -- Derived from account, subscription, period and the two amounts: the same difference found again has the same id.
    difference_id uuid NOT NULL,
    currency text NOT NULL,
    credited_minor bigint NOT NULL,
    -- Null where the sum cannot be said.
    due_minor bigint,
    -- What the credits rest on; null where there is none.
    credited_as_of timestamptz,
    -- Why nobody may decide it yet.
    blockers text[] NOT NULL,
    CONSTRAINT difference_pkey PRIMARY KEY (account_id, period, listed_at, subscription_id),
    CONSTRAINT difference_is_one CHECK (due_minor IS DISTINCT FROM credited_minor)
);
CREATE INDEX difference_by_listing ON difference (period, listed_at);

CREATE TABLE difference_decision (
    account_id uuid NOT NULL,
    difference_id uuid NOT NULL,
    decision text NOT NULL,
    reason text NOT NULL,
    decided_at timestamptz NOT NULL,
    -- `issuer|subject`.
    decided_by text NOT NULL,
    CONSTRAINT difference_decision_pkey PRIMARY KEY (account_id, difference_id),
    CONSTRAINT difference_decision_is_known CHECK (decision IN ('keep', 'further_credit', 'recover'))
);

GRANT SELECT, INSERT ON mailbox_list, mailbox_list_entry, incident, difference_listing, difference, difference_decision
    TO makegood_app;
GRANT SELECT ON mailbox_list_entry TO makegood_customer;

ALTER TABLE mailbox_list_entry ENABLE ROW LEVEL SECURITY;
ALTER TABLE mailbox_list_entry FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON mailbox_list_entry TO makegood_app USING (true) WITH CHECK (true);
CREATE POLICY own ON mailbox_list_entry TO makegood_customer
    USING (account_id = ANY (string_to_array(nullif(current_setting('makegood.account', true), ''), ',')::uuid[]));
