-- A provider of a channel as it stands: its weight, and its breaker. Moved by compare-and-set on version. Business time.
CREATE TABLE provider (
    provider      text PRIMARY KEY,           -- its name in channels.toml
    channel       text NOT NULL,
    configured    smallint NOT NULL,          -- the weight that the live release gives it
    weight        smallint NOT NULL,          -- the weight it has now
    weighed_at    timestamptz NOT NULL,
    state         text NOT NULL DEFAULT 'closed' CHECK (state IN ('closed', 'open', 'half_open', 'misconfigured')),
    since         timestamptz NOT NULL,       -- of the state
    retry_at      timestamptz,                -- when it may be tried; null: as usual, or when a person says so
    openings      smallint NOT NULL DEFAULT 0,-- cool-downs in a row
    prober        text,                       -- the worker that has messages out to try it
    code          text,                       -- the provider's own word for what went wrong
    fingerprint   text,                       -- keyed hash of the credentials that were refused
    answers_from  timestamptz NOT NULL DEFAULT '-infinity', -- answers until then (real time) belong to an earlier state
    weighed_from  timestamptz NOT NULL DEFAULT '-infinity', -- likewise, to an earlier weight
    version       integer NOT NULL DEFAULT 1,
    retired_at    timestamptz                 -- the live release names it no more
) WITH (fillfactor = 50);

-- Every move of a weight and every turn of a breaker: who, when, what, why.
CREATE TABLE provider_change (
    provider  text NOT NULL REFERENCES provider,
    version   integer NOT NULL,
    at        timestamptz NOT NULL,           -- business time
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    by_whom   text NOT NULL,                  -- a worker, a release, or whoever sat at the console
    weight    smallint NOT NULL,              -- after it
    state     text NOT NULL,                  -- after it
    reason    text NOT NULL,
    PRIMARY KEY (provider, version)
);

-- What workers saw of a provider, added up for a batch or so. Kept for an hour.
CREATE UNLOGGED TABLE provider_answer (
    provider  text NOT NULL,
    at        timestamptz NOT NULL,           -- business time
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    good      integer NOT NULL,               -- slow ones included
    slow      integer NOT NULL,
    failed    integer NOT NULL,
    code      text
);
CREATE INDEX provider_answer_recent ON provider_answer (provider, recorded_at);

-- Workers that send under rate limits, and whether they reach the shared count. Real time.
CREATE UNLOGGED TABLE sender_seen (
    worker    text PRIMARY KEY,
    seen_at   timestamptz NOT NULL,
    is_sharing boolean NOT NULL
) WITH (fillfactor = 50);

-- Channels none of whose providers may be used now: their lanes are not drained. One that may be tried is enough.
CREATE FUNCTION stopped_channels() RETURNS SETOF text STABLE LANGUAGE sql AS $$
    SELECT channel FROM provider WHERE retired_at IS NULL
    GROUP BY channel HAVING bool_and(state <> 'closed' AND (
        retry_at IS NULL OR (retry_at > business_now() AND since <= business_now()))) -- or the clock was set back
$$;
