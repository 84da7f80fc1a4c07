"""Series of observations as CoverageJSON, GeoJSON and CSV, and the list of stations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from layers import crs
from layers.catalogue import Title
from server import edr_formats
from server.edr_request import Asked, chosen
from server.edr_series import Series, Source, touched
from server.serving import Snapshot
from tiles.coverage import covjson
from twin import series
from twin.series import Device, Line

Json = dict[str, Any]


@dataclass(frozen=True)
class Telling:
    """What is told, to whom: `address` is the base of links."""

    city: Snapshot
    of: Source
    asked: Asked
    address: str


def parameters(of: Source, names: Sequence[str]) -> Json:
    """Parameters as CoverageJSON describes them."""
    made = {}
    for name in names:
        quantity, unit = of.names[name]
        title = series.title(quantity) or Title(quantity, quantity)
        made[name] = covjson.parameter(title, unit or None, description=Title(name, name))
    return made


def to_covjson(tell: Telling, found: Sequence[Series]) -> bytes:
    """A PointSeries for each device and quantity: devices measure their quantities at times of their own."""
    coverages = [_point_series(tell, each, name, table) for each in found for name, table in each.tables.items()]
    names = sorted({name for each in found for name in each.tables})
    vertical = any("z" in each["domain"]["axes"] for each in coverages)
    shared = {
        "parameters": parameters(tell.of, names),
        "referencing": covjson.referencing(
            tell.asked.crs, has_time=True, vertical=tell.city.city.config.vertical_crs if vertical else None
        ),
    }
    if len(coverages) == 1:
        only = coverages[0]
        only["domain"] |= {"domainType": "PointSeries", "referencing": shared["referencing"]}
        return covjson.dumps(only | {"parameters": shared["parameters"]})
    return covjson.dumps({"type": "CoverageCollection", "domainType": "PointSeries", **shared, "coverages": coverages})


def _point_series(tell: Telling, each: Series, name: str, table: pa.Table) -> Json:
    times = table["time"].to_numpy()
    marks = table["quality"].is_valid().to_numpy() if "quality" in table.column_names else np.zeros(len(table), bool)
    kept = series.unique_times(times, marks)
    values = table["value"].to_numpy(zero_copy_only=False).astype(np.float64)[kept]
    axes: Json = {"t": {"values": _texts(times[kept])}}
    if each.device is not None:
        x, y, z = _placed(tell, each.device)
        axes = {"x": {"values": [x]}, "y": {"values": [y]}} | ({"z": {"values": [z]}} if z is not None else {}) | axes
    return {
        "type": "Coverage", "id": f"{each.id}/{name}",
        "domain": {"type": "Domain", "axes": axes},
        "ranges": {name: covjson.values(values, ("t",))},
    }  # fmt: skip


def _texts(times: Any) -> list[str]:
    whole = (times.astype("datetime64[us]").astype(np.int64) % 1_000_000 == 0).all()
    return [f"{text}Z" for text in np.datetime_as_string(times.astype("datetime64[s]" if whole else "datetime64[us]"))]


def _placed(tell: Telling, device: Device) -> tuple[float, float, float | None]:
    point = device.point
    x, y = crs.transform(tell.city.city.crs, tell.asked.crs, np.array([point.x]), np.array([point.y]))
    return float(x[0]), float(y[0]), float(point.z) if point.has_z and np.isfinite(point.z) else None


def to_geojson(tell: Telling, found: Sequence[Series]) -> bytes:
    """A feature for each device; `series` in its properties holds times and values by parameter."""
    features = []
    for each in found:
        told = {}
        for name, table in each.tables.items():
            values = [None if v is None or v != v else v for v in table["value"].to_pylist()]  # noqa: PLR0124 NaN
            told[name] = {
                "unit": tell.of.names[name][1] or None,
                "times": _texts(table["time"].to_numpy()),
                "values": values,
            }
        ends = [_texts(np.sort(table["time"].to_numpy())[[0, -1]]) for table in each.tables.values()]
        span = (min(first for first, _ in ends), max(last for _, last in ends))
        features.append(_feature(tell, each.id, span, list(each.tables), {"series": told}))
    names = sorted({name for each in found for name in each.tables})
    return covjson.dumps(edr_formats.feature_collection(features, parameters(tell.of, names)))


def _feature(tell: Telling, key: str, span: tuple[str, str], names: Sequence[str], more: Mapping[str, Any]) -> Json:
    device = tell.of.devices.get(key)
    geometry = None
    if device is not None:
        x, y, z = _placed(tell, device)
        xy = [y, x] if crs.is_north_first(tell.asked.crs) else [x, y]
        geometry = {"type": "Point", "coordinates": [*xy, *([] if z is None else [z])]}
    first, last = span
    path = f"{tell.address}/collections/{quote(tell.of.collection, safe='')}"
    feature = f"{tell.address}/collections/{device.layer}/items/{quote(device.feature, safe='')}" if device else None
    return {
        "type": "Feature", "id": key, "geometry": geometry,
        "properties": {
            "label": device.name if device else key, "datetime": f"{first}/{last}", "parameter-name": list(names),
            "edrqueryendpoint": f"{path}/locations/{quote(key, safe='')}", "feature": feature, **more,
        },
    }  # fmt: skip


def to_csv(tell: Telling, found: Sequence[Series]) -> bytes:
    """A line for each observation, with its marks of quality."""
    names = ("lon", "lat") if crs.is_geographic(tell.asked.crs) else ("easting_m", "northing_m")
    rows: list[tuple[Any, ...]] = []
    for each in found:
        place: tuple[Any, ...] = _placed(tell, each.device) if each.device else (None, None, None)
        for name, table in each.tables.items():
            unit = tell.of.names[name][1]
            marks = table["quality"].to_pylist() if "quality" in table.column_names else [None] * len(table)
            values = table["value"].to_pylist()
            texts = _texts(table["time"].to_numpy())
            rows += [
                (each.id, *place, text, tell.of.names[name][0], value, unit, mark)
                for text, value, mark in zip(texts, values, marks, strict=True)
            ]
    header = ("device_id", *names, "z_m", "time", "quantity", "value", "unit", "quality")
    return edr_formats.table(header, rows)


def locations(tell: Telling) -> Json:
    """Every device that observes, as GeoJSON; those of a box and time where these are asked for."""
    of, asked = tell.of, tell.asked
    names = set(chosen(asked, list(of.names)))
    ids = set(touched(tell.city, of, asked)) if asked.shape is not None or asked.z is not None else None
    named = of.quantities
    by_device: dict[str, list[Line]] = {}
    start, end = asked.span
    for line in of.lines:
        is_wanted = (ids is None or line.device in ids) and named[line.quantity, line.unit] in names
        if is_wanted and (start is None or line.last >= start) and (end is None or line.first < end):
            by_device.setdefault(line.device, []).append(line)
    keys = sorted(by_device)
    features = []
    for key in keys[: asked.limit]:
        lines = by_device[key]
        span = stamp(min(line.first for line in lines)), stamp(max(line.last for line in lines))
        features.append(_feature(tell, key, span, [named[line.quantity, line.unit] for line in lines], {}))
    return edr_formats.feature_collection(features, parameters(of, sorted(names)), numberMatched=len(keys))


def stamp(moment: Any) -> str:
    """RFC 3339, UTC, whole seconds."""
    return str(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))


def span(of: Source) -> tuple[str, str]:
    """First and last time of all series."""
    return stamp(min(each.first for each in of.lines)), stamp(max(each.last for each in of.lines))
