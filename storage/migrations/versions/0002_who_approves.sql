-- Who proposes, who approves, who operates. Signatures are Ed25519 over the statement that stands beside them.

CREATE TABLE duly_user (
    user_id       text PRIMARY KEY CHECK (user_id ~ '^[a-z][a-z0-9._-]{0,39}$'),
    full_name     text NOT NULL CHECK (length(full_name) BETWEEN 1 AND 200),
    roles         text[] NOT NULL CHECK (cardinality(roles) > 0
                                         AND roles <@ ARRAY['editor', 'approver', 'operator']),
    registered_by text NOT NULL REFERENCES duly_user,   -- the first one by themselves
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_by    text REFERENCES duly_user,
    retired_at    timestamptz,
    CHECK ((retired_at IS NULL) = (retired_by IS NULL))
);

-- A key is one person's, for ever; a person has one that counts.
CREATE TABLE user_key (
    public_key    bytea PRIMARY KEY CHECK (octet_length(public_key) = 32),
    user_id       text NOT NULL REFERENCES duly_user,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at    timestamptz
);
CREATE UNIQUE INDEX user_key_current ON user_key (user_id) WHERE retired_at IS NULL;

-- What happened to a user, signed by the operator who did it.
CREATE TABLE user_event (
    user_id       text NOT NULL REFERENCES duly_user,
    user_event_id bigint GENERATED ALWAYS AS IDENTITY,
    kind          text NOT NULL CHECK (kind IN ('registered', 'new_key', 'retired')),
    by_whom       text NOT NULL REFERENCES duly_user,
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    statement     bytea NOT NULL,
    signature     bytea NOT NULL,
    public_key    bytea NOT NULL REFERENCES user_key,
    PRIMARY KEY (user_id, user_event_id)
);

-- proposer: null while nobody has signed for it. kept: was live, approved by nobody, when the first user came.
ALTER TABLE release
    ADD COLUMN proposer text REFERENCES duly_user,
    ADD COLUMN kept     boolean NOT NULL DEFAULT false,
    ADD UNIQUE (release_hash, proposer);

ALTER TABLE release_event
    ADD COLUMN statement  bytea,
    ADD COLUMN signature  bytea,
    ADD COLUMN public_key bytea REFERENCES user_key,
    ADD CHECK ((signature IS NULL) = (statement IS NULL) AND (signature IS NULL) = (public_key IS NULL));

-- Two persons, always: the reference pins the true proposer, the check keeps them from approving.
CREATE TABLE release_approval (
    release_hash text NOT NULL,
    approver     text NOT NULL REFERENCES duly_user,
    proposer     text NOT NULL,
    approved_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (release_hash, approver),
    CHECK (approver <> proposer),
    FOREIGN KEY (release_hash, proposer) REFERENCES release (release_hash, proposer)
);

CREATE FUNCTION release_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.bundle IS DISTINCT FROM OLD.bundle OR NEW.release_hash <> OLD.release_hash) THEN
        RAISE EXCEPTION 'the content of release % never changes', left(OLD.release_hash, 12)
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'live' AND (TG_OP = 'INSERT' OR OLD.state <> 'live') AND NOT NEW.kept
       AND EXISTS (SELECT 1 FROM duly_user)
       AND NOT EXISTS (SELECT 1 FROM release_approval a WHERE a.release_hash = NEW.release_hash) THEN
        RAISE EXCEPTION 'release % was not approved by a second person', left(NEW.release_hash, 12)
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER release_stands BEFORE INSERT OR UPDATE ON release FOR EACH ROW EXECUTE FUNCTION release_stands();

-- A release that goes live, or ends, at a time of its own. Business time.
CREATE TABLE release_switch (
    release_switch_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    kind         text NOT NULL CHECK (kind IN ('go_live', 'expire')),
    release_hash text NOT NULL REFERENCES release,
    at           timestamptz NOT NULL,
    until        timestamptz CHECK (until > at),   -- of a go_live: when it expires again
    by_whom      text NOT NULL,
    why          text NOT NULL DEFAULT '',
    state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'cancelled', 'refused')),
    outcome      text,
    made_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX release_switch_waiting ON release_switch (at) WHERE state = 'waiting';
