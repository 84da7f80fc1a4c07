"""A packed R-tree is one that SQLite itself accepts, searches and goes on editing."""

import sqlite3

import numpy as np
import pytest

from twin.store import rtree_bulk


@pytest.fixture
def db():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE r USING rtree(id, minx, maxx, miny, maxy)")
    yield connection
    connection.close()


def boxes_at(rng, n):
    x, y = 500000 + rng.random(n) * 5000, 3100000 + rng.random(n) * 3000
    return np.stack([x, x + rng.random(n) * 30, y, y + rng.random(n) * 30], axis=1)


def ids_in(db, w, e, s, n):
    found = db.execute("SELECT id FROM r WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?", (w, e, s, n))
    return {row[0] for row in found}


@pytest.mark.parametrize("n", [1, 51, 52, 600, 2601, 2602, 20_000])
def test_every_search_finds_what_brute_force_finds(db, n):
    rng = np.random.default_rng(n)
    ids, boxes = rng.permutation(10 * n)[:n].astype(np.int64), boxes_at(rng, n)
    rtree_bulk.insert(db, "r", ids, boxes)
    assert db.execute("SELECT rtreecheck('r')").fetchone() == ("ok",)
    assert db.execute("SELECT count(*) FROM r").fetchone() == (n,)
    for _ in range(30):
        w, s = 500000 + rng.random() * 5000, 3100000 + rng.random() * 3000
        e, top = w + rng.random() * 900, s + rng.random() * 900
        hit = (boxes[:, 1] >= w) & (boxes[:, 0] <= e) & (boxes[:, 3] >= s) & (boxes[:, 2] <= top)
        near = (boxes[:, 1] >= w - 1) & (boxes[:, 0] <= e + 1) & (boxes[:, 3] >= s - 1) & (boxes[:, 2] <= top + 1)
        assert set(ids[hit].tolist()) <= ids_in(db, w, e, s, top) <= set(ids[near].tolist())


def test_a_packed_tree_can_be_edited_and_packed_again(db):
    rng = np.random.default_rng(1)
    boxes = boxes_at(rng, 9000)
    rtree_bulk.insert(db, "r", np.arange(1000), boxes[:1000])
    db.executemany("DELETE FROM r WHERE id = ?", [(i,) for i in range(0, 1000, 2)])
    rtree_bulk.insert(db, "r", np.arange(1000, 1400), boxes[1000:1400])  # few: one by one
    rtree_bulk.insert(db, "r", np.arange(1400, 9000), boxes[1400:])  # many: packed anew
    db.execute("INSERT INTO r VALUES (10000, 0, 1, 0, 1)")
    assert db.execute("SELECT rtreecheck('r')").fetchone() == ("ok",)
    assert ids_in(db, 0, 1e7, 0, 1e7) == {*range(1, 1000, 2), *range(1000, 9000), 10000}
