"""Axes of a CRS in `subset`, `resolution`, `scale-axes`, `scale-size`: their names, and what stands in brackets.

`Lat` and `Lon` in degrees, `E` and `N` in a projected CRS, with the aliases of the draft (19-087, recommendation
spatial-aliases). X and Y are refused where the CRS itself calls its northing X, as all of CGCS2000 do.
"""

import math
import re
from collections.abc import Mapping

from layers import crs
from layers.errors import InvalidInput

Params = Mapping[str, str]
EAST, NORTH = "east", "north"
TIME = {"time", "t"}
_TERM = re.compile(r"\s*([A-Za-z][A-Za-z0-9_-]{0,40})\(([^()]*)\)\s*(?:,|$)")
_ENDS = re.compile(r'\s*("[^"]*"|[^":]*?)\s*(?:(:)\s*("[^"]*"|[^":]*?)\s*)?')
_ALIASES = {
    "e": EAST, "easting": EAST, "x": EAST, "lon": EAST, "long": EAST, "longitude": EAST,
    "n": NORTH, "northing": NORTH, "y": NORTH, "lat": NORTH, "latitude": NORTH,
}  # fmt: skip
_DEGREES = {"lon", "long", "longitude", "lat", "latitude"}


def subset(given: Params) -> tuple[dict[str, tuple[str, str | None]], str | None]:
    """Axis as written -> low and high (None: one value); and the time axis as a `datetime` text."""
    slices: dict[str, tuple[str, str | None]] = {}
    time: str | None = None
    for axis, inside in terms(given.get("subset", ""), "subset"):
        low, colon, high = _ends(inside)
        if axis.lower() in TIME:
            if time is not None:
                raise InvalidInput("subset names the axis time twice.", "Name it once.")
            latest = "9998"  # later than any raster
            ends = ["" if each == "*" else each.strip('"') for each in (low, high)]
            time = f"{ends[0] or '..'}/{ends[1] or '..'}" if colon else ends[0] or latest
        elif any(_axis(axis) == _axis(other) and _axis(axis) for other in slices) or axis in slices:
            raise InvalidInput(f"subset names the axis {axis} twice.", "Name it once.")
        else:
            slices[axis] = (low, high if colon else None)
    return slices, time


def _ends(inside: str) -> tuple[str, str, str]:
    """Low, colon, high; colons inside quotes are no separators."""
    quoted = _ENDS.fullmatch(inside)
    if not quoted or not quoted[1] or (quoted[2] and not quoted[3]):
        raise InvalidInput(
            f"subset: ({inside[:60]}) is no value or interval.",
            'Example: subset=Lat(28:28.1),Lon(121:121.1) or time("2026-04-18")',
        )
    return quoted[1], quoted[2] or "", quoted[3] or ""


def terms(text: str, name: str) -> list[tuple[str, str]]:
    """`E(2),N(3)` as pairs of a name and what stands in its brackets."""
    found, at = [], 0
    while at < len(text):
        match = _TERM.match(text, at)
        if not match:
            raise InvalidInput(
                f"{name}={text[:80]!r} is not understood at {text[at : at + 20]!r}.", f"Example: {name}=E(2),N(2)"
            )
        found.append((match[1], match[2]))
        at = match.end()
    if not found and text:
        raise InvalidInput(f"{name} is empty.", f"Example: {name}=E(2),N(2)")
    return found


def _axis(name: str) -> str | None:
    return _ALIASES.get(name.lower())


def axis_of(name: str, of: str, parameter: str) -> str:
    """EAST or NORTH for an axis name in a CRS. X and Y are refused where the CRS itself calls its northing X."""
    side = _axis(name)
    is_degrees = crs.is_geographic(of)
    names = "Lat and Lon" if is_degrees else "E and N"
    if side is None or (name.lower() not in {"x", "y"} and (name.lower() in _DEGREES) != is_degrees):
        hint = f"In {of} the axes are {names}."
        raise InvalidInput(
            f"{parameter}: there is no axis {name!r} in {of}.",
            f"{hint} Another CRS: {parameter}-crs=…." if parameter == "subset" else hint,
        )
    if name.lower() in {"x", "y"} and not is_degrees:
        axes = {axis.abbrev.lower(): axis.direction.lower() for axis in crs.parse(of).axis_info}
        if axes.get(name.lower(), side) != side:
            raise InvalidInput(
                f"{parameter}: {name} is the {axes[name.lower()]}ing in {of}, and the other one elsewhere.",
                f"Say {names}.",
            )
    return side


def number(text: str, axis: str, name: str = "subset") -> float:
    """A finite number; the error names parameter and axis."""
    try:
        value = float(text)
    except ValueError as error:
        raise InvalidInput(f"{name}: {text[:40]!r} is no number ({axis}).", "Use decimal numbers.") from error
    if not math.isfinite(value):
        raise InvalidInput(f"{name}: {text[:40]!r} is not finite ({axis}).", "Use decimal numbers.")
    return value


def per_axis(given: Params, name: str, of: str, *, may_be_empty: bool = False) -> dict[str, float]:
    """A number above 0 for each axis named; 0 for empty brackets where these are allowed."""
    found: dict[str, float] = {}
    for axis, inside in terms(given[name], name):
        side = axis_of(axis, of, name)
        if side in found:
            raise InvalidInput(f"{name} names the axis {axis} twice.", "Name it once.")
        found[side] = 0.0 if may_be_empty and not inside.strip() else positive(inside, name)
    return found


def positive(text: str, name: str) -> float:
    """A number above 0."""
    value = number(text, name, name)
    if not 1e-12 < value < 1e12:
        raise InvalidInput(f"{name}={text[:40]!r} is not a number above 0.", f"Example: {name}=2")
    return value
