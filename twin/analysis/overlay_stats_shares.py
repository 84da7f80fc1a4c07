"""How features divide among zones: areas by area, lines by length, points by count; what lies outside is zone -1.

An area or a stretch of line that several zones hold counts in each of them. What only lies on the border between zones
counts once, in the first of them, so that zones that do not overlap always add up to the whole.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.ellipsoid_area import areas_m2, lengths_m
from twin.analysis.overlay import NOISE_M2, Cover, common, self_overlaps, uncovered_m2
from twin.analysis.progress import SILENT, Progress

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Shapes = NDArray[np.object_]

OUTSIDE = -1
NOISE_M = 1e-6
_AT_ONCE = 20_000


@dataclass(frozen=True)
class Shares:
    """(k,) parts of features. Lengths and areas are on the ellipsoid.

    Attributes
    ----------
    feature, zone : rows; `OUTSIDE` for no zone
    area_m2, length_m, count : of the part; only the one that suits the feature's kind is not 0
    fraction : of the feature, 0 to 1
    """

    feature: IntArray
    zone: IntArray
    area_m2: FloatArray
    length_m: FloatArray
    count: FloatArray
    fraction: FloatArray


def shares(shapes: Shapes, zones: Shapes, source: str, progress: Progress = SILENT) -> Shares:
    """(n,) features in `source` (valid; None and empty ones have no part), (m,) valid areas."""
    dimension = np.where(shapely.is_empty(shapes), -1, shapely.get_dimensions(shapes))
    areas, lines, points = (np.flatnonzero(dimension == each) for each in (2, 1, 0))
    flat, ground = shapely.force_2d(shapes), shapely.force_2d(zones)
    made = [
        _areas(areas, flat[areas], ground, source, progress.part(0, 50)),
        _lines(lines, flat[lines], ground, source, progress.part(50, 80)),
        _points(points, flat[points], ground, progress.part(80, 100)),
    ]
    names = Shares.__dataclass_fields__
    return Shares(**{name: np.concatenate([getattr(each, name) for each in made]) for name in names})


def _made(row: IntArray, zone: IntArray, amount: FloatArray, *, own: FloatArray, rows: IntArray, kind: str) -> Shares:
    """Parts of the features `rows`, which have `own` of the kind."""
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = np.where(own[row] > 0, amount / own[row], 1.0)
    of_kind = {each: amount if each == kind else np.zeros(len(amount)) for each in ("area_m2", "length_m", "count")}
    return Shares(rows[row], zone, fraction=fraction, **of_kind)


def _areas(rows: IntArray, shapes: Shapes, zones: Shapes, source: str, progress: Progress) -> Shares:
    own = areas_m2(shapes, source)
    inside = common(shapes, Cover(zones, source), left_m2=own, progress=progress, message="areas")
    once = inside
    if len(self_overlaps(zones, source)):
        once = common(shapes, Cover(zones, source, is_one=True), left_m2=own)
    rest = uncovered_m2(own, once)
    outside = np.flatnonzero((rest > NOISE_M2) | (own == 0))
    return _made(
        np.concatenate([inside.left, outside]),
        np.concatenate([inside.right, np.full(len(outside), OUTSIDE)]),
        np.concatenate([inside.areas_m2, rest[outside]]),
        own=own, rows=rows, kind="area_m2",
    )  # fmt: skip


def _lines(rows: IntArray, lines: Shapes, zones: Shapes, source: str, progress: Progress) -> Shares:
    shapes, owner = _simple(lines)
    own = lengths_m(shapes, source)
    tree = shapely.STRtree(zones)
    shapely.prepare(zones)
    found: list[tuple[IntArray, IntArray, FloatArray]] = []
    for low in progress.over(range(0, len(shapes), _AT_ONCE), -(-len(shapes) // _AT_ONCE), "lines"):
        row, zone = tree.query(shapes[low : low + _AT_ONCE])
        row = row + low
        meets = shapely.intersects(zones[zone], shapes[row])
        row, zone = row[meets], zone[meets]
        parts = shapes[row].copy()
        crosses = np.flatnonzero(~shapely.covers(zones[zone], parts))
        parts[crosses] = shapely.intersection(zones[zone[crosses]], parts[crosses])
        length = lengths_m(parts, source)
        total = np.bincount(row, weights=length, minlength=len(own))
        for each in np.flatnonzero(total > own + NOISE_M).tolist():
            mine = np.flatnonzero(row == each)
            mine = mine[np.argsort(zone[mine])]
            length[mine] = lengths_m(_once(parts[mine], zones[zone[mine]]), source)
        kept = length > NOISE_M
        found.append((row[kept], zone[kept], length[kept]))
    none = np.zeros(0, np.int64)
    row, zone, length = (np.concatenate(each) for each in zip((none, none, np.zeros(0)), *found, strict=True))
    rest = own - np.bincount(row, weights=length, minlength=len(own))
    outside = np.flatnonzero((rest > np.maximum(NOISE_M, 1e-11 * own)) | (own == 0))
    return _made(
        owner[np.concatenate([row, outside])],
        np.concatenate([zone, np.full(len(outside), OUTSIDE)]),
        np.concatenate([length, rest[outside]]),
        own=np.bincount(owner, weights=own, minlength=len(rows)), rows=rows, kind="length_m",
    )  # fmt: skip


def _simple(lines: Shapes) -> tuple[Shapes, IntArray]:
    """Lines that do not meet themselves, and whose each is: a cut would count what is gone over twice only once."""
    parts, owner = shapely.get_parts(lines, return_index=True)
    bad = ~shapely.is_simple(parts)
    xy, of = shapely.get_coordinates(parts[bad], return_index=True)
    edge = np.flatnonzero(of[1:] == of[:-1])
    edges = shapely.linestrings(np.stack([xy[edge], xy[edge + 1]], axis=1))
    return np.concatenate([parts[~bad], edges]), np.concatenate([owner[~bad], owner[bad][of[edge]]])


def _once(parts: Shapes, zones: Shapes) -> Shapes:
    """(k,) stretches of one line in zones, without what lies on a zone's border and on that of an earlier one."""
    out = parts.copy()
    seen: shapely.Geometry = shapely.LineString()
    for i, (part, zone) in enumerate(zip(parts, zones, strict=True)):
        border = _stretches(shapely.intersection(part, shapely.boundary(zone)))
        out[i] = shapely.difference(part, shapely.intersection(border, seen))
        seen = shapely.union(seen, border)
    return out


def _stretches(shape: shapely.Geometry) -> shapely.Geometry:
    parts = shapely.get_parts(shape)
    return shapely.multilinestrings(parts[shapely.get_dimensions(parts) == 1])


def _points(rows: IntArray, shapes: Shapes, zones: Shapes, progress: Progress) -> Shares:
    points, owner = shapely.get_parts(shapes, return_index=True)
    own = np.bincount(owner, minlength=len(rows)).astype(np.float64)
    tree = shapely.STRtree(zones)
    shapely.prepare(zones)
    row, zone = tree.query(points)
    meets = shapely.intersects(zones[zone], points[row])
    row, zone = row[meets], zone[meets]
    progress(50, "points")
    is_within = shapely.contains_properly(zones[zone], points[row])
    has_within = np.bincount(row[is_within], minlength=len(points)) > 0
    on_border = np.flatnonzero(~is_within & ~has_within[row])
    first = np.lexsort((zone[on_border], row[on_border]))
    _, at = np.unique(row[on_border][first], return_index=True)
    kept = np.concatenate([np.flatnonzero(is_within), on_border[first][at]])
    row, zone = row[kept], zone[kept]
    outside = np.flatnonzero(np.bincount(row, minlength=len(points)) == 0)
    row = np.concatenate([row, outside])
    zone = np.concatenate([zone, np.full(len(outside), OUTSIDE)])
    return _made(owner[row], zone, np.ones(len(row)), own=own, rows=rows, kind="count")
