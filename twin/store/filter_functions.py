"""Functions that filters may call beyond the operators of CQL2 (OGC 21-065r2, requirements class "Functions").

Areas and lengths are ellipsoidal (CGCS2000), so that they do not hang on the city's projection; `distance_m` and
`buffer` measure in the plane of the city's CRS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from layers import crs
from layers.errors import InvalidInput
from twin.store.sql_functions import casei, geometry_of
from twin.store.sql_term import Term, joined, typed

LONGEST_M = 500.0
_NUMBERS = frozenset({"number", "integer", "null"})
_TEXT = frozenset({"string", "null"})
_SHAPES = frozenset({"geometry", "null"})
_TIMES = frozenset({"date", "datetime", "null"})
_CRS = "(SELECT value FROM gpkg_citytwin_meta WHERE key = 'crs')"


@dataclass(frozen=True)
class Function:
    """One function.

    Attributes
    ----------
    name : as it is written, case does not matter
    about : what it gives, for those who read `/functions`
    arguments : title of each argument and the kinds it may have
    returns : kind of its value
    sql : with one `{}` an argument
    """

    name: str
    about: str
    arguments: tuple[tuple[str, frozenset[str]], ...]
    returns: str
    sql: str


FUNCTIONS: tuple[Function, ...] = (
    Function(
        "area_m2", "Ellipsoidal area of polygons in square metres, 0 for other geometries.",
        (("geometry", _SHAPES),), "number", f"citytwin_area_m2({_CRS}, {{}})",
    ),
    Function(
        "length_m", "Ellipsoidal length of lines in metres, seen from above, 0 for other geometries.",
        (("geometry", _SHAPES),), "number", f"citytwin_length_m({_CRS}, {{}})",
    ),
    Function(
        "distance_m", "Shortest distance of two geometries in metres, in the plane of the city's CRS.",
        (("geometry", _SHAPES), ("geometry", _SHAPES)), "number", "citytwin_distance_m({}, {})",
    ),
    Function(
        "buffer", "What lies within a distance (metres, in the plane of the city's CRS); round to 0.1 % of it.",
        (("geometry", _SHAPES), ("distance", _NUMBERS)), "geometry", "citytwin_buffer({}, {})",
    ),
    Function(
        "centroid", "Centroid, in the plane of the city's CRS.", (("geometry", _SHAPES),), "geometry",
        "citytwin_centroid({})",
    ),
    Function(
        "contains_text", "True if the text holds the words, whatever the case, with any white space between them.",
        (("text", _TEXT), ("words", _TEXT)), "boolean", "citytwin_contains({}, {})",
    ),
    Function("char_length", "Number of characters.", (("text", _TEXT),), "integer", "length({})"),
    Function("abs", "Without its sign.", (("number", _NUMBERS),), "number", "abs({})"),
    Function("floor", "The next whole number below.", (("number", _NUMBERS),), "number", "citytwin_floor({})"),
    Function("ceil", "The next whole number above.", (("number", _NUMBERS),), "number", "citytwin_ceil({})"),
    Function("year", "Year of a date, or of a moment in UTC.", (("time", _TIMES),), "integer",
             "CAST(substr({}, 1, 4) AS INTEGER)"),
    Function("month", "Month (1-12) of a date, or of a moment in UTC.", (("time", _TIMES),), "integer",
             "CAST(substr({}, 6, 2) AS INTEGER)"),
)  # fmt: skip
_BY_NAME = {each.name: each for each in FUNCTIONS}


def translate(written: str, arguments: list[Term]) -> Term:
    """A call as SQL. InvalidInput names a function that there is none of, or the argument that does not fit."""
    function = _BY_NAME.get(written.lower())
    if function is None:
        raise InvalidInput(
            f"The filter uses {written[:40]!r}, which is not read here.", f"Functions: {', '.join(sorted(_BY_NAME))}."
        )
    # the standard's own example gives the unit behind the distance
    if function.name == "buffer" and len(arguments) == 3 and arguments[2].literal == "m":
        arguments = arguments[:2]
    n = len(function.arguments)
    if len(arguments) != n:
        raise InvalidInput(f"{function.name} in the filter takes {n} arguments.", "See /functions.")
    terms = []
    for term, (title, kinds) in zip(arguments, function.arguments, strict=True):
        fits = typed(term, next(iter(sorted(kinds - {"null"}, reverse=True))))
        if fits.kind not in kinds:
            raise InvalidInput(f"{function.name} in the filter takes a {title}, not a {term.kind}.", "See /functions.")
        terms.append(fits)
    return joined(function.sql, function.returns, *terms)


def area_m2(city_crs: str, blob: bytes | None) -> float | None:
    """Ellipsoidal area; what CGCS2000 makes of the polygon's edges, which are straight in the city's CRS."""
    if blob is None:
        return None
    total = 0.0
    for polygon in _parts(geometry_of(blob)):
        if polygon.geom_type == "Polygon" and not polygon.is_empty:
            total += _ring_m2(polygon.exterior, city_crs)
            total -= sum(_ring_m2(hole, city_crs) for hole in polygon.interiors)
    return total


def _ring_m2(ring: shapely.Geometry, city_crs: str) -> float:
    return abs(float(crs.CGCS2000_GEOD.polygon_area_perimeter(*_in_degrees(ring, city_crs))[0]))


def length_m(city_crs: str, blob: bytes | None) -> float | None:
    """Ellipsoidal length of lines."""
    if blob is None:
        return None
    lines = [each for each in _parts(geometry_of(blob)) if each.geom_type in {"LineString", "LinearRing"}]
    paths = [_in_degrees(line, city_crs) for line in lines if not line.is_empty]
    return float(sum(crs.CGCS2000_GEOD.line_length(*path) for path in paths))


def _in_degrees(path: shapely.Geometry, city_crs: str) -> tuple[Any, Any]:
    """Longitudes and latitudes of a path, its edges cut to 500 m: chord and geodesic then lie within millimetres.

    Lists and one transformer, since this is done row by row: 4 microseconds where arrays take 75.
    """
    xy = shapely.get_coordinates(path)
    if np.abs(np.diff(xy, axis=0)).max(initial=0.0) > LONGEST_M:
        xy = shapely.get_coordinates(shapely.segmentize(path, LONGEST_M))
    x, y = xy.T.tolist()
    return crs.transformer(city_crs, crs.CGCS2000).transform(x, y, errcheck=False)


def _parts(made: shapely.Geometry) -> list[shapely.Geometry]:
    if not hasattr(made, "geoms"):
        return [made]
    return [each for part in made.geoms for each in _parts(part)]


def distance_m(a: bytes | None, b: bytes | None) -> float | None:
    """Distance in the plane; NULL where one of them is empty."""
    if a is None or b is None:
        return None
    value = float(shapely.distance(geometry_of(a), geometry_of(b)))
    return None if np.isnan(value) else value


def buffer(blob: bytes | None, distance: float | None) -> bytes | None:
    """A polygon as WKB."""
    if blob is None or distance is None or not abs(distance) < 1e7:
        return None
    return bytes(shapely.to_wkb(shapely.buffer(geometry_of(blob), float(distance), quad_segs=18)))


def centroid(blob: bytes | None) -> bytes | None:
    """A point as WKB; NULL of an empty geometry."""
    if blob is None:
        return None
    made = shapely.centroid(geometry_of(blob))
    return None if made.is_empty else bytes(shapely.to_wkb(made))


def contains(text: str | None, words: str | None) -> bool | None:
    """True if the words follow one another in the text, case folded."""
    if text is None or words is None:
        return None
    return " ".join(str(casei(words)).split()) in " ".join(str(casei(text)).split())


def _rounded(way: Callable[[Any], int]) -> Callable[[float | None], float | None]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else float(way(value)) if np.isfinite(value) else float(value)

    return rounded


SQL: tuple[tuple[str, int, Callable[..., Any]], ...] = (
    ("citytwin_area_m2", 2, area_m2),
    ("citytwin_length_m", 2, length_m),
    ("citytwin_distance_m", 2, distance_m),
    ("citytwin_buffer", 2, buffer),
    ("citytwin_centroid", 1, centroid),
    ("citytwin_contains", 2, contains),
    ("citytwin_floor", 1, _rounded(np.floor)),
    ("citytwin_ceil", 1, _rounded(np.ceil)),
)
"""Name, number of arguments and body of what the SQL of this module calls."""
