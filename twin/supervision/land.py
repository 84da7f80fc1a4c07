"""What the checks of land share: areas of a layer in the place looked at, mended, and how far they reach beyond it."""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from twin.analysis import place
from twin.analysis.control_lines import mended
from twin.analysis.overlay import polygonal
from twin.store.interface import Features, Query
from twin.supervision.check import Context

TOUCH_M2 = 1e-3
"""What lies in the place by less only touches it."""


def areas(context: Context, layer: str, properties: tuple[str, ...], reach_m: float = 0.0) -> Features:
    """Features of a layer with an area, invalid ones mended, without heights; those the place holds part of."""
    found = usable(context.read(layer, reach_m=reach_m, properties=properties))
    if context.region is None or reach_m > 0.0:
        return found
    is_here = shapely.area(shapely.intersection(found.geometry, context.region)) > TOUCH_M2
    return chosen(found, found.geometry, np.flatnonzero(is_here))


def usable(found: Features) -> Features:
    """Those that have an area, mended, without heights."""
    shapes = polygonal(mended(found.geometry))
    return chosen(found, shapes, np.flatnonzero((shapely.get_dimensions(shapes) == 2) & ~shapely.is_empty(shapes)))


def chosen(found: Features, shapes: NDArray[np.object_], rows: NDArray[np.int64]) -> Features:
    """Some rows, with other shapes."""
    some = rows.tolist()
    return Features(
        found.fids[rows], [found.ids[i] for i in some], shapes[rows], found.attributes.take(rows),
        [found.extra[i] for i in some], found.versions[rows], [found.valid_from[i] for i in some],
        [found.valid_to[i] for i in some],
    )  # fmt: skip


def reach_m(context: Context, geometries: Sequence[NDArray[np.object_]]) -> float:
    """How far the place must be widened to hold some geometries wholly, in whole metres; 0 for the whole city."""
    shapes = np.concatenate([*geometries, np.zeros(0, object)])
    if context.region is None or not len(shapes):
        return 0.0
    out, own = shapely.total_bounds(shapes), np.array(shapely.bounds(context.region))
    return float(np.ceil(max(0.0, *(own[:2] - out[:2]), *(out[2:] - own[2:]))))


NO_AREA = Title("该要素没有面的图形", "The feature has no area")


def without_area(context: Context, layer: str, properties: tuple[str, ...]) -> list[str]:
    """Ids of features that have no area, so that nothing can be told of them; only the whole city has such."""
    found = context.read(layer, properties=properties)
    shapes = polygonal(mended(found.geometry))
    lost = (shapely.get_dimensions(shapes) != 2) | shapely.is_empty(shapes)
    return [found.ids[i] for i in np.flatnonzero(lost).tolist()]


def with_same(context: Context, found: Features, layer: str, field: str, properties: tuple[str, ...]) -> Features:
    """Features of the whole city that have a value of a field which some in the place have; `found` for a whole city.

    What is counted by such a value must not end where the place does.
    """
    values = sorted({each for each in place.words(found, field) if each})
    if context.region is None or not values:
        return found
    parts = []
    for low in range(0, len(values), 500):
        chosen_ = {"op": "in", "args": [{"property": field}, values[low : low + 500]]}
        query = Query(filter=chosen_, at=context.moment, properties=properties)
        parts += list(context.city.store.query(layer, query, context.city.scope))
    return place.collected(parts)


def count(context: Context, layer: str) -> int:
    """Features that a layer has anywhere; 0 where the city has no such layer."""
    return context.city.store.layer(layer, context.city.scope).count if context.has(layer) else 0


def item(layer: str, name: str) -> str:
    """Address of a feature, as evidence."""
    return f"/collections/{layer}/items/{name}"
