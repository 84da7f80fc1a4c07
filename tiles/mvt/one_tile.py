"""One vector tile: which features, their tag, their bytes.

The tag of a tile names its content: row numbers and stamps of the features whose boxes meet it. A change of a feature
makes a new row number or stamp, so it changes the tags of the tiles it was or is in and of no other.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache, partial
from threading import Lock

import numpy as np
import orjson
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput
from tiles import cache
from tiles.city import TileCity
from tiles.matrix_set import MatrixSet
from tiles.mvt import choice, encode, grid, placement
from tiles.mvt.choice import Detail
from tiles.mvt.placement import Placement
from twin.scope import Scope
from twin.store import geometry_blob, packed, read_raw, wkb_paths
from twin.store.interface import Query
from twin.store.query_plan import Plan
from twin.store.read_raw import Candidates, RawLayer, RawReader, RawRows
from twin.store.wkb_paths import RING, Paths

ENCODING = 3
"""Raise it when the bytes of a tile change while the data do not."""
MANY_LAYERS_LIMIT = 2_500
"""Features of a layer in a tile of several layers below EXACT_ZOOM."""
MAX_TESTED = 200_000
"""Rows, largest first, that a filter is tried on for a tile that cannot show all of them."""
_KEPT_TAGS = 50_000
np.empty(16 << 20, np.uint8)
"""Asked for and given back once: from then on glibc keeps blocks of up to 16 MB for the next tile instead of having
1,400 pages made anew for each (3 of 20 ms). Its thresholds grow with what is freed: mallopt(3), M_MMAP_THRESHOLD."""

Address = tuple[int, int, int]
"""z, x (column), y (row from the north)."""


@dataclass(frozen=True)
class Selection:
    """What of the layers a tile shows: CQL2 JSON with geometries in the city's CRS, a moment, attributes."""

    filter: dict[str, object] | None = None
    at: datetime | None = None
    properties: tuple[str, ...] | None = None

    @property
    def key(self) -> str:
        """For cache keys."""
        return "" if self == EVERYTHING else orjson.dumps([self.filter, self.at, self.properties]).decode()


EVERYTHING = Selection()


@dataclass(frozen=True)
class Tile:
    """Bytes of a tile, empty where it has no feature, and the tag of its content."""

    data: bytes
    tag: str


@dataclass(frozen=True)
class _Asked:
    """One tile as it was asked for."""

    city: TileCity
    grid: MatrixSet
    address: Address
    scope: Scope
    selection: Selection
    detail: Detail


def tile(
    city: TileCity,
    layer_ids: Sequence[str],
    matrix_set: MatrixSet,
    address: Address,
    scope: Scope,
    *,
    selection: Selection = EVERYTHING,
) -> Tile:
    """One tile with the given layers, each a tile layer under its id.

    NotFound off the grid and for unknown layers; InvalidInput for a selection that a layer does not understand. Of
    several layers, those that start at a deeper zoom (`min_zoom`) are left out.
    """
    asked = _asked(city, len(layer_ids), matrix_set, address, scope, selection=selection)
    kept = cache.of_twin(city.folder)
    with read_raw.reading(city.store) as reader:
        parts, tags = [], []
        for layer in _shown(reader, asked, layer_ids):
            tag, found = _tag(reader, asked, layer)
            if tag:
                tags.append(tag)
                parts.append(kept.get_or_make(partial(_made, reader, asked, layer, found), "mvt", tag))
    return Tile(b"".join(parts), _joined(tags))


def tag(
    city: TileCity,
    layer_ids: Sequence[str],
    matrix_set: MatrixSet,
    address: Address,
    scope: Scope,
    *,
    selection: Selection = EVERYTHING,
) -> str:
    """The tag that `tile` would give, without making the tile; errors as there."""
    asked = _asked(city, len(layer_ids), matrix_set, address, scope, selection=selection)
    with read_raw.reading(city.store) as reader:
        return _joined(
            [found for layer in _shown(reader, asked, layer_ids) if (found := _tag(reader, asked, layer)[0])]
        )


def _asked(
    city: TileCity, n_layers: int, matrix_set: MatrixSet, address: Address, scope: Scope, *, selection: Selection
) -> _Asked:
    matrix_set.require(*address)
    detail = choice.detail(matrix_set, address[0])
    if n_layers > 1 and not detail.is_exact:
        detail = replace(detail, limit=min(detail.limit, MANY_LAYERS_LIMIT))
    return _Asked(city, matrix_set, address, scope, selection, detail)


def _joined(tags: list[str]) -> str:
    return tags[0] if len(tags) == 1 else hashlib.blake2b("\0".join(tags).encode(), digest_size=16).hexdigest()


def _shown(reader: RawReader, asked: _Asked, layer_ids: Sequence[str]) -> list[RawLayer]:
    layers = [reader.layer(layer_id, asked.scope) for layer_id in layer_ids]
    if len(layers) == 1:
        return layers
    city_crs = asked.city.frame.city_crs
    return [each for each in layers if asked.detail.zoom >= min_zoom(city_crs, each.count, each.bounds)]


@lru_cache(maxsize=1024)
def min_zoom(city_crs: str, count: int, bounds: Bounds | None) -> int:
    """The first zoom (of WebMercatorQuad) at which a tile need not look at more than a few times MAX_FEATURES."""
    if bounds is None:
        return 0
    side_m = crs.metres_per_unit(city_crs)
    wide, high = (max(bounds[2 + i] - bounds[i], 1.0) * side_m for i in (0, 1))
    for zoom in range(choice.EXACT_ZOOM):
        tile_m = 2 * np.pi * 6378137.0 / 2**zoom
        if count * min(1.0, tile_m / wide) * min(1.0, tile_m / high) <= 4 * choice.MAX_FEATURES:
            return zoom
    return choice.EXACT_ZOOM


_TAGS: dict[tuple[object, ...], str] = {}
_TAGS_LOCK = Lock()


def _tag(reader: RawReader, asked: _Asked, layer: RawLayer) -> tuple[str, Candidates | None]:
    """Tag of one layer in the tile, empty where it has nothing there; and what it shows, where that was looked up."""
    key = (asked.city.folder, layer.record.type.id, layer.version, layer.schema, asked.grid.id, asked.address,
           asked.selection.key, asked.scope, asked.detail, asked.city.frame.city_crs)  # fmt: skip
    known = _TAGS.get(key)
    if known is not None:
        return known, None
    plan = _plan(reader, asked, layer)
    found = _found(reader, asked, layer, plan)
    made = _named(reader, asked, layer, plan, found) if len(found) else ""
    with _TAGS_LOCK:
        if len(_TAGS) >= _KEPT_TAGS:
            for old in list(_TAGS)[: _KEPT_TAGS // 2]:
                del _TAGS[old]
        _TAGS[key] = made
    return made, found


def _named(reader: RawReader, asked: _Asked, layer: RawLayer, plan: Plan, found: Candidates) -> str:
    """Digest of everything that the bytes of the layer in this tile follow from."""
    stamps = reader.stamps(layer)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(
        f"{ENCODING}|{layer.record.type.id}|{layer.schema}|{asked.grid.id}|{asked.address}|{asked.selection.key}|"
        f"{asked.scope}|{plan.ids}|{asked.detail}|{asked.city.frame.city_crs}|{stamps.since}".encode()
    )
    digest.update(np.ascontiguousarray(found.fids).tobytes())
    digest.update(stamps.of(found.fids).tobytes())
    return digest.hexdigest()


def _plan(reader: RawReader, asked: _Asked, layer: RawLayer) -> Plan:
    names = choice.attributes(layer.record.type, asked.detail)
    if asked.selection.properties is not None:
        names = tuple(name for name in asked.selection.properties if layer.record.type.attribute(name) is not None)
    names = tuple(name for name in names if name in layer.record.columns)
    query = Query(filter=asked.selection.filter, at=asked.selection.at, properties=names)
    return reader.plan(layer, query, asked.scope)


def _found(reader: RawReader, asked: _Asked, layer: RawLayer, plan: Plan) -> Candidates:
    """The features that the tile shows, as far as their boxes and the filter tell; by row number."""
    placed = _placed(reader, asked, layer)
    if placed is None:
        return Candidates(np.zeros(0, np.int64), np.zeros((0, 4)))
    region, place = placed
    found = reader.candidates(layer, region, with_closed=plan.at is not None)
    if len(found) > asked.detail.limit and (plan.condition.sql or plan.at is not None or plan.ids is not None):
        found = _matching(reader, plan, found, asked.detail.limit)
    if len(found) > asked.detail.limit or not asked.detail.is_exact:
        found = found.take(_chosen(place, found, asked.detail))
    elif len(found):
        found = found.take(_in_frame(place, found.boxes))
    return found.in_order()


def _placed(reader: RawReader, asked: _Asked, layer: RawLayer) -> tuple[Bounds, Placement] | None:
    bounds = layer.bounds if asked.selection.at is None else reader.bounds_ever(layer)
    if bounds is None:
        return None
    city_crs, tile_bounds = asked.city.frame.city_crs, asked.grid.bounds(*asked.address)
    region = _region(city_crs, bounds, asked.grid.crs, tile_bounds)
    return None if region is None else (region, placement.of_tile(city_crs, asked.grid.crs, tile_bounds, region))


@lru_cache(maxsize=4096)
def _region(city_crs: str, layer_bounds: Bounds, grid_crs: str, tile_bounds: Bounds) -> Bounds | None:
    """What the tile and its buffer show of the layer, as a box in the city's CRS; None where nothing.

    The tile alone will not do: the city's CRS need not reach round the Earth as the tile of zoom 0 does.
    """
    edge_x = (tile_bounds[2] - tile_bounds[0]) * grid.BUFFER / encode.EXTENT
    edge_y = (tile_bounds[3] - tile_bounds[1]) * grid.BUFFER / encode.EXTENT
    own = layer_bounds_in(grid_crs, city_crs, layer_bounds)
    west, south = max(own[0], tile_bounds[0] - edge_x), max(own[1], tile_bounds[1] - edge_y)
    east, north = min(own[2], tile_bounds[2] + edge_x), min(own[3], tile_bounds[3] + edge_y)
    if west >= east or south >= north:
        return None
    try:
        return crs.transform_bounds(grid_crs, city_crs, (west, south, east, north))
    except InvalidInput:
        return layer_bounds


def layer_bounds_in(target: str, city_crs: str, bounds: Bounds) -> Bounds:
    """Bounds of a layer in another CRS. One feature at a senseless place must not hide the others."""
    west, south, east, north = bounds
    try:
        return crs.transform_bounds(city_crs, target, (west - 1.0, south - 1.0, east + 1.0, north + 1.0))
    except InvalidInput:
        return (-180.0, -90.0, 180.0, 90.0) if crs.is_geographic(target) else (-5e7, -5e7, 5e7, 5e7)


def _matching(reader: RawReader, plan: Plan, found: Candidates, limit: int) -> Candidates:
    """Of more candidates than the tile can show, those that meet the conditions: the largest first, within bounds."""
    size = np.maximum(found.boxes[:, 2] - found.boxes[:, 0], found.boxes[:, 3] - found.boxes[:, 1])
    order = np.argsort(-size, kind="stable")[:MAX_TESTED]
    matched: list[NDArray[np.int64]] = []
    for start in range(0, len(order), read_raw.ROWS_AT_ONCE):
        matched.append(reader.fids_where(plan, np.sort(found.fids[order[start : start + read_raw.ROWS_AT_ONCE]])))
        if sum(len(each) for each in matched) >= 4 * limit:
            break
    return found.take(np.flatnonzero(np.isin(found.fids, np.concatenate(matched))))


def _chosen(place: Placement, found: Candidates, detail: Detail) -> NDArray[np.intp]:
    """Rows that the detail shows, by the sizes of their boxes at the scale in the middle of the tile."""
    sides = np.maximum(found.boxes[:, 2] - found.boxes[:, 0], found.boxes[:, 3] - found.boxes[:, 1])
    return choice.chosen(
        found.fids,
        sides * place.units_per_metre,
        lambda rows: place((found.boxes[rows, :2] + found.boxes[rows, 2:]) / 2),
        detail,
    )


def _in_frame(place: Placement, boxes: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows whose boxes, as the tile's grid sees their corners, meet the tile or its buffer."""
    a, b, c, d = (place(np.column_stack([boxes[:, i], boxes[:, j]])) for i in (0, 2) for j in (1, 3))
    low, high = np.minimum(np.minimum(a, b), np.minimum(c, d)), np.maximum(np.maximum(a, b), np.maximum(c, d))
    shown = (low <= encode.EXTENT + grid.BUFFER) & (high >= -grid.BUFFER)
    known = np.isfinite(low) & np.isfinite(high)
    # what bends between the corners of a large box is not known here: large boxes are kept
    wide = (boxes[:, 2] - boxes[:, 0]) + (boxes[:, 3] - boxes[:, 1]) > 1000.0
    return np.flatnonzero((shown[:, 0] & shown[:, 1]) | wide | ~(known[:, 0] & known[:, 1]))


def _made(reader: RawReader, asked: _Asked, layer: RawLayer, found: Candidates | None) -> bytes:
    plan = _plan(reader, asked, layer)
    placed = _placed(reader, asked, layer)
    found = _found(reader, asked, layer, plan) if found is None else found
    if placed is None or not len(found):
        return b""
    rows = reader.rows(plan, found.fids)
    if plan.regions and len(rows.ids):
        rows = _exactly(plan, rows)
    raw = grid.opened(wkb_paths.parse(rows.blobs))
    paths = on_grid(raw, placed[1], asked.detail)
    if not asked.detail.is_exact:
        lost = np.setdiff1d(raw.rows[raw.kinds == RING], paths.rows)
        boxes = found.boxes[np.searchsorted(found.fids, rows.fids[lost])]
        paths = grid.joined([paths, _specks(lost, boxes, placed[1], asked.detail.step)])
    return _encoded(layer.record.type.id, rows, paths)


def _exactly(plan: Plan, rows: RawRows) -> RawRows:
    """Rows whose geometries meet every region of the filter."""
    blobs = rows.blobs.each()
    shapes = geometry_blob.decode(blobs)
    keep = np.ones(len(shapes), bool)
    for region in plan.regions:
        keep &= shapely.intersects(region, shapes)
    at = np.flatnonzero(keep)
    taken = rows.attributes.take(at) if rows.attributes.num_columns else rows.attributes
    return RawRows(rows.fids[keep], rows.ids.take(at), packed.of_list([blobs[i] for i in at.tolist()]), taken)


def on_grid(raw: Paths, place: Placement, detail: Detail) -> Paths:
    """Open paths in the city's CRS -> clipped, rounded, valid paths on the tile's grid."""
    placed = Paths(place(raw.xy), raw.starts, raw.rows, raw.kinds, raw.is_outer)
    return grid.rounded(grid.clipped(placed), detail.step)


def _specks(rows: NDArray[np.int64], boxes: NDArray[np.float64], place: Placement, step: int) -> Paths:
    """Squares of one step for polygons that have collapsed, so that an area does not vanish with its many parts."""
    corner = np.floor(place((boxes[:, :2] + boxes[:, 2:]) / 2) / step) * step
    inside = ((corner >= -grid.BUFFER) & (corner + step <= encode.EXTENT + grid.BUFFER)).all(axis=1)
    rows, corner = rows[inside], corner[inside]
    xy = (corner[:, None, :] + np.array([[0, 0], [step, 0], [step, step], [0, step]])).reshape(-1, 2)
    return Paths(xy, 4 * np.arange(len(rows) + 1), rows, np.full(len(rows), RING, np.int8), np.ones(len(rows), bool))


def _encoded(layer_id: str, rows: RawRows, paths: Paths) -> bytes:
    used = paths.rows[encode.first_of_rows(paths)]
    columns = pa.Table.from_arrays([rows.ids, *rows.attributes.columns], names=["id", *rows.attributes.column_names])
    fids = rows.fids
    if len(used) < 0.9 * len(rows.ids):  # else the values of the few that are lost may stay: to take costs more
        columns, fids = columns.take(pa.array(used)), fids[used]
        paths = Paths(paths.xy, paths.starts, np.searchsorted(used, paths.rows), paths.kinds, paths.is_outer)
    return encode.layer(layer_id, paths, fids, columns, {"layer": layer_id})
