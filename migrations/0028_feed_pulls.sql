-- Why: an alarm about what was pulled and not answered has to know when it was pulled: feed_delivery only knows how far. One
-- row each time that a consumer was served further than ever before, only inserted.
-- Locks: nothing, the table is new.
CREATE TABLE feed_pull (
    lane smallint NOT NULL,
    consumer text NOT NULL,
    epoch integer NOT NULL,
    -- Everything up to here was served by then.
    pos bigint NOT NULL,
    pulled_at timestamptz NOT NULL,
    CONSTRAINT feed_pull_pkey PRIMARY KEY (lane, consumer, epoch, pos)
);
GRANT SELECT, INSERT ON feed_pull TO makegood_app;
