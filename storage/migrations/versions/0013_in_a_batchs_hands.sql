-- What a worker has in hand stands in its batch, named once: a reminder is written when it is planned and when it ends, and
-- not in between. Three lists of equal length; empty again when the batch is over.
ALTER TABLE batch
    ADD COLUMN parties   bigint[] NOT NULL DEFAULT '{}',
    ADD COLUMN reminders bigint[] NOT NULL DEFAULT '{}',
    ADD COLUMN contacts  uuid[]   NOT NULL DEFAULT '{}';  -- the contact that each reminder is committed to

-- Long lists lie beside the row, which is written at each wave; as they are, since ids hardly get any smaller.
ALTER TABLE batch
    ALTER COLUMN parties SET STORAGE EXTERNAL,
    ALTER COLUMN reminders SET STORAGE EXTERNAL,
    ALTER COLUMN contacts SET STORAGE EXTERNAL;
ALTER TABLE batch SET (toast.autovacuum_vacuum_scale_factor = 0.1, toast.autovacuum_vacuum_cost_delay = 0);

-- The workers stand still. What a batch holds that is over, or that nobody knows, may have left, all of it.
INSERT INTO batch (batch_id, lane, worker, lease_until, wave, stamped_at)
SELECT r.batch_id, min(r.lender_id) || ':' || min(r.channel) || ':' || min(r.shard), 'unknown', clock_timestamp(),
       array_agg(DISTINCT r.contact_id), clock_timestamp()
FROM reminder r LEFT JOIN batch b USING (batch_id)
WHERE r.state = 'intended' AND (b.batch_id IS NULL OR b.ended_at IS NOT NULL)
GROUP BY r.batch_id
ON CONFLICT (batch_id) DO UPDATE SET ended_at = NULL, ended_how = NULL, lease_until = clock_timestamp(),
    wave = EXCLUDED.wave, stamped_at = EXCLUDED.stamped_at;

UPDATE batch b SET parties = h.parties, reminders = h.reminders, contacts = h.contacts
FROM (SELECT batch_id, array_agg(party_id ORDER BY party_id, reminder_id) AS parties,
             array_agg(reminder_id ORDER BY party_id, reminder_id) AS reminders,
             array_agg(contact_id ORDER BY party_id, reminder_id) AS contacts
      FROM reminder WHERE state = 'intended' GROUP BY batch_id) h
WHERE b.batch_id = h.batch_id;

DROP INDEX reminder_batch;
DROP INDEX reminder_open;
UPDATE reminder SET state = 'planned', contact_id = NULL WHERE state = 'intended';
ALTER TABLE reminder DROP COLUMN batch_id;
ALTER TABLE reminder DROP CONSTRAINT reminder_state_check;
ALTER TABLE reminder ADD CONSTRAINT reminder_state_check CHECK (state IN ('planned', 'sent', 'handed', 'suppressed',
    'expired', 'cancelled', 'failed', 'uncertain'));
CREATE UNIQUE INDEX reminder_open ON reminder (party_id, account_id) WHERE state = 'planned';

-- Reminders in workers' hands, each with the contact that it is committed to. One that was answered or given back stays in
-- hand until its batch is over.
CREATE VIEW intended AS
SELECT b.batch_id, h.party_id, h.reminder_id, h.contact_id, h.contact_id = ANY (b.wave) AS is_stamped, b.stamped_at
FROM batch b, unnest(b.parties, b.reminders, b.contacts) AS h(party_id, reminder_id, contact_id)
WHERE b.ended_at IS NULL;

-- The same for whoever looks for work, in lanes that begin so ('' for all). Stable: it sees what its statement sees. Not in SQL:
-- the planner would look into it, and where statistics are old believe in millions and ask anew for each reminder.
CREATE FUNCTION reminders_in_hand(lanes text) RETURNS SETOF bigint LANGUAGE plpgsql STABLE ROWS 1000 AS $$
BEGIN
    RETURN QUERY SELECT unnest(b.reminders) FROM batch b WHERE b.ended_at IS NULL AND starts_with(b.lane, lanes);
END $$;
