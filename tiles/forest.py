"""The trees of a store's layers, kept in memory and led on from version to version.

A tree is kept for each layer, asker and selection. Where the store still knows what happened since the kept version,
the next tree follows from that; else it is built anew. At a million features the one takes a tenth of a second, the
other some seconds.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import orjson

from tiles import tree
from tiles.tree import Tree
from twin.scope import Scope
from twin.store.interface import LayerInfo, Query, Store

MAX_MEMBERS = 6_000_000
"""Features in all kept trees of a store, some 120 bytes each; the tree that was grown last is kept in any case."""
MAX_TREES = 512
"""Also of selections that hold nothing."""


@dataclass(frozen=True)
class Selection:
    """Which features of a layer: those that a CQL2 filter (JSON, in the city's CRS) passes, as they were `at` a moment.

    The default is all of them, now.
    """

    filter: dict[str, Any] | None = None
    at: datetime | None = None

    @property
    def key(self) -> bytes:
        """The same for equal selections."""
        return b"" if self == EVERYTHING_NOW else orjson.dumps([self.filter, self.at], option=orjson.OPT_SORT_KEYS)


EVERYTHING_NOW = Selection()

_Key = tuple[str, Scope, bytes]
_FINAL = 2**62
"""In place of a version: no later one changes this tree."""


class Forest:
    """Trees of one store. Thread-safe: one tree is grown at a time; who wants a grown one need not wait."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, tuple[int, Tree | None]] = OrderedDict()
        self._growing = threading.RLock()

    def tree(self, store: Store, info: LayerInfo, scope: Scope, selection: Selection = EVERYTHING_NOW) -> Tree | None:
        """The tree of a layer at its version; None where the selection holds no mesh.

        Raises InvalidInput for a filter that does not fit the layer.
        """
        key = (info.id, scope, selection.key)
        kept = self._kept.get(key)
        if kept is None or kept[0] != info.version:
            with self._growing:
                kept = self._kept.get(key)
                if kept is None or kept[0] < info.version:
                    kept = self._grown(store, info, scope, selection, kept)
                    self._kept[key] = kept
                    self._kept.move_to_end(key)
                    self._fell()
        return kept[1]

    def _grown(
        self, store: Store, info: LayerInfo, scope: Scope, selection: Selection, kept: tuple[int, Tree | None] | None
    ) -> tuple[int, Tree | None]:
        if selection.filter is not None:
            return info.version, self._filtered(store, info, scope, selection)
        if selection.at is not None:
            table = store.mesh_table(info.id, scope, selection.at)
            # what was true before the last write stays so; a moment that is still to come does not
            is_final = selection.at < datetime.fromisoformat(info.updated).astimezone(UTC)
            return _FINAL if is_final else info.version, tree.build(table) if len(table.fids) else None
        if kept is not None and kept[1] is not None:
            changes = store.mesh_changes(info.id, kept[0], scope)
            if changes is not None:
                # a tree read while somebody wrote may hold some of what came already
                gone = np.union1d(changes.gone, changes.came.fids)
                return changes.version, tree.changed(kept[1], gone, changes.came)
        table = store.mesh_table(info.id, scope)
        return info.version, tree.build(table) if len(table.fids) else None

    def _filtered(self, store: Store, info: LayerInfo, scope: Scope, selection: Selection) -> Tree | None:
        """Tiles of a filtered layer are those of the whole one with less in them."""
        query = Query(filter=selection.filter, at=selection.at, properties=(), with_geometry=False)
        batches = [each.fids for each in store.query(info.id, query, scope)]
        whole = self.tree(store, info, scope, Selection(at=selection.at))
        if whole is None or not batches:
            return None
        return whole.subset(np.isin(whole.members.fids, np.concatenate(batches)))

    def _fell(self) -> None:
        """Give up the trees grown longest ago, selections before whole layers: strangers make up selections."""
        newest = next(reversed(self._kept))
        n = sum(len(each.members) for _, each in self._kept.values() if each is not None)
        for key in sorted(self._kept, key=lambda key: not key[2]):  # stable: the oldest of each kind first
            if n <= MAX_MEMBERS and len(self._kept) <= MAX_TREES:
                return
            if key != newest:
                _, fallen = self._kept.pop(key)
                n -= 0 if fallen is None else len(fallen.members)


_forests: WeakKeyDictionary[Store, Forest] = WeakKeyDictionary()
_planting = threading.Lock()


def of_store(store: Store) -> Forest:
    """The forest of a store; the same one for everybody."""
    with _planting:
        return _forests.setdefault(store, Forest())
