"""Carriageways of the city as areas: roads that are areas as they are, roads that are lines with their width."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis import place
from twin.store.interface import Features, Query

if TYPE_CHECKING:
    from twin.city import City

LAYER = "road"
PROPERTIES = ("width_m",)
REACH_M = 60.0
"""Half of the widest road."""


def carriageways(city: "City", lines: NDArray[np.object_]) -> NDArray[np.object_] | None:
    """Those near some lines; None where the city has no layer of roads."""
    if LAYER not in city:
        return None
    box = shapely.box(*np.add(shapely.total_bounds(lines), np.array([-1, -1, 1, 1]) * REACH_M))
    return areas(city.store.query(LAYER, Query(region=box, properties=PROPERTIES), city.scope))


def areas(found: Iterable[Features]) -> NDArray[np.object_]:
    """Roads of the city -> carriageways; a line without width is none that is known."""
    roads = place.collected(found, LAYER)
    if not len(roads):
        return np.empty(0, object)
    shapes = shapely.force_2d(roads.geometry)
    is_line = shapely.get_dimensions(shapes) == 1
    width = place.numbers(roads, "width_m")
    wide = is_line & (width > 0)
    made = np.array(shapes, dtype=object)
    made[is_line] = None
    made[wide] = shapely.buffer(shapes[wide], width[wide] / 2, cap_style="flat")
    return np.asarray(made[shapely.is_valid(made) & ~shapely.is_empty(made) & (made != None)], object)  # noqa: E711
