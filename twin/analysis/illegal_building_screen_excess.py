"""What of each building its permits do not cover. Plane geometry, no city.

A permit is a building's where it names it, or covers a fair share of its footprint, or lies for a fair share under it:
a neighbour's permit that only touches is not. Several permits of a building count together; one permit may have
several buildings.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.parcel_intensity_areas import parts
from twin.analysis.verdict import SAME

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Geometries = NDArray[np.object_]


@dataclass(frozen=True)
class Cover:
    """Of (n,) buildings.

    Attributes
    ----------
    building, permit : rows of the pairs that belong together, by building
    excess : (n,) what no permit of the building covers; the whole footprint where there is none
    excess_m2, share : (n,) its plane area, and that by the area of the footprint
    n_permits : (n,)
    """

    building: IntArray
    permit: IntArray
    excess: Geometries
    excess_m2: FloatArray
    share: FloatArray
    n_permits: IntArray

    def highest(self, heights_m: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
        """(n,) greatest of the permits' heights, NaN where none has one; (n,) whether a permit has none."""
        n = len(self.excess)
        top = np.full(n, -np.inf)
        value = heights_m[self.permit]
        known = ~np.isnan(value)
        np.maximum.at(top, self.building[known], value[known])
        lacks = np.bincount(self.building[~known], minlength=n) > 0
        return np.where(np.isfinite(top), top, np.nan), lacks


def cover(
    footprints: Geometries, permits: Geometries, named: tuple[IntArray, IntArray] | None = None, *, least: float = 0.1
) -> Cover:
    """Hold (n,) footprints against (m,) permitted outlines.

    Parameters
    ----------
    named : pairs of building and permit that name each other; they belong together wherever they lie
    least : share of the footprint, or of the permit, from which on a permit that overlaps is the building's
    """
    n = len(footprints)
    size_m2 = np.asarray(shapely.area(footprints), np.float64)
    building, permit = _pairs(footprints, permits, size_m2, least)
    if named is not None:
        both = np.unique(np.column_stack([np.r_[building, named[0]], np.r_[permit, named[1]]]), axis=0)
        building, permit = both[:, 0].astype(np.int64), both[:, 1].astype(np.int64)
    n_permits = np.bincount(building, minlength=n).astype(np.int64)
    excess = footprints.copy()
    first = np.searchsorted(building, np.arange(n))
    single = np.flatnonzero(n_permits == 1)
    excess[single] = _without(footprints[single], permits[permit[first[single]]])
    for row in np.flatnonzero(n_permits > 1).tolist():
        mine = permits[permit[first[row] : first[row] + n_permits[row]]]
        excess[row] = shapely.difference(footprints[row], shapely.union_all(mine))
    area = np.asarray(shapely.area(excess), np.float64)
    return Cover(building, permit, excess, area, area / size_m2, n_permits)


def _pairs(footprints: Geometries, permits: Geometries, size_m2: FloatArray, least: float) -> tuple[IntArray, IntArray]:
    met = parts(permits, footprints)
    permit_m2 = np.asarray(shapely.area(permits), np.float64)
    wanted = least * np.minimum(size_m2[met.item], permit_m2[met.parcel])
    fair = met.area_m2 >= wanted - SAME
    building, permit = met.item[fair], met.parcel[fair]
    order = np.lexsort((permit, building))
    return building[order], permit[order]


def _without(shapes: Geometries, covers: Geometries) -> Geometries:
    """(k,) shapes less (k,) covers; what is wholly covered is told without cutting."""
    out = np.full(len(shapes), shapely.Polygon(), dtype=object)
    shapely.prepare(covers)
    open_rows = np.flatnonzero(~shapely.covers(covers, shapes))
    out[open_rows] = shapely.difference(shapes[open_rows], covers[open_rows])
    return out
