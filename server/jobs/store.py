"""Jobs in SQLite (WAL) beside the city: shared by the servers and worker processes of a twin, and outlives them all.

Exactly one attempt at a time may write to a job: it holds the job's claim, a secret made when it is taken, and a lease
that it renews. A lease that runs out means that the server which held it is gone; the job is queued again, or has
failed where that happens too often.
"""
# ruff: noqa: S608  what is put together into SQL are constants of this module; values go by parameters

import contextlib
import json
import logging
import queue
import shutil
import sqlite3
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from layers.errors import Busy
from server.jobs.job import ACCEPTED, COLUMNS, DISMISSED, FAILED, RUNNING, SUCCESSFUL, Job, Output, from_row

LOG = logging.getLogger("citytwin.jobs")
FOLDER = "jobs"
LEASE_S = 10.0
MOST_ATTEMPTS = 2
BUSY_S = 20.0
ORPHAN_S = 86_400.0
_ROW = ", ".join(COLUMNS)
_SHORT_ROW = ", ".join("'{}'" if name == "request" else name for name in COLUMNS)
_FORGET = "claim = NULL, lease = NULL, request = json_remove(request, '$.inputs')"
"""When a job is over: nobody may write to it any more, and its inputs, which may be large, are not kept."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, process TEXT NOT NULL, status TEXT NOT NULL,
  message TEXT NOT NULL, progress INTEGER NOT NULL, created REAL NOT NULL, started REAL, finished REAL,
  updated REAL NOT NULL, scope TEXT NOT NULL, request TEXT NOT NULL, claim TEXT, lease REAL, attempts INTEGER NOT NULL,
  outputs TEXT, bytes INTEGER NOT NULL, problem TEXT);
CREATE INDEX IF NOT EXISTS job_status ON job (status, seq);
CREATE TABLE IF NOT EXISTS turn (key TEXT PRIMARY KEY, last REAL NOT NULL) WITHOUT ROWID;
"""
_VERSION = 2


class QueueFull(Busy):
    """As many jobs wait as may."""


@dataclass(frozen=True)
class Wanted:
    """Which jobs of a list; everything that is set must hold. Durations in seconds, times in seconds since 1970."""

    processes: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    created: tuple[float | None, float | None] = (None, None)
    duration_s: tuple[float | None, float | None] = (None, None)
    before: int | None = None


class JobStore:
    """The jobs of one twin's folder. Thread-safe; any number of processes may have it open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER
        self.path = self.folder / "jobs.sqlite"
        self._free: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        weakref.finalize(self, _close_all, self._free)

    @property
    def exists(self) -> bool:
        """Whether there was ever a job."""
        return self.path.exists()

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        _close_all(self._free)

    def results(self, job_id: str) -> Path:
        """Folder with the outputs of a job."""
        return self.folder / "results" / job_id

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._free.get_nowait()
        except queue.Empty:
            connection = self._open()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._free.put(connection)

    def _open(self) -> sqlite3.Connection:
        is_new = not self.path.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            if is_new or connection.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _all(self, sql: str, *values: Any) -> list[Any]:
        with self._connection() as connection:
            return connection.execute(sql, values).fetchall()

    def _changed(self, sql: str, *values: Any) -> bool:
        with self._writing() as connection:
            return connection.execute(sql, values).rowcount > 0

    # -- the asker's side

    def submit(self, process: str, request: dict[str, Any], scope: str, *, most_waiting: int) -> Job:
        """Put a job at the end of the queue. QueueFull if that many wait already, Busy where nothing can be written."""
        try:
            return self._submit(process, request, scope, most_waiting)
        except (OSError, sqlite3.OperationalError) as error:
            LOG.exception("A job could not be stored.")
            raise Busy("The server cannot take jobs now; its log says why.", "Try again later.") from error

    def _submit(self, process: str, request: dict[str, Any], scope: str, most_waiting: int) -> Job:
        now, job_id = time.time(), str(uuid.uuid4())
        with self._writing() as connection:
            waiting = connection.execute("SELECT count(*) FROM job WHERE status = ?", (ACCEPTED,)).fetchone()[0]
            if waiting >= most_waiting:
                raise QueueFull(f"{waiting} jobs wait already, as many as may.", "Try again later.")
            row = connection.execute(
                "INSERT INTO job (id, process, status, message, progress, created, updated, scope, request, attempts, "
                f"bytes) VALUES (?, ?, ?, 'waiting', 0, ?, ?, ?, ?, 0, 0) RETURNING {_ROW}",
                (job_id, process, ACCEPTED, now, now, scope, json.dumps(request)),
            ).fetchone()
        return from_row(row)

    def get(self, job_id: str, scope: str) -> Job | None:
        """One job; None where there is none for who asks."""
        if not self.exists:
            return None
        rows = self._all(f"SELECT {_ROW} FROM job WHERE id = ? AND scope = ?", job_id, scope)
        return from_row(rows[0]) if rows else None

    def listed(self, wanted: Wanted, scope: str, limit: int) -> list[Job]:
        """Jobs, the newest first; without what they were asked."""
        if not self.exists:
            return []
        conditions, values = ["scope = ?"], [scope]
        duration = f"(CASE status WHEN '{RUNNING}' THEN ? ELSE finished END - started)"
        statuses = wanted.statuses
        if wanted.duration_s != (None, None) and not statuses:
            statuses = (RUNNING, SUCCESSFUL, FAILED, DISMISSED)
        bounds: Sequence[tuple[str, tuple[Any, ...]]] = (
            ("seq < ?", (wanted.before,)),
            ("created >= ?", (wanted.created[0],)),
            ("created <= ?", (wanted.created[1],)),
            (f"{duration} >= ?", (time.time(), wanted.duration_s[0])),
            (f"{duration} <= ?", (time.time(), wanted.duration_s[1])),
        )  # fmt: skip
        for condition, bound in bounds:
            if bound[-1] is not None:
                conditions.append(condition)
                values += bound
        for column, among in (("process", wanted.processes), ("status", statuses)):
            if among:
                conditions.append(f"{column} IN ({', '.join('?' * len(among))})")
                values += among
        sql = f"SELECT {_SHORT_ROW} FROM job WHERE {' AND '.join(conditions)} ORDER BY seq DESC LIMIT ?"
        return [from_row(row) for row in self._all(sql, *values, limit)]

    def dismiss(self, job_id: str, scope: str) -> Job | None:
        """Dismiss a job that waits or runs (it stays, as dismissed), or remove one that is over, with its results."""
        now, key = time.time(), (job_id, scope)
        if not self.exists:
            return None
        with self._writing() as connection:
            row = connection.execute(
                f"UPDATE job SET status = '{DISMISSED}', message = 'dismissed', {_FORGET}, "
                f"finished = ?, updated = ? WHERE id = ? AND scope = ? AND status IN ('{ACCEPTED}', '{RUNNING}') "
                f"RETURNING {_ROW}",
                (now, now, *key),
            ).fetchone()
            if row is None:
                row = connection.execute(f"DELETE FROM job WHERE id = ? AND scope = ? RETURNING {_ROW}", key).fetchone()
                if row is not None:
                    shutil.rmtree(self.results(job_id), ignore_errors=True)
        return from_row(row) if row else None

    def take_turn(self, key: str, now: float, is_due: Callable[[float | None], bool]) -> bool:
        """Whether it is the caller, of all servers, who does what is due; `is_due` gets when it was last done.

        What was never seen before counts as seen now where it is not due.
        """
        with self._writing() as connection:
            row = connection.execute("SELECT last FROM turn WHERE key = ?", (key,)).fetchone()
            due = is_due(None if row is None else row[0])
            if due or row is None:
                connection.execute("INSERT OR REPLACE INTO turn VALUES (?, ?)", (key, now))
        return due

    # -- the worker's side

    def claim(self, most_running: int) -> Job | None:
        """The job that waits longest, now running under a claim of its own; None if none waits or enough run."""
        now = time.time()
        found = self._all(
            f"SELECT EXISTS (SELECT 1 FROM job WHERE status = '{ACCEPTED}') "
            f"OR EXISTS (SELECT 1 FROM job WHERE status = '{RUNNING}' AND lease < ?)",
            now,
        )
        if not found[0][0]:
            return None
        with self._writing() as connection:
            _recover(connection, now)
            row = connection.execute(
                f"UPDATE job SET status = '{RUNNING}', message = 'running', progress = 0, started = ?, updated = ?, "
                "claim = ?, lease = ?, attempts = attempts + 1 WHERE seq = ("
                f"SELECT min(seq) FROM job WHERE status = '{ACCEPTED}') "
                f"AND (SELECT count(*) FROM job WHERE status = '{RUNNING}') < ? RETURNING {_ROW}",
                (now, now, str(uuid.uuid4()), now + LEASE_S, most_running),
            ).fetchone()
        return from_row(row) if row else None

    def claimed(self, job_id: str, claim: str) -> Job | None:
        """The job, if the claim still holds."""
        rows = self._all(f"SELECT {_ROW} FROM job WHERE id = ? AND claim = ?", job_id, claim)
        return from_row(rows[0]) if rows else None

    def holds(self, job_id: str, claim: str) -> bool:
        """Whether the claim still holds."""
        return bool(self._all("SELECT 1 FROM job WHERE id = ? AND claim = ?", job_id, claim))

    def renew(self, job_id: str, claim: str) -> bool:
        """Another lease; False if the claim no longer holds."""
        return self._changed(
            "UPDATE job SET lease = ? WHERE id = ? AND claim = ?", time.time() + LEASE_S, job_id, claim
        )

    def tell(self, job_id: str, claim: str, percent: int, message: str) -> bool:
        """How far it is; False if the claim no longer holds."""
        return self._changed(
            "UPDATE job SET progress = ?, message = ?, updated = ? WHERE id = ? AND claim = ?",
            percent, message, time.time(), job_id, claim,
        )  # fmt: skip

    def succeed(self, job_id: str, claim: str, outputs: Sequence[Output], made: Path) -> bool:
        """Done: the folder `made` becomes the job's results. False, and the folder goes, if the claim is lost."""
        now, size = time.time(), sum(each.n_bytes for each in outputs)
        try:
            with self._writing() as connection:
                held = connection.execute(
                    f"UPDATE job SET status = '{SUCCESSFUL}', message = 'done', progress = 100, finished = ?, "
                    f"updated = ?, {_FORGET}, outputs = ?, bytes = ? WHERE id = ? AND claim = ?",
                    (now, now, json.dumps([asdict(each) for each in outputs]), size, job_id, claim),
                )
                if not held.rowcount:
                    return False
                made.replace(self.results(job_id))
            return True
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def fail(self, job_id: str, claim: str, status: int, detail: str, code: str = "") -> bool:
        """Done without result. `status` and `detail` are of the problem that /results answers with."""
        now, problem = time.time(), {"status": status, "detail": detail, "code": code}
        return self._changed(
            f"UPDATE job SET status = '{FAILED}', message = ?, finished = ?, updated = ?, {_FORGET}, problem = ? "
            "WHERE id = ? AND claim = ?",
            detail, now, now, json.dumps(problem), job_id, claim,
        )  # fmt: skip

    def give_back(self, job_id: str, claim: str) -> bool:
        """Queue it again where it stood, as if it had not been begun: the server goes down in good order."""
        return self._changed(
            f"UPDATE job SET status = '{ACCEPTED}', message = 'waiting', progress = 0, started = NULL, updated = ?, "
            "claim = NULL, lease = NULL, attempts = attempts - 1 WHERE id = ? AND claim = ?",
            time.time(), job_id, claim,
        )  # fmt: skip

    def tidy(self, keep_s: float, keep_bytes: int, keep_jobs: int) -> int:
        """Remove jobs that are over: older ones than `keep_s`, and the oldest while there are more than may be kept."""
        over = f"status IN ('{SUCCESSFUL}', '{FAILED}', '{DISMISSED}')"
        with self._writing() as connection:
            gone = connection.execute(
                f"DELETE FROM job WHERE {over} AND (finished < ? OR seq IN (SELECT seq FROM (SELECT seq, "
                f"sum(bytes) OVER newer AS size, count(*) OVER newer AS n FROM job WHERE {over} "
                "WINDOW newer AS (ORDER BY seq DESC)) WHERE size > ? OR n > ?)) RETURNING id",
                (time.time() - keep_s, keep_bytes, keep_jobs),
            ).fetchall()
        for (job_id,) in gone:
            shutil.rmtree(self.results(job_id), ignore_errors=True)
        self._sweep()
        return len(gone)

    def _sweep(self) -> None:
        """Folders of attempts that were killed, and of jobs that are no more."""
        known = {row[0] for row in self._all("SELECT id FROM job")}
        for folder in (self.folder / "results").glob("*"):
            with contextlib.suppress(OSError):
                if folder.name not in known and folder.stat().st_mtime < time.time() - ORPHAN_S:
                    shutil.rmtree(folder, ignore_errors=True)


def _recover(connection: sqlite3.Connection, now: float) -> None:
    """Jobs whose lease ran out: their server is gone. Queued again, or failed at the last attempt."""
    lost = f"status = '{RUNNING}' AND lease < ?"
    words = f"The server stopped while this ran, {MOST_ATTEMPTS} times."
    problem = json.dumps({"status": 500, "detail": words, "code": "SERVER_STOPPED"})
    connection.execute(
        f"UPDATE job SET status = '{FAILED}', message = ?, finished = ?, updated = ?, {_FORGET}, problem = ? "
        f"WHERE {lost} AND attempts >= ?",
        (words, now, now, problem, now, MOST_ATTEMPTS),
    )
    connection.execute(
        f"UPDATE job SET status = '{ACCEPTED}', message = 'waiting again: the server stopped', progress = 0, "
        f"started = NULL, updated = ?, claim = NULL, lease = NULL WHERE {lost}",
        (now, now),
    )


def _close_all(connections: "queue.SimpleQueue[sqlite3.Connection]") -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            connections.get_nowait().close()
