"""Areas that must not cover each other: parcels of one layer, map sheets, the three control lines; and gaps.

Found and told as a number with the largest one; nothing is cut. Each pair is counted once, in the strip that
holds the western edge of what the two boxes have in common, so that memory is that of one strip.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.issue import Issue
from twin.store.interface import Query, WriteBatch

PARCELS = ("land_survey", "parcel", "homestead", "land_plan", "admin_unit", "map_sheet")
"""Layers whose features lie side by side."""

EDITIONS = {"land_survey": "survey_year", "admin_unit": "unit_level"}
"""Layers that hold several coverings of the same ground, and the attribute that tells them apart."""

COVERING = ("land_survey",)
"""Layers that leave no ground out."""

CONTROL_LINES = ("eco_redline", "pbf", "urban_boundary")
"""Ecological red line, permanent basic farmland, urban boundary: they neither cross nor overlap."""

SLIVER_M2 = 1.0
"""Overlaps up to this are counted apart: they come from edges that were drawn twice."""

NOISE_M2 = 1e-3
AT_ONCE = 100_000
"""Features of a layer that are held at once; a layer with more is looked at strip by strip."""

Geometries = NDArray[np.object_]
Strip = tuple[float, float]


@dataclass
class _Found:
    """Pairs of one comparison."""

    n: int = 0
    n_slivers: int = 0
    total_m2: float = 0.0
    largest_m2: float = 0.0
    largest: tuple[str, str] = ("", "")

    def add(self, first: str, second: str, area_m2: float) -> None:
        if area_m2 <= SLIVER_M2:
            self.n_slivers += 1
            return
        self.n += 1
        self.total_m2 += area_m2
        if area_m2 > self.largest_m2:
            self.largest_m2, self.largest = area_m2, (first, second)


@dataclass(frozen=True)
class _Part:
    """Areas of a layer that reach into one strip."""

    ids: NDArray[np.object_]
    shapes: Geometries
    editions: NDArray[np.object_]


def is_needed(touched: set[str]) -> bool:
    """True if a transaction has touched a layer that is looked at."""
    return bool(touched & {*PARCELS, *CONTROL_LINES})


def check(batch: WriteBatch) -> list[Issue]:
    """What overlaps in the layers that this transaction has touched, and the gaps in a layer that should have none."""
    issues: list[Issue] = []
    touched = batch.touched()
    for layer_id in PARCELS:
        if layer_id in touched:
            issues += _within(batch, layer_id)
    for i, first in enumerate(CONTROL_LINES):
        for second in CONTROL_LINES[i + 1 :]:
            if touched & {first, second}:
                issues += _between(batch, first, second)
    return issues


def _within(batch: WriteBatch, layer_id: str) -> list[Issue]:
    boxes = _boxes(batch, layer_id)
    found = _Found()
    for strip in _strips(boxes):
        part = _part(batch, layer_id, strip)
        _pairs(part, part, strip, found, is_same=True)
    issues = _told("SHEETS_OVERLAP" if layer_id == "map_sheet" else "PARCELS_OVERLAP", layer_id, found)
    if layer_id in COVERING and len(boxes):
        issues += _gaps(batch, layer_id, len(boxes))
    return issues


def _between(batch: WriteBatch, first: str, second: str) -> list[Issue]:
    boxes, others = _boxes(batch, first), _boxes(batch, second)
    if not len(boxes) or not len(others):
        return []
    found = _Found()
    for strip in _strips(np.concatenate([boxes, others])):
        _pairs(_part(batch, first, strip), _part(batch, second, strip), strip, found, is_same=False)
    return _told("CONTROL_LINES_OVERLAP", f"{first}, {second}", found)


def _boxes(batch: WriteBatch, layer_id: str) -> NDArray[np.float64]:
    """(n, 4) bounds of the areas of a layer; none where the city has no such layer."""
    made = [shapely.bounds(each.geometry) for each in batch.query(layer_id, Query(properties=()))]
    boxes = np.concatenate([np.zeros((0, 4)), *made])
    return np.asarray(boxes[np.isfinite(boxes).all(axis=1)], np.float64)


def _strips(boxes: NDArray[np.float64]) -> Iterator[Strip]:
    """West and east ends of strips that together hold every western edge, the outer ones without end.

    The western end belongs to a strip, the eastern does not. By quantiles: crowded quarters get narrow ones.
    """
    if not len(boxes):
        return
    n = math.ceil(len(boxes) / AT_ONCE)
    ends = np.quantile(boxes[:, 0], np.linspace(0, 1, n + 1)[1:-1]).tolist()
    yield from itertools.pairwise([-math.inf, *ends, math.inf])


def _part(batch: WriteBatch, layer_id: str, strip: Strip) -> _Part:
    ids: list[str] = []
    editions: list[str] = []
    found = [np.zeros(0, object)]
    column = EDITIONS.get(layer_id)
    for features in batch.query(layer_id, Query(properties=(column,) if column else ())):
        boxes = shapely.bounds(features.geometry)
        here = np.isin(shapely.get_type_id(features.geometry), (3, 6))
        here &= (boxes[:, 2] >= strip[0]) & (boxes[:, 0] < strip[1])
        rows = np.flatnonzero(here).tolist()
        ids += [features.ids[i] for i in rows]
        told = features.attributes.column(column).to_pylist() if column else [None] * len(features)
        editions += [_edition(features.ids[i], told[i]) for i in rows]
        found.append(shapely.force_2d(features.geometry[here]))
    shapes = np.concatenate(found)
    broken = ~shapely.is_valid(shapes)  # the way into the city's CRS may have bent an edge over another
    if broken.any():
        shapes[broken] = shapely.make_valid(shapes[broken])
    return _Part(np.array([*ids, None], object)[:-1], shapes, np.array([*editions, None], object)[:-1])


def _edition(name: str, told: object) -> str:
    """The year or level that a feature states, else the one behind the `@` of its id (see `ingest.ids.edition`)."""
    return str(told) if told is not None else name.partition("@")[2]


def _pairs(part: _Part, other: _Part, strip: Strip, found: _Found, *, is_same: bool) -> None:
    if not len(part.shapes) or not len(other.shapes):
        return
    a, b = shapely.STRtree(other.shapes).query(part.shapes)
    if is_same:
        once = (a < b) & (part.editions[a] == other.editions[b])
        a, b = a[once], b[once]
    boxes, others = shapely.bounds(part.shapes)[a], shapely.bounds(other.shapes)[b]
    low, high = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    near = (np.prod(high - low, axis=1) > NOISE_M2) & (low[:, 0] >= strip[0]) & (low[:, 0] < strip[1])
    a, b = a[near], b[near]
    shapely.prepare(part.shapes)
    for apart in (shapely.disjoint, shapely.touches):
        together = ~apart(part.shapes[a], other.shapes[b])
        a, b = a[together], b[together]
    areas = shapely.area(shapely.intersection(part.shapes[a], other.shapes[b]))
    for i in np.flatnonzero(areas > NOISE_M2).tolist():
        found.add(str(part.ids[a[i]]), str(other.ids[b[i]]), float(areas[i]))


def _told(code: str, where: str, found: _Found) -> list[Issue]:
    if not found.n and not found.n_slivers:
        return []
    slivers = f" {found.n_slivers} slivers of at most {SLIVER_M2:g} m2 are not among them." if found.n_slivers else ""
    if not found.n:
        message = f"{found.n_slivers} pairs overlap, none by more than {SLIVER_M2:g} m2."
        return [Issue(code, where, message, "", "info")]
    message = (
        f"{found.n} pairs overlap, {found.total_m2:.2f} m2 in all; the largest is {found.largest_m2:.2f} m2, of "
        f"{found.largest[0]!r} and {found.largest[1]!r}.{slivers}"
    )
    if code == "SHEETS_OVERLAP":
        return [Issue(code, where, message, "Take areas of the sheets' union, where each place counts once.", "info")]
    return [Issue(code, where, message, "Correct the outlines; sums of areas count the overlap twice.", "warning")]


def _gaps(batch: WriteBatch, layer_id: str, n: int) -> list[Issue]:
    """Holes of the union of all parcels: ground that nobody's parcel covers."""
    if n > AT_ONCE:
        message = f"Gaps are not looked for: {n:,} parcels are more than {AT_ONCE:,}."
        return [Issue("PARCEL_GAPS_NOT_CHECKED", layer_id, message, "", "info")]
    part = _part(batch, layer_id, (-math.inf, math.inf))
    unions = [shapely.union_all(part.shapes[part.editions == each]) for each in sorted(set(part.editions.tolist()))]
    parts = [each for union in unions for each in shapely.get_parts(union)]
    rings = [ring for each in parts if each.geom_type == "Polygon" for ring in each.interiors]
    areas = shapely.area(shapely.polygons(rings)) if rings else np.zeros(0)
    wide = areas > NOISE_M2
    if not wide.any():
        return []
    at = shapely.point_on_surface(shapely.polygons(rings))[int(np.argmax(areas))]
    message = (
        f"{int(wide.sum())} gaps between parcels, {areas[wide].sum():.2f} m2 in all; the largest is "
        f"{areas.max():.2f} m2, at {at.x:.2f}, {at.y:.2f} in the city's CRS."
    )
    return [Issue("PARCEL_GAPS", layer_id, message, "Correct the outlines.", "warning")]
