"""SQLite connections: a pool for readers, so that no two threads ever share one, and one for the writer."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from urllib.parse import quote
from weakref import finalize

from layers.errors import CityTwinError, InvalidInput, NotFound
from twin.store import patience, sql_functions

BUSY_TIMEOUT_S = 30


def connect(path: Path, *, create: bool = False, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode. NotFound where there is no file, InvalidInput where it is no database."""
    if not create and not path.is_file():
        raise NotFound(f"There is no store {path}.", "Build the twin first: citytwin build SOURCE_DIR TWIN_DIR.")
    connection = _opened(path, _mode(path, create=create, read_only=read_only))
    try:
        if read_only:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -16000")
            sql_functions.register(connection)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        raise CityTwinError(f"{path} cannot be opened: {error}.", f"Check the permissions of {path.parent}.") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise InvalidInput(f"{path} is not a GeoPackage: {error}.", "Restore it, or build the twin again.") from error
    return connection


def _mode(path: Path, *, create: bool, read_only: bool) -> str:
    """How SQLite is to open the file.

    Readers of a WAL database write too (its index, SQLite: wal.html, 6). Where the folder allows no writing, a database
    whose log is empty is opened as one that nobody changes.
    """
    if create:
        return "mode=rwc"
    if not read_only or os.access(path.parent, os.W_OK):
        return "mode=rw"
    log = path.with_name(path.name + "-wal")
    is_whole = not log.exists() or log.stat().st_size == 0
    return "mode=ro&immutable=1" if is_whole else "mode=ro"


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    try:
        return sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
        )
    except sqlite3.OperationalError as error:
        raise CityTwinError(f"{path} cannot be opened: {error}.", f"Check the permissions of {path.parent}.") from error


class ReaderPool:
    """Idle read connections. A reader takes one out for as long as it reads, so it may wander between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = Lock()
        self._is_closed = False
        finalize(self, _close_all, self._idle)  # a script that forgets to close leaves nothing open

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a read transaction: everything read through it is of one moment."""
        if self._is_closed:
            raise CityTwinError("The store is closed.", "Open it again.")
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = connect(self._path, read_only=True)
        try:
            connection.execute("BEGIN")
            with patience.limited(connection):
                yield connection
        finally:
            self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        with self._lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close what is idle; what is still being read from is closed when its reader is done."""
        with self._lock:
            self._is_closed = True
            _close_all(self._idle)


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()
