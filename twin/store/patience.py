"""How long a reader may look for what was asked for: a filter that calculates for a million rows takes a minute."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from layers.errors import InvalidInput

STEPS = 20_000
"""Of SQLite's machine between two looks at the clock."""
_SECONDS: ContextVar[float | None] = ContextVar("seconds of patience", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Reads that begin in here are given up after so long, with an InvalidInput that says so; scripts have no limit."""
    token = _SECONDS.set(seconds)
    try:
        yield
    finally:
        _SECONDS.reset(token)


@contextmanager
def limited(connection: sqlite3.Connection) -> Iterator[None]:
    """What is executed in here keeps to the limit of whoever reads."""
    seconds = _SECONDS.get()
    if seconds is None:
        yield
        return
    end = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > end, STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        raise InvalidInput(
            f"The filter takes longer than {seconds:g} s over what the box and the other conditions leave.",
            "Select less: add a bbox, or conditions on plain attributes.",
        ) from error
    finally:
        connection.set_progress_handler(None, 0)
