-- Every statement of the SQLite store, by name. Times are Unix seconds; `body` is the sealed record.
-- What guards a commit stands in columns, so that the compare-and-set is one statement; the body has it again, under
-- its check. `accessed_at`, `fence` and `leased_until` may be newer than the body: a touch and a lease write the columns
-- only, and the columns count. A record of an older epoch than the one in `held` is dead, whatever else it says.

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
    epoch            INTEGER NOT NULL DEFAULT 0
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
    reason   TEXT
);
CREATE TABLE held (sessions INTEGER NOT NULL, epoch INTEGER NOT NULL DEFAULT 0);
INSERT INTO held VALUES (0, 0);
CREATE TRIGGER session_added AFTER INSERT ON session BEGIN UPDATE held SET sessions = sessions + 1; END;
CREATE TRIGGER session_removed AFTER DELETE ON session BEGIN UPDATE held SET sessions = sessions - 1; END;

-- name: upgrade_to_2
ALTER TABLE session ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE held ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
CREATE INDEX session_by_epoch ON session (epoch);

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
UPDATE session SET version = ?, body = ?
WHERE handle = ? AND version = ? AND generation = ? AND expires_at > ? AND leased_until <= ?
  AND epoch = (SELECT epoch FROM held);

-- name: commit_all
UPDATE session
SET version = :version, generation = :generation, user_id = :user_id, authenticated_at = :authenticated_at,
    accessed_at = max(accessed_at, :accessed_at), idle_for = :idle_for, ends_at = :ends_at,
    leased_until = CASE WHEN fence > :fence THEN leased_until ELSE :leased_until END, fence = max(fence, :fence),
    body = :body
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

-- name: end_of_user
DELETE FROM session
WHERE user_id = :user_id AND (:idle_since IS NULL OR accessed_at <= :idle_since) AND handle IS NOT :keep
RETURNING handle, user_id, expires_at;

-- name: any_dead
SELECT 1
WHERE EXISTS (SELECT 1 FROM session WHERE expires_at <= ?)
   OR EXISTS (SELECT 1 FROM session WHERE epoch < (SELECT epoch FROM held));

-- name: purge
DELETE FROM session
WHERE handle IN (SELECT handle FROM session WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
RETURNING handle, user_id, expires_at;

-- name: summaries
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE handle > ? AND expires_at > ? AND epoch = (SELECT epoch FROM held) ORDER BY handle LIMIT ?;

-- name: summaries_of_user
SELECT handle, body, accessed_at, fence, leased_until FROM session
WHERE user_id = ? AND handle > ? AND expires_at > ? AND epoch = (SELECT epoch FROM held) ORDER BY handle LIMIT ?;

-- name: user_oldest_first
SELECT handle FROM session
WHERE user_id = ? AND expires_at > ? AND handle <> ? AND epoch = (SELECT epoch FROM held)
ORDER BY authenticated_at, handle;

-- name: least_used
SELECT handle FROM session ORDER BY accessed_at, handle LIMIT ?;

-- name: held
SELECT sessions FROM held;

-- name: note
INSERT INTO change (id, kind, at, handle, user_id, reason) VALUES (?, ?, ?, ?, ?, ?);

-- name: trim
DELETE FROM change WHERE position <= ?;

-- name: changes
SELECT position, id, kind, at, handle, user_id, reason FROM change WHERE position > ? ORDER BY position LIMIT ?;

-- name: everything
SELECT handle, body, version, generation, user_id, authenticated_at, accessed_at, idle_for, ends_at, fence, leased_until
FROM session;
