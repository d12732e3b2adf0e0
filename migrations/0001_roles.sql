-- Why: the two roles that hold every grant. Neither can log in; the role that `makegood serve` logs in as is a member of
-- both, owns nothing and cannot bypass row-level security. Roles belong to the whole server, so another database may have
-- made them already, or may be making them right now.
-- Locks: nothing of ours.
DO $$
BEGIN
    CREATE ROLE makegood_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$
BEGIN
    CREATE ROLE makegood_customer NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO makegood_app, makegood_customer;
