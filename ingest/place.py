"""The CRS of a source: what the file says, else what was told, else a refusal with the line to write."""

import json
import math
from typing import Any

import numpy as np

from ingest.correct import repair
from layers import crs
from layers.certificate import Certificate, Method
from layers.crs import Bounds
from layers.crs_doubts import doubts, mixture, zones_of
from layers.errors import CrsMissing, InvalidInput
from layers.issue import Issue
from layers.source import Hints

AREA_MARGIN_DEG = 3.0
"""So far beyond the area of use of a CRS a source may lie: a city at the edge of its zone is no mistake."""


def missing(name: str, what: str = "", table: str = "", bounds: Bounds | None = None) -> CrsMissing:
    """The refusal of a source (or of one table of it) without CRS, with the lines that cure it.

    `bounds` of its coordinates, where they are known, tell degrees from metres for the example.
    """
    whose = f"Table {table!r} of {name}" if table else name
    problem = f"{whose} does not say which coordinate reference system it is in{what}."
    is_degrees = bounds is not None and all(abs(value) <= 360 for value in bounds)
    example = crs.CGCS2000 if is_degrees else "EPSG:4549"
    keys = {"table": table, "crs": example} if table else {"crs": example}
    hint = f"Write into city.toml, with the true code:\n{toml_lines(name, **keys)}"
    return CrsMissing(problem, hint, code="CRS_MISSING")


def toml_lines(path: str, **keys: Any) -> str:
    """The `[[source]]` table to add to city.toml, ready to copy."""
    rows = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in {"path": path, **keys}.items()]
    return "\n".join(["[[source]]", *rows])


def certificate(
    stated: str | None,
    hints: Hints,
    name: str,
    bounds: Bounds | None,
    *,
    overridable: bool = False,
    table: str = "",
) -> tuple[Certificate, list[Issue]]:
    """Placement of one source.

    `overridable`: the stated CRS is only the format's default (GeoJSON without `crs`), so a hint goes before it, also
    one on the height datum.
    `table`: its name, where the file has several.
    With `hints.control_points` the CRS is that of the true points and `bounds` are not looked at: they are in a system
    of the file's own, which `ingest.read` moves after the reader (see `ingest.control_points`).
    With `hints.correct` the bounds are looked at as they will be after the repair.
    Raises CrsMissing, or InvalidInput when coordinates cannot be in the CRS.
    """
    stated = _usable(stated)
    if hints.control_points:
        return by_control_points(stated, hints, name)
    method: Method
    given = crs.name(hints.crs) if hints.crs else None
    issues: list[Issue] = []
    contradictions: tuple[str, ...] = ()
    is_default = overridable
    overridable = overridable or "given-crs" in hints.correct
    if stated is None or (overridable and given is not None):
        if given is None:
            raise missing(name, table=table, bounds=bounds)
        chosen, method = given, "given-crs"
    else:
        chosen, method = stated, "file-crs"
        if given is not None and crs.horizontal(given) != crs.horizontal(stated):
            sentence = f"city.toml says {_short(given)}, the file says {_short(stated)}; the file was believed."
            contradictions = (sentence,)
            issues.append(Issue("CRS_CONTRADICTION", name, sentence, "Correct the one that is wrong.", "warning"))
    horizontal = crs.horizontal(chosen)
    if bounds is not None:
        _check_bounds(horizontal, _repaired(bounds, hints, horizontal), name)
    ellipsoidal = chosen if crs.is_ellipsoidal(chosen) else None  # its third axis says what z is
    if is_default and hints.vertical_crs is not None:  # nobody wrote that these heights are above the ellipsoid
        ellipsoidal = None
    vertical = crs.vertical(chosen) or ellipsoidal or hints.vertical_crs
    made = Certificate(method, source_crs=horizontal, source_vertical_crs=vertical, contradictions=contradictions)
    return made, issues


def by_control_points(stated: str | None, hints: Hints, name: str) -> tuple[Certificate, list[Issue]]:
    """Placement of a source that control points place: the CRS is that of the true points, `crs` or the city's.

    Heights are in `vertical_crs`, else the city's. What the file states goes into the contradictions.
    Raises CrsMissing where there is neither, InvalidInput where that CRS is in degrees.
    """
    target = hints.crs or hints.city_crs
    if target is None:
        raise missing(name, " (the control points' true places)")
    target = crs.horizontal(target)
    if not crs.parse(target).is_projected:
        problem = f"{name}: control points lead to {_short(target)}, which is not a plane system."
        raise InvalidInput(problem, "Give them east, north in the city's CRS, without crs.", code="CONTROL_POINTS_CRS")
    contradictions: tuple[str, ...] = ()
    if stated is not None and crs.horizontal(stated) != target:
        contradictions = (f"The file says {_short(stated)}; the control points were believed.",)
    made = Certificate(
        "control-points",
        source_crs=target,
        source_vertical_crs=hints.vertical_crs or (crs.vertical(hints.crs) if hints.crs else None),
        contradictions=contradictions,
    )
    return made, [Issue("CRS_CONTRADICTION", name, each, "", "info") for each in contradictions]


def _repaired(bounds: Bounds, hints: Hints, horizontal: str) -> Bounds:
    """Bounds after the repairs that were asked for."""
    move = repair(hints.correct, horizontal)
    if move is None or not all(math.isfinite(value) for value in bounds):
        return bounds
    corners = move(np.array([bounds[:2], bounds[2:]], np.float64))
    (west, south), (east, north) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return west, south, east, north


def _short(text: str) -> str:
    return text if len(text) < 40 else crs.parse(text).name


def _usable(stated: str | None) -> str | None:
    """None for «undefined», «unknown» and engineering systems: they place nothing."""
    if not stated or not stated.strip():
        return None
    parsed = crs.parse(stated)
    flat = parsed.sub_crs_list[0] if parsed.is_compound and parsed.sub_crs_list else parsed
    if not (flat.is_geographic or flat.is_projected or flat.is_geocentric):
        return None
    return crs.name(stated)


def _check_bounds(horizontal: str, bounds: Bounds, name: str) -> None:
    if not all(math.isfinite(value) for value in bounds):
        return
    if crs.parse(horizontal).is_geocentric:
        problem = f"{name} is in geocentric coordinates ({horizontal})."
        raise InvalidInput(problem, "Convert it to a map projection first.", code="CRS_GEOCENTRIC")
    west, south, east, north = bounds
    if crs.is_geographic(horizontal):
        fits = south >= -90.5 and north <= 90.5 and west >= -360.5 and east <= 360.5
    else:
        is_mixed = crs.gauss_zones(horizontal) is not None and len(zones_of(np.array([west, east]))) > 1
        fits = not is_mixed and _in_area(horizontal, (west + east) / 2, (south + north) / 2)
    if fits:
        return
    extent = f"its coordinates run from {west:.10g}, {south:.10g} to {east:.10g}, {north:.10g}"
    problem = f"{name} says {_short(horizontal)}, but {extent}, which is outside the area of that system."
    raise InvalidInput(problem, _way_out(horizontal, bounds, name), code="COORDINATES_OUTSIDE_CRS")


def _way_out(horizontal: str, bounds: Bounds, name: str) -> str:
    west, south, east, north = bounds
    mixed = mixture(horizontal, bounds)
    if mixed:
        return mixed
    for doubt in doubts(horizontal, np.array([west, east]), np.array([south, north])):
        if doubt.code == "far-from-city":
            continue
        lines = f" If so, write into city.toml:\n{toml_lines(name, **doubt.cure)}" if doubt.cure else ""
        if doubt.code == "metres-not-degrees" and not doubt.cure:
            true = toml_lines(name, crs="EPSG:4549", correct=["given-crs"])
            lines = f" Write into city.toml, with the true code:\n{true}"
        return doubt.explanation.replace(" lie in the city", " fit the CRS") + lines
    return "Give the true CRS in the file, or in city.toml where the file names none."


def _in_area(horizontal: str, x: float, y: float) -> bool:
    """True if a point is within the CRS's area of use, give or take 3°; also where the registry states no area."""
    area = crs.area_of_use(horizontal)
    if area is None:
        return True
    lon, lat = (float(value[0]) for value in crs.transform(horizontal, crs.CGCS2000, np.array([x]), np.array([y])))
    west, south, east, north = area
    if not (math.isfinite(lon) and south - AREA_MARGIN_DEG <= lat <= north + AREA_MARGIN_DEG):
        return False
    span = (east - west) % 360 or 360.0  # an area may cross the antimeridian
    return (lon - west + AREA_MARGIN_DEG) % 360 <= span + 2 * AREA_MARGIN_DEG
