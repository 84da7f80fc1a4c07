"""What stands in water: features with their depth and the length that is under water, and the people who live there."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis.elevation import Grid
from twin.analysis.flood_inundation_cells import places
from twin.analysis.progress import SILENT, Progress

FloatArray = NDArray[np.float64]
FEW = 20_000


@dataclass(frozen=True)
class Exposed:
    """(n,) of each geometry: the greatest depth of water in it (NaN where it is dry), the length of lines under water,
    and of these what is deeper than a limit. On the plane.
    """

    depth_m: FloatArray
    length_m: FloatArray
    deep_m: FloatArray

    @property
    def is_wet(self) -> NDArray[np.bool_]:
        """(n,) whether there is water in it."""
        return ~np.isnan(self.depth_m)


def exposed(
    geometries: NDArray[np.object_], depths: NDArray[np.float32], grid: Grid, deeper_than_m: float = 0.0,
    *, progress: Progress = SILENT,
) -> Exposed:  # fmt: skip
    """Which geometries have water inside.

    Parameters
    ----------
    geometries : (n,) in the grid's CRS; None is dry
    depths : (rows, columns) of water, NaN where there is none
    deeper_than_m : lengths with more water than this are told apart

    Notes
    -----
    Exact for the cells as they are: an area is exposed where its inside meets the inside of a flooded cell; a line or
    point on a side between cells only where all of them are flooded.
    """
    shapes = np.asarray(geometries, dtype=object)
    n = len(shapes)
    depth, length, deep = np.full(n, -np.inf), np.zeros(n), np.zeros(n)
    rows = _near(shapes, depths, grid)
    for start in range(0, len(rows), FEW):
        chosen = rows[start : start + FEW]
        for part in places(shapes[chosen], grid):
            wet = part.least(depths)
            is_wet = ~np.isnan(wet)
            owner = chosen[part.owner[is_wet]]
            np.maximum.at(depth, owner, wet[is_wet])
            length += np.bincount(owner, part.length_m[is_wet], n)
            more = is_wet & (wet > deeper_than_m)
            deep += np.bincount(chosen[part.owner[more]], part.length_m[more], n)
            progress(100.0 * start / len(rows), "exposed")
    depth[np.isneginf(depth)] = np.nan
    return Exposed(depth, length, deep)


def _near(shapes: NDArray[np.object_], depths: NDArray[np.float32], grid: Grid) -> NDArray[np.int64]:
    """Rows of geometries whose box meets the box of the water: the others need no look."""
    is_wet = ~np.isnan(depths)
    rows, columns = np.flatnonzero(is_wet.any(axis=1)), np.flatnonzero(is_wet.any(axis=0))
    if not rows.size:
        return np.empty(0, np.int64)
    box = grid.cut(rows[0], columns[0], rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1).bounds
    west, south, east, north = shapely.bounds(shapes).T
    with np.errstate(invalid="ignore"):
        meets = (west <= box[2]) & (east >= box[0]) & (south <= box[3]) & (north >= box[1])
    return np.flatnonzero(meets)


@dataclass(frozen=True)
class Spread:
    """People of areas spread over homes: (n homes,) people, NaN where not known; rows of areas without a home."""

    people: FloatArray
    without_home: NDArray[np.int64]


def spread(areas: NDArray[np.object_], people: FloatArray, homes: NDArray[np.object_], weights: FloatArray) -> Spread:
    """Spread people over the homes of their area by weight (floor area).

    A home belongs to the area that its inner point lies in; one in no area, or in an area whose number of people is
    not known (NaN), has NaN people. The sum over the homes of an area is the area's number.

    Raises
    ------
    InvalidInput
        A home lies in two areas (people would be counted twice).
    """
    points = shapely.point_on_surface(homes)
    home, area = shapely.STRtree(areas).query(points, predicate="intersects")
    twice = np.flatnonzero(np.bincount(home, minlength=len(homes)) > 1)
    if twice.size:
        first = area[home == twice[0]][:2]
        raise InvalidInput(
            f"population: areas {first[0]} and {first[1]} overlap, people would be counted twice.",
            "Choose areas of one level, for example with a filter.",
        )
    total = np.bincount(area, weights[home], len(areas))
    out = np.full(len(homes), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        out[home] = np.where(people[area] == 0, 0.0, people[area] * weights[home] / total[area])
    empty = np.flatnonzero((np.bincount(area, minlength=len(areas)) == 0) & ~(people == 0))
    return Spread(out, empty)
