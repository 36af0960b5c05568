-- The processes of the fleet as they last said so (real time, database clock), with what each has counted since it
-- began. Not unlogged: counts that a crash forgets would look like a flood to whoever watches their rate.
CREATE TABLE process (
    process_id   uuid PRIMARY KEY,
    name         text NOT NULL,               -- role@host:pid
    role         text NOT NULL,
    begun_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    release_hash text,                        -- the release it last worked with
    memory_bytes bigint NOT NULL,
    counts       jsonb NOT NULL,              -- by series, since it began
    recent       jsonb NOT NULL               -- by series, in the last minutes
) WITH (fillfactor = 50);

-- What processes that are gone have counted: with the rows above, counts that never fall.
CREATE TABLE tally (
    series text PRIMARY KEY,
    number double precision NOT NULL
) WITH (fillfactor = 50);

-- The trace of the tick that woke a lane, if it was traced: the broker carries names and nothing else.
ALTER TABLE wake_up ADD COLUMN cause text;
