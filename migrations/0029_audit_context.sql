-- Why: an audit row says who, what and when; it says now also in which request and from where. Rows from before, and what the clock
-- does, say neither. The chain hashes a row with a context by a second encoding, `audit/2`, beside the first.
--   audit.context    the request's id, and a hash over the address that it came from and a random salt
--   request_origin   the address and the salt, which the hash commits to. An address may have to be erased one day, and the chain
--                    stays whole without it: the row here may be deleted.
-- What an auditor looks for is found in the order in which it was recorded.
-- Locks: `audit` for a moment against everybody (a column that may be null rewrites nothing), then against writes while the index is
-- built: about two seconds for a million rows.
ALTER TABLE audit ADD COLUMN context jsonb;
CREATE INDEX audit_in_order ON audit (recorded_at, audit_id);

CREATE TABLE request_origin (
    -- SHA-256 over salt and address: what audit.context says under `from`.
    origin bytea NOT NULL CONSTRAINT request_origin_pkey PRIMARY KEY,
    salt bytea NOT NULL,
    address text NOT NULL,
    recorded_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, DELETE ON request_origin TO makegood_app;
