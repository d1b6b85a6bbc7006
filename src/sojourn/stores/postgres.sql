-- Every statement of the PostgreSQL store, by name: the shape is that of SQLite's. Times are Unix seconds; `body` is the
-- sealed record; users, and what facts are named by, are UTF-8 in bytea, as text cannot hold a NUL. What stands in
-- columns, and which of them may be newer than the body, is as in SQLite.
--
-- `moment(:now)` is the time that counts: the server's clock, unless the caller's is given. The body never holds the
-- epoch: a record of an older one than `era` names is dead, whatever else it says.

-- name: schema
CREATE TABLE about (version int NOT NULL, works_with int NOT NULL);
CREATE TABLE era (epoch bigint NOT NULL);
INSERT INTO era VALUES (0);
CREATE FUNCTION current_epoch() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT epoch FROM @schema@.era';
CREATE FUNCTION moment(given float8) RETURNS float8 LANGUAGE sql VOLATILE AS
'SELECT coalesce(given, extract(epoch FROM clock_timestamp())::float8)';
CREATE FUNCTION not_ahead(at float8, given float8) RETURNS float8 LANGUAGE sql VOLATILE AS
'SELECT CASE WHEN given IS NULL THEN least(at, extract(epoch FROM clock_timestamp())::float8) ELSE at END';
CREATE TABLE session (
    generation       bigint NOT NULL,
    epoch            bigint NOT NULL DEFAULT @schema@.current_epoch(),
    authenticated_at float8 NOT NULL,
    accessed_at      float8 NOT NULL,
    idle_for         float8 NOT NULL,
    ends_at          float8 NOT NULL,
    expires_at       float8 NOT NULL GENERATED ALWAYS AS (least(accessed_at + idle_for, ends_at)) STORED,
    fence            bigint NOT NULL,
    leased_until     float8 NOT NULL,
    handle           text   NOT NULL COLLATE "C" PRIMARY KEY,
    version          bytea  NOT NULL,
    user_id          bytea,
    body             bytea  NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX session_by_deadline ON session (expires_at);
CREATE INDEX session_by_access ON session (accessed_at);
CREATE INDEX session_by_user ON session (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX session_by_epoch ON session (epoch);
-- Facts are noted in `fresh`, where nobody waits for anybody. They get their positions, and so their order, when they
-- are first asked for, and move to `change`.
CREATE TABLE fresh (
    noted   bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at      float8 NOT NULL,
    kind    text   NOT NULL,
    handle  text   NOT NULL,
    id      bytea  NOT NULL,
    user_id bytea,
    reason  bytea
);
CREATE TABLE change (
    position bigint NOT NULL PRIMARY KEY,
    at       float8 NOT NULL,
    kind     text   NOT NULL,
    handle   text   NOT NULL,
    id       bytea  NOT NULL,
    user_id  bytea,
    reason   bytea
);
CREATE SEQUENCE change_position;
CREATE TABLE held (sessions bigint NOT NULL);
INSERT INTO held VALUES (0);

-- `line` is who waits for a lease, in the order of places, and (with a fence) who holds it by name. `reader` has
-- bookmarks. `watching` says until when somebody watches, by the server's clock: whoever commits learns it in the same
-- statement. Who may write sessions may write these, too: a role that owns nothing goes on while another upgrades.
-- name: upgrade_to_2
ALTER TABLE fresh ADD COLUMN fields bytea;
ALTER TABLE change ADD COLUMN fields bytea;
CREATE TABLE line (
    place  bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    until  float8 NOT NULL,
    fence  bigint,
    handle text   NOT NULL COLLATE "C",
    name   bytea  NOT NULL,
    PRIMARY KEY (handle, name)
);
CREATE INDEX line_by_end ON line (until);
CREATE TABLE reader (
    until    float8 NOT NULL,
    name     bytea  NOT NULL PRIMARY KEY,
    position text   NOT NULL,
    holder   bytea  NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE watching (place int PRIMARY KEY CHECK (place = 1), until float8 NOT NULL) WITH (fillfactor = 50);
DO $$
DECLARE
    who text;
BEGIN
    FOR who IN
        SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl) AS granted
        WHERE pg_class.oid = '@schema@.session'::regclass AND granted.privilege_type = 'UPDATE'
    LOOP
        EXECUTE 'GRANT SELECT, INSERT, UPDATE, DELETE ON @schema@.line, @schema@.reader, @schema@.watching TO ' || who;
    END LOOP;
END $$;

-- name: about
SELECT version, works_with, current_setting('synchronous_standby_names') FROM about;

-- name: describe
DELETE FROM about; INSERT INTO about VALUES (@version@, @works_with@);

-- name: begin
BEGIN;

-- name: commit
COMMIT;

-- name: load
SELECT body, accessed_at, fence, leased_until FROM session
WHERE handle = :handle AND epoch = (SELECT epoch FROM era);

-- The same with the time that counts, for whoever has to say why a statement changed no row.
-- name: load_at
SELECT moment(:now), body, accessed_at, fence, leased_until
FROM (SELECT) AS one
LEFT JOIN session ON handle = :handle AND epoch = (SELECT epoch FROM era);

-- Until when somebody watches. It stands where a statement says what it wrote. (Nobody compares it with a clock: a new
-- one means that it was said just now.)
-- name: watched
(SELECT until FROM watching)

-- Creations of a user share a lock which the end of all the user's sessions takes for itself: each is before or after.
-- name: create
WITH added AS (
    INSERT INTO session (handle, version, generation, user_id, authenticated_at, accessed_at, idle_for, ends_at, fence,
                         leased_until, body)
    SELECT :handle, :version, :generation, :user_id, :authenticated_at, not_ahead(:accessed_at, :now), :idle_for,
           :ends_at, :fence, :leased_until, :body
    FROM (SELECT pg_advisory_xact_lock_shared(:lock)) AS turn
    ON CONFLICT (handle) DO NOTHING
    RETURNING handle, user_id
)
INSERT INTO fresh (at, kind, handle, id, user_id)
SELECT moment(:now), 'created', handle, convert_to(handle || ':created', 'UTF8'), user_id FROM added
RETURNING at, @watched@;

-- The common commit: only fields changed. It leaves every indexed column alone, so no index is written (HOT).
-- name: commit_fields
UPDATE session SET version = :version, body = :body
WHERE handle = :handle AND version = :base_version AND generation = :base_generation AND expires_at > moment(:now)
  AND leased_until <= moment(:now) AND epoch = (SELECT epoch FROM era)
RETURNING @watched@;

-- name: commit_all
WITH done AS (
    UPDATE session
    SET version = :version, generation = :generation, user_id = :user_id, authenticated_at = :authenticated_at,
        accessed_at = greatest(accessed_at, not_ahead(:accessed_at, :now)), idle_for = :idle_for, ends_at = :ends_at,
        leased_until = CASE WHEN fence > :fence THEN leased_until ELSE :leased_until END,
        fence = greatest(fence, :fence), body = :body
    WHERE handle = :handle AND version = :base_version AND generation = :base_generation AND expires_at > moment(:now)
      AND CASE WHEN :held_fence <> 0 THEN fence = :held_fence ELSE leased_until <= moment(:now) END
      AND epoch = (SELECT epoch FROM era)
    RETURNING 1
), told AS (
    INSERT INTO fresh (id, kind, at, handle, user_id, reason, fields)
    SELECT fact.* FROM done, unnest(:ids, :kinds, :ats, :handles, :users, :reasons, :names) AS fact
)
SELECT @watched@ FROM done;

-- name: touch
UPDATE session SET accessed_at = greatest(accessed_at, not_ahead(:accessed_at, :now))
WHERE handle = :handle AND generation = :generation AND expires_at > moment(:now) AND epoch = (SELECT epoch FROM era);

-- name: lease
UPDATE session SET fence = fence + 1, leased_until = moment(:now) + :hold
WHERE handle = :handle AND generation = :generation AND expires_at > moment(:now) AND leased_until <= moment(:now)
  AND epoch = (SELECT epoch FROM era)
RETURNING body, accessed_at, fence, leased_until;

-- With a name, in one transaction: the row is locked, so that each of the statements that follow sees what they did who
-- came before. Who took the lease is in the line with its number, until that is over; who waits has none.
-- name: lease_lock
SELECT 1 FROM session WHERE handle = :handle FOR NO KEY UPDATE;

-- name: line_over
DELETE FROM line USING session
WHERE line.handle = :handle AND session.handle = line.handle
  AND (until <= moment(:now)
       OR (line.fence IS NOT NULL AND (line.fence <> session.fence OR leased_until <= moment(:now))));

-- name: lease_named
WITH taken AS (
    UPDATE session SET fence = fence + 1, leased_until = moment(:now) + :hold
    WHERE handle = :handle AND generation = :generation AND expires_at > moment(:now) AND leased_until <= moment(:now)
      AND epoch = (SELECT epoch FROM era)
      AND coalesce((SELECT name FROM line WHERE handle = :handle AND fence IS NULL AND until > moment(:now)
                    ORDER BY place LIMIT 1), :name) = :name
    RETURNING handle, fence, leased_until
)
INSERT INTO line (handle, name, until, fence) SELECT handle, :name, leased_until, fence FROM taken
ON CONFLICT (handle, name) DO UPDATE SET until = excluded.until, fence = excluded.fence
RETURNING 1;

-- name: line_stand
INSERT INTO line (handle, name, until)
SELECT handle, :name, moment(:now) + :patience FROM session
WHERE handle = :handle AND generation = :generation AND expires_at > moment(:now) AND epoch = (SELECT epoch FROM era)
ON CONFLICT (handle, name) DO UPDATE SET until = excluded.until WHERE line.fence IS NULL;

-- name: line_leave
DELETE FROM line WHERE handle = :handle AND name = :name AND fence IS NULL;

-- name: lease_look
SELECT moment(:now), EXISTS (SELECT FROM line WHERE line.handle = :handle AND name = :name AND fence = session.fence)::int,
       body, accessed_at, fence, leased_until
FROM (SELECT) AS one
LEFT JOIN session ON handle = :handle AND epoch = (SELECT epoch FROM era);

-- Records are removed, and the facts of it noted, in one statement: this one, with one of those below as `gone`. A session
-- that had run out by itself is told as expired, whoever found it first.
-- name: tell_ends
WITH clock AS MATERIALIZED (SELECT moment(:now) AS now),
gone AS (@gone@)
INSERT INTO fresh (at, kind, handle, id, user_id, reason)
SELECT now, 'ended', handle, convert_to(handle || ':ended', 'UTF8'), user_id,
       CASE WHEN expires_at <= now THEN 'expired' ELSE :reason END
FROM gone, clock
RETURNING handle, user_id, reason, at, @watched@;

-- Rows are locked in the order of handles, so that those who remove many do not wait for each other in a ring.
-- name: end
DELETE FROM session
WHERE handle = ANY (ARRAY(SELECT handle FROM session WHERE handle = ANY (:handles) ORDER BY handle FOR UPDATE))
RETURNING handle, user_id, expires_at

-- name: end_of_user
DELETE FROM session
WHERE handle = ANY (ARRAY(
    SELECT handle FROM session
    WHERE user_id = :user_id AND (:idle_since IS NULL OR accessed_at <= :idle_since)
      AND handle IS DISTINCT FROM :keep
    ORDER BY handle FOR UPDATE))
RETURNING handle, user_id, expires_at

-- name: end_idle
DELETE FROM session
WHERE handle = ANY (ARRAY(
    SELECT handle FROM session WHERE accessed_at <= :idle_since AND handle IS DISTINCT FROM :keep
    ORDER BY accessed_at LIMIT :limit FOR UPDATE))
  AND accessed_at <= :idle_since
RETURNING handle, user_id, expires_at

-- name: new_era
UPDATE era SET epoch = epoch + 1;

-- name: keep
UPDATE session SET epoch = (SELECT epoch FROM era)
WHERE handle = :handle AND epoch = (SELECT epoch FROM era) - 1;

-- name: clear
DELETE FROM session
WHERE handle = ANY (ARRAY(
    SELECT handle FROM session WHERE epoch < (SELECT epoch FROM era)
    ORDER BY epoch LIMIT :limit FOR UPDATE))
RETURNING handle, user_id, expires_at

-- Of those that ended with all others, and were not removed yet, the one whose place another takes.
-- name: clear_one
DELETE FROM session
WHERE handle = :handle AND version <> :version AND epoch < (SELECT epoch FROM era)
RETURNING handle, user_id, expires_at

-- name: purge
DELETE FROM session
WHERE handle = ANY (ARRAY(
    SELECT handle FROM session WHERE expires_at <= (SELECT now FROM clock)
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING handle, user_id, expires_at

-- name: least_used
DELETE FROM session
WHERE handle = ANY (ARRAY(SELECT handle FROM session ORDER BY accessed_at, handle LIMIT :limit FOR UPDATE))
RETURNING handle, user_id, expires_at

-- name: any_dead
SELECT 1
WHERE EXISTS (SELECT FROM session WHERE expires_at <= (SELECT moment(:now)))
   OR EXISTS (SELECT FROM session WHERE epoch < (SELECT epoch FROM era));

-- Whether there is anything to tidy up: facts that are too old, beside the newest of them, and who stood in line.
-- name: any_old
SELECT 1
WHERE (SELECT at FROM change ORDER BY position OFFSET 1 LIMIT 1) < (SELECT moment(:now)) - :age
   OR EXISTS (SELECT FROM line WHERE until <= (SELECT moment(:now)));

-- name: trim_old
DELETE FROM change
WHERE position < (SELECT max(position) FROM (
    SELECT position, max(at) OVER (ORDER BY position) AS latest
    FROM (SELECT position, at FROM change ORDER BY position OFFSET 1 LIMIT :limit) AS few) AS oldest
  WHERE latest < (SELECT moment(:now)) - :age);

-- name: line_trim
DELETE FROM line
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM line WHERE until <= (SELECT moment(:now)) ORDER BY until LIMIT :limit FOR UPDATE SKIP LOCKED));

-- name: load_many
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE handle = ANY (:handles) AND epoch = (SELECT epoch FROM era);

-- (epoch + 0: nearly all are of this epoch. Its index would find everything, to be sorted for each page.)
-- name: walk
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE handle > :after AND epoch + 0 = (SELECT epoch FROM era) ORDER BY handle LIMIT :limit;

-- name: summaries
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE handle > :after AND expires_at > (SELECT moment(:now)) AND epoch + 0 = (SELECT epoch FROM era)
ORDER BY handle LIMIT :limit;

-- name: summaries_of_user
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE user_id = :user_id AND handle > :after AND expires_at > (SELECT moment(:now))
  AND epoch + 0 = (SELECT epoch FROM era)
ORDER BY handle LIMIT :limit;

-- name: by_activity_descending
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE accessed_at <= :accessed_at AND (accessed_at < :accessed_at OR handle < :handle)
  AND expires_at + 0 > (SELECT moment(:now)) AND epoch + 0 = (SELECT epoch FROM era)
ORDER BY accessed_at DESC, handle DESC LIMIT :limit;

-- name: by_activity_ascending
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE accessed_at >= :accessed_at AND (accessed_at > :accessed_at OR handle > :handle)
  AND expires_at + 0 > (SELECT moment(:now)) AND epoch + 0 = (SELECT epoch FROM era)
ORDER BY accessed_at, handle LIMIT :limit;

-- name: user_oldest_first
SELECT handle FROM session
WHERE user_id = :user_id AND expires_at > (SELECT moment(:now)) AND handle <> :handle
  AND epoch + 0 = (SELECT epoch FROM era)
ORDER BY authenticated_at, handle;

-- name: lock_shared
SELECT pg_advisory_xact_lock_shared(:lock);

-- name: lock
SELECT pg_advisory_xact_lock(:lock);

-- How many records there are: as of the last facts that were placed, and what happened since.
-- name: held
SELECT (SELECT sessions FROM held) + coalesce(sum(CASE kind WHEN 'created' THEN 1 WHEN 'ended' THEN -1 END), 0)::bigint
FROM fresh;

-- name: size
SELECT pg_total_relation_size('session') + pg_total_relation_size('change') + pg_total_relation_size('fresh');

-- Give positions to the facts that have none yet. Whoever does it holds a lock until they are committed: what has a
-- higher position was committed later, and nobody who follows by position passes one by.
-- name: place
WITH placed AS (DELETE FROM fresh RETURNING noted, at, kind, handle, id, user_id, reason, fields),
added AS (
    INSERT INTO change (position, at, kind, handle, id, user_id, reason, fields)
    SELECT nextval('change_position'), at, kind, handle, id, user_id, reason, fields
    FROM (SELECT * FROM placed ORDER BY noted) AS f
    RETURNING position, kind
)
UPDATE held SET sessions = sessions + (SELECT sum(CASE kind WHEN 'created' THEN 1 WHEN 'ended' THEN -1 ELSE 0 END) FROM added)
WHERE EXISTS (SELECT FROM added);

-- name: version
SELECT version FROM about;

-- name: any_fresh
SELECT EXISTS (SELECT FROM fresh)::int;

-- name: trim
DELETE FROM change WHERE position <= (SELECT max(position) FROM change) - :limit;

-- name: changes
SELECT position, id, kind, at, handle, user_id, reason, fields FROM change
WHERE position > :since ORDER BY position LIMIT :limit;

-- (A position may be left out, if somebody who gave it failed to commit. Whoever asks for what comes after one that was
-- the last before such a gap is told that facts are gone once those before it are: too much, and never too little.)
-- name: kept
SELECT min(position), max(position) FROM change;

-- name: bookmark
INSERT INTO reader AS known (name, position, holder, until)
VALUES (:reader, coalesce(:position, '0'), :holder, moment(:now) + :hold)
ON CONFLICT (name) DO UPDATE
SET position = coalesce(:position, known.position), holder = excluded.holder, until = excluded.until
WHERE known.holder = excluded.holder OR known.until <= moment(:now)
RETURNING position;

-- Telling those who watch takes a transaction of its own: one that notifies holds a lock of the whole server while it
-- commits, and so may wait for no disk.
-- name: tell
SELECT set_config('synchronous_commit', 'off', true), pg_notify(:channel, payload) FROM unnest(:payloads) AS payload;

-- name: is_watched
SELECT @watched@;

-- The same if a commit was made, in the same round trip.
-- name: tell_commit
SELECT set_config('synchronous_commit', 'off', true), pg_notify(:channel, :payload)
WHERE EXISTS (SELECT FROM session WHERE handle = :handle AND version = :version);

-- name: watch
INSERT INTO watching VALUES (1, extract(epoch FROM clock_timestamp())::float8 + :hold)
ON CONFLICT (place) DO UPDATE SET until = excluded.until;

-- Who may have begun to write before that was to be seen: a statement that asks whether somebody watches holds this lock
-- from before it looks until its transaction is over.
-- name: not_aware
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = 'watching'::regclass AND mode = 'AccessShareLock'
  AND pid <> pg_backend_pid();

-- Again, unless somebody else has just said so, or is about to: nobody waits for anybody. (What lies too far ahead was
-- said before the clock was set back.) A row: whether it was over.
-- name: watch_again
WITH due AS (
    SELECT ctid AS at, until <= extract(epoch FROM clock_timestamp())::float8 AS over FROM watching
    WHERE until < extract(epoch FROM clock_timestamp())::float8 + :patience
       OR until > extract(epoch FROM clock_timestamp())::float8 + :hold
    FOR UPDATE SKIP LOCKED
)
UPDATE watching SET until = extract(epoch FROM clock_timestamp())::float8 + :hold FROM due WHERE watching.ctid = due.at
RETURNING over::int;

-- name: everything
SELECT handle, body, version, generation, user_id, authenticated_at, accessed_at, idle_for, ends_at, fence, leased_until
FROM session WHERE handle > :after ORDER BY handle LIMIT :limit;
