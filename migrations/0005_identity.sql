-- Why: what a token or a cookie cannot say by itself: whether it was taken back. Read by primary key on every request, so
-- that a revocation, a role change or a logout acts at once on every server.
-- No row belongs to an account: people and machines may act for many.
-- Locks: nothing, the tables are new.
CREATE TABLE machine_token (
    jti uuid NOT NULL CONSTRAINT machine_token_pkey PRIMARY KEY,
    role text NOT NULL,
    -- The monitoring, billing or other system that holds the token.
    source text NOT NULL,
    -- What the token says in sub: the same for each token of one role and source, so that a renewed token is the same caller.
    subject text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT machine_token_expires_after_it_is_made CHECK (expires_at > created_at)
);
GRANT SELECT, INSERT, UPDATE (revoked_at) ON machine_token TO makegood_app;

-- Only people of whom there is something to say: whoever has no row is in good standing.
CREATE TABLE person (
    issuer text NOT NULL,
    subject text NOT NULL,
    disabled boolean NOT NULL,
    -- Tokens and sessions from before this time are refused: the person's roles changed, or they signed out everywhere.
    not_before timestamptz,
    CONSTRAINT person_pkey PRIMARY KEY (issuer, subject)
);
GRANT SELECT, INSERT, UPDATE (disabled, not_before) ON person TO makegood_app;

-- A working table: sessions of browsers. The cookie's value is not here, only its SHA-256.
CREATE TABLE session (
    id_hash bytea NOT NULL CONSTRAINT session_pkey PRIMARY KEY,
    actor jsonb NOT NULL,
    csrf text NOT NULL,
    created_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    ended_at timestamptz,
    absolute_until timestamptz NOT NULL,
    CONSTRAINT session_id_is_a_hash CHECK (octet_length(id_hash) = 32)
);
CREATE INDEX session_by_end ON session (absolute_until);
GRANT SELECT, INSERT, UPDATE (last_seen_at, ended_at), DELETE ON session TO makegood_app;
