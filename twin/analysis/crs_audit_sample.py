"""Features spread over a whole layer, in bounded memory: windows of neighbours at equal steps of row numbers."""

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.store.interface import Features, Query

if TYPE_CHECKING:
    from twin.city import City

WINDOWS = 50
NEAR_M = 50_000.0
LEAST_M = 4_000.0
IDS_AT_ONCE = 500


class Sample:
    """Geometries and the values of one attribute beside them."""

    def __init__(self) -> None:
        self._shapes: list[Any] = []
        self.keys: list[Any] = []

    def add(self, features: Features, match: str | None) -> None:
        """Those of a batch that have a geometry."""
        rows = [i for i, shape in enumerate(features.geometry) if shape is not None and not shape.is_empty]
        self._shapes += [features.geometry[i] for i in rows]
        if match is not None:
            self.keys += features.attributes.column(match).take(rows).to_pylist()

    @property
    def geometry(self) -> NDArray[np.object_]:
        """(n,) shapes."""
        return np.array([*self._shapes, None], dtype=object)[:-1]


def spread(city: "City", layer: str, match: str | None, most: int) -> Sample:
    """Up to `most` features: all of a small layer, else windows from its first row to its last."""
    made = Sample()
    properties = () if match is None else (match,)
    if city.store.layer(layer, city.scope).count <= most:
        starts, size = [0], most
    else:
        starts = np.linspace(0, _last_fid(city, layer), WINDOWS, endpoint=False).astype(int).tolist()
        size = most // WINDOWS
    seen = 0
    for start in starts:
        query = Query(properties=properties, after_fid=max(start, seen), limit=size)
        for features in city.store.query(layer, query, city.scope):
            made.add(features, match)
            seen = int(features.fids[-1])
    return made


def _last_fid(city: "City", layer: str) -> int:
    """The greatest row number, by halving: row numbers have gaps, and no read of the whole layer is needed."""

    def is_beyond(fid: int) -> bool:
        query = Query(properties=(), after_fid=fid, limit=1, with_geometry=False)
        return not any(len(features) for features in city.store.query(layer, query, city.scope))

    high = 1
    while not is_beyond(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_beyond(middle) else (middle, high)
    return high


def matching(city: "City", layer: str, match: str, keys: list[Any]) -> Sample:
    """Features of a layer whose attribute has one of the values."""
    made = Sample()
    wanted = sorted({key for key in keys if key is not None})
    for start in range(0, len(wanted), IDS_AT_ONCE):
        words = {"op": "in", "args": [{"property": match}, wanted[start : start + IDS_AT_ONCE]]}
        for features in city.store.query(layer, Query(properties=(match,), filter=words), city.scope):
            made.add(features, match)
    return made


def around(city: "City", layer: str, xy: NDArray[np.float64], most: int) -> tuple[Sample, NDArray[np.bool_]]:
    """All features of a layer about the middle of (n, 2) places, and which places lie well inside of what was read.

    The box is halved until it holds at most `most` features: the nearest outline is only right where all are there.
    """
    made = Sample()
    if city.store.layer(layer, city.scope).count <= most:
        for features in city.store.query(layer, Query(properties=()), city.scope):
            made.add(features, None)
        return made, np.ones(len(xy), bool)
    centre, reach_m = np.median(xy, axis=0), NEAR_M
    centre = xy[np.argmin(np.hypot(*(xy - centre).T))]
    while True:
        region = shapely.box(*(centre - reach_m), *(centre + reach_m))
        if reach_m <= LEAST_M or city.store.count(layer, Query(region=region), city.scope) <= most:
            break
        reach_m /= 2
    for features in city.store.query(layer, Query(properties=(), region=region, limit=most), city.scope):
        made.add(features, None)
    return made, np.asarray((np.abs(xy - centre) <= reach_m - min(3000.0, reach_m / 4)).all(axis=1))
