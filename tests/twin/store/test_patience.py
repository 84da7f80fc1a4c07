"""A search that takes too long is given up, says so, and leaves its connection as it was."""

import sqlite3
import time
from contextlib import closing

import pytest

from layers.errors import InvalidInput
from twin.store import patience

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_an_endless_statement_ends():
    with closing(sqlite3.connect(":memory:")) as db:
        begun = time.monotonic()
        with pytest.raises(InvalidInput, match=r"takes longer than 0\.2 s"), patience.within(0.2), patience.limited(db):
            db.execute(ENDLESS).fetchone()
        assert 0.2 <= time.monotonic() - begun < 20
        time.sleep(0.25)
        rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT count(*) FROM n"
        assert db.execute(rows).fetchone() == (100_000,)  # the limit is gone with its reader


def test_whoever_sets_no_limit_has_none():
    with closing(sqlite3.connect(":memory:")) as db, patience.limited(db):
        rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500000) SELECT count(*) FROM n"
        assert db.execute(rows).fetchone() == (500_000,)


def test_other_errors_stay_what_they_are():
    with (
        closing(sqlite3.connect(":memory:")) as db,
        pytest.raises(sqlite3.OperationalError, match="no such table"),
        patience.within(5),
        patience.limited(db),
    ):
        db.execute("SELECT * FROM no_table")
