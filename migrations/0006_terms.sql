-- Why: what each plan promises and pays, in versions with the date from which each is in force. A version counts once
-- somebody other than its author has approved it; both are rows of their own, since nothing is edited.
-- All reference tables: small beside the customers' tables, the same for every account.
-- Locks: nothing, the tables are new.
CREATE TABLE plan (
    plan text COLLATE "C" NOT NULL CONSTRAINT plan_pkey PRIMARY KEY,
    recorded_at timestamptz NOT NULL
);

CREATE TABLE terms (
    plan text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    effective_from timestamptz NOT NULL,
    -- domain/terms.rs `Terms`, whole, and SHA-256 over its canonical JSON.
    body jsonb NOT NULL,
    hash bytea NOT NULL,
    -- `issuer|subject` of the author.
    published_by text NOT NULL,
    CONSTRAINT terms_pkey PRIMARY KEY (plan, version),
    CONSTRAINT terms_are_of_a_plan FOREIGN KEY (plan) REFERENCES plan (plan),
    CONSTRAINT terms_version_counts_from_one CHECK (version >= 1),
    CONSTRAINT terms_hash_is_sha256 CHECK (octet_length(hash) = 32)
);

CREATE TABLE terms_approval (
    plan text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- `issuer|subject` of whoever approved, beside the author's, so that the database can tell them apart.
    approved_by text NOT NULL,
    published_by text NOT NULL,
    CONSTRAINT terms_approval_pkey PRIMARY KEY (plan, version),
    CONSTRAINT terms_approval_is_of_terms FOREIGN KEY (plan, version) REFERENCES terms (plan, version),
    CONSTRAINT terms_are_approved_by_another CHECK (approved_by <> published_by)
);

GRANT SELECT, INSERT ON plan, terms, terms_approval TO makegood_app;
GRANT SELECT ON plan, terms, terms_approval TO makegood_customer;
