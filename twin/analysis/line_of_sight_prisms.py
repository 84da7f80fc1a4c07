"""Buildings as prisms from the ground up to their top, in the way of sight lines. Exact: no sampling."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import crs
from twin.analysis import features_input, place
from twin.analysis.parcel_intensity_buildings import chosen, standing
from twin.store.interface import Features, Query

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
Ground = Callable[[FloatArray, FloatArray], FloatArray]
"""(n,) east, (n,) north -> (n,) heights of the ground, NaN where there is none."""

LAYER = "building"
COLUMNS = ("base_elev_m", "height_m", "phase", "same_as")
TOUCH_M = 1e-6
"""A line that runs along a wall, or so little inside it, only touches."""


@dataclass(frozen=True)
class Prisms:
    """Buildings.

    Attributes
    ----------
    ids : (n,)
    footprints : (n,) areas in the city's CRS
    top_m : (n,) heights of the tops; NaN where base or height is not known
    """

    ids: list[str]
    footprints: NDArray[np.object_]
    top_m: FloatArray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_unknown(self) -> int:
        """How many have no known top."""
        return int(np.isnan(self.top_m).sum())

    def but(self, is_left_out: NDArray[np.bool_]) -> "Prisms":
        """Without some."""
        kept = np.flatnonzero(~is_left_out)
        return Prisms([self.ids[row] for row in kept], self.footprints[kept], self.top_m[kept])


def read(city: "City", name: str, given: Mapping[str, Any] | None, region: shapely.Geometry, ground: Ground) -> Prisms:
    """Buildings that meet a region, from an input with `features_input.SCHEMA`.

    Parameters
    ----------
    name : of the input, for messages
    given : its value; the layer `building`, where the city has it, when None. What is only planned, and a second copy
        of a building, is left out unless it is named by a filter or ids
    ground : heights for buildings that bring no base: they stand on the lowest ground of their corners and centroid,
        as those of the build do

    The top is `base_elev_m` + `height_m`; without a height above 0 it is not known.
    """
    if given is None:
        found = _layer(city, region)
    elif "collection" in given:
        names = _columns(city, name, str(given["collection"]))
        found = place.collected(features_input.read(city, name, _within(city, given, region), properties=names), name)
        if "filter" not in given and "ids" not in given:
            found = chosen(found, standing(found))
    else:
        found = place.features(city, name, given, kinds=place.AREAS, properties=COLUMNS)
    meets = shapely.intersects(found.geometry, region) if len(found) else np.zeros(0, bool)
    meets &= np.isin(shapely.get_type_id(found.geometry), (3, 6))
    rows = np.flatnonzero(meets)
    base, height = (place.numbers(found, each, name)[rows] for each in ("base_elev_m", "height_m"))
    shapes = shapely.force_2d(found.geometry[rows])
    base = np.where(np.isnan(base), _lowest(shapes, np.isnan(base), ground), base)
    top = np.where((height > 0) & np.isfinite(height), base + height, np.nan)
    return Prisms([found.ids[row] for row in rows], shapes, top)


def _layer(city: "City", region: shapely.Geometry) -> Features:
    if LAYER not in city:
        return place.collected(())
    query = Query(region=region, properties=_columns(city, LAYER, LAYER))
    found = place.collected(city.store.query(LAYER, query, city.scope), LAYER)
    return chosen(found, standing(found))


def _columns(city: "City", name: str, layer: str) -> tuple[str, ...]:
    names = features_input.attributes(city, name, layer)
    return tuple(each for each in COLUMNS if each in names)


def _within(city: "City", given: Mapping[str, Any], region: shapely.Geometry) -> dict[str, Any]:
    """The same input, no wider than the region's box, where it has no box of its own."""
    if "bbox" in given:
        return dict(given)
    said = given.get("crs")
    target = city.crs if said == "city" else crs.CRS84 if said is None else crs.name(str(said))
    west, south, east, north = np.add(shapely.bounds(region), (-1.0, -1.0, 1.0, 1.0)).tolist()
    return {**given, "bbox": list(crs.transform_bounds(city.crs, target, (west, south, east, north)))}


def _lowest(shapes: NDArray[np.object_], wanted: NDArray[np.bool_], ground: Ground) -> FloatArray:
    low = np.full(len(shapes), np.nan)
    rows = np.flatnonzero(wanted)
    if rows.size:
        xy, owner = shapely.get_coordinates(shapes[rows], return_index=True)
        centre = shapely.get_coordinates(shapely.centroid(shapes[rows]))
        xy, owner = np.concatenate([xy, centre]), np.concatenate([rows[owner], rows])
        np.fmin.at(low, owner, ground(xy[:, 0], xy[:, 1]))
    return low


def spans(start: FloatArray, end: FloatArray, footprints: NDArray[np.object_]) -> tuple[FloatArray, ...]:
    """Where a line from (2,) to (2,) is inside areas -> (m,) which, (m,) entry, (m,) exit in metres from the start.

    Running along an outline is not inside.
    """
    line = shapely.LineString([start, end])
    near = np.flatnonzero(shapely.intersects(footprints, line))
    inside = shapely.intersection(footprints[near], line)
    parts, owner = shapely.get_parts(inside, return_index=True)
    is_line = shapely.length(parts) > TOUCH_M
    parts, owner = parts[is_line], near[owner[is_line]]
    middle = shapely.line_interpolate_point(parts, 0.5, normalized=True)
    deep = shapely.distance(shapely.boundary(footprints[owner]), middle) > TOUCH_M if len(parts) else np.zeros(0, bool)
    parts, owner = parts[deep], owner[deep]
    length = float(np.hypot(*(end - start)))
    first, last = (
        np.clip((shapely.get_coordinates(shapely.get_point(parts, i)) - start) @ (end - start) / length, 0.0, length)
        for i in (0, -1)
    )
    return owner, np.minimum(first, last), np.maximum(first, last)


@dataclass(frozen=True)
class Line:
    """A sight line: heights of eye and target, their plane distance, and `viewshed_sight.bend_per_m`."""

    eye_m: float
    target_m: float
    length_m: float
    bend: float = 0.0

    @property
    def rise(self) -> float:
        """For each metre."""
        return (self.target_m - self.eye_m) / self.length_m

    def room(self, at_m: FloatArray) -> FloatArray:
        """(n,) heights of what may stand under the line at (n,) distances from the eye."""
        return self.eye_m + self.rise * at_m - self.bend * at_m * (self.length_m - at_m)


def over_span(line: Line, top_m: FloatArray, entry_m: FloatArray, exit_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """By how much tops rise over the sight line within spans, at most, and where: (m,), (m,) metres from the eye.

    The room under the line, eye + (target - eye) d / D - bend d (D - d), is convex in d: it is least at its lowest
    point where that is within the span, else at the end nearer to it. NaN for a top that is not known.
    """
    lowest = -np.inf if line.rise > 0 else np.inf
    if line.bend > 0:
        lowest = 0.5 * (line.length_m - line.rise / line.bend)
    at = np.clip(lowest, entry_m, exit_m)
    return top_m - line.room(at), at


def first_over(line: Line, top_m: float, entry_m: float, exit_m: float, same_m: float) -> float:
    """Where within a span the room under a line first is less than a top by more than `same_m`; NaN where it is not.

    At a wall, or on a roof that the line comes down to: a root of bend d**2 + (rise - bend D) d + eye - top.
    """
    a, b, c = line.bend, line.rise - line.bend * line.length_m, line.eye_m - top_m + same_m
    if (a * entry_m + b) * entry_m + c < 0:
        return entry_m
    roots = np.roots([a, b, c] if a > 0 else [b, c])
    inside = sorted(float(root.real) for root in roots if root.imag == 0 and entry_m < root.real < exit_m)
    return inside[0] if inside else float("nan")
