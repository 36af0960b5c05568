-- Which debts a contact covers stands in the contact itself: a row and an index entry fewer for each message. In the
-- order of account_ids. Null where no reminder of ours was behind it; stages also where they are all the contact's own.
ALTER TABLE contact ADD COLUMN reminder_ids bigint[], ADD COLUMN steps text[], ADD COLUMN stages text[];

UPDATE contact c SET reminder_ids = a.reminder_ids, steps = a.steps, stages = a.stages
FROM (
    SELECT l.party_id, l.contact_id, l.intended_at,
           array_agg(l.reminder_id ORDER BY array_position(k.account_ids, l.account_id)) AS reminder_ids,
           array_agg(l.step ORDER BY array_position(k.account_ids, l.account_id)) AS steps,
           CASE WHEN bool_or(l.stage IS DISTINCT FROM k.stage)
                THEN array_agg(l.stage ORDER BY array_position(k.account_ids, l.account_id)) END AS stages
    FROM contact_account l JOIN contact k USING (party_id, contact_id, intended_at)
    GROUP BY l.party_id, l.contact_id, l.intended_at HAVING bool_or(l.reminder_id IS NOT NULL)
) a
WHERE c.party_id = a.party_id AND c.contact_id = a.contact_id AND c.intended_at = a.intended_at;

DROP TABLE contact_account;

-- The same, a line for each debt, for those who read.
CREATE VIEW contact_account AS
SELECT c.party_id, c.contact_id, d.account_id, c.intended_at, d.reminder_id, d.step, coalesce(d.stage, c.stage) AS stage
FROM contact c, unnest(c.account_ids, c.reminder_ids, c.steps, c.stages) AS d(account_id, reminder_id, step, stage);

-- One index tells a contact from all others and gives its party's history, where there were two.
ALTER TABLE contact DROP CONSTRAINT contact_pkey;
DROP INDEX contact_history;
ALTER TABLE contact ADD PRIMARY KEY (party_id, intended_at, contact_id) INCLUDE (entry);

-- In the order in which a drain takes them in: who waits for whom goes one way, and no two wait for each other.
CREATE OR REPLACE FUNCTION ensure_partitions(month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    suffix text := to_char(first, 'YYYY_MM');
    tbl text;
    made boolean := false;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('duly.ensure_partitions'));
    FOREACH tbl IN ARRAY ARRAY['contact', 'contact_event', 'decision'] LOOP
        IF to_regclass(tbl || '_' || suffix) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                           tbl || '_' || suffix, tbl, first::timestamp AT TIME ZONE 'UTC',
                           (first + interval '1 month') AT TIME ZONE 'UTC');
            made := true;
        END IF;
    END LOOP;
    RETURN made;
END $$;
