-- The wave that is under way stands in its batch: what was a row of each reminder's is one of fifty's. What a worker has
-- stamped and not recorded is `wave`; a reminder gets its `stamped_at` with its end.
ALTER TABLE batch
    ADD COLUMN wave       uuid[] NOT NULL DEFAULT '{}',  -- contacts that may have left and have no answer yet
    ADD COLUMN waves      integer NOT NULL DEFAULT 0,    -- how many were stamped: moves by compare-and-set
    ADD COLUMN stirs      integer NOT NULL DEFAULT 0,    -- how often something was taken out of its hands
    ADD COLUMN stamped_at timestamptz;                   -- real time: set just before the first byte of `wave`
UPDATE batch b SET wave = s.wave, stamped_at = s.stamped_at
FROM (SELECT batch_id, array_agg(DISTINCT contact_id) AS wave, min(stamped_at) AS stamped_at FROM reminder
      WHERE state = 'intended' AND stamped_at IS NOT NULL GROUP BY batch_id) s
WHERE b.batch_id = s.batch_id;

-- A batch is written at each of its waves. Without the lease in the index that is done within its page, and nothing is left
-- for a vacuum to clear away.
DROP INDEX batch_open;
CREATE INDEX batch_open ON batch (lane) WHERE ended_at IS NULL;

-- The worker knows what it judged; the contact keeps it (stop_epoch).
ALTER TABLE reminder DROP COLUMN judged_epoch;
