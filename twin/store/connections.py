"""SQLite connections: a pool for readers, so that no two threads ever share one, and one for the writer."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from urllib.parse import quote

from layers.errors import CityTwinError, InvalidInput, NotFound
from twin.store import sql_functions

BUSY_TIMEOUT_S = 30


def connect(path: Path, *, create: bool = False, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode. NotFound where there is no file, InvalidInput where it is no database."""
    if not create and not path.is_file():
        raise NotFound(f"There is no store {path}.", "Build the twin first: citytwin build SOURCE_DIR TWIN_DIR.")
    mode = "mode=rwc" if create else "mode=rw"
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        if read_only:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -16000")
            sql_functions.register(connection)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.DatabaseError as error:
        connection.close()
        raise InvalidInput(f"{path} is not a GeoPackage: {error}.", "Restore it, or build the twin again.") from error
    return connection


class ReaderPool:
    """Idle read connections. A reader takes one out for as long as it reads, so it may wander between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = Lock()
        self._is_closed = False

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
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
