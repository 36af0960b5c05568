-- A test message to a member of staff: who sent which words where, and what came of it. It is no contact and counts
-- nowhere. Written before it leaves; only the answer is added.
CREATE TABLE staff_send (
    staff_send_id  uuid PRIMARY KEY,          -- what the provider is given in place of a contact's id
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    by_whom        text NOT NULL,
    message        text NOT NULL,
    channel        text NOT NULL,
    locale         text NOT NULL,
    lender_id      text NOT NULL,
    bundle_hash    text NOT NULL,             -- of the files whose words they were
    address_lookup bytea NOT NULL,            -- keyed hash
    outcome        text CHECK (outcome IN ('sent', 'rejected', 'later', 'unknown', 'misconfigured')),
    provider       text,
    provider_ref   text,
    code           text
);
