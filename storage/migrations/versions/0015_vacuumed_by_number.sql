-- Until it is vacuumed, what was sent lies before the first of each lane, and a tick walks over all of it. A fiftieth of the
-- table is little in a young ledger; where tens of millions that have ended are kept, it is most of a million. Only PostgreSQL
-- 18 knows a limit by number; before that a tick grows with what is kept, by about a millisecond for forty million.
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        ALTER TABLE reminder SET (autovacuum_vacuum_max_threshold = 250000);
    END IF;
END $$;
