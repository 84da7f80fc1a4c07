"""Observations as series: which devices measure what, when and where, and the values of some of them.

A layer of observations has `device_id`, `time`, `quantity`, `value`, and perhaps `unit` and `quality`. Positions are
those of the devices in other layers, found by the attribute that names a device there, or by the public id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from layers import observations
from layers.catalogue import LayerType
from layers.errors import InvalidInput
from twin.store import grouped
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query

if TYPE_CHECKING:
    from twin.scope import Scope
    from twin.store.interface import Store

NEEDED = {"device_id": "string", "time": "datetime", "quantity": "string", "value": "number"}
READ = ("device_id", "time", "quantity", "value", "unit", "quality")
DEVICE_NAMES = ("device_id", "station_code")
FIRST = ("sensor", "weather_station", "rain_station", "meter")
"""Layers in which devices are looked for first."""


@dataclass(frozen=True)
class Line:
    """One series in short: `n` observations of a quantity in one unit by one device, with and without a value."""

    device: str
    quantity: str
    unit: str
    n: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Device:
    """Where a device is: `point` in the city's CRS."""

    id: str
    layer: str
    feature: str
    name: str
    point: shapely.Point


def is_observations(layer_type: LayerType) -> bool:
    """True for a layer of observations whose devices stand in other layers."""
    types = {each.name: each.type for each in layer_type.attributes}
    return layer_type.geometry == "none" and all(types.get(name) == kind for name, kind in NEEDED.items())


def names_devices(layer_type: LayerType) -> str | None:
    """The attribute by which a layer of points names devices, or None."""
    if not layer_type.geometry.lower().startswith(("point", "multipoint")) or layer_type.is_vector is False:
        return None
    return next((name for name in DEVICE_NAMES if layer_type.attribute(name)), None)


def lines(store: Store, layer: str, scope: Scope, devices: Collection[str] | None = None) -> tuple[Line, ...]:
    """Every series of a layer in short, or those of some devices; all of them are one pass over four columns."""
    info = store.layer(layer, scope)
    names = tuple(name for name in ("device_id", "quantity", "unit", "time") if info.type.attribute(name))
    if isinstance(store, GeoPackageStore):
        try:
            return _grouped(store, layer, [name for name in names if name != "time"], scope, devices)
        except ValueError:  # times that another program wrote in a form of its own
            pass
    parts = [
        _counted(features.attributes)
        for features in store.query(
            layer, Query(filter=_of(devices), properties=names, with_geometry=False), scope, batch_size=50_000
        )
    ]
    if not parts:
        return ()
    merged = (
        pa.concat_tables(parts)
        .group_by(["device_id", "quantity", "unit"])
        .aggregate([("n", "sum"), ("first", "min"), ("last", "max")])
    )
    found = [
        Line(row["device_id"], row["quantity"], row["unit"], row["n_sum"], row["first_min"], row["last_max"])
        for row in merged.to_pylist()
    ]
    return tuple(sorted(found, key=lambda each: (each.device, each.quantity, each.unit)))


def _of(devices: Collection[str] | None) -> dict[str, Any] | None:
    return None if devices is None else {"op": "in", "args": [{"property": "device_id"}, sorted(devices)]}


def _grouped(
    store: GeoPackageStore, layer: str, by: Sequence[str], scope: Scope, devices: Collection[str] | None
) -> tuple[Line, ...]:
    found = []
    for values, n, first, last in grouped.spans(store, layer, by, "time", scope, among=devices):
        told = dict(zip(by, values, strict=True))
        if told["device_id"] and told["quantity"]:
            found.append(Line(told["device_id"], told["quantity"], told.get("unit", ""), n, first, last))
    return tuple(sorted(found, key=lambda each: (each.device, each.quantity, each.unit)))


def _counted(table: pa.Table) -> pa.Table:
    unit = table["unit"] if "unit" in table.column_names else pa.array([""] * len(table), pa.string())
    wanted = pa.table(
        {
            "device_id": table["device_id"], "quantity": table["quantity"], "time": table["time"],
            "unit": pc.fill_null(unit, ""),
        }
    )  # fmt: skip
    known = pc.and_(pc.and_(wanted["device_id"].is_valid(), wanted["quantity"].is_valid()), wanted["time"].is_valid())
    grouped = wanted.filter(known).group_by(["device_id", "quantity", "unit"])
    made = grouped.aggregate([("time", "count"), ("time", "min"), ("time", "max")])
    return made.rename_columns({"time_count": "n", "time_min": "first", "time_max": "last"})


def devices(store: Store, wanted: Collection[str], scope: Scope) -> dict[str, Device]:
    """Devices by id, as far as some layer of points that the scope allows has them."""
    left, found = set(wanted), dict[str, Device]()
    infos = [info for info in store.layers(scope) if names_devices(info.type)]
    infos.sort(key=lambda info: FIRST.index(info.id) if info.id in FIRST else len(FIRST))
    for info in infos:
        name = names_devices(info.type)
        if not left or name is None:
            break
        known = tuple(each for each in (name, "name") if info.type.attribute(each))
        for features in store.query(info.id, Query(properties=known), scope):
            told = features.attributes[name].to_pylist()
            titles = features.attributes["name"].to_pylist() if "name" in known else [None] * len(told)
            for i, (own, title) in enumerate(zip(told, titles, strict=True)):
                key = own if own in left else features.ids[i]
                point = features.geometry[i]
                if key in left and point is not None and not shapely.is_empty(point):
                    centre = (
                        point if point.geom_type == "Point" else shapely.get_point(point.geoms[0], 0) or point.centroid
                    )
                    found[key] = Device(key, info.id, features.ids[i], title or key, centre)
        left -= found.keys()
    return found


def values(
    store: Store,
    layer: str,
    scope: Scope,
    *,
    devices: Collection[str] | None,
    quantities: Collection[str] | None,
    span: tuple[datetime | None, datetime | None],
    limit: int,
) -> pa.Table:
    """Observations by device, quantity and time. InvalidInput where there are more than `limit`.

    Parameters
    ----------
    devices, quantities : ids; None for all
    span : from the first instant to before the second; None is open
    """
    info = store.layer(layer, scope)
    conditions: list[dict[str, Any]] = []
    for name, chosen in (("device_id", devices), ("quantity", quantities)):
        if chosen is not None:
            conditions.append({"op": "in", "args": [{"property": name}, sorted(chosen)]})
    for op, moment in ((">=", span[0]), ("<", span[1])):
        if moment is not None:
            stamp = {"timestamp": instant(moment)}
            conditions.append({"op": op, "args": [{"property": "time"}, stamp]})
    names = tuple(name for name in READ if info.type.attribute(name))
    filter_ = None if not conditions else conditions[0] if len(conditions) == 1 else {"op": "and", "args": conditions}
    query = Query(filter=filter_, properties=names, with_geometry=False, limit=limit + 1)
    parts = [features.attributes for features in store.query(layer, query, scope, batch_size=50_000)]
    if not parts:
        return pa.table({name: pa.array([], info.type.attribute(name).arrow_type) for name in names})  # type: ignore[union-attr]
    table = pa.concat_tables(parts)
    if len(table) > limit:
        raise InvalidInput(
            f"There are more than {limit} observations of that kind.",
            "Ask for fewer by datetime, parameter-name or a smaller area.", code="TOO_MANY_OBSERVATIONS",
        )  # fmt: skip
    known = pc.and_(pc.and_(table["device_id"].is_valid(), table["quantity"].is_valid()), table["time"].is_valid())
    return table.filter(known).sort_by([("device_id", "ascending"), ("quantity", "ascending"), ("time", "ascending")])


def instant(moment: datetime) -> str:
    """A moment as CQL2 writes it, in UTC; one without a zone is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@lru_cache(maxsize=256)
def title(quantity: str) -> Any:
    """Title of a quantity, or None for one that is not known."""
    known = observations.quantity(quantity)
    return known.title if known else None


def parameter_names(found: Iterable[Line]) -> dict[str, tuple[str, str]]:
    """Parameter name -> quantity and unit. A quantity in several units has one parameter for each: `flow [L/s]`."""
    by_quantity: dict[str, set[str]] = {}
    for each in found:
        by_quantity.setdefault(each.quantity, set()).add(each.unit)
    named: dict[str, tuple[str, str]] = {}
    for quantity, units in sorted(by_quantity.items()):
        for unit in sorted(units):
            named[quantity if len(units) == 1 else f"{quantity} [{unit or '-'}]"] = (quantity, unit)
    return named


def unique_times(times: np.ndarray[Any, Any], doubtful: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Indices of one observation a time, of several the first that is not doubtful. `times` ascend."""
    order = np.lexsort((np.arange(len(times)), doubtful, times))
    _, first = np.unique(times[order], return_index=True)
    return order[first]
