"""Features of a layer in a view -> shapes in pixels, with the attributes that the style reads."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import orjson
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from tiles import styles
from tiles.city import TileCity
from tiles.drawing import canvas, choice
from tiles.drawing.choice import Choice
from tiles.drawing.view import Placer, View
from tiles.styles import document as style_document
from twin.scope import Scope
from twin.store import geometry_blob, packed, read_raw, wkb_paths
from twin.store.interface import Query
from twin.store.query_plan import Plan
from twin.store.read_raw import Candidates, RawLayer, RawReader, RawRows
from twin.store.wkb_paths import Paths

MARGIN_PX = 24.0
"""Around the view: what lies there may reach into it with its width or its disc."""
ROWS_AT_ONCE = 5_000
MAX_POINTS = 4_000_000
"""Of the shapes that are held at a time, after what nobody could see was left out."""
MAX_TESTED = 200_000
"""Rows, largest first, that a filter is tried on where a map has more candidates than it can show."""
WIDE_PX = 64.0


@dataclass(frozen=True)
class Selection:
    """What of the features is drawn: CQL2 JSON with geometries in the city's CRS, the state of a moment."""

    filter: dict[str, object] | None = None
    at: datetime | None = None

    @property
    def key(self) -> str:
        """For cache keys."""
        return orjson.dumps([self.filter, self.at]).decode() if self.filter or self.at else ""


@dataclass(frozen=True)
class Shapes:
    """Shapes in pixels: `paths.rows` are rows of `table` and of `sides_px`, the longer sides of their boxes."""

    paths: Paths
    table: pa.Table
    sides_px: NDArray[np.float64]


@dataclass(frozen=True)
class Specks:
    """Features that are no larger than a pixel: its column and row, its strength, the attributes of the largest."""

    pixels: NDArray[np.int64]
    strength: NDArray[np.float64]
    table: pa.Table


@dataclass(frozen=True)
class Asked:
    """Of which city who asks for what, and where."""

    city: TileCity
    scope: Scope
    view: View
    selection: Selection


class LayerInView:
    """One layer in a view as of one moment."""

    def __init__(self, reader: RawReader, layer_id: str, asked: Asked) -> None:
        self.reader, self.view, self.selection = reader, asked.view, asked.selection
        self.layer: RawLayer = reader.layer(layer_id, asked.scope)
        self.scope, self.city_crs = asked.scope, asked.city.frame.city_crs
        kind = style_document.kind(self.layer.record.type)
        self.are_points, self.are_areas, self.is_plain = kind == 2, kind == 0, kind is not None
        self._found: tuple[Candidates, Choice, Placer] | None = None

    def tag(self) -> str:
        """Digest of what is drawn of the layer: row numbers and stamps; empty where it has nothing there."""
        found = self._candidates()
        if found is None or not len(found[0]):
            return ""
        everything, chosen, _ = found
        stamps = self.reader.stamps(self.layer)
        digest = hashlib.blake2b(f"{self.layer.record.type.id}|{self.layer.schema}|{stamps.since}".encode())
        for rows in (chosen.shapes, chosen.boxes, chosen.specks):
            fids = np.unique(everything.fids[rows])
            digest.update(fids.tobytes())
            digest.update(stamps.of(fids).tobytes())
        digest.update(np.round(chosen.strength, 2).tobytes())
        return digest.hexdigest()[:32]

    def shapes(self) -> Iterator[Shapes]:
        """What is drawn as shapes; in pieces only where there are more points than MAX_POINTS."""
        found = self._candidates()
        if found is None:
            return
        everything, chosen, place = found
        sides = _sides(everything.boxes) * self._px_per_unit(place)
        pieces: list[Shapes] = []
        n_points = 0
        for rows in self._rows(np.sort(everything.fids[chosen.shapes]), self._attributes()):
            raw = wkb_paths.parse(rows.blobs)
            paths = canvas.coarsened(Paths(place(raw.xy), raw.starts, raw.rows, raw.kinds, raw.is_outer))
            pieces.append(Shapes(paths, _of_rows(rows), _of_fids(everything.fids, sides, rows.fids)))
            n_points += len(paths.xy)
            if n_points > MAX_POINTS:
                yield _joined(pieces)
                pieces, n_points = [], 0
        if pieces:
            yield _joined(pieces)

    def boxes(self, *, need_attributes: bool) -> Iterator[Shapes]:
        """Areas beyond `choice.MAX_SHAPES` as their boxes; no row is read unless an attribute or a filter needs it."""
        found = self._candidates()
        if found is None or not len(found[1].boxes):
            return
        everything, chosen, place = found
        order = chosen.boxes[np.argsort(everything.fids[chosen.boxes])]
        if not need_attributes and not self._plan(()).regions:
            yield _rectangles(_roughly(everything.boxes[order], place), pa.table({"": pa.nulls(len(order))}))
            return
        fids = everything.fids[order]
        for rows in self._rows(fids, self._attributes()):
            at = order[np.searchsorted(fids, rows.fids)]
            yield _rectangles(_roughly(everything.boxes[at], place), _of_rows(rows))

    def specks(self, *, need_attributes: bool) -> Specks:
        """What is drawn as pixels. Without `need_attributes` no row is read unless a filter asks for it."""
        found = self._candidates()
        if found is None or not len(found[1].specks):
            return Specks(np.zeros((0, 2), np.int64), np.zeros(0), _empty(self._attributes()))
        everything, chosen, _ = found
        fids = everything.fids[chosen.specks]
        names = self._attributes() if need_attributes else ()
        if not need_attributes and not self._plan(()).regions:
            return Specks(chosen.pixels, chosen.strength, pa.table({"": pa.nulls(len(fids))}))
        wanted, which = np.unique(fids, return_inverse=True)
        place = np.full(len(wanted), -1)  # the row of the table that has each of them
        tables, n_rows = [], 0
        for rows in self._rows(wanted, names):
            place[np.searchsorted(wanted, rows.fids)] = np.arange(n_rows, n_rows + len(rows.fids))
            tables.append(rows.attributes)
            n_rows += len(rows.fids)
        at = np.flatnonzero(place[which] >= 0)
        has_table = bool(tables and names)
        table = pa.concat_tables(tables).take(place[which][at]) if has_table else pa.table({"": pa.nulls(len(at))})
        return Specks(chosen.pixels[at], chosen.strength[at], table)

    def _candidates(self) -> tuple[Candidates, Choice, Placer] | None:
        """Features whose boxes meet the view and fit the selection, and what of them is drawn how."""
        if self._found is None:
            at = self.selection.at
            bounds = self.layer.bounds if at is None else self.reader.bounds_ever(self.layer)
            region = None if bounds is None else self.view.region(self.city_crs, bounds, MARGIN_PX)
            if region is None:
                return None
            place = self.view.placer(self.city_crs, region)
            found = self.reader.candidates(self.layer, region, with_closed=at is not None)
            plan = self._plan(())
            if plan.condition.sql or plan.at is not None or plan.ids is not None:
                found = self._matching(plan, found)
            self._found = found, self._chosen(found, place), place
        return self._found

    def _chosen(self, found: Candidates, place: Placer) -> Choice:
        boxes = place.boxes(found.boxes) if len(found) < choice.MAX_SHAPES else _roughly(found.boxes, place)
        # what bends between the corners of a large box is not known: such boxes are kept
        wide = (boxes[:, 2] - boxes[:, 0]) + (boxes[:, 3] - boxes[:, 1]) > WIDE_PX
        limit = np.array([self.view.width, self.view.height]) + MARGIN_PX
        near = ((boxes[:, :2] <= limit) & (boxes[:, 2:] >= -MARGIN_PX)).all(axis=1)
        rows = np.flatnonzero(near | wide | ~np.isfinite(boxes).all(axis=1))
        size = (self.view.width, self.view.height)
        made = choice.chosen(found.fids[rows], boxes[rows], size, are_points=self.are_points, are_areas=self.are_areas)
        if not self.is_plain and len(made.specks) <= choice.MAX_SHAPES // 10:
            # among them may be points, which have no size: all are drawn as what they are
            shapes = rows[np.isfinite(boxes[rows]).all(axis=1)][: choice.MAX_SHAPES]
            return Choice(shapes, made.boxes[:0], made.specks[:0], made.pixels[:0], made.strength[:0])
        return Choice(rows[made.shapes], rows[made.boxes], rows[made.specks], made.pixels, made.strength)

    def _matching(self, plan: Plan, found: Candidates) -> Candidates:
        order = np.argsort(-_sides(found.boxes), kind="stable")[:MAX_TESTED]
        fids = np.sort(found.fids[order])
        step = read_raw.ROWS_AT_ONCE
        kept = [self.reader.fids_where(plan, fids[at : at + step]) for at in range(0, len(fids), step)]
        return found.take(np.flatnonzero(np.isin(found.fids, np.concatenate(kept)))) if kept else found

    def _rows(self, fids: NDArray[np.int64], names: tuple[str, ...]) -> Iterator[RawRows]:
        plan = self._plan(names)
        for start in range(0, len(fids), ROWS_AT_ONCE):
            rows = self.reader.rows(plan, np.sort(fids[start : start + ROWS_AT_ONCE]))
            rows = _exactly(plan, rows) if plan.regions and len(rows.fids) else rows
            if len(rows.fids):
                yield rows if names else replace(rows, attributes=pa.table({"": pa.nulls(len(rows.fids))}))

    def _plan(self, names: tuple[str, ...]) -> Plan:
        query = Query(filter=self.selection.filter, at=self.selection.at, properties=names)
        return self.reader.plan(self.layer, query, self.scope)

    def _attributes(self) -> tuple[str, ...]:
        wanted = styles.needed(self.layer.record.type)
        return tuple(sorted(name for name in wanted if name in self.layer.record.columns))

    def _px_per_unit(self, place: Placer) -> float:
        west, south, east, north = self.layer.bounds or (0.0, 0.0, 1.0, 1.0)
        return _scale(place, ((west + east) / 2, (south + north) / 2))


def _empty(names: tuple[str, ...]) -> pa.Table:
    return pa.table({name: pa.nulls(0) for name in names or ("",)})


def _sides(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def _scale(place: Placer, at: tuple[float, float]) -> float:
    """Pixels in one unit of the city's CRS at a place."""
    x, y = at
    here = place(np.array([[x, y], [x + 1, y], [x, y + 1]]))
    side = float(np.hypot(*(here[1:] - here[0]).T).max())
    return side if np.isfinite(side) else 1.0


def _roughly(boxes: NDArray[np.float64], place: Placer) -> NDArray[np.float64]:
    """Boxes in pixels by their middle and the scale there: for very many, of which most are small."""
    middle = place((boxes[:, :2] + boxes[:, 2:]) / 2)
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * _scale(place, tuple(np.median(boxes[:, :2], axis=0)))
    return np.concatenate([middle - half, middle + half], axis=1)


def _of_fids(fids: NDArray[np.int64], values: NDArray[np.float64], wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    order = np.argsort(fids, kind="stable")
    return values[order[np.searchsorted(fids[order], wanted)]]


def _exactly(plan: Plan, rows: RawRows) -> RawRows:
    """Rows whose geometries meet every region of the filter."""
    blobs = rows.blobs.each()
    found = geometry_blob.decode(blobs)
    keep = np.ones(len(found), bool)
    for region in plan.regions:
        keep &= shapely.intersects(region, found)
    at = np.flatnonzero(keep)
    taken = rows.attributes.take(at) if rows.attributes.num_columns else rows.attributes
    return RawRows(rows.fids[keep], rows.ids.take(at), packed.of_list([blobs[i] for i in at.tolist()]), taken)


def _rectangles(boxes: NDArray[np.float64], table: pa.Table) -> Shapes:
    n = len(boxes)
    xy = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3, 0, 1]].reshape(-1, 2)
    kinds = np.full(n, wkb_paths.RING, np.int8)
    return Shapes(Paths(xy, 5 * np.arange(n + 1), np.arange(n), kinds, np.ones(n, bool)), table, np.zeros(n))


def _of_rows(rows: RawRows) -> pa.Table:
    """Attributes of rows; a table without columns would forget how many rows it has."""
    return rows.attributes if rows.attributes.num_columns else pa.table({"": pa.nulls(len(rows.fids))})


def _joined(pieces: list[Shapes]) -> Shapes:
    if len(pieces) == 1:
        return pieces[0]
    counts = np.concatenate([np.diff(each.paths.starts) for each in pieces])
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    before = np.cumsum([0, *(len(each.sides_px) for each in pieces)])
    paths = Paths(
        np.concatenate([each.paths.xy for each in pieces]), starts,
        np.concatenate([each.paths.rows + int(n) for each, n in zip(pieces, before, strict=False)]),
        np.concatenate([each.paths.kinds for each in pieces]),
        np.concatenate([each.paths.is_outer for each in pieces]),
    )  # fmt: skip
    return Shapes(
        paths, pa.concat_tables([each.table for each in pieces]), np.concatenate([e.sides_px for e in pieces])
    )
