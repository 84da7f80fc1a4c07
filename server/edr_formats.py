"""Values at points as CoverageJSON, GeoJSON and CSV (OGC 19-086r6, 9 and annex; 21-069r2; RFC 7946)."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from layers import crs
from tiles.coverage import covjson

Json = dict[str, Any]


@dataclass(frozen=True)
class Samples:
    """Values at n places: `x`, `y` east first in `crs`, `columns` (n,) by name, NaN for no value.

    `domain` is the CoverageJSON domain type: `Point`, `MultiPoint` or `Trajectory`; `extra` are columns that are no
    parameters of the collection (the distance along a line).
    """

    crs: str
    x: Any
    y: Any
    columns: Mapping[str, Any]
    parameters: Mapping[str, Json]
    domain: str = "MultiPoint"
    time: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def to_covjson(samples: Samples) -> bytes:
    """One coverage. A line whose rasters are of one time is a Trajectory, any other a MultiPoint in its order."""
    n, time = len(samples.x), samples.time
    if samples.domain == "Point":
        axes: Json = {"x": {"values": [samples.x[0]]}, "y": {"values": [samples.y[0]]}}
        axes |= {"t": {"values": [time]}} if time else {}
        names, shape, domain = ["y", "x"], [1, 1], "Point"
    else:
        is_path = samples.domain == "Trajectory" and time is not None
        domain = "Trajectory" if is_path else "MultiPoint"
        places = [
            [time, x, y] if is_path else [x, y] for x, y in zip(samples.x.tolist(), samples.y.tolist(), strict=True)
        ]
        order = ["t", "x", "y"] if is_path else ["x", "y"]
        axes = {"composite": {"dataType": "tuple", "coordinates": order, "values": places}}
        if time and not is_path:
            axes["t"] = {"values": [time]}
        names, shape = ["composite"], [n]
    ranges = {
        name: covjson.values(list(nulls(values)), names, shape)
        for name, values in {**samples.columns, **samples.extra}.items()
    }
    return covjson.dumps(
        {
            "type": "Coverage",
            "domain": {
                "type": "Domain", "domainType": domain, "axes": axes,
                "referencing": covjson.referencing(samples.crs, has_time=time is not None),
            },
            "parameters": dict(samples.parameters), "ranges": ranges,
        }
    )  # fmt: skip


def to_geojson(samples: Samples, endpoint: str) -> bytes:
    """A feature for each place that has a value; coordinates in the axis order of the CRS."""
    columns = {name: list(nulls(values)) for name, values in {**samples.columns, **samples.extra}.items()}
    swapped = crs.is_north_first(samples.crs)
    features = []
    for i, (x, y) in enumerate(zip(samples.x.tolist(), samples.y.tolist(), strict=True)):
        if all(columns[name][i] is None for name in samples.columns):
            continue
        own = {name: values[i] for name, values in columns.items()}
        known = {
            "datetime": samples.time or "", "parameter-name": list(samples.columns), "label": f"{i + 1}",
            "edrqueryendpoint": endpoint,
        }  # fmt: skip
        features.append(
            {
                "type": "Feature", "id": i + 1,
                "geometry": {"type": "Point", "coordinates": [y, x] if swapped else [x, y]},
                "properties": {**own, **known},
            }
        )  # fmt: skip
    return covjson.dumps(feature_collection(features, samples.parameters))


def feature_collection(features: Sequence[Json], parameters: Mapping[str, Json], **more: Any) -> Json:
    """An EDR GeoJSON document."""
    told = [{"id": name, **each} for name, each in parameters.items()]
    return {
        "type": "FeatureCollection",
        "features": list(features),
        "parameters": told,
        "numberReturned": len(features),
    } | more


def to_csv(samples: Samples) -> bytes:
    """A line for each place that has a value; the header names each unit in brackets."""
    geographic = crs.is_geographic(samples.crs)
    names = ("lon", "lat") if geographic else ("easting_m", "northing_m")
    columns = {**samples.columns, **samples.extra}
    values = [list(nulls(each)) for each in columns.values()]
    own = len(samples.columns)
    rows = [
        (x, y, *(each[i] for each in values))
        for i, (x, y) in enumerate(zip(samples.x.tolist(), samples.y.tolist(), strict=True))
        if any(each[i] is not None for each in values[:own])
    ]
    return table((*names, *(_headed(name, samples.parameters) for name in columns)), rows)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """CSV (RFC 4180) in UTF-8; None is empty. A text that a spreadsheet would run gets a quote before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([[_harmless(each) for each in row] for row in rows])
    return out.getvalue().encode()


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    return value


def _headed(name: str, parameters: Mapping[str, Json]) -> str:
    unit = parameters.get(name, {}).get("unit")
    return f"{name} ({unit['label']['en']})" if unit else name


def nulls(values: Any) -> Any:
    """Plain numbers, None for NaN; float32 by its shortest decimal."""
    array = np.asarray(values)
    if array.dtype == np.float32:
        return (None if math.isnan(v) else float(str(v)) for v in array)
    return (None if v is None or v != v else v for v in array.tolist())  # noqa: PLR0124 NaN
