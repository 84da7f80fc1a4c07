"""How much of each parcel is built on, how much floor stands on it, how much is green. Plane geometry, no city.

Ratios are taken from plane areas: the scale of a projected CRS is the same for a parcel and for what stands on it (to
3e-7 over 100 m at the edge of a 3-degree zone), so that it falls out.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.progress import SILENT, Progress

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Geometries = NDArray[np.object_]

AT_ONCE = 10_000
TOUCH_M2 = 0.01
"""What lies in a parcel with less than this only touches it: no word is said of it."""


@dataclass(frozen=True)
class Parts:
    """Where areas and parcels meet, one row for each pair: `parcel` and `item` are rows, `piece` the common area."""

    parcel: IntArray
    item: IntArray
    piece: Geometries
    area_m2: FloatArray


@dataclass(frozen=True)
class Intensity:
    """Of (n,) parcels; plane m².

    Attributes
    ----------
    area_m2, covered_m2, green_m2 : of the parcel, of the union of footprints in it, of the union of green in it
    floor_m2 : of all buildings whose floor area is known, by the share that lies inside
    n_unknown : buildings in the parcel whose floor area is not known
    parts : buildings and parcels that meet
    """

    area_m2: FloatArray
    covered_m2: FloatArray
    floor_m2: FloatArray
    n_unknown: IntArray
    green_m2: FloatArray
    parts: Parts


def parts(parcels: Geometries, items: Geometries, tree: shapely.STRtree | None = None) -> Parts:
    """Common areas of (n,) parcels and (m,) areas; pairs that only touch are left out. `tree` is that of the areas."""
    known = shapely.STRtree(items) if tree is None else tree
    parcel, item = known.query(parcels, predicate="intersects")
    a, b = shapely.bounds(parcels)[parcel], shapely.bounds(items)[item]
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = (sides > 0).all(axis=1)  # boxes that only meet along a side: most neighbours of a grid
    item, parcel = item[shared], parcel[shared]
    order = np.lexsort((item, parcel))
    item, parcel = item[order], parcel[order]
    shapely.prepare(parcels)
    piece = items[item].copy()
    across = np.flatnonzero(~shapely.covers(parcels[parcel], piece))
    piece[across] = shapely.intersection(parcels[parcel[across]], piece[across])
    area = np.asarray(shapely.area(piece), np.float64)
    keep = area > 0
    return Parts(parcel[keep].astype(np.int64), item[keep].astype(np.int64), piece[keep], area[keep])


def union_areas(found: Parts, n: int) -> FloatArray:
    """(n,) area of the union of each parcel's pieces: where pieces overlap they count once."""
    total = np.bincount(found.parcel, found.area_m2, n).astype(np.float64)
    if len(found.piece) < 2:
        return total
    a, b = shapely.STRtree(found.piece).query(found.piece)
    meet = (a < b) & (found.parcel[a] == found.parcel[b])
    a, b = a[meet], b[meet]
    overlaps = shapely.intersects(found.piece[a], found.piece[b]) & ~shapely.touches(found.piece[a], found.piece[b])
    for parcel in np.unique(found.parcel[a[overlaps]]).tolist():
        first, last = np.searchsorted(found.parcel, [parcel, parcel + 1])
        total[parcel] = shapely.area(shapely.union_all(found.piece[first:last]))
    return total


def intensity(
    parcels: Geometries,
    footprints: Geometries,
    floor_m2: FloatArray,
    green: Geometries,
    progress: Progress = SILENT,
) -> Intensity:
    """What stands on parcels, some thousand at a time.

    Parameters
    ----------
    parcels : (n,) areas in a plane CRS, metres
    footprints : (m,) areas, each building once
    floor_m2 : (m,) floor area above ground of the whole building, NaN where not known
    green : (k,) areas
    """
    n = len(parcels)
    area = np.asarray(shapely.area(parcels), np.float64)
    whole = np.asarray(shapely.area(footprints), np.float64)
    covered, floor, planted = np.zeros(n), np.zeros(n), np.zeros(n)
    unknown = np.zeros(n, np.int64)
    houses, plants = shapely.STRtree(footprints), shapely.STRtree(green)
    found: list[Parts] = []
    for start in range(0, n, AT_ONCE):
        rows = slice(start, min(start + AT_ONCE, n))
        size = rows.stop - start
        built = parts(parcels[rows], footprints, houses)
        inside = floor_m2[built.item] * built.area_m2 / whole[built.item]
        is_known = ~np.isnan(inside)
        floor[rows] = np.bincount(built.parcel[is_known], inside[is_known], size)
        unknown[rows] = np.bincount(built.parcel[~is_known & (built.area_m2 > TOUCH_M2)], minlength=size)
        covered[rows] = union_areas(built, size)
        planted[rows] = union_areas(parts(parcels[rows], green, plants), size)
        found.append(Parts(built.parcel + start, built.item, built.piece, built.area_m2))
        progress(100.0 * rows.stop / n, "parcels")
    return Intensity(area, covered, floor, unknown, planted, _joined(found))


def _joined(found: list[Parts]) -> Parts:
    if not found:
        none = np.empty(0, np.int64)
        return Parts(none, none, np.empty(0, object), np.empty(0))
    return Parts(
        np.concatenate([each.parcel for each in found]),
        np.concatenate([each.item for each in found]),
        np.concatenate([each.piece for each in found]),
        np.concatenate([each.area_m2 for each in found]),
    )


@dataclass(frozen=True)
class Controls:
    """Limits of (n,) parcels for one measure: `limit` NaN where the plan has none, `is_mixed` where plots differ."""

    limit: FloatArray
    is_mixed: NDArray[np.bool_]


LEAST_SHARE = 0.01
LEAST_M2 = 1.0
MOST_OPEN = 0.5
"""A plot counts for a parcel from this share of it and this area on; a parcel that has no plan for more than half of it
has no limit."""


def controls_of(found: Parts, areas_m2: FloatArray, limits: FloatArray, *, is_maximum: bool) -> Controls:
    """The limit of each parcel, the strictest of the plots it lies in.

    Parameters
    ----------
    found : parcels and plots of the plan, from `parts`
    areas_m2 : (n,) of the parcels
    limits : (p,) of the plots, NaN where a plot has none
    """
    n = len(areas_m2)
    counts = (found.area_m2 > LEAST_M2) & (found.area_m2 > LEAST_SHARE * areas_m2[found.parcel])
    parcel, value = found.parcel[counts], limits[found.item[counts]]
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    named = ~np.isnan(value)
    np.minimum.at(low, parcel[named], value[named])
    np.maximum.at(high, parcel[named], value[named])
    covered = np.bincount(parcel, found.area_m2[counts], n)
    has_none = np.bincount(parcel[~named], minlength=n) > 0
    is_there = np.isfinite(low) & (covered >= MOST_OPEN * areas_m2)
    limit = np.where(is_there, low if is_maximum else high, np.nan)
    return Controls(limit, is_there & ((high - low > 1e-9) | has_none))
