"""One point cloud of the twin, opened: its file, its tree, its colours; kept in memory while it is used.

Clouds are kept by what their tiles depend on; those used longest ago go when together they have more than KEPT_NODES
nodes (some 300 bytes each).
"""

import hashlib
from collections import OrderedDict
from functools import cached_property
from threading import Lock

import numpy as np

from layers.errors import InvalidInput
from tiles.city import TileCity
from tiles.points import colour, encode, tree
from tiles.points.colour import Colour, Facts
from tiles.points.copc import Copc, Key, Records
from tiles.points.place import Placement, placement
from twin.store.interface import Asset

ENCODING = 1
"""Part of every version: raise it when the bytes of a tile change while the file does not."""
KEPT_NODES = 500_000
_SAMPLE_POINTS, _SAMPLE_NODES = 20_000, 64
"""The uppermost nodes are read until there are so many points, to find the ends of ramps."""

_kept: OrderedDict[tuple[str, str], "Cloud"] = OrderedDict()
_kept_lock = Lock()


class Cloud:
    """The tiles of one asset. Thread-safe."""

    def __init__(self, copc: Copc, place: Placement, asset: Asset, version: str) -> None:
        self.copc, self.place, self.asset, self.version = copc, place, asset, version
        self.tree = tree.build(copc, place)
        self._lock = Lock()

    @property
    def facts(self) -> Facts:
        """What decides the colours."""
        with self._lock:
            return self._facts

    @cached_property
    def _facts(self) -> Facts:
        parts, n = [], 0
        filled = np.flatnonzero(self.tree.n_points)[:_SAMPLE_NODES]
        for node in filled.tolist():
            parts.append(self.copc.node(node))
            n += len(parts[-1])
            if n >= _SAMPLE_POINTS:
                break
        sample = np.concatenate(parts) if parts else np.zeros(0, self.copc.header.dtype)
        normal_m = self.place.place(self.copc.coordinates(sample)).normal_m
        return colour.facts(sample, normal_m, self.counted)

    @property
    def counted(self) -> dict[int, int] | None:
        """Points by class as the catalogue has them; None where it does not say."""
        stated = self.asset.meta.get("classes")
        if not isinstance(stated, dict):
            return None
        return {int(number): int(count) for number, count in stated.items() if int(count)}

    def content(self, key: Key, form: encode.Form, asked: Colour | None, only: frozenset[int] | None) -> bytes:
        """The glb of a node that has points.

        Parameters
        ----------
        asked : colours; the cloud's default where they are None or it has no such values
        only : classes to show; None for all
        """
        node = self.tree.index[key]
        known = self.facts
        painted = known.possible(asked)
        records = self.copc.node(node, color=painted == "rgb")
        if only is not None:
            records = records[np.isin(records["classification"], list(only))]
        placed = self.place.place(self.copc.coordinates(records))
        points = encode.Points(placed.enu, colour.linear(painted, records, placed.normal_m, known), _values(records))
        return encode.encode(points, form, self._step_m(node, placed.enu), self.about() | {"node": name(key)})

    def about(self) -> dict[str, str]:
        """Which cloud a tile belongs to."""
        return {"layer": self.asset.layer, "asset": self.asset.id}

    def _step_m(self, node: int, enu: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        if not len(enu):
            return encode.COARSEST_STEP_M
        scale_m = min(abs(each) for each in self.copc.header.scales[:2]) * self.place.metres_per_unit
        low, high = encode.extent(enu)
        reach_m = float((high - low).max()) / 2 + 0.001
        return encode.step_m(float(self.tree.errors[node]), scale_m, reach_m)


def name(key: Key) -> str:
    """`depth-x-y-z`, as in COPC."""
    return "-".join(map(str, key))


def _values(records: Records) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    returns = records["returns"]
    return {
        "classification": records["classification"],
        "intensity": records["intensity"],
        "return_number": returns & 15,
        "number_of_returns": returns >> 4,
    }


def digest(*parts: object) -> str:
    """16 hexadecimal digits that follow from what is given."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def opened(city: TileCity, asset: Asset) -> Cloud:
    """The cloud of an asset.

    InvalidInput for a file that cannot be read, Unplaceable for heights that cannot be converted.
    """
    path = city.folder / asset.path
    try:
        stat = path.stat()
    except OSError as error:
        problem = f"The point cloud {path.name} cannot be read ({error.strerror})."
        raise InvalidInput(problem, "Build the twin again from its source.", code="POINTS_UNREADABLE") from error
    said = (
        ENCODING, asset, stat.st_mtime_ns, stat.st_size, city.config.vertical_crs, city.frame.city_crs,
        city.frame.root_transform, city.frame.height_model.describe(),
    )  # fmt: skip
    version = digest(*said)
    key = (str(path), version)
    with _kept_lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    made = Cloud(Copc(path), placement(city, asset), asset, version)
    with _kept_lock:
        _kept[key] = made
        while len(_kept) > 1 and sum(len(each.tree.keys) for each in _kept.values()) > KEPT_NODES:
            _kept.popitem(last=False)
    return made
