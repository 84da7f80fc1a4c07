"""What a measure counts: how much of how much, in each zone and apart from them, so that the parts add up."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.coverage_indicators_zones import NOWHERE, kept, parts, zone_of_points
from twin.analysis.place import words
from twin.store.interface import Features
from twin.supervision.indicators.admin import Zones, bare

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Items:
    """Single things that count against a value, or of which that cannot be told.

    Attributes
    ----------
    layer, ids, geometry : which they are; `id` may be empty for a part of an area
    state : `no` or `unknown`
    slot : (n,) where they are counted, as in `Amounts`
    """

    layer: str
    ids: list[str]
    geometry: NDArray[np.object_]
    state: str
    slot: IntArray


@dataclass
class Amounts:
    """Of k zones: arrays of (k + 3,) for the zones, the rest of the city, what is outside it, what has no place.

    Attributes
    ----------
    numerator, denominator : amounts whose quotient is the value; `denominator` None: the value is an amount
    unknown : amount that belongs to the denominator if only it were known whether to the numerator; it is in neither
    n, n_unknown : things counted, and those not known
    whole : numerator and denominator of the city where they are not the sums of its parts
    factor : the value is so many times the quotient (or the numerator)
    facts : what was done and seen, for the reader
    """

    numerator: FloatArray
    denominator: FloatArray | None
    unknown: FloatArray
    n: IntArray
    n_unknown: IntArray
    items: list[Items] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    whole: tuple[float, float] | None = None
    factor: float = 1.0


def slots(zones: Zones) -> int:
    """How many entries arrays of amounts have."""
    return len(zones) + 3


def place(zones: Zones, found: Features) -> IntArray:
    """(n,) features -> the slot each is counted in as one thing: by where it is, else by its admin code.

    What has an extent is where its inner point is. Edges belong to the first zone.
    """
    k = len(zones)
    points = _points(found.geometry)
    slot = zone_of_points(points, zones.areas)
    slot[slot == NOWHERE] = k if zones.whole is None else k + 1
    if zones.whole is not None:
        lost = np.flatnonzero(slot == k + 1)
        shapely.prepare(zones.whole)
        slot[lost[shapely.dwithin(points[lost], zones.whole, 1e-6)]] = k
    homeless = np.flatnonzero(shapely.is_missing(points))
    slot[homeless] = k + 2
    codes = words(found, "xzqdm") if homeless.size else []
    for row in homeless.tolist():
        slot[row] = _by_code(zones, bare(codes[row]))
    return slot


def _by_code(zones: Zones, code: str | None) -> int:
    if code is None:
        return len(zones) + 2
    for index, each in enumerate(zones.codes):
        if code.startswith(each):
            return index
    return len(zones) if zones.code and code.startswith(zones.code) else len(zones) + 2


def _points(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    flat = shapely.force_2d(shapes)
    is_point = shapely.get_type_id(flat) == 0
    made = np.array(flat, dtype=object)
    made[~is_point] = shapely.point_on_surface(flat[~is_point])
    return kept(made, ~(shapely.is_missing(made) | shapely.is_empty(made)))


def cut(zones: Zones, shapes: NDArray[np.object_]) -> tuple[IntArray, IntArray, NDArray[np.object_]]:
    """Lines or areas -> (m,) row, (m,) slot, (m,) part; the parts of a row are the row."""
    k = len(zones)
    if zones.whole is None:
        rows = np.flatnonzero(~(shapely.is_missing(shapes) | shapely.is_empty(shapes)))
        return rows, np.full(len(rows), k, np.int64), shapes[rows]
    row, zone, part = parts(shapes, zones.areas)
    return row, np.where(zone == NOWHERE, k + 1, zone), part


def summed(zones: Zones, slot: IntArray, amount: FloatArray) -> FloatArray:
    """Amounts added up by slot."""
    return np.bincount(slot, weights=amount, minlength=slots(zones))


def counted(zones: Zones, slot: IntArray) -> IntArray:
    """Things counted by slot."""
    return np.bincount(slot, minlength=slots(zones)).astype(np.int64)
