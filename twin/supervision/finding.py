"""The layer `finding`: what runs found, and what has become of it.

A finding's id follows from its rule and objects, so that the same finding of the next run is the same feature. New ones
are opened; those that are found again keep their status; those that a run over their place no longer finds are closed;
one that was closed because it was gone is opened again when it is back. What a person closed stays closed as long as
the measured number stays the same. Every change is a version of the feature, and nothing is written that stays equal.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import shapely

from layers import catalogue, crs
from layers.errors import InvalidInput, NotFound
from twin.store.interface import Features, Query, Rows
from twin.supervision.check import Finding, Supervision
from twin.supervision.engine import Run

if TYPE_CHECKING:
    from twin.city import City

LAYER = "finding"
BY = "supervision"
Status = Literal["opened", "confirmed", "closed"]
STATUSES: tuple[Status, ...] = ("opened", "confirmed", "closed")
_SHAPE_POINTS = 500
"""Shapes with more points are kept as their hull: they are for looking at."""
_KEPT = ("status", "status_by", "status_at", "first_seen", "site")
_Row = dict[str, Any]
_Found = tuple[_Row, Any]
"""Attributes and point."""


@dataclass(frozen=True)
class Stored:
    """What storing a run did: so many findings opened, found again, opened again, closed because they are gone."""

    opened: int
    again: int
    reopened: int
    closed: int


def finding_id(supervision: Supervision, found: Finding) -> str:
    """Name of a finding: the same for the same rule, objects and part; each supervision has findings of its own."""
    text = "\n".join([supervision, found.rule, found.part, *found.objects])
    return "F" + hashlib.sha256(text.encode()).hexdigest()[:15]


def in_ms(moment: dt.datetime) -> dt.datetime:
    """A moment to the millisecond before: a GeoPackage holds no finer ones (OGC 12-128r19, table 1)."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def store(city: "City", run: Run) -> Stored:
    """Keep what a run found, and close what it no longer finds, in one transaction. Things that pass are not kept."""
    if run.moment is not None:
        raise InvalidInput("Findings of an earlier state of the city are not kept.", "Leave the moment out.")
    kind = catalogue.layer_type(LAYER)
    run = replace(run, now=in_ms(run.now))
    new = _rows(city, run)
    counts = dict.fromkeys(("opened", "again", "reopened", "closed"), 0)
    hands = _hands(city)
    with city.store.writing() as batch:
        batch.ensure_layer(kind)
        known = _known(batch.query(LAYER, Query()))
        signed = _sign(known, hands)
        changed: dict[str, _Found] = {}
        for key, (row, point) in new.items():
            before = known.get(key)
            counts[_merge(row, before, run.now)] += 1
            if before is None or key in signed or not _is_same(row, before[0]):
                changed[key] = (row, point)
        for key, (row, point) in known.items():
            if key not in new and row["status"] != "closed" and _is_looked_at(run, row, point):
                counts["closed"] += 1
                changed[key] = (row | {"status": "closed", "status_by": BY, "status_at": run.now}, point)
        _put(batch, changed, BY)
    return Stored(**counts)


def set_status(city: "City", ids: Sequence[str], status: Status, by: str, note: str | None = None) -> int:
    """Confirm, close or open findings by hand; how many. NotFound names one that there is not."""
    if status not in STATUSES:
        raise InvalidInput(f"status={status!r} is not one of {', '.join(STATUSES)}.")
    if not by.strip():
        raise InvalidInput("by: who sets the status must be said.", "Give a name.")
    city.store.layer(LAYER, city.scope)
    now = in_ms(dt.datetime.now(dt.UTC))
    with city.store.writing() as batch:
        known = _known(batch.query(LAYER, Query(ids=tuple(ids))))
        if missing := [each for each in ids if each not in known]:
            raise NotFound(f"There is no finding {missing[0][:60]!r}.", f"See /collections/{LAYER}/items.")
        more = {"status": status, "status_by": by.strip(), "status_at": now} | ({} if note is None else {"note": note})
        _put(batch, {key: (row | more, point) for key, (row, point) in known.items()}, by.strip())
    return len(known)


def _hands(city: "City") -> dict[str, tuple[str, dt.datetime]]:
    """Id -> who edited a finding last, and when, where that was not a run: QGIS and the web set a status alone."""
    if LAYER not in city:
        return {}
    edits = city.store.edits(LAYER, city.scope)
    return {each.id: (each.editor, dt.datetime.fromisoformat(each.moment)) for each in edits if each.editor != BY}


def _sign(known: Mapping[str, _Found], hands: Mapping[str, tuple[str, dt.datetime]]) -> set[str]:
    """Write down who set the status where only the status was set; returns the ids."""
    signed = {key for key in known.keys() & hands.keys() if known[key][0]["status_by"] == BY}
    for key in signed:
        known[key][0]["status_by"], known[key][0]["status_at"] = hands[key]
    return signed


def _merge(row: _Row, before: _Found | None, now: dt.datetime) -> str:
    """Take over what stays of the finding as it was; what this comes to."""
    if before is None:
        return "opened"
    was = before[0]
    row |= {name: was[name] for name in _KEPT if was[name] is not None}
    is_by_hand = was["status_by"] != BY
    if was["status"] == "closed" and not (is_by_hand and _same_number(was["measured"], row["measured"])):
        row |= {"status": "opened", "status_by": BY, "status_at": now}
        return "reopened"
    return "again"


def _same_number(a: float | None, b: float | None) -> bool:
    return a is b if a is None or b is None else abs(a - b) <= 1e-6 * max(1.0, abs(a))


def _is_same(row: _Row, was: _Row) -> bool:
    return all(
        _same_number(was[name], value) if isinstance(value, float) else was[name] == value
        for name, value in row.items()
    )


def _is_looked_at(run: Run, row: _Row, point: shapely.Geometry | None) -> bool:
    """Whether a finding would have been found again by this run if it were still there."""
    if row["supervision"] != run.supervision or row["check"] not in {result.check.id for result in run.results}:
        return False
    if run.region is None or (run.site is not None and row["site"] == run.site):
        return True
    if any(result.check.is_of_the_city for result in run.results if result.check.id == row["check"]):
        return False
    return point is not None and bool(shapely.covers(run.region, point))


def _rows(city: "City", run: Run) -> dict[str, _Found]:
    kept = [
        (result.check.id, each) for result in run.results for each in result.findings if each.verdict != "pass"
    ]  # fmt: skip
    shapes = np.array([each.geometry for _, each in kept] + [None], dtype=object)[:-1]
    points, drawn = _points(shapes), _drawn(city.crs, shapes)
    made: dict[str, _Found] = {}
    for (check, each), point, shape in zip(kept, points.tolist(), drawn, strict=True):
        note = each.note
        row: _Row = {
            "name": each.title.zh, "name_en": each.title.en, "supervision": run.supervision, "check": check,
            "rule": each.rule, "verdict": each.verdict, "status": "opened", "status_by": BY, "status_at": run.now,
            "measured": each.measured, "limit_value": each.limit, "unit": each.unit,
            "objects": json.dumps(list(each.objects), ensure_ascii=False), "site": run.site, "clause": each.clause,
            "rule_source": each.source, "confidence": each.confidence,
            "note": None if note is None else f"{note.zh} / {note.en}",
            "measured_at": None if each.time is None else in_ms(each.time),
            "first_seen": run.now, "shape": shape, "evidence": each.evidence or _item_of(each),
        }  # fmt: skip
        made[finding_id(run.supervision, each)] = (row, point)
    return made


def _item_of(found: Finding) -> str | None:
    layer, _, name = found.objects[0].partition("/") if found.objects else ("", "", "")
    return f"/collections/{layer}/items/{name}" if name else None


def _points(shapes: Any) -> Any:
    """A point of each: on the area, in the middle of the line."""
    flat = shapely.force_2d(shapes)
    points = shapely.point_on_surface(flat)
    lines = shapely.get_type_id(flat) == shapely.GeometryType.LINESTRING
    points[lines] = shapely.line_interpolate_point(flat[lines], 0.5, normalized=True)
    points[shapely.is_missing(flat) | shapely.is_empty(flat)] = None
    return points


def _drawn(city_crs: str, shapes: Any) -> list[str | None]:
    many = shapely.get_num_coordinates(shapes) > _SHAPE_POINTS
    shapes = shapes.copy()
    shapes[many] = shapely.convex_hull(shapes[many])
    placed = crs.transform_geometries(city_crs, crs.CRS84, shapely.force_2d(shapes))
    texts: list[str | None] = shapely.to_geojson(shapely.set_precision(placed, 1e-8, mode="pointwise")).tolist()
    return texts


def _known(batches: Any) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    batch: Features
    for batch in batches:
        for key, row, point in zip(batch.ids, batch.attributes.to_pylist(), batch.geometry.tolist(), strict=True):
            found[key] = (row, point)
    return found


def _put(batch: Any, rows: Mapping[str, _Found], editor: str) -> None:
    if not rows:
        return
    kind = catalogue.layer_type(LAYER)
    common = {"cim_category": kind.category, "cim_level": kind.level[0], "access": kind.access, "phase": "existing"}
    schema = kind.arrow_schema()
    columns = [pa.array([(common | row).get(field.name) for row, _ in rows.values()], field.type) for field in schema]
    geometry = np.array([point for _, point in rows.values()] + [None], dtype=object)[:-1]
    table = pa.table(columns, schema=schema)
    batch.edit(LAYER, Rows(list(rows), geometry, table, [None] * len(rows)), editor)
