"""Which model shows which footprint: outlines laid over footprints in plan.

A model (LoD2 from CityGML or CityJSON, a building of an IFC file) and a footprint are one building if they cover at
least half of the smaller one of the two. The overlap that is stated is the share of their union that both cover
(Jaccard index): 1 for equal outlines.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SMALLER_COVERED = 0.5
"""Of the smaller outline's area. Less is a neighbour, or a building that was replaced by another."""


@dataclass(frozen=True)
class Matches:
    """For each of n models, in their order.

    Attributes
    ----------
    footprint : (n,) row of the best footprint, -1 where none fits
    overlap : (n,) intersection / union with it, NaN where none fits
    common_m2 : (n,) area of the intersection, 0 where none fits
    rivals : (n,) how many other footprints fit as well
    """

    footprint: NDArray[np.int64]
    overlap: FloatArray
    common_m2: FloatArray
    rivals: NDArray[np.int64]


def match(models: NDArray[np.object_], footprints: NDArray[np.object_]) -> Matches:
    """(n,) outlines of models and (m,) footprints in one CRS, None allowed -> the footprint of each model.

    The best one is that with the largest common area; of equals the first.
    """
    n = len(models)
    out = Matches(np.full(n, -1), np.full(n, np.nan), np.zeros(n), np.zeros(n, np.int64))
    model, footprint = shapely.STRtree(footprints).query(models, predicate="intersects")
    if not model.size:
        return out
    a, b = _valid(models[model]), _valid(footprints[footprint])
    common = shapely.area(shapely.intersection(a, b))
    area_a, area_b = shapely.area(a), shapely.area(b)
    smaller = np.minimum(area_a, area_b)
    fits = np.flatnonzero((smaller > 0) & (common >= SMALLER_COVERED * smaller))
    order = fits[np.lexsort((footprint[fits], -common[fits], model[fits]))]
    first = np.flatnonzero(np.r_[True, np.diff(model[order]) != 0]) if order.size else np.zeros(0, np.int64)
    best = order[first]
    out.footprint[model[best]] = footprint[best]
    out.common_m2[model[best]] = common[best]
    out.overlap[model[best]] = common[best] / (area_a[best] + area_b[best] - common[best])
    out.rivals[:] = np.maximum(np.bincount(model[fits], minlength=n) - 1, 0)
    return out


def _valid(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    flat = shapely.force_2d(shapes)
    bad = ~shapely.is_valid(flat)
    if bad.any():
        flat[bad] = shapely.make_valid(flat[bad])
    return flat
