"""CoverageJSON (OGC 21-069r2): domains, parameters and ranges as JSON objects."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from layers import crs
from layers.catalogue import Title
from tiles.coverage import units
from tiles.coverage.grid import Grid

MEDIA_TYPE = "application/vnd.cov+json"
Json = dict[str, Any]


def referencing(of: str, *, has_time: bool = False, vertical: str | None = None) -> list[Json]:
    """Which coordinates are in which system; the order of coordinates is the CRS's own (21-069r2, 5.1)."""
    kind = "GeographicCRS" if crs.is_geographic(of) else "ProjectedCRS"
    order = ["y", "x"] if crs.is_north_first(of) else ["x", "y"]
    found = [{"coordinates": order, "system": {"type": kind, "id": identifier(of)}}]
    if vertical:
        found.append({"coordinates": ["z"], "system": {"type": "VerticalCRS", "id": identifier(vertical)}})
    if has_time:
        found.append({"coordinates": ["t"], "system": {"type": "TemporalRS", "calendar": "Gregorian"}})
    return found


def identifier(of: str) -> str:
    """URI of a CRS; its WKT where it has none."""
    short = crs.name(of)
    known = short == crs.CRS84 or (short.startswith("EPSG:") and short[5:].isdigit())
    return crs.uri(of) if known else short


def parameter(title: Title, unit: str | None, *, description: Title | None = None, about: str | None = None) -> Json:
    """What a range holds; `about` is the URI of the quantity."""
    made: Json = {"type": "Parameter", "observedProperty": {"label": title.to_dict()}}
    if about:
        made["observedProperty"]["id"] = about
    if description:
        made["description"] = description.to_dict()
    if unit:
        made["unit"] = units.covjson(unit)
    return made


def values(array: Any, axes: Sequence[str], shape: Sequence[int] | None = None) -> Json:
    """An NdArray; NaN, and None in lists, mean no value."""
    if isinstance(array, np.ndarray):
        shape = array.shape
        kind = "float" if array.dtype.kind == "f" else "integer"
        return {
            "type": "NdArray", "dataType": kind, "axisNames": list(axes), "shape": list(shape),
            "values": np.ascontiguousarray(array).ravel(),
        }  # fmt: skip
    kind = "string" if any(isinstance(each, str) for each in array) else "float"
    return {
        "type": "NdArray", "dataType": kind, "axisNames": list(axes), "shape": list(shape or [len(array)]),
        "values": list(array),
    }  # fmt: skip


def grid(frame: Grid, parameters: Mapping[str, Json], ranges: Mapping[str, Any], *, time: str | None = None) -> Json:
    """A coverage on a grid: coordinates are those of the cells' centres, rows from north to south."""
    west, south, east, north = frame.bounds
    axes: Json = {
        "x": {"start": west + frame.dx / 2, "stop": east - frame.dx / 2, "num": frame.width},
        "y": {"start": north - frame.dy / 2, "stop": south + frame.dy / 2, "num": frame.height},
    }
    if time:
        axes["t"] = {"values": [time]}
    return {
        "type": "Coverage",
        "domain": {
            "type": "Domain", "domainType": "Grid", "axes": axes,
            "referencing": referencing(frame.crs, has_time=time is not None),
        },
        "parameters": dict(parameters),
        "ranges": {name: values(array, ("y", "x")) for name, array in ranges.items()},
    }  # fmt: skip


def dumps(document: Json) -> bytes:
    """As UTF-8."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
