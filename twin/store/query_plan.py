"""A query made ready: checked against its layer, and as SQL over the layer's tables."""

# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.store import ordering, registry
from twin.store.columns import quote, row_numbers
from twin.store.filter_sql import Condition, translate
from twin.store.interface import Query
from twin.store.layer_record import GEOMETRY, LayerRecord


@dataclass(frozen=True)
class Plan:
    """Which tables, which columns, which conditions."""

    layer: LayerRecord
    attributes: tuple[str, ...]
    with_extra: bool
    with_geometry: bool
    condition: Condition
    regions: tuple[shapely.Geometry, ...]
    at: str | None
    since: str | None
    after_fid: int
    ids: tuple[str, ...] | None
    z: tuple[float, float] | None = None
    sort: tuple[ordering.Key, ...] = ()
    after: tuple[Any, ...] | None = None

    @property
    def is_now(self) -> bool:
        """True if the current rows are all there is to look at."""
        return self.at is None and self.since is None

    @property
    def fetches_geometry(self) -> bool:
        """True if geometries are needed for the answer."""
        return self.layer.has_geometry and self.with_geometry

    @property
    def restores_singles(self) -> bool:
        """True if stored multi geometries may be single ones that were promoted."""
        return self.with_geometry and self.layer.has_geometry and self.layer.column_type.startswith("MULTI")


def plan(layer: LayerRecord, query: Query) -> Plan:
    """Check a query against a layer. Raises InvalidInput where it asks for what the layer lacks."""
    names = tuple(layer.columns) if query.properties is None else query.properties
    unknown = [name for name in names if name not in layer.columns]
    if unknown:
        raise InvalidInput(f"Layer {layer.type.id!r} has no attribute {unknown[0]!r}.", _known(layer))
    if (query.limit is not None and query.limit < 0) or query.offset < 0:
        raise InvalidInput("limit and offset must not be negative.")
    condition = translate(query.filter, layer) if query.filter is not None else Condition("", (), ())
    regions = (*([] if query.region is None else [query.region]), *condition.regions)
    for region in regions:
        shapely.prepare(region)
    sort = ordering.keys(layer, query.sort)
    ordering.beyond(sort, query.after)
    return Plan(
        layer=layer,
        attributes=names,
        with_extra=query.properties is None,
        with_geometry=query.with_geometry,
        condition=condition,
        regions=regions,
        at=None if query.at is None else registry.timestamp(query.at),
        since=None if query.since is None else registry.timestamp(query.since),
        after_fid=query.after_fid,
        ids=_both(query.ids, condition.ids),
        z=_heights(query.z),
        sort=sort,
        after=query.after,
    )


def _heights(z: tuple[float, float] | None) -> tuple[float, float] | None:
    if z is not None and not z[0] <= z[1]:
        raise InvalidInput(f"z from {z[0]:g} to {z[1]:g} is no range of heights.", "Give the lower height first.")
    return z


def _both(a: tuple[str, ...] | None, b: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Ids that are in both lists, where None is every id."""
    if a is None or b is None:
        return b if a is None else a
    return tuple(dict.fromkeys(each for each in a if each in set(b)))


def _known(layer: LayerRecord) -> str:
    return f"It has {', '.join(layer.columns) or 'none'}."


def tables(asked: Plan) -> list[tuple[str, str, str, list[Any]]]:
    """Table, its R-tree, the time condition and its parameters: the current rows, and closed ones for `at`."""
    layer = asked.layer
    if asked.since is not None:
        return _tables_since(asked, asked.since)
    if asked.at is None:
        return [(layer.table, layer.rtree, "", [])]
    begun = "coalesce(t.valid_from, '') <= ?"
    return [
        (layer.table, layer.rtree, begun, [asked.at]),
        (layer.history, layer.history_rtree, f"{begun} AND t.valid_to > ?", [asked.at, asked.at]),
    ]


def _tables_since(asked: Plan, since: str) -> list[tuple[str, str, str, list[Any]]]:
    """The current rows, and closed ones after which the feature had no later state in that time."""
    layer = asked.layer

    def begun(alias: str) -> str:
        return "" if asked.at is None else f"coalesce({alias}.valid_from, '') <= ?"

    at = [] if asked.at is None else [asked.at]
    current, later = quote(layer.table), quote(layer.history)
    newer = "(h.valid_from > t.valid_from OR (h.valid_from = t.valid_from AND h.fid > t.fid))"
    last = [
        f"SELECT 1 FROM {current} c WHERE c.id = t.id" + (f" AND {begun('c')}" if at else ""),
        f"SELECT 1 FROM {later} h WHERE h.id = t.id AND {newer}" + (f" AND {begun('h')}" if at else ""),
    ]
    closed = " AND ".join([*([begun("t")] if at else []), "t.valid_to > ?", *(f"NOT EXISTS ({each})" for each in last)])
    return [
        (layer.table, layer.rtree, begun("t"), at),
        (layer.history, layer.history_rtree, closed, [*at, since, *at, *at]),
    ]


def _select_list(asked: Plan, table: str) -> str:
    layer = asked.layer
    geometry = f"t.{GEOMETRY}" if asked.fetches_geometry else "NULL"
    attributes = [f"t.{quote(layer.columns[name])}" for name in asked.attributes]
    extra = "t.extra" if asked.with_extra else "NULL"
    single = "NULL"
    if asked.restores_singles:
        single = (
            "t.citytwin_single"
            if table == layer.history
            else f"(SELECT r.single FROM {quote(layer.rows)} r WHERE r.fid = t.fid)"
        )
    own = ["t.fid", "coalesce(t.id, 'fid-' || t.fid)", geometry, extra, "coalesce(t.version, 1)"]
    return ", ".join([*own, "coalesce(t.valid_from, '')", "t.valid_to", single, *attributes])


def scan(asked: Plan) -> tuple[str, list[Any]]:
    """Whole tables in fid order, conditions in SQL."""
    parts, parameters = [], []
    for table, _, time, values in tables(asked):
        conditions = ["t.fid > ?", *([time] if time else []), *([asked.condition.sql] if asked.condition.sql else [])]
        parts.append(f"SELECT {_select_list(asked, table)} FROM {quote(table)} t WHERE {' AND '.join(conditions)}")
        parameters += [asked.after_fid, *values, *asked.condition.parameters]
    return " UNION ALL ".join(parts) + " ORDER BY 1", parameters


def lookup(asked: Plan, fids: NDArray[np.int64]) -> tuple[str, list[Any]]:
    """The rows of some row numbers, in that order."""
    text = row_numbers(fids)
    parts, parameters = [], []
    for table, _, time, values in tables(asked):
        conditions = [each for each in (time, asked.condition.sql) if each]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        source = f"json_each(?) j CROSS JOIN {quote(table)} t ON t.fid = j.value"
        parts.append(f"SELECT {_select_list(asked, table)} FROM {source}{where}")
        parameters += [text, *values, *asked.condition.parameters]
    order = " ORDER BY 1" if len(parts) > 1 else ""
    return " UNION ALL ".join(parts) + order, parameters


def lookup_closed(asked: Plan, fids: NDArray[np.int64]) -> tuple[str, list[Any]]:
    """The closed rows of some row numbers, in that order, whatever else is asked."""
    text = row_numbers(fids)
    table = asked.layer.history
    source = f"json_each(?) j CROSS JOIN {quote(table)} t ON t.fid = j.value"
    return f"SELECT {_select_list(asked, table)} FROM {source}", [text]


def numbers(
    asked: Plan, fids: NDArray[np.int64] | None, limit: int | None = None, offset: int = 0
) -> tuple[str, list[Any]]:
    """Row numbers, in the plan's order, of all rows or of some for which the conditions hold, regions left aside."""
    beyond, values = ordering.beyond(asked.sort, asked.after)
    parts: list[str] = []
    parameters: list[Any] = []
    for table, _, time, at in tables(asked):
        conditions = [each for each in (time, asked.condition.sql, beyond) if each]
        source = f"{quote(table)} t"
        if fids is None:
            conditions.insert(0, "t.fid > ?")
            parameters.append(asked.after_fid)
        else:
            source = f"json_each(?) j CROSS JOIN {quote(table)} t ON t.fid = j.value"
            parameters.append(row_numbers(fids))
        parameters += [*at, *asked.condition.parameters, *values]
        where = f" WHERE {' AND '.join(f'({each})' for each in conditions)}" if conditions else ""
        parts.append(f"SELECT t.fid AS fid{ordering.selected(asked.sort)} FROM {source}{where}")
    order = ordering.order_by(asked.sort) if asked.sort or fids is None or len(parts) > 1 else ""
    bound = "" if limit is None else " LIMIT ? OFFSET ?"
    return " UNION ALL ".join(parts) + order + bound, [*parameters, *([] if limit is None else [limit, offset])]
