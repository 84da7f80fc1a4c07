"""Pipe surveys as tables of points and lines (CJJ 61-2017, appendix F): which is which, and what their columns mean.

Chinese survey tables write X for north and Y for east (GB/T 14911): where the header alone leaves a choice, the values
decide against the area of the CRS; where they do not, the table is refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow as pa

from ingest import detect, place, units
from ingest.columns import fold
from ingest.table import pipe_types
from ingest.table import points as table_points
from ingest.table.sheet import Sheet, slices
from ingest.units import narrow
from layers.crs import Bounds
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

DEEP = 20.0
"""A median depth beyond this, under a header without a unit, is no depth in metres."""

_EAST = re.compile(r"东|横|east|经度|^lon|^lng|^e$", re.IGNORECASE)
_NORTH = re.compile(r"北|纵|north|纬度|^lat|^n$", re.IGNORECASE)
_HEIGHT = re.compile(r"^(?P<end>起点|起始点?|起|终点|终止点?|止点|终|连接点)(?P<what>.*)(?P<kind>高程|标高|埋深|深度)$")
_REFERENCES = (("crown", ("顶",)), ("invert", ("底",)), ("centre", ("中心", "管中", "轴")))
Role = Literal["points", "lines", ""]


def role(sheet: Sheet, hints: Hints) -> Role:
    """What a table is in a pipe survey; empty for any other table."""
    header = sheet.header
    if hints.layer is not None and not hints.layer.startswith(("pipe_", "corridor")):
        return ""
    ends = [told_column(sheet, hints, name) for name in ("start_node", "end_node")]
    if all(ends) and ends[0] != ends[1]:
        return "" if table_points.find(sheet, hints) else "lines"
    named = {pipe_types.bare(each) for each in header}
    marks = {pipe_types.bare(each) for each in pipe_types.data()["marks"]}
    has_place = {"x", "y"} <= set(hints.columns) or _axis_columns(header) is not None
    if not (has_place and told_column(sheet, hints, "node_code") and named & marks):
        return ""
    told = replace(hints, layer=None)  # its name may speak for another layer
    found = detect.detect(sheet.source, sheet.name, sheet.schema, "PointZ", told)
    return "points" if found.is_own or found.layer_type.id == "pipe_node" else ""


def told_column(sheet: Sheet, hints: Hints, attribute: str) -> str | None:
    """The column that brings an attribute: hinted, else by its name."""
    told = hints.columns.get(attribute)
    return told if told in sheet.header else pipe_types.column(sheet.header, attribute)


def _axis_columns(header: Sequence[str]) -> tuple[str, str] | None:
    """The columns called x and y in any of their spellings, whatever they mean."""
    by_name = {fold(each): each for each in reversed(header)} | {
        pipe_types.bare(each): each for each in reversed(header)
    }
    by_name |= {fold(each): each for each in reversed(header)}
    x, y = (next((by_name[name] for name in (*names, *more) if name in by_name), None)
            for names, more in zip(table_points.XYZ[:2], _MORE, strict=True))  # fmt: skip
    return None if x is None or y is None or x == y else (x, y)


_MORE = (
    ("平面坐标x", "x坐标值", "横坐标y", "东坐标y", "y东坐标", "e", "纵坐标x", "北坐标x", "x北坐标"),
    ("平面坐标y", "y坐标值", "纵坐标x", "北坐标x", "x北坐标", "n", "横坐标y", "东坐标y", "y东坐标"),
)


def placed(sheet: Sheet, hints: Hints) -> tuple[Hints, list[Issue]]:
    """The hints of a point table with its columns of east, north and height named; and what was decided.

    Raises InvalidInput `SURVEY_AXES_AMBIGUOUS` where neither header nor values say which one is north.
    """
    ground = told_column(sheet, hints, "ground")
    height = {"z": ground} if ground and "z" not in hints.columns else {}
    if {"x", "y"} <= set(hints.columns):
        return replace(hints, columns={**height, **hints.columns}), []
    found = _axis_columns(sheet.header)
    if found is None:
        problem = f"{sheet.place} has no pair of coordinate columns."
        raise InvalidInput(problem, 'Name them in city.toml: columns = {x = "…", y = "…"}.', code="SURVEY_AXES_MISSING")
    east, north, issues = _decided(sheet, hints, *found)
    return replace(hints, columns={**height, **hints.columns, "x": east, "y": north}), issues


def _decided(sheet: Sheet, hints: Hints, x: str, y: str) -> tuple[str, str, list[Issue]]:
    """East and north of two columns."""
    said = {column: _meant(column) for column in (x, y)}
    if said[x] == "east" or said[y] == "north":
        if said[x] != "north" and said[y] != "east":
            return x, y, []
    elif said[x] == "north" or said[y] == "east":
        return y, x, []
    if hints.crs is None and not hints.control_points:
        raise place.missing(sheet.source, f" (its coordinates are in {x} and {y})", sheet.table or "")
    fits = [] if hints.control_points else [pair for pair in ((y, x), (x, y)) if _fits(sheet, hints, *pair)]
    if len(fits) == 1:
        east, north = fits[0]
        other = "as in survey tables, X is north" if east == y else "X is east"
        message = f"{east} is read as east and {north} as north ({other}): only so the points lie in {hints.crs}."
        return east, north, [Issue("SURVEY_AXES", sheet.place, message, "", "info")]
    if not fits and not hints.control_points:
        place.certificate(None, hints, sheet.source, _bounds(sheet, y, x), table=sheet.table or "")  # refuses in words
    keys = {} if sheet.table is None else {"table": sheet.table}
    lines = place.toml_lines(sheet.source, **keys)
    problem = (
        f"{sheet.place}: {x} may be north and {y} east, as survey tables have it, or {x} east and {y} north; "
        "the values allow both."
    )
    hint = f"Write into city.toml (x is east):\n{lines}\ncolumns = {{x = {y!r}, y = {x!r}}}   # or the other way round"
    raise InvalidInput(problem, hint.replace("'", '"'), code="SURVEY_AXES_AMBIGUOUS")


def _meant(column: str) -> str:
    plain = narrow(column)
    east, north = bool(_EAST.search(plain)), bool(_NORTH.search(plain))
    return "" if east == north else "east" if east else "north"


def _fits(sheet: Sheet, hints: Hints, east: str, north: str) -> bool:
    try:
        place.certificate(None, hints, sheet.source, _bounds(sheet, east, north), table=sheet.table or "")
    except InvalidInput as error:
        if error.code == "COORDINATES_OUTSIDE_CRS":
            return False
        raise
    return True


def _bounds(sheet: Sheet, east: str, north: str) -> Bounds | None:
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for piece in slices(sheet):
        xy = np.column_stack([table_points.numbers(piece.table, each) for each in (east, north)])
        xy = xy[np.isfinite(xy).all(axis=1)]
        if len(xy):
            low, high = np.minimum(low, xy.min(axis=0)), np.maximum(high, xy.max(axis=0))
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1])) if np.isfinite(low).all() else None


def heights(sheet: Sheet) -> tuple[dict[str, str], str | None, list[Issue]]:
    """Attribute -> column for elevations and depths of both ends, and what the header says they refer to (`z_ref`).

    The elevations' word goes before the depths'. A header that says nothing leaves it open.
    """
    found: dict[str, str] = {}
    said: dict[str, set[str]] = {"elev_m": set(), "depth_m": set()}
    for column in sheet.header:
        match = _HEIGHT.match(pipe_types.bare(column))
        if match is None or any(word in match["what"] for word in ("地面", "井", "路面")):
            continue
        which = "start" if match["end"].startswith("起") else "end"
        kind = "elev_m" if match["kind"] in {"高程", "标高"} else "depth_m"
        found.setdefault(f"{which}_{kind}", column)
        references = {name for name, words in _REFERENCES if any(word in narrow(column) for word in words)}
        said[kind] |= references
    for kind, noun in (("elev_m", "elevations"), ("depth_m", "depths")):
        if any(each.endswith(kind) for each in found):
            if len(said[kind]) > 1:
                message = f"The {noun} of both ends are named after different places: {', '.join(sorted(said[kind]))}."
                hint = "Give z_ref by a column, or in city.toml values."
                return found, None, [Issue("PIPE_Z_REF_MIXED", sheet.place, message, hint, "warning")]
            return found, next(iter(said[kind]), None), []
    return found, None, []


def metres(sheet: Sheet, attributes: Mapping[str, str], hints: Hints) -> tuple[Sheet, list[Issue]]:
    """The table with depth columns that cannot be metres renamed, so that nothing takes them for metres.

    `attributes`: column of depths -> attribute. A unit in the header or in city.toml settles it.
    """
    open_ = {column: name for column, name in attributes.items()
             if name not in hints.units and units.split_unit(column)[1] is None}  # fmt: skip
    issues, renamed = [], {}
    for column, name in open_.items():
        median = _median(sheet, column)
        if median is not None and median > DEEP:
            renamed[column] = f"{column} (unit?)"
            message = f"Half the values of {column} are above {median:g}: depths in cm or mm, not m. They are not used."
            hint = f'Give the unit in city.toml: units = {{ {name} = "cm" }}.'
            issues.append(Issue("PIPE_DEPTH_UNIT", sheet.place, message, hint, "warning"))
    schema = pa.schema([field.with_name(renamed.get(field.name, field.name)) for field in sheet.schema])
    return (replace(sheet, schema=schema) if renamed else sheet), issues


def _median(sheet: Sheet, column: str) -> float | None:
    values = [table_points.numbers(piece.table, column) for piece in slices(sheet)]
    known = np.concatenate([each[np.isfinite(each)] for each in values]) if values else np.zeros(0)
    return float(np.median(known)) if known.size else None
