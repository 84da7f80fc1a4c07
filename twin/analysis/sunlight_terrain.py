"""Sunlight with the ground in the way: hills cut from the stretches that the buildings leave.

Unlike the walls, the ground is looked at in steps: each minute of the day, ends narrowed down to a second; along the
ray at every line between centres of cells.
Beyond the edge of the terrain model nothing hides; a window whose ray passes a hole in it has no hours.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis import sun_position
from twin.analysis.elevation import elevation
from twin.analysis.progress import SILENT, Progress
from twin.analysis.sunlight_day import Day
from twin.analysis.sunlight_shadow import Stretches, reach_m

if TYPE_CHECKING:
    from twin.analysis.elevation import Elevation
    from twin.analysis.sunlight_hours import Sunlight
    from twin.city import City

FloatArray = NDArray[np.float64]

MOST_CELLS = 25_000_000
RELIEF_M = 1000.0
"""The ground is looked at as far as a hill so much higher than a window could hide the sun."""


def common(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
    """Stretches that are in both of two ascending lists."""
    found = [[max(x[0], y[0]), min(x[1], y[1])] for x in a for y in b]
    return sorted(each for each in found if each[1] > each[0])


def behind_hills(
    city: "City",
    points: FloatArray,
    lit: "Sunlight",
    day: Day,
    where: Mapping[str, Any],
    *,
    progress: Progress = SILENT,
) -> "Sunlight":
    """The same windows with the ground of the city in the way too. NotFound where the city has no terrain model."""
    from twin.analysis.sunlight_ground import free_stretches

    rows = np.flatnonzero(~np.isnan(lit.at_least_h))
    if not rows.size:
        return lit
    ground = _ground(city, points[rows], day, where["latitude_deg"][rows])
    heights, grid = ground.read(), ground.grid
    top = float(np.nanmax(heights, initial=-np.inf))
    ways = sun_position.path(where["latitude_deg"], day.declination_deg, where["convergence_deg"])
    first, last = sun_position.hour_angle([day.from_h, day.to_h]).tolist()
    steps = int(np.ceil((day.to_h - day.from_h) * 60))
    at_least, at_most = lit.at_least_h.copy(), lit.at_most_h.copy()
    kept: list[list[list[float]]] = [[] for _ in points]
    longest = dict(lit.longest)
    for done, i in enumerate(rows.tolist(), 1):
        free, is_known = free_stretches(
            points[i], ways[i], first, last, steps, heights, grid.west, grid.north, grid.dx, grid.dy, top
        )
        if not is_known:
            at_least[i] = at_most[i] = np.nan
            continue
        open_h = (12.0 + np.degrees(free) / 15.0).tolist()
        kept[i] = common(lit.stretches.of(i), open_h)
        at_least[i] = _sum(kept[i], day.shortest_min)
        if i in longest:
            longest[i] = common(longest[i], open_h)
        at_most[i] = _sum(longest.get(i, kept[i]), day.shortest_min)
        progress(100.0 * done / len(rows), "ground")
    starts = np.concatenate([[0], np.cumsum([len(each) for each in kept])]).astype(np.int64)
    times = np.array([each for some in kept for each in some], np.float64).reshape(-1, 2)
    return replace(
        lit, at_least_h=at_least, at_most_h=at_most, longest=longest,
        stretches=Stretches(starts, times, lit.stretches.inside),
    )  # fmt: skip


def _sum(stretches: list[list[float]], shortest_min: float) -> float:
    return sum(end - start for start, end in stretches if end - start >= shortest_min / 60.0 - 1e-9)


def _ground(city: "City", points: FloatArray, day: Day, latitude: FloatArray) -> "Elevation":
    ends = (float(latitude.min()), float(latitude.max()))
    far = max(reach_m(phi, day.declination_deg, day.from_h, day.to_h, RELIEF_M) for phi in ends)
    low, high = points[:, :2].min(axis=0) - far, points[:, :2].max(axis=0) + far
    box = shapely.box(*low, *high)
    wide = elevation(city, "terrain", None, region=box, cell_m=max(float((high - low).max()) / 256, 0.01))
    west, south, east, north = wide.grid.bounds
    own = city.terrain.cell_m or 1.0
    cell = max(own, float(np.sqrt((east - west) * (north - south) / MOST_CELLS)))
    return elevation(city, "terrain", None, region=box, cell_m=cell)
