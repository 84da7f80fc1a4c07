"""Trees kept from version to version: of now, of a moment that is past, of one that is still to come."""

import dataclasses
from datetime import UTC, datetime

import numpy as np

from tests.tiles.towns import MemoryStore, boxes, layer_type
from tiles import forest as module
from tiles.forest import Forest, Selection
from twin.scope import EVERYTHING


class Versions:
    """A store whose layer has as many boxes as its version says, and the forest over it."""

    def __init__(self):
        self.store = MemoryStore(layer_type(), np.zeros((0, 6)))
        self.forest = Forest()

    def n(self, version, count, updated, selection):
        self.store.bounds, self.store.layer_version = boxes(count, 300.0), version
        info = dataclasses.replace(self.store.layer("building", EVERYTHING), updated=updated)
        return len(self.forest.tree(self.store, info, EVERYTHING, selection).members)


def test_the_tree_of_now_follows_each_version_and_never_goes_back():
    kept = Versions()
    assert kept.n(1, 10, "2026-01-01T00:00:00Z", Selection()) == 10
    assert kept.n(2, 12, "2026-02-01T00:00:00Z", Selection()) == 12
    assert kept.n(1, 10, "2026-01-01T00:00:00Z", Selection()) == 12  # whoever still holds the older version


def test_a_moment_to_come_is_read_anew_until_it_is_past():
    kept, moment = Versions(), Selection(at=datetime(2030, 1, 1, tzinfo=UTC))
    assert kept.n(1, 10, "2026-01-01T00:00:00Z", moment) == 10
    # two writes since the last look, the second after the moment: what is kept missed the first one
    assert kept.n(3, 15, "2031-01-01T00:00:00Z", moment) == 15
    assert kept.n(4, 20, "2032-01-01T00:00:00Z", moment) == 15  # past: later writes change nothing


def test_selections_made_up_by_strangers_do_not_pile_up_nor_push_a_layer_out(monkeypatch):
    monkeypatch.setattr(module, "MAX_TREES", 5)
    kept = Versions()
    kept.n(1, 10, "2026-01-01T00:00:00Z", Selection())
    for year in range(1990, 2010):
        kept.n(1, 10, "2026-01-01T00:00:00Z", Selection(at=datetime(year, 1, 1, tzinfo=UTC)))
    held = list(kept.forest._kept)
    assert len(held) == 5
    assert held[0][2] == b""  # the whole layer
    assert held[-1][2] == Selection(at=datetime(2009, 1, 1, tzinfo=UTC)).key
