"""Vector tiles (MVT 2.1) on WebMercatorQuad, cut on demand from the store. One tile layer a collection.

Clipped with a buffer of 64 units and rounded to the grid of 4096 by GEOS in bulk, polygons stay valid. What is
smaller than a unit vanishes. Up to zoom EXACT_ZOOM a layer holds at most MAX_FEATURES a tile: the smallest are left
out there (and only there; the TileJSON says so).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.catalogue import LayerType
from layers.crs import Bounds
from layers.errors import InvalidInput, LayerNotFound
from tiles import cache, mercator, mvt_writer
from tiles.city import TileCity
from tiles.properties import feature_columns
from twin.scope import Scope
from twin.store.interface import Features, LayerInfo, Query

ENCODING = 1
"""Raise it when the bytes of a tile change while the data do not."""
BUFFER = 64
MAX_FEATURES = 10_000
EXACT_ZOOM = 14
MAX_ZOOM = 18
"""Viewers enlarge the tiles of this zoom beyond it: a unit is 4 cm there."""

IntArray = NDArray[np.int64]
Geometries = NDArray[np.object_]


def tile(city: TileCity, layer_ids: Sequence[str], z: int, x: int, y: int, scope: Scope) -> bytes:  # noqa: PLR0917
    """One tile with the given layers; empty bytes where none of them has anything. NotFound off the grid."""
    mercator.require(z, x, y)
    infos = [city.store.layer(layer_id, scope) for layer_id in layer_ids]
    kept = cache.of_twin(city.folder)
    return b"".join(
        kept.get_or_make(
            partial(_layer, city, info, (z, x, y), scope),
            *("mvt", ENCODING, info.id, info.version, info.updated, city.frame.city_crs, scope, z, x, y),
        )
        for info in infos
    )


def _layer(city: TileCity, info: LayerInfo, address: tuple[int, int, int], scope: Scope) -> bytes:
    region = _region(city.frame.city_crs, info.bounds, mercator.bounds(*address))
    if region is None:
        return b""
    limit = MAX_FEATURES if address[0] <= EXACT_ZOOM else None
    kept = _Kept(limit)
    for features in city.store.query(info.id, Query(region=region), scope):
        parts, rows = _on_grid(features.geometry, city.frame.city_crs, mercator.bounds(*address))
        kept.add(info.id, features, parts, rows)
    return kept.encoded(info.id)


def _region(city_crs: str, layer_bounds: Bounds | None, tile_bounds: Bounds) -> shapely.Geometry | None:
    """What the tile and its buffer show of the layer, in the city's CRS.

    The tile alone will not do: the city's CRS need not reach round the Earth as the tile of zoom 0 does.
    """
    if layer_bounds is None:
        return None
    edge = (tile_bounds[2] - tile_bounds[0]) * BUFFER / mvt_writer.EXTENT
    own = _layer_bounds(city_crs, mercator.CRS, layer_bounds)
    west, south = max(own[0], tile_bounds[0] - edge), max(own[1], tile_bounds[1] - edge)
    east, north = min(own[2], tile_bounds[2] + edge), min(own[3], tile_bounds[3] + edge)
    if west >= east or south >= north:
        return None
    try:
        return crs.transform_box(mercator.CRS, city_crs, (west, south, east, north))
    except InvalidInput:
        return shapely.box(*layer_bounds)


def _layer_bounds(city_crs: str, target: str, layer_bounds: Bounds) -> Bounds:
    """Bounds of a layer in mercator metres or degrees. One feature at a senseless place must not hide the others."""
    try:
        return crs.transform_bounds(city_crs, target, _padded(layer_bounds, 1.0))
    except InvalidInput:
        half = mercator.HALF_M
        return (-half, -half, half, half) if target == mercator.CRS else (-180.0, -85.0, 180.0, 85.0)


def _padded(bounds: Bounds, by: float) -> Bounds:
    return bounds[0] - by, bounds[1] - by, bounds[2] + by, bounds[3] + by


def _on_grid(geometry: Geometries, city_crs: str, bounds: Bounds) -> tuple[Geometries, IntArray]:
    """Simple parts on the tile's grid (y down), clipped, and the row of each; ascending."""
    scale = mvt_writer.EXTENT / (bounds[2] - bounds[0])

    def place(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        east, north = crs.transform(city_crs, mercator.CRS, xy[:, 0], xy[:, 1])
        return np.stack([(east - bounds[0]) * scale, (bounds[3] - north) * scale], axis=1)

    parts, rows = shapely.get_parts(geometry, return_index=True)
    # a member of a collection may be a collection itself
    parts, inner = shapely.get_parts(parts, return_index=True)
    placed = shapely.transform(parts, place)
    known = np.isfinite(shapely.bounds(placed)).all(axis=1)  # not empty, and inside the projections
    placed, inner = placed[known], inner[known]
    box = shapely.box(-BUFFER, -BUFFER, mvt_writer.EXTENT + BUFFER, mvt_writer.EXTENT + BUFFER)
    return _clipped(placed, np.asarray(rows[inner], np.int64), box)


def _clipped(parts: Geometries, rows: IntArray, box: shapely.Polygon) -> tuple[Geometries, IntArray]:
    """Clip and round; only pieces of the dimension that the part had are kept."""
    dimension = shapely.get_dimensions(parts)
    area = dimension == 2
    parts = np.array(parts, dtype=object)
    broken = area & ~shapely.is_valid(parts)
    parts[broken] = shapely.make_valid(parts[broken])
    outer = shapely.bounds(parts)
    low, high = box.bounds[0], box.bounds[2]
    crosses = ~((outer[:, :2] >= low).all(axis=1) & (outer[:, 2:] <= high).all(axis=1))
    parts[crosses] = shapely.intersection(parts[crosses], box)
    parts[area] = shapely.set_precision(parts[area], 1.0)
    # points and lines are rounded one by one: noding would cut a line where it crosses itself
    parts[~area] = shapely.remove_repeated_points(shapely.transform(parts[~area], np.rint))
    pieces, at = shapely.get_parts(parts, return_index=True)
    pieces, inner = shapely.get_parts(pieces, return_index=True)
    at = at[inner]
    fits = (shapely.get_dimensions(pieces) == dimension[at]) & ~shapely.is_empty(pieces)
    fits &= (dimension[at] != 1) | (shapely.length(pieces) > 0)
    return pieces[fits], rows[at[fits]]


class _Kept:
    """The biggest features seen so far, at most `limit` (times two between two cuts)."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._parts: list[Geometries] = []
        self._rows: list[IntArray] = []
        self._columns: list[pa.Table] = []
        self._fids: list[IntArray] = []
        self._n = 0

    def add(self, layer_id: str, features: Features, parts: Geometries, rows: IntArray) -> None:
        used, rows = np.unique(rows, return_inverse=True)
        if not len(used):
            return
        self._parts.append(parts)
        self._rows.append(rows + self._n)
        self._columns.append(feature_columns(layer_id, features).take(used))
        self._fids.append(features.fids[used])
        self._n += len(used)
        if self._limit is not None and self._n > 2 * self._limit:
            self._cut(self._limit)

    def encoded(self, layer_id: str) -> bytes:
        if not self._n:
            return b""
        if self._limit is not None and self._n > self._limit:
            self._cut(self._limit)
        parts, rows = np.concatenate(self._parts), np.concatenate(self._rows)
        kinds = shapely.get_dimensions(parts)
        writers = ((0, mvt_writer.points), (1, mvt_writer.lines), (2, mvt_writer.polygons))
        pieces = [write(parts[kinds == kind], rows[kinds == kind]) for kind, write in writers if (kinds == kind).any()]
        return mvt_writer.layer(layer_id, pieces, np.concatenate(self._fids), pa.concat_tables(self._columns))

    def _cut(self, limit: int) -> None:
        parts, rows = np.concatenate(self._parts), np.concatenate(self._rows)
        fids, columns = np.concatenate(self._fids), pa.concat_tables(self._columns)
        sizes = np.bincount(rows, shapely.area(parts) + shapely.length(parts), self._n)
        # equal sizes (points) are thinned by a scattered but fixed order, not by who was stored first
        scattered = (fids * 2654435761) % 2**32
        keep = np.sort(np.lexsort((scattered, -sizes))[:limit])
        place = np.full(self._n, -1)
        place[keep] = np.arange(len(keep))
        chosen = place[rows] >= 0
        self._parts, self._rows = [parts[chosen]], [place[rows[chosen]]]
        self._columns, self._fids, self._n = [columns.take(keep)], [fids[keep]], len(keep)


def tilejson(
    city: TileCity, layer_ids: Sequence[str], tiles_url: str, scope: Scope, *, name: str | None = None
) -> dict[str, Any]:
    """TileJSON 3.0 of some collections; `tiles_url` is absolute, with `{z}`, `{x}` and `{y}` in it.

    Raises LayerNotFound for an unknown layer and when there is none at all.
    """
    infos = [city.store.layer(layer_id, scope) for layer_id in layer_ids]
    if not infos:
        raise LayerNotFound("", [info.id for info in city.store.layers(scope)])
    layers = [_vector_layer(city, info) for info in infos]
    west, south, east, north = _lonlat_bounds(city, infos)
    return {
        "tilejson": "3.0.0",
        "name": name or (infos[0].type.title.en if len(infos) == 1 else city.config.title_in("en")),
        "version": "1.0.0",
        "scheme": "xyz",
        "format": "pbf",
        "tiles": [tiles_url],
        "minzoom": min(layer["minzoom"] for layer in layers),
        "maxzoom": MAX_ZOOM,
        "bounds": [west, south, east, north],
        "center": [(west + east) / 2, (south + north) / 2, EXACT_ZOOM],
        "vector_layers": layers,
    }


def _vector_layer(city: TileCity, info: LayerInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "description": f"{info.type.title.zh} / {info.type.title.en}. Up to zoom {EXACT_ZOOM} a tile holds the "
        f"{MAX_FEATURES} largest features at most.",
        "fields": _fields(info.type),
        "minzoom": _min_zoom(city, info),
        "maxzoom": MAX_ZOOM,
    }


def _fields(layer_type: LayerType) -> dict[str, str]:
    words = {"integer": "Number", "number": "Number", "boolean": "Boolean"}
    return {"id": "String", "layer": "String"} | {
        each.name: words.get(each.type, "String") for each in layer_type.attributes
    }


def _min_zoom(city: TileCity, info: LayerInfo) -> int:
    """The first zoom at which a tile need not look at more than a few times MAX_FEATURES."""
    if info.bounds is None:
        return 0
    west, south, east, north = _layer_bounds(city.frame.city_crs, mercator.CRS, info.bounds)
    zoom = 0
    while zoom < EXACT_ZOOM:
        side = 2 * mercator.HALF_M / 2**zoom
        share = min(1.0, side / (east - west)) * min(1.0, side / (north - south))
        if info.count * share <= 4 * MAX_FEATURES:
            break
        zoom += 1
    return zoom


def _lonlat_bounds(city: TileCity, infos: Sequence[LayerInfo]) -> Bounds:
    boxes = [info.bounds for info in infos if info.bounds is not None]
    if not boxes:
        return city.frame.lon_deg, city.frame.lat_deg, city.frame.lon_deg, city.frame.lat_deg
    whole = min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)
    return _layer_bounds(city.frame.city_crs, crs.CRS84, whole)
