"""EDR queries on sensors: series of observations at the devices that a query touches.

Both the layer of observations and each layer of devices that observe something answer, the latter with its own devices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from layers.errors import InvalidInput, NotFound
from server.edr_raster import distances_m
from server.edr_request import Asked, chosen, in_crs
from server.serving import Snapshot
from twin import series
from twin.series import Device, Line

QUERIES = ("position", "radius", "area", "cube", "locations", "items")
MAX_OBSERVATIONS = 200_000
NEAR_M = 1000.0
"""A position means the nearest device, if it is no farther than that."""


@dataclass(frozen=True)
class Source:
    """What a collection observes: `layer` holds the observations; only placed devices are in `devices`."""

    collection: str
    layer: str
    lines: tuple[Line, ...]
    devices: Mapping[str, Device]
    names: Mapping[str, tuple[str, str]]

    @property
    def quantities(self) -> dict[tuple[str, str], str]:
        """Quantity and unit -> parameter name."""
        return {known: name for name, known in self.names.items()}


@dataclass(frozen=True)
class Series:
    """All observations of a device that were asked for: quantity, unit -> times, values, marks; time ascending."""

    id: str
    device: Device | None
    tables: Mapping[str, pa.Table]


def source(city: Snapshot, collection: str) -> Source | None:
    """What a collection observes, None for one that observes nothing. Kept as long as the layers stay as they are."""
    if collection not in city.vectors:
        return None
    return city.make(("observed by", collection), lambda: _source(city, collection))


def _source(city: Snapshot, collection: str) -> Source | None:
    info = city.vectors[collection]
    if series.is_observations(info.type):
        layers = [collection]
    elif series.names_devices(info.type):
        layers = [each.id for each in city.vectors.values() if series.is_observations(each.type)]
    else:
        return None
    for layer in layers:
        lines, devices = city.make(("series of", layer), lambda layer=layer: _told(city, layer))  # type: ignore[misc]
        if layer != collection:
            devices = {key: each for key, each in devices.items() if each.layer == collection}
            lines = tuple(each for each in lines if each.device in devices)
        if lines:
            return Source(collection, layer, lines, devices, series.parameter_names(lines))
    return None


_KEPT: dict[tuple[Any, ...], tuple[tuple[Line, ...], dict[str, Device]]] = {}
"""The last reading of each layer: a whole pass over it, needed again only when it or the devices change."""


def _told(city: Snapshot, layer: str) -> tuple[tuple[Line, ...], dict[str, Device]]:
    store, scope = city.city.store, city.settings.scope
    versions = tuple(
        (each.id, each.version) for each in city.vectors.values() if each.id == layer or series.names_devices(each.type)
    )
    key = (str(city.city.folder), scope.name, scope.layers, layer)
    kept = _KEPT.get((key, versions))
    if kept is None:
        lines = series.lines(store, layer, scope)
        kept = lines, series.devices(store, {each.device for each in lines}, scope)
        for old in [each for each in _KEPT if each[0] == key]:
            _KEPT.pop(old, None)
        _KEPT[key, versions] = kept
    return kept


def found(city: Snapshot, of: Source, asked: Asked, location: str | None = None) -> list[Series]:
    """The series that a query touches, by device; none of them is empty."""
    names = chosen(asked, list(of.names))
    wanted = {of.names[name] for name in names}
    ids = touched(city, of, asked) if location is None else [location]
    if not ids:
        return []
    table = series.values(
        city.city.store, of.layer, city.settings.scope,
        devices=ids, quantities={quantity for quantity, _ in wanted}, span=asked.span, limit=MAX_OBSERVATIONS,
    )  # fmt: skip
    named = of.quantities
    made: dict[str, dict[str, list[int]]] = {}
    units = table["unit"].to_pylist() if "unit" in table.column_names else [""] * len(table)
    for i, (device, quantity, unit) in enumerate(
        zip(table["device_id"].to_pylist(), table["quantity"].to_pylist(), units, strict=True)
    ):
        if (quantity, unit or "") in wanted:
            made.setdefault(device, {}).setdefault(named[quantity, unit or ""], []).append(i)
    return [
        Series(device, of.devices.get(device), {name: table.take(rows) for name, rows in tables.items()})
        for device, tables in sorted(made.items())
    ]


def touched(city: Snapshot, of: Source, asked: Asked) -> list[str]:
    """Ids of devices that a query's shape touches."""
    placed = [each for each in of.devices.values() if _at_level(each, asked)]
    if not placed:
        return []
    xy = shapely.get_coordinates(np.array([each.point for each in placed], dtype=object))
    if asked.kind == "radius":
        hit = distances_m(asked, city.city.crs, xy[:, 0], xy[:, 1]) <= asked.radius_m
    elif asked.kind == "position":
        hit = _nearest(city, asked, xy)
    elif asked.shape is None:
        hit = np.ones(len(placed), bool)
    else:
        hit = shapely.intersects_xy(in_crs(asked, city.city.crs), xy[:, 0], xy[:, 1])
    return [each.id for each, is_hit in zip(placed, hit.tolist(), strict=True) if is_hit]


def _nearest(city: Snapshot, asked: Asked, xy: Any) -> Any:
    """The nearest device of each point, with the devices at the same place; none farther than NEAR_M."""
    points = shapely.get_coordinates(in_crs(asked, city.city.crs))
    hit = np.zeros(len(xy), bool)
    for point in points:
        far = np.hypot(*(xy - point).T)
        hit |= (far <= far.min() + 0.01) & (far <= NEAR_M)
    return hit


def _at_level(device: Device, asked: Asked) -> bool:
    if asked.z is None:
        return True
    z = device.point.z if device.point.has_z else float("nan")
    return any(low <= z <= high for low, high in asked.z)


def require(of: Source, location: str) -> None:
    """NotFound for a location that observes nothing."""
    if all(line.device != location for line in of.lines):
        known = ", ".join(sorted({line.device for line in of.lines})[:10])
        raise NotFound(f"{of.collection} has no location {location[:60]!r}.", f"There is {known} and maybe more.")


def refuse_trajectory(layer: str) -> InvalidInput:
    """Devices stand still."""
    return InvalidInput(f"{layer} has devices at fixed places: it has no trajectory.", "Ask for area or radius.")
