-- A reminder is written four times on its way, and each index that mentions its state was written with it. What these
-- two answered, others do: the lanes' index knows what is due next, and a party has few reminders.
DROP INDEX reminder_next;
DROP INDEX reminder_account;

-- What counting needs of a contact, packed as storage/history.py reads it: the history of a party then comes out of an
-- index alone, in one row. The dispatcher packs its own; for everybody else the database does.
ALTER TABLE contact ADD COLUMN entry bytea;

CREATE FUNCTION pack_history_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    facts bytea := convert_to(NEW.channel || '|' || NEW.purpose || '|' || NEW.actor || '|' || NEW.lender_id || '|'
                              || coalesce(encode(NEW.address_lookup, 'hex'), '') || '|'
                              || array_to_string(NEW.account_ids, ','), 'UTF8');
BEGIN
    NEW.entry := timestamptz_send(NEW.intended_at) || substring(uuid_send(NEW.contact_id) FROM 9)
                 || int2send(length(facts)::int2) || facts;
    RETURN NEW;
END $$;
CREATE TRIGGER contact_entry BEFORE INSERT OR UPDATE ON contact
    FOR EACH ROW WHEN (NEW.entry IS NULL) EXECUTE FUNCTION pack_history_entry();

UPDATE contact SET entry = NULL;
ALTER TABLE contact ALTER COLUMN entry SET NOT NULL;
DROP INDEX contact_history;
CREATE INDEX contact_history ON contact (party_id, intended_at) INCLUDE (entry);

-- The few events after which a contact counts differently from its bare intent (domain/contact.py: TELLING).
CREATE INDEX contact_event_telling ON contact_event (party_id, intended_at)
    WHERE kind IN ('released', 'rejected', 'not_in_service', 'no_answer', 'busy', 'voicemail', 'third_party',
                   'conversation');
