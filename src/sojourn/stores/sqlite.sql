-- Every statement of the SQLite store, by name. Times are Unix seconds; `body` is the sealed record.
-- What guards a commit stands in columns, so that the compare-and-set is one statement; the body has it again, under
-- its check. `accessed_at`, `fence` and `leased_until` may be newer than the body: a touch and a lease write the columns
-- only, and the columns count. A record of an older epoch than the one in `held` is dead, whatever else it says.
--
-- `line` is who waits for a lease, in the order of places, and (with a fence) who holds it by name. `reader` has
-- bookmarks. `watching` says until when somebody watches, by the clock of the machine: for as long `news` is written of
-- each commit, by a trigger, so that programs of the version before tell as well. What they leave in `fields` is of an
-- older commit: it begins with the version that it belongs to.

-- name: schema
CREATE TABLE session (
    handle           TEXT    NOT NULL PRIMARY KEY,
    version          BLOB    NOT NULL,
    generation       INTEGER NOT NULL,
    user_id          TEXT,
    authenticated_at REAL    NOT NULL,
    accessed_at      REAL    NOT NULL,
    idle_for         REAL    NOT NULL,
    ends_at          REAL    NOT NULL,
    expires_at       REAL    GENERATED ALWAYS AS (min(accessed_at + idle_for, ends_at)) VIRTUAL,
    fence            INTEGER NOT NULL,
    leased_until     REAL    NOT NULL,
    body             BLOB    NOT NULL,
    epoch            INTEGER NOT NULL DEFAULT 0,
    fields           BLOB
);
CREATE INDEX session_by_deadline ON session (expires_at);
CREATE INDEX session_by_access ON session (accessed_at);
CREATE INDEX session_by_user ON session (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX session_by_epoch ON session (epoch);
CREATE TABLE change (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL,
    kind     TEXT NOT NULL,
    at       REAL NOT NULL,
    handle   TEXT NOT NULL,
    user_id  TEXT,
    reason   TEXT,
    fields   BLOB
);
CREATE TABLE held (sessions INTEGER NOT NULL, epoch INTEGER NOT NULL DEFAULT 0);
INSERT INTO held VALUES (0, 0);
CREATE TRIGGER session_added AFTER INSERT ON session BEGIN UPDATE held SET sessions = sessions + 1; END;
CREATE TRIGGER session_removed AFTER DELETE ON session BEGIN UPDATE held SET sessions = sessions - 1; END;
CREATE TABLE line (
    place  INTEGER PRIMARY KEY,
    handle TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    until  REAL    NOT NULL,
    fence  INTEGER,
    UNIQUE (handle, name)
);
CREATE INDEX line_by_end ON line (until);
CREATE TRIGGER session_left AFTER DELETE ON session BEGIN DELETE FROM line WHERE handle = OLD.handle; END;
CREATE TABLE reader (
    name     TEXT NOT NULL PRIMARY KEY,
    position TEXT NOT NULL,
    holder   TEXT NOT NULL,
    until    REAL NOT NULL
);
CREATE TABLE watching (place INTEGER PRIMARY KEY CHECK (place = 1), until REAL NOT NULL);
CREATE TABLE news (place INTEGER PRIMARY KEY, handle TEXT NOT NULL, user_id TEXT, version BLOB NOT NULL, fields BLOB);
CREATE TRIGGER session_written AFTER UPDATE OF version ON session
WHEN EXISTS (SELECT 1 FROM watching WHERE until > (julianday('now') - 2440587.5) * 86400.0)
BEGIN
    INSERT INTO news (handle, user_id, version, fields)
    VALUES (NEW.handle, NEW.user_id, NEW.version,
            CASE WHEN substr(NEW.fields, 1, length(NEW.version)) = NEW.version
            THEN substr(NEW.fields, length(NEW.version) + 1) END);
    DELETE FROM news WHERE place <= last_insert_rowid() - 4096;
END;

-- name: upgrade_to_2
ALTER TABLE session ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE held ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
CREATE INDEX session_by_epoch ON session (epoch);

-- name: upgrade_to_3
ALTER TABLE session ADD COLUMN fields BLOB;
ALTER TABLE change ADD COLUMN fields BLOB;
CREATE TABLE line (
    place  INTEGER PRIMARY KEY,
    handle TEXT    NOT NULL,
    name   TEXT    NOT NULL,
    until  REAL    NOT NULL,
    fence  INTEGER,
    UNIQUE (handle, name)
);
CREATE INDEX line_by_end ON line (until);
CREATE TRIGGER session_left AFTER DELETE ON session BEGIN DELETE FROM line WHERE handle = OLD.handle; END;
CREATE TABLE reader (
    name     TEXT NOT NULL PRIMARY KEY,
    position TEXT NOT NULL,
    holder   TEXT NOT NULL,
    until    REAL NOT NULL
);
CREATE TABLE watching (place INTEGER PRIMARY KEY CHECK (place = 1), until REAL NOT NULL);
CREATE TABLE news (place INTEGER PRIMARY KEY, handle TEXT NOT NULL, user_id TEXT, version BLOB NOT NULL, fields BLOB);
CREATE TRIGGER session_written AFTER UPDATE OF version ON session
WHEN EXISTS (SELECT 1 FROM watching WHERE until > (julianday('now') - 2440587.5) * 86400.0)
BEGIN
    INSERT INTO news (handle, user_id, version, fields)
    VALUES (NEW.handle, NEW.user_id, NEW.version,
            CASE WHEN substr(NEW.fields, 1, length(NEW.version)) = NEW.version
            THEN substr(NEW.fields, length(NEW.version) + 1) END);
    DELETE FROM news WHERE place <= last_insert_rowid() - 4096;
END;

-- name: load
SELECT body, accessed_at, fence, leased_until FROM session
WHERE handle = ? AND epoch = (SELECT epoch FROM held);

-- name: create
INSERT INTO session (handle, version, generation, user_id, authenticated_at, accessed_at, idle_for, ends_at, fence,
                     leased_until, body, epoch)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT epoch FROM held))
ON CONFLICT (handle) DO NOTHING;

-- The common commit: only fields changed. It leaves every indexed column alone, so no index is written.
-- name: commit_fields
UPDATE session SET version = ?, body = ?, fields = ?
WHERE handle = ? AND version = ? AND generation = ? AND expires_at > ? AND leased_until <= ?
  AND epoch = (SELECT epoch FROM held);

-- name: commit_all
UPDATE session
SET version = :version, generation = :generation, user_id = :user_id, authenticated_at = :authenticated_at,
    accessed_at = max(accessed_at, :accessed_at), idle_for = :idle_for, ends_at = :ends_at,
    leased_until = CASE WHEN fence > :fence THEN leased_until ELSE :leased_until END, fence = max(fence, :fence),
    body = :body, fields = :fields
WHERE handle = :handle AND version = :base_version AND generation = :base_generation AND expires_at > :now
  AND CASE WHEN :held_fence THEN fence = :held_fence ELSE leased_until <= :now END
  AND epoch = (SELECT epoch FROM held);

-- name: touch
UPDATE session SET accessed_at = max(accessed_at, ?)
WHERE handle = ? AND generation = ? AND expires_at > ? AND epoch = (SELECT epoch FROM held);

-- name: lease
-- (RETURNING gives whole numbers as integers, also those of REAL columns.)
UPDATE session SET fence = fence + 1, leased_until = ?
WHERE handle = ? AND generation = ? AND expires_at > ? AND leased_until <= ?
  AND epoch = (SELECT epoch FROM held)
RETURNING body, accessed_at + 0.0, fence, leased_until + 0.0;

-- name: lease_held
SELECT 1 FROM line WHERE handle = ? AND name = ? AND fence = ?;

-- name: line_first
SELECT name FROM line WHERE handle = ? AND fence IS NULL AND until > ? ORDER BY place LIMIT 1;

-- name: line_stay
UPDATE line SET until = :until WHERE handle = :handle AND name = :name AND fence IS NULL AND until > :now;

-- name: line_come
INSERT OR REPLACE INTO line (handle, name, until) VALUES (:handle, :name, :until);

-- name: line_leave
DELETE FROM line WHERE handle = :handle AND name = :name AND fence IS NULL;

-- name: line_took
INSERT OR REPLACE INTO line (handle, name, until, fence) VALUES (:handle, :name, :until, :fence);

-- name: line_over
DELETE FROM line WHERE handle = :handle AND until <= :now;

-- name: end_one
DELETE FROM session WHERE handle = ? RETURNING handle, user_id, expires_at;

-- name: end_idle
DELETE FROM session WHERE accessed_at <= :idle_since AND handle IS NOT :keep
RETURNING handle, user_id, expires_at;

-- name: new_era
UPDATE held SET epoch = epoch + 1;

-- name: keep
UPDATE session SET epoch = epoch + 1 WHERE handle = ? AND epoch = (SELECT epoch FROM held) - 1;

-- name: clear
DELETE FROM session
WHERE handle IN (SELECT handle FROM session WHERE epoch < (SELECT epoch FROM held) ORDER BY epoch LIMIT ?)
RETURNING handle, user_id, expires_at;

-- Of those that ended with all others, and were not removed yet, the one whose place another takes.
-- name: clear_one
DELETE FROM session WHERE handle = ? AND version <> ? AND epoch < (SELECT epoch FROM held)
RETURNING handle, user_id, expires_at;

-- name: end_of_user
DELETE FROM session
WHERE user_id = :user_id AND (:idle_since IS NULL OR accessed_at <= :idle_since) AND handle IS NOT :keep
RETURNING handle, user_id, expires_at;

-- name: any_dead
SELECT 1
WHERE EXISTS (SELECT 1 FROM session WHERE expires_at <= ?)
   OR EXISTS (SELECT 1 FROM session WHERE epoch < (SELECT epoch FROM held));

-- Whether there is anything to tidy up: facts that are too old, beside the newest of them, and who stood in line.
-- name: any_old
SELECT 1
WHERE (SELECT at FROM change ORDER BY position LIMIT 1 OFFSET 1) < :horizon
   OR EXISTS (SELECT 1 FROM line WHERE until <= :now);

-- name: trim_old
DELETE FROM change
WHERE position < (SELECT max(position) FROM (
    SELECT position, max(at) OVER (ORDER BY position) AS latest
    FROM (SELECT position, at FROM change ORDER BY position LIMIT :limit OFFSET 1))
  WHERE latest < :horizon);

-- name: line_trim
DELETE FROM line WHERE place IN (SELECT place FROM line WHERE until <= :now ORDER BY until LIMIT :limit);

-- name: purge
DELETE FROM session
WHERE handle IN (SELECT handle FROM session WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
RETURNING handle, user_id, expires_at;

-- (+epoch: nearly all are of this epoch. Its index would find everything, to be sorted for each page.)
-- name: summaries
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE handle > ? AND expires_at > ? AND +epoch = (SELECT epoch FROM held) ORDER BY handle LIMIT ?;

-- name: summaries_of_user
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE user_id = ? AND handle > ? AND expires_at > ? AND +epoch = (SELECT epoch FROM held) ORDER BY handle LIMIT ?;

-- name: by_activity_descending
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE accessed_at <= :accessed_at AND (accessed_at < :accessed_at OR handle < :handle) AND +expires_at > :now
  AND +epoch = (SELECT epoch FROM held)
ORDER BY accessed_at DESC, handle DESC LIMIT :limit;

-- name: by_activity_ascending
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE accessed_at >= :accessed_at AND (accessed_at > :accessed_at OR handle > :handle) AND +expires_at > :now
  AND +epoch = (SELECT epoch FROM held)
ORDER BY accessed_at, handle LIMIT :limit;

-- name: walk
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE handle > ? AND +epoch = (SELECT epoch FROM held) ORDER BY handle LIMIT ?;

-- name: user_oldest_first
SELECT handle FROM session
WHERE user_id = ? AND expires_at > ? AND handle <> ? AND +epoch = (SELECT epoch FROM held)
ORDER BY authenticated_at, handle;

-- name: least_used
SELECT handle FROM session ORDER BY accessed_at, handle LIMIT ?;

-- name: held
SELECT sessions FROM held;

-- name: note
INSERT INTO change (id, kind, at, handle, user_id, reason, fields) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: trim
DELETE FROM change WHERE position <= ?;

-- name: changes
SELECT position, id, kind, at, handle, user_id, reason, fields FROM change
WHERE position > ? ORDER BY position LIMIT ?;

-- name: kept
SELECT (SELECT min(position) FROM change), (SELECT max(position) FROM change);

-- name: bookmark
INSERT INTO reader (name, position, holder, until)
VALUES (:reader, coalesce(:position, '0'), :holder, :until)
ON CONFLICT (name) DO UPDATE
SET position = coalesce(:position, position), holder = excluded.holder, until = excluded.until
WHERE holder = excluded.holder OR until <= :now
RETURNING position;

-- name: watched
SELECT until FROM watching;

-- name: watch
INSERT OR REPLACE INTO watching VALUES (1, ?);

-- name: news
SELECT place, handle, user_id, version, fields FROM news WHERE place > ? ORDER BY place LIMIT ?;

-- name: fact_news
SELECT position, kind, handle, user_id FROM change WHERE position > ? ORDER BY position LIMIT ?;

-- name: newest
SELECT (SELECT max(place) FROM news), (SELECT max(position) FROM change);

-- name: everything
SELECT handle, body, version, generation, user_id, authenticated_at, accessed_at, idle_for, ends_at, fence, leased_until
FROM session;
