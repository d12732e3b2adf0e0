-- Why: a lane is numbered by one server at a time, which holds its lease: one row a lane, owner and until, changed by comparing. Whoever finds a
-- lease that ran out takes it over. And what an item says is kept as the text that was hashed and told, so that a page is
-- read and not made anew.
-- Locks: feed as a whole while its rows are written again; what reads or writes the feed waits for as long.
CREATE TABLE lane_lease (
    lane smallint NOT NULL CONSTRAINT lane_lease_pkey PRIMARY KEY,
    -- The process that numbers; empty where nobody has.
    owner text NOT NULL,
    -- By the database's clock, which all servers share.
    until timestamptz NOT NULL
);
INSERT INTO lane_lease VALUES (0, '', '-infinity');

ALTER TABLE feed ALTER COLUMN body TYPE json USING body::json;

GRANT SELECT, UPDATE ON lane_lease TO makegood_app;
