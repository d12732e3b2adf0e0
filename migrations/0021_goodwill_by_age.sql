-- Why: goodwill that stands on no bill expires where the operator says so. Once an hour the clock asks for what is old enough.
-- Locks: credit against writing, for as long as it takes to read it once.
CREATE INDEX credit_goodwill_by_age ON credit (issued_at) WHERE road = 'goodwill';
