-- Schema of a cluster. Applied by schema.py, after that of the queue, with the version after it.

CREATE TABLE setting (
    cluster uuid NOT NULL DEFAULT gen_random_uuid(),
    version integer NOT NULL,
    timing jsonb NOT NULL
);

-- One row an org: the lease of its driver. Every statement that a driver depends on reads it.
CREATE TABLE org (
    org_key text PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    run uuid,
    driver text,
    until timestamptz,          -- NULL: no driver
    ended_at timestamptz,       -- when the last driver released it, or was seen dead
    ready_at timestamptz,       -- no driver sends anything before
    window_minutes integer
);

CREATE TABLE job (
    job uuid PRIMARY KEY,
    name text NOT NULL,
    record bytea NOT NULL       -- job.json
);

CREATE TABLE run (
    run uuid PRIMARY KEY,
    position bigint GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    org_key text NOT NULL REFERENCES org,
    job uuid REFERENCES job ON DELETE CASCADE,
    shard integer,
    request text NOT NULL,      -- idempotency key of the submit
    digest text NOT NULL,
    op text NOT NULL,
    messages bigint NOT NULL,
    org_id text,
    org_name text,
    profile text,
    options jsonb NOT NULL,     -- words of the command line
    accept_canary boolean NOT NULL DEFAULT false,
    approved_by text NOT NULL,
    approved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'left', 'finished', 'cancelled')),
    record bytea NOT NULL,      -- run.json
    driver text,
    started_at timestamptz,
    not_before timestamptz,     -- NULL: now
    deaths integer NOT NULL DEFAULT 0,
    left_code text,
    left_message text,
    holds_org boolean NOT NULL DEFAULT false,
    cancel boolean NOT NULL DEFAULT false,
    ended_at timestamptz,
    UNIQUE (org_key, digest, request)
);
CREATE INDEX run_of_job ON run (job, position);
CREATE INDEX run_of_org ON run (org_key, position) INCLUDE (state, holds_org, not_before, profile, job)
    WHERE state IN ('queued', 'running', 'left');   -- all that `due_orgs` asks of a run

-- The queue asks of each waiting job whether another one of its org is being done or goes first.
CREATE INDEX job_of_lock ON procrastinate_jobs (lock) WHERE status IN ('todo', 'doing');

-- Files of a run, in parts of 1 MB.
CREATE TABLE file (
    run uuid NOT NULL REFERENCES run ON DELETE CASCADE,
    name text NOT NULL,
    part integer NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (run, name, part)
);

-- rejects.csv of a job, in parts of 1 MB.
CREATE TABLE job_rejects (
    job uuid NOT NULL REFERENCES job ON DELETE CASCADE,
    part integer NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (job, part)
);

-- What a driver appends to ledger, answers and timeline: gapless, and never changed.
CREATE TABLE segment (
    run uuid NOT NULL REFERENCES run ON DELETE CASCADE,
    kind text NOT NULL,
    seq bigint NOT NULL,
    epoch bigint NOT NULL,
    bytes bytea NOT NULL,
    sha256 bytea NOT NULL,
    PRIMARY KEY (run, kind, seq)
);
ALTER TABLE file ALTER bytes SET STORAGE EXTERNAL;
ALTER TABLE segment ALTER bytes SET STORAGE EXTERNAL;

-- Credits of the last 24 hours, by the clock of the database.
CREATE TABLE spent (
    org_key text NOT NULL REFERENCES org,
    minute bigint NOT NULL,
    credits bigint NOT NULL,
    PRIMARY KEY (org_key, minute)
);

CREATE TABLE worker (
    worker text PRIMARY KEY,
    host text NOT NULL,
    slots integer NOT NULL,
    profiles jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Takes credits of an org, and returns how many were granted. The same rules as on one machine:
-- at most a tenth of what is left, but never less than the minimum, or none.
CREATE FUNCTION take_credits(
    of_org text, this_minute bigint, wanted bigint, minimum bigint, already_spent bigint,
    returned bigint, returned_minute bigint, daily_limit bigint, new_window integer
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    day CONSTANT bigint := 24 * 60;
    minutes bigint;
    available bigint;
    granted bigint := wanted;
BEGIN
    UPDATE org SET window_minutes = coalesce(new_window, window_minutes)
        WHERE org_key = of_org RETURNING coalesce(window_minutes, day) INTO minutes;
    DELETE FROM spent WHERE org_key = of_org
        AND (minute < this_minute - day OR minute > this_minute + day OR credits <= 0);
    UPDATE spent SET credits = greatest(0, credits - returned)
        WHERE org_key = of_org AND minute = returned_minute;
    IF daily_limit IS NOT NULL THEN
        SELECT daily_limit - already_spent - coalesce(sum(credits), 0) INTO available
            FROM spent WHERE org_key = of_org AND minute >= this_minute - minutes;
        granted := CASE WHEN available < minimum THEN 0
            ELSE least(available, wanted, greatest(minimum, floor(available / 10.0)::bigint)) END;
    END IF;
    IF already_spent + granted <> 0 THEN
        INSERT INTO spent VALUES (of_org, this_minute, already_spent + granted)
            ON CONFLICT (org_key, minute) DO UPDATE SET credits = spent.credits + excluded.credits;
    END IF;
    RETURN granted;
END;
$$;
