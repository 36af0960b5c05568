-- A new partition takes its table for itself, for a moment; and who waits for that makes everybody wait who comes later. A
-- backup that reads for an hour would have stopped the fleet for an hour. Now it gives up (55P03), and comes again.
CREATE OR REPLACE FUNCTION ensure_partitions(month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    suffix text := to_char(first, 'YYYY_MM');
    patience text := current_setting('lock_timeout');
    tbl text;
    made boolean := false;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('duly.ensure_partitions'));
    PERFORM set_config('lock_timeout', '1500ms', true);
    FOREACH tbl IN ARRAY ARRAY['contact', 'contact_event', 'decision'] LOOP
        IF to_regclass(tbl || '_' || suffix) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                           tbl || '_' || suffix, tbl, first::timestamp AT TIME ZONE 'UTC',
                           (first + interval '1 month') AT TIME ZONE 'UTC');
            made := true;
        END IF;
    END LOOP;
    PERFORM set_config('lock_timeout', patience, true);
    RETURN made;
END $$;
