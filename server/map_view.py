"""Parameters of a map -> the view: box, CRS, pixels, scale (OGC API Maps, 20-058: scaling, spatial subsetting, crs).

Distances are those on the ground in the middle of the box, so that a scale is true there in every CRS.
"""

import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from layers import area, crs
from layers.crs import Bounds
from layers.errors import InvalidInput, NotFound
from server import parameters
from server.serving import Snapshot, not_flat

if TYPE_CHECKING:
    from tiles.drawing import View

DEFAULT_SIDE, MAX_SIDE = 1024, 4096
NEAR_USE_DEG = 5.0
"""How far beyond its area of use a projected CRS is taken to reach."""
MERCATOR_DEG = 85.05112877980659
"""Latitude at which the square of EPSG:3857 ends."""
_STEP_DEG, _STEP_M = 1e-4, 10.0
"""Half the stretch by which the size of a unit on the ground is found."""
SCALING = ("width", "height", "scale-denominator", "mm-per-pixel")
SUBSETTING = ("bbox", "bbox-crs", "center", "center-crs", "subset", "subset-crs", "crs")
MAX_BBOX_NUMBERS = 6
_AXIS = re.compile(r"\s*([A-Za-z][A-Za-z0-9]*)\(([^()]*)\)\s*(?:,|$)")
_EAST = {"lon", "long", "longitude", "e", "x", "easting"}
_NORTH = {"lat", "latitude", "n", "y", "northing"}
_TIME = {"time", "t"}
Params = dict[str, str]


@dataclass(frozen=True)
class Subset:
    """What `subset` says: east and north intervals in `crs`, and the end of a time interval."""

    east: tuple[float, float] | None = None
    north: tuple[float, float] | None = None
    time: str | None = None


def offered(city: Snapshot) -> list[str]:
    """The CRSs that a map can be in: those of the features, heights left aside."""
    return list(dict.fromkeys(crs.horizontal(name) for name in city.crs_names))


def asked_crs(given: Params, name: str, city: Snapshot, default: str) -> str:
    """A CRS by URI, CURIE or code."""
    text = given.get(name)
    if text is None:
        return default
    try:
        wanted = crs.horizontal(crs.name(text))
    except InvalidInput as error:
        raise InvalidInput(f"{name}={text[:80]!r} is no CRS.", f"Offered: {', '.join(offered(city))}.") from error
    if wanted not in offered(city):
        raise InvalidInput(f"{name}={text[:80]!r} is not offered.", f"Offered: {', '.join(offered(city))}.")
    return wanted


def view(given: Params, subset: Subset, city: Snapshot, everything: Bounds) -> "View":
    """The view that the parameters ask for; `everything` is the box of the data in the city's CRS."""
    storage = crs.horizontal(city.city.config.crs)
    target = asked_crs(given, "crs", city, storage)
    pixel_mm = positive(given, "mm-per-pixel", 0.28)
    assert pixel_mm is not None
    if not 0.01 <= pixel_mm <= 10:
        raise InvalidInput(f"mm-per-pixel={pixel_mm:g} is not possible.", "Give 0.01 to 10 millimetres.")
    size = side(given, "width"), side(given, "height")
    scale = positive(given, "scale-denominator", None)
    box = _box(given, subset, city, target, everything)
    if box is not None:
        return _of_box(box, target, size, scale, pixel_mm, crosses=_crosses(given, subset, city))
    whole = crs.transform_bounds(storage, target, not_flat(everything))
    centre = _centre(given, city, target)
    if centre is None and scale is None:
        return _of_whole(whole, target, size, pixel_mm)
    middle = centre or ((whole[0] + whole[2]) / 2, (whole[1] + whole[3]) / 2)
    wide, high = size[0] or size[1] or DEFAULT_SIDE, size[1] or size[0] or DEFAULT_SIDE
    if scale is None:  # that at which everything fits into the view
        across, down = ground(target, whole)
        scale = max((whole[2] - whole[0]) * across / wide, (whole[3] - whole[1]) * down / high) / pixel_mm * 1000
    across, down = ground(target, (*middle, *middle))
    half = wide * scale * pixel_mm / 2000 / across, high * scale * pixel_mm / 2000 / down
    box = (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1])
    return made(target, box, wide, high, pixel_mm)


def _of_box(
    box: Bounds,
    target: str,
    size: tuple[int | None, int | None],
    scale: float | None,
    pixel_mm: float,
    *,
    crosses: bool,
) -> "View":
    if scale is not None and size != (None, None):
        raise InvalidInput("scale-denominator and width or height contradict each other with a box.", "Drop one.")
    across, down = ground(target, box)
    wide_m, high_m = (box[2] - box[0]) * across, (box[3] - box[1]) * down
    if scale is not None:
        size = _pixels(wide_m * 1000 / scale / pixel_mm), _pixels(high_m * 1000 / scale / pixel_mm)
    width, height = _sides(size, wide_m / high_m)
    return made(target, box, width, height, pixel_mm, crosses=crosses)


def _of_whole(whole: Bounds, target: str, size: tuple[int | None, int | None], pixel_mm: float) -> "View":
    """All of it; in a frame of another shape with more around it, so that nothing is squeezed."""
    across, down = ground(target, whole)
    wide_m, high_m = (whole[2] - whole[0]) * across, (whole[3] - whole[1]) * down
    width, height = _sides(size, wide_m / high_m)
    metres = max(wide_m / width, high_m / height)
    grow_x = (metres * width - wide_m) / 2 / across if size[0] and size[1] else 0.0
    grow_y = (metres * height - high_m) / 2 / down if size[0] and size[1] else 0.0
    box = (whole[0] - grow_x, whole[1] - grow_y, whole[2] + grow_x, whole[3] + grow_y)
    return made(target, box, width, height, pixel_mm)


def _sides(size: tuple[int | None, int | None], shape: float) -> tuple[int, int]:
    """Width and height where one or both are open: the ground's own proportions."""
    width, height = size
    if width is None and height is None:
        width, height = (DEFAULT_SIDE, None) if shape >= 1 else (None, DEFAULT_SIDE)
    if width is None:
        assert height is not None
        return _pixels(height * shape), height
    return width, _pixels(width / shape) if height is None else height


def _pixels(number: float) -> int:
    return max(round(min(number, 1e9)), 1)


def made(target: str, box: Bounds, width: int, height: int, pixel_mm: float = 0.28, *, crosses: bool = False) -> "View":
    """A view within the limits; InvalidInput names width, height or their product."""
    from tiles.drawing import MAX_PIXELS, View

    for name, value in (("width", width), ("height", height)):
        if value > MAX_SIDE:
            raise InvalidInput(f"{name} would be {value} pixels.", f"At most {MAX_SIDE} are possible.")
    if width * height > MAX_PIXELS:
        raise InvalidInput(f"width times height is {width * height}.", f"At most {MAX_PIXELS} pixels are possible.")
    if not all(math.isfinite(value) for value in box):
        raise InvalidInput("The box asked for has no place in this CRS.", "Ask for a smaller box or another crs.")
    return View(target, box, width, height, pixel_mm, wraps=crosses)


def ground(target: str, box: Bounds) -> tuple[float, float]:
    """Metres on the ground in one unit of a CRS to the east and to the north, in the middle of a box."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    step = _STEP_DEG if crs.is_geographic(target) else _STEP_M
    if crs.is_geographic(target):
        y = min(max(y, -89.9), 89.9)
    lon, lat = crs.transform(target, crs.CRS84, x + step * np.array([-1, 1, 0, 0]), y + step * np.array([0, 0, -1, 1]))
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise InvalidInput("The box asked for has no place in this CRS.", "Ask for a smaller box or another crs.")
    _, _, metres = crs.CGCS2000_GEOD.inv(lon[[0, 2]], lat[[0, 2]], lon[[1, 3]], lat[[1, 3]])
    return max(float(metres[0]) / (2 * step), 1e-12), max(float(metres[1]) / (2 * step), 1e-12)


def side(given: Params, name: str) -> int | None:
    """`width` or `height`: a positive whole number, None where it is not given."""
    if name not in given:
        return None
    value = parameters.whole(given, name, 1, minimum=1)
    if value > MAX_SIDE:
        raise InvalidInput(f"{name}={value} is too much.", f"At most {MAX_SIDE} pixels are possible.")
    return value


def positive(given: Params, name: str, default: float | None) -> float | None:
    """A positive number."""
    if name not in given:
        return default
    value = _number(given[name], name)
    if value <= 0:
        raise InvalidInput(f"{name}={given[name][:30]!r} is not above 0.")
    return value


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise InvalidInput(f"{name}: {text[:30]!r} is not a number.") from error
    if not math.isfinite(value):
        raise InvalidInput(f"{name} has a number that is not finite.")
    return value


def _box(given: Params, subset: Subset, city: Snapshot, target: str, everything: Bounds) -> Bounds | None:
    """`bbox` or the spatial part of `subset` in the CRS of the map."""
    has_subset = subset.east is not None or subset.north is not None
    named = [name for name, there in (("bbox", "bbox" in given), ("center", "center" in given), ("subset", has_subset))
             if there]  # fmt: skip
    if len(named) > 1:
        raise InvalidInput(f"{named[0]} and {named[1]} both say where the map is.", "Give one of them.")
    if "bbox" in given:
        source = asked_crs(given, "bbox-crs", city, crs.CRS84)
        return in_crs(bbox(given["bbox"], source), source, target, "bbox")
    if has_subset:
        source = asked_crs(given, "subset-crs", city, crs.CRS84)
        whole = crs.transform_bounds(crs.horizontal(city.city.config.crs), source, not_flat(everything))
        (west, east), (south, north) = subset.east or whole[::2], subset.north or whole[1::2]
        _within(source, (west, south, east, north))
        return in_crs((west, south, east, north), source, target, "subset")
    return None


def _crosses(given: Params, subset: Subset, city: Snapshot) -> bool:
    """Whether the box was given from east to west, over the antimeridian."""
    if "bbox" in given:
        west, _, east, _ = bbox(given["bbox"], asked_crs(given, "bbox-crs", city, crs.CRS84))
        return west > east
    return subset.east is not None and subset.east[0] > subset.east[1]


def bbox(text: str, source: str, name: str = "bbox") -> Bounds:
    """West, south, east, north of `bbox`, which has the axis order of its CRS; heights are left aside."""
    parts = text.split(",")
    if len(parts) not in {4, MAX_BBOX_NUMBERS}:
        raise InvalidInput(f"{name} has {len(parts)} numbers.", "Give four: two lower and two upper coordinates.")
    a, b, *_ = values = [_number(part, name) for part in parts]
    c, d = values[len(values) // 2], values[len(values) // 2 + 1]
    return (b, a, d, c) if crs.is_north_first(source) else (a, b, c, d)


def in_crs(box: Bounds, source: str, target: str, name: str) -> Bounds:
    """A box in the CRS of the map, by its densified outline. InvalidInput where it is empty or turned round."""
    west, south, east, north = box
    if crs.is_geographic(source) and -180 <= east < west <= 180 and south < north:
        return _across(box, source, target, name)
    if west >= east or south >= north:
        hint = "The lower left corner comes first, in the axis order of the CRS."
        raise InvalidInput(f"{name}={','.join(f'{v:g}' for v in box)} has no area.", hint)
    if source == target:
        return box
    part = _reached(box, source, target)
    try:
        return crs.transform_bounds(source, target, part)
    except InvalidInput as error:
        raise InvalidInput(f"{name} has no place in {target}.", "Ask for a smaller box or another crs.") from error


def _across(box: Bounds, source: str, target: str, name: str) -> Bounds:
    """A box over the antimeridian, with 360° added to its east; from 180 to -180 it is the whole Earth."""
    west, south, east, north = box
    if not crs.is_geographic(target):
        raise InvalidInput(
            f"{name} crosses the antimeridian, which {target} does not.", f"Ask for crs={crs.CRS84_URI}."
        )
    if source != target:
        west, south, _, north = crs.transform_bounds(source, target, (west, south, max(180.0, west + 1e-9), north))
        _, _, east, _ = crs.transform_bounds(source, target, (min(-180.0, east - 1e-9), south, east, north))
    return west, south, east + 360, north


def _reached(box: Bounds, source: str, target: str) -> Bounds:
    """The part of a box in degrees that the CRS of the map reaches (20-058 lets a map be limited to that)."""
    if not crs.is_geographic(source) or crs.is_geographic(target):
        return box
    use = (-180.0, -MERCATOR_DEG, 180.0, MERCATOR_DEG) if target == "EPSG:3857" else crs.area_of_use(target)
    if use is None:
        return box
    part = area.cut_to(use, box, 0.0 if target == "EPSG:3857" else NEAR_USE_DEG)
    if part is None or part[0] >= part[2] or part[1] >= part[3]:
        raise InvalidInput(f"bbox lies where {target} is not defined.", "Mind the axis order, or name another crs.")
    return part


def _within(source: str, box: Bounds) -> None:
    if crs.is_geographic(source) and (box[0] >= 180 or box[2] <= -180 or box[1] >= 90 or box[3] <= -90):
        raise NotFound("subset lies outside the Earth's degrees.", "Longitudes are -180 to 180, latitudes -90 to 90.")


def _centre(given: Params, city: Snapshot, target: str) -> tuple[float, float] | None:
    if "center" not in given:
        return None
    source = asked_crs(given, "center-crs", city, crs.CRS84)
    parts = given["center"].split(",")
    if len(parts) != 2:
        raise InvalidInput(f"center has {len(parts)} numbers.", "Give two, in the axis order of center-crs.")
    x, y = (_number(part, "center") for part in parts)
    if crs.is_north_first(source):
        x, y = y, x
    east, north = crs.transform(source, target, np.array([x]), np.array([y]))
    if not (np.isfinite(east[0]) and np.isfinite(north[0])):
        raise InvalidInput(f"center={given['center'][:40]!r} has no place in {target}.", "Mind the axis order.")
    return float(east[0]), float(north[0])


def subset(texts: list[str]) -> Subset:
    """All `subset` parameters as one: `Lat(28:28.1),Lon(121:121.1),time("2026-01-01T00:00:00Z")`."""
    found: dict[str, str] = {}
    for text in texts:
        at = 0
        while at < len(text):
            match = _AXIS.match(text, at)
            if match is None:
                raise InvalidInput(f"subset={text[:80]!r} is not understood.", "Example: Lat(28:28.1),Lon(121:121.1)")
            name = match[1].lower()
            axis = "east" if name in _EAST else "north" if name in _NORTH else "time" if name in _TIME else None
            if axis is None:
                raise InvalidInput(f"subset: there is no axis {match[1][:30]!r}.", "Use Lat, Lon, E, N or time.")
            if axis in found:
                raise InvalidInput(f"subset: {match[1]} is given twice.")
            found[axis], at = match[2], match.end()
    intervals = {axis: _interval(found[axis], axis) for axis in ("east", "north") if axis in found}
    return Subset(intervals.get("east"), intervals.get("north"), _when(found["time"]) if "time" in found else None)


def _interval(text: str, axis: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    if not colon:
        raise InvalidInput(f"subset: a map needs an interval to the {axis}, not one number.", "Example: Lat(28:28.1)")
    return _number(low, "subset"), _number(high, "subset")


def _when(text: str) -> str:
    """`"a":"b"`, `"a"` or `*` as `datetime` says it."""
    parts = re.findall(r'"([^"]*)"|(\*)', text)
    if not parts or len(parts) > 2 or re.sub(r'"[^"]*"|\*|:|\s', "", text):
        raise InvalidInput(f"subset: time({text[:40]}) is not understood.", 'Example: time("2026-01-01T00:00:00Z")')
    # one asterisk alone is the latest time there is
    return (
        "/".join("" if star else full_instant(quoted) for quoted, star in parts)
        if len(parts) > 1
        else full_instant(parts[0][0])
    )


def full_instant(text: str) -> str:
    """A year, month, hour or minute as a whole RFC 3339 instant."""
    if re.fullmatch(r"\d{4}", text):
        return f"{text}-01-01"
    if re.fullmatch(r"\d{4}-\d{2}", text):
        return f"{text}-01"
    if match := re.fullmatch(r"(\d{4}-\d{2}-\d{2}T\d{2})Z", text):
        return f"{match[1]}:00:00Z"
    return text


def moment(given: Params, asked: Subset) -> datetime | None:
    """The moment that `datetime` or the time in `subset` names; None for now."""
    if asked.time is not None:
        if "datetime" in given:
            raise InvalidInput("datetime and the time in subset contradict each other.", "Give one of them.")
        return parameters.moment(asked.time) if asked.time.strip("/") else None
    return parameters.moment(given["datetime"]) if "datetime" in given else None
