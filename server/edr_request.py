"""Parameters of EDR queries (OGC 19-086r6, 8 and 9): coords, z, datetime, parameter-name, crs, within, f.

`coords` and `bbox` are in the axis order of `crs`, east first where it is absent (CRS84), as in the rest of the server.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import shapely
from shapely.errors import GEOSException
from starlette.requests import Request

from layers import crs
from layers.errors import InvalidInput
from server import negotiation, parameters
from server.serving import Snapshot
from tiles.coverage import covjson, epochs

FORMATS = {"CoverageJSON": covjson.MEDIA_TYPE, "GeoJSON": "application/geo+json", "CSV": "text/csv; charset=utf-8"}
COMMON = ("f", "lang", "crs", "datetime", "parameter-name", "parameter_names", "z")
"""`parameter_names` is what OWSLib sends for `parameter-name`."""
OWN = {
    "position": ("coords",), "area": ("coords",), "radius": ("coords", "within", "within-units"),
    "trajectory": ("coords",), "cube": ("bbox",), "locations": ("bbox", "limit"),
}  # fmt: skip
SHAPES = {
    "position": ("Point", "MultiPoint"), "radius": ("Point",), "area": ("Polygon", "MultiPolygon"),
    "trajectory": ("LineString",),
}  # fmt: skip
UNITS = {"m": 1.0, "km": 1000.0, "mi": 1609.344, "miles": 1609.344, "ft": 0.3048}
MAX_POINTS = 10_000
"""Vertices of `coords`."""
MAX_RADIUS_M = 100_000.0
Span = tuple[datetime | None, datetime | None]
ZTest = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Asked:
    """A query. `shape` is east first in `crs`; `z`: intervals one of which a height must meet; None for all."""

    kind: str
    format: str
    crs: str
    shape: Any
    radius_m: float
    z: ZTest | None
    span: Span
    datetime: str | None
    names: tuple[str, ...] | None
    limit: int
    given: Mapping[str, str]


def asked(request: Request, city: Snapshot, kind: str) -> Asked:
    """All parameters of a query; InvalidInput names the first that is wrong."""
    given = parameters.once(request.query_params, (*COMMON, *OWN[kind]))
    if "parameter_names" in given:
        if "parameter-name" in given:
            raise InvalidInput("parameter-name is given twice, once as parameter_names.", "Drop one of them.")
        given["parameter-name"] = given.pop("parameter_names")
    for name, value in given.items():
        if len(value) > 15_000:
            raise InvalidInput(f"{name} is longer than 15,000 characters.", "Make it shorter.")
    used = parameters.asked_crs(given, "crs", city)
    shape: Any = None
    if kind in SHAPES:
        shape = _coords(given, kind, used)
    elif kind == "cube" or "bbox" in given:
        shape = box(given, used)
    text = given.get("datetime")
    span: Span = (None, None)
    if text is not None:
        span = epochs.asked(text)[0]
    names = (
        tuple(part.strip() for part in given["parameter-name"].split(",") if part.strip())
        if "parameter-name" in given
        else None
    )
    if names == ():
        raise InvalidInput("parameter-name names nothing.", "The collection lists parameter_names.")
    return Asked(
        kind, _format(request), used, shape, _radius(given) if kind == "radius" else 0.0, levels(given.get("z")), span,
        text, names, parameters.whole(given, "limit", 1000, minimum=1), given,
    )  # fmt: skip


def _format(request: Request) -> str:
    text = request.query_params.get("f")
    if text is None:
        return negotiation.chosen(request, FORMATS)
    folded = {name.lower(): name for name in FORMATS} | {"json": "CoverageJSON", "covjson": "CoverageJSON"}
    if text.lower() not in folded:
        raise InvalidInput(f"f={text[:20]!r} is not offered here.", f"Use {', '.join(FORMATS)}.")
    return folded[text.lower()]


def _coords(given: Mapping[str, str], kind: str, used: str) -> Any:
    kinds = SHAPES[kind]
    text = given.get("coords")
    if text is None:
        raise InvalidInput("coords is missing.", f"Give {' or '.join(each.upper() for each in kinds)} as WKT.")
    # the standard writes LINESTRINGZ; WKT has a blank there
    text = re.sub(r"^\s*([A-Za-z]+?)(ZM|Z|M)\s*\(", r"\1 \2 (", text)
    try:
        shape = shapely.from_wkt(text)
    except (GEOSException, ValueError, RecursionError) as error:
        raise InvalidInput(f"coords={text[:60]!r} is no WKT.", "Example: coords=POINT(121.0 28.1)") from error
    if shape is None or shape.geom_type not in kinds or shape.is_empty:
        found = "nothing" if shape is None or shape.is_empty else shape.geom_type.upper()
        raise InvalidInput(f"coords is {found}.", f"{kind} takes {' or '.join(each.upper() for each in kinds)}.")
    if shapely.get_num_coordinates(shape) > MAX_POINTS:
        raise InvalidInput(f"coords has more than {MAX_POINTS} points.", "Ask several times.")
    flat = shapely.force_2d(shape)
    if not np.isfinite(shapely.get_coordinates(flat)).all():
        raise InvalidInput("coords has a number that is not finite.", "Use decimal numbers.")
    if not flat.is_valid:
        raise InvalidInput(f"coords crosses itself ({shapely.is_valid_reason(flat)[:80]}).", "Give a simple outline.")
    if crs.is_north_first(used):
        flat = crs.swap_axes(np.array([flat], dtype=object))[0]
    if crs.is_geographic(used):
        low_x, low_y, high_x, high_y = flat.bounds
        if max(abs(low_x), abs(high_x)) > 180.001 or max(abs(low_y), abs(high_y)) > 90.001:
            order = "latitude first" if crs.is_north_first(used) else "longitude first"
            raise InvalidInput("coords reaches beyond ±180° or ±90°.", f"{used} is {order}; or give crs.")
    return flat


def box(given: Mapping[str, str], used: str) -> Any:
    """`bbox` as a polygon, east first; two polygons where it crosses the antimeridian. Heights are let go."""
    if "bbox" not in given:
        raise InvalidInput("bbox is missing.", "Give bbox=low,low,high,high in the axis order of crs.")
    parts = given["bbox"].split(",")
    try:
        values = [float(part) for part in parts]
    except ValueError as error:
        raise InvalidInput(
            f"bbox={given['bbox'][:60]!r} is not made of numbers.", "Example: bbox=121,28,121.1,28.1"
        ) from error
    if len(values) not in {4, 6} or not all(map(math.isfinite, values)):
        raise InvalidInput(
            f"bbox has {len(values)} numbers, or one that is not finite.", "Give four, or six with heights."
        )
    if len(values) == 6:
        if values[2] > values[5]:
            raise InvalidInput("bbox has a lower height above its upper one.", "Put the lower one third.")
        values = [values[0], values[1], values[3], values[4]]
    a_low, b_low, a_high, b_high = values
    if crs.is_north_first(used):
        a_low, b_low, a_high, b_high = b_low, a_low, b_high, a_high
    if a_low > a_high and crs.is_geographic(used) and b_low <= b_high:
        return shapely.MultiPolygon([shapely.box(a_low, b_low, 180, b_high), shapely.box(-180, b_low, a_high, b_high)])
    if a_low >= a_high or b_low >= b_high:
        raise InvalidInput(f"bbox has a lower bound not below its upper one in {used}.", "Mind the axis order of crs.")
    return shapely.box(a_low, b_low, a_high, b_high)


def _radius(given: Mapping[str, str]) -> float:
    for name in ("within", "within-units"):
        if name not in given:
            raise InvalidInput(f"{name} is missing.", "Example: within=200&within-units=m")
    unit = given["within-units"].strip().lower()
    if unit not in UNITS:
        raise InvalidInput(f"within-units={given['within-units'][:20]!r} is not known.", f"Use {', '.join(UNITS)}.")
    try:
        radius = float(given["within"]) * UNITS[unit]
    except ValueError as error:
        raise InvalidInput(f"within={given['within'][:20]!r} is no number.", "Example: within=200") from error
    if not 0 < radius <= MAX_RADIUS_M:
        raise InvalidInput(f"within is {radius:g} m.", f"It may be above 0 and up to {MAX_RADIUS_M / 1000:g} km.")
    return radius


def levels(text: str | None) -> ZTest | None:
    """`z` as intervals: a level, `low/high`, `../high`, a list, or `Rn/low/step`."""
    if text is None:
        return None
    try:
        if text.startswith("R"):
            count, low, step = text[1:].split("/")
            found = [(float(low) + i * float(step),) * 2 for i in range(min(int(count), 1001))]
        elif "/" in text:
            first, last = text.split("/")
            low_end = -math.inf if first in {"", ".."} else float(first)
            found = [(low_end, math.inf if last in {"", ".."} else float(last))]
        else:
            found = [(float(part), float(part)) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInput(
            f"z={text[:40]!r} is not understood.", "Examples: z=10, z=0/100, z=2,10,80, z=R20/100/50"
        ) from error
    if not 1 <= len(found) <= 1000 or any(math.isnan(low) or math.isnan(high) or low > high for low, high in found):
        raise InvalidInput(f"z={text[:40]!r} is no height or interval.", "Put the lower one first.")
    return tuple(found)


def chosen(asked_: Asked, known: Sequence[str]) -> list[str]:
    """The parameters asked for, all where none is named. InvalidInput for one that the collection has not."""
    if asked_.names is None:
        return list(known)
    for name in asked_.names:
        if name not in known:
            raise InvalidInput(
                f"parameter-name: there is no {name[:60]!r} here.", f"There is: {', '.join(known) or 'nothing'}."
            )
    return list(dict.fromkeys(asked_.names))


def in_crs(asked_: Asked, target: str) -> Any:
    """The query's shape in another CRS, its outline densified so that its edges stay where they are."""
    shape = asked_.shape
    if crs.horizontal(asked_.crs) == crs.horizontal(target):
        return shape
    if shape.geom_type not in {"Point", "MultiPoint"}:
        low_x, low_y, high_x, high_y = shape.bounds
        shape = shapely.segmentize(shape, max(high_x - low_x, high_y - low_y, 1e-9) / 64)
    placed = crs.transform_geometries(asked_.crs, target, np.array([shape], dtype=object))[0]
    if not np.isfinite(shapely.get_coordinates(placed)).all():
        raise InvalidInput(f"coords or bbox do not fit into {target}.", "Mind the axis order of crs.")
    return placed
