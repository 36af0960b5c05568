-- When a lender last had its turn on a channel: the one that waited longest is next. Losing the table costs nothing.
CREATE UNLOGGED TABLE turn (
    lender_id text NOT NULL,
    channel   text NOT NULL,
    taken_at  timestamptz NOT NULL,
    PRIMARY KEY (lender_id, channel)
) WITH (fillfactor = 50);

-- When sending was last resumed, for everyone ('*') or one lender: it begins gently.
CREATE TABLE resumption (
    scope      text PRIMARY KEY,
    resumed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Whom each worker process is deciding about, written before it does: a process that dies leaves its row behind.
-- Unlogged, and outside the batch's transaction, so that it costs no flush. Real time, database clock.
CREATE UNLOGGED TABLE in_hand (
    worker      text PRIMARY KEY,
    place       text NOT NULL,                -- host and process namespace: who can tell whether the pid lives
    pid         integer NOT NULL,
    lane        text NOT NULL,
    parties     bigint[] NOT NULL,
    lease_until timestamptz NOT NULL,
    of_server   timestamptz NOT NULL          -- when the database started: its own restart is nobody's fault
) WITH (fillfactor = 50);

-- Parties in whose hands processes died or decisions failed. Who is decided about without harm is taken out again.
CREATE TABLE suspect (
    party_id     bigint PRIMARY KEY,
    losses       smallint NOT NULL DEFAULT 0,  -- in company or alone
    losses_alone smallint NOT NULL DEFAULT 0,
    why          text NOT NULL,
    since        timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Uncertain contacts that their provider was asked about, and when it is asked again (real time; null: no more).
CREATE TABLE look_up (
    party_id    bigint NOT NULL,
    contact_id  uuid NOT NULL,
    asked       smallint NOT NULL DEFAULT 0,
    ask_at      timestamptz,
    last_answer text,
    PRIMARY KEY (party_id, contact_id)
);

-- What was owed when a promise was given: a balance file may tell that it was kept where no payment is on record.
ALTER TABLE promise ADD COLUMN owed_minor bigint;
