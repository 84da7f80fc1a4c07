"""The CRS of a source: what the file says, else what was told, else a refusal with the line to write."""

import json
import math

from layers import crs
from layers.certificate import Certificate, Method
from layers.crs import Bounds
from layers.errors import CrsMissing, InvalidInput
from layers.issue import Issue
from layers.source import Hints


def missing(name: str, what: str = "") -> CrsMissing:
    """The refusal of a source without CRS, with the lines that cure it."""
    problem = f"{name} does not say which coordinate reference system it is in{what}."
    hint = f"Write into city.toml, with the true code:\n{toml_lines(name, crs='EPSG:4549')}"
    return CrsMissing(problem, hint, code="CRS_MISSING")


def toml_lines(name: str, **keys: str) -> str:
    """The `[[source]]` table to add to city.toml, ready to copy."""
    rows = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in {"path": name, **keys}.items()]
    return "\n".join(["[[source]]", *rows])


def certificate(
    stated: str | None, hints: Hints, name: str, bounds: Bounds | None, *, overridable: bool = False
) -> tuple[Certificate, list[Issue]]:
    """Placement of one source.

    `overridable`: the stated CRS is only the format's default (GeoJSON without `crs`), so a hint goes before it.
    Raises CrsMissing, or InvalidInput when coordinates cannot be in the CRS.
    """
    stated = _usable(stated)
    method: Method
    given = crs.name(hints.crs) if hints.crs else None
    issues: list[Issue] = []
    contradictions: tuple[str, ...] = ()
    if stated is None or (overridable and given is not None):
        if given is None:
            raise missing(name)
        chosen, method = given, "given-crs"
    else:
        chosen, method = stated, "file-crs"
        if given is not None and crs.horizontal(given) != crs.horizontal(stated):
            sentence = f"city.toml says {_short(given)}, the file says {_short(stated)}; the file was believed."
            contradictions = (sentence,)
            issues.append(Issue("CRS_CONTRADICTION", name, sentence, "Correct the one that is wrong.", "warning"))
    horizontal = crs.horizontal(chosen)
    if bounds is not None:
        _check_bounds(horizontal, bounds, name)
    vertical = crs.vertical(chosen) or hints.vertical_crs
    made = Certificate(method, source_crs=horizontal, source_vertical_crs=vertical, contradictions=contradictions)
    return made, issues


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
    west, south, east, north = bounds
    if crs.parse(horizontal).is_geocentric:
        raise InvalidInput(
            f"{name} is in geocentric coordinates ({horizontal}).",
            "Convert it to a map projection first.",
            code="CRS_GEOCENTRIC",
        )
    if crs.is_geographic(horizontal) and (south < -90.001 or north > 90.001 or west < -360.001 or east > 360.001):
        swapped = -180 <= south <= 360 and -90 <= west <= 90 and -90 <= east <= 90
        hint = "The axes seem to be swapped: write longitude first." if swapped else "Give the true CRS in the file."
        problem = f"{name} says degrees ({_short(horizontal)}), but its coordinates run from {west:g}, {south:g} to {east:g}, {north:g}."
        raise InvalidInput(problem, hint, code="COORDINATES_OUTSIDE_CRS")
