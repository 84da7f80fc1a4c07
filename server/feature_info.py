"""What is at a place of a map: exact hits on features, values of rasters; as GeoJSON, HTML or text.

A hit is a geometry within `REACH_PX` pixels of the middle of the pixel asked for; nearest first, then the smallest.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import shapely

from layers import crs
from layers.errors import InvalidInput
from server import answer, geojson, map_layers
from server.map_layers import MapLayer
from server.serving import Snapshot
from twin.store.interface import Features, Query

if TYPE_CHECKING:
    from tiles.drawing import View

FORMATS = {
    "application/json": "json", "application/geo+json": "json", "text/html": "html", "text/plain": "plain",
}  # fmt: skip
REACH_PX = 3.0
MAX_FEATURES = 100
MAX_TRIED = 500
"""Features of a layer around the place that are put in order."""
_SHOWN = 300
NOTHING = {"zh": "此处没有要素。", "en": "There is nothing here."}


@dataclass(frozen=True)
class Place:
    """A pixel of a view: column and row from the upper left, from 0."""

    view: "View"
    column: int
    row: int

    @property
    def xy(self) -> tuple[float, float]:
        """Its middle in units of the view's CRS."""
        (wide, high), (west, _, _, north) = self.view.cell, self.view.bounds
        return west + (self.column + 0.5) * wide, north - (self.row + 0.5) * high


@dataclass(frozen=True)
class Hit:
    """A feature, or the values of a raster (`geometry` None)."""

    layer: MapLayer
    id: str
    geometry: Any
    properties: dict[str, Any]


def hits(
    city: Snapshot, layers: Sequence[MapLayer], place: Place, limit: int, *, at: datetime | None = None
) -> list[Hit]:
    """What the layers have at a place, uppermost layer first, at most `limit` of each."""
    found: list[Hit] = []
    for layer in reversed(layers):
        found += _values(city, layer, place, at) if layer.is_raster else _features(city, layer, place, limit, at=at)
    return found


def _features(city: Snapshot, layer: MapLayer, place: Place, limit: int, *, at: datetime | None) -> list[Hit]:
    (x, y), (wide, high) = place.xy, place.view.cell
    reach = REACH_PX * place.view.magnification
    box = (x - reach * wide, y - reach * high, x + reach * wide, y + reach * high)
    city_crs = city.city.config.crs
    try:
        region = crs.transform_box(place.view.crs, crs.horizontal(city_crs), box, 4)
    except InvalidInput:
        return []
    query = Query(region=region, at=at, limit=MAX_TRIED)
    batches = list(city.city.store.query(layer.id, query, city.settings.scope))
    middle = shapely.Point(region.centroid.x, region.centroid.y)
    ranked: list[tuple[float, float, Features, int]] = []
    for batch in batches:
        away, size = shapely.distance(batch.geometry, middle), shapely.area(batch.geometry)
        ranked += [(float(away[i]), float(size[i]), batch, i) for i in range(len(batch))]
    ranked.sort(key=lambda each: each[:2])
    return [_hit(layer, batch, i, place.view.crs, city_crs) for _, _, batch, i in ranked[:limit]]


def _hit(layer: MapLayer, batch: Features, row: int, target: str, city_crs: str) -> Hit:
    single = Features(
        batch.fids[row : row + 1], batch.ids[row : row + 1], batch.geometry[row : row + 1],
        batch.attributes.slice(row, 1), batch.extra[row : row + 1], batch.versions[row : row + 1],
        batch.valid_from[row : row + 1], batch.valid_to[row : row + 1],
    )  # fmt: skip
    placed = crs.transform_geometries(city_crs, target, single.geometry)
    digits = 9 if crs.is_geographic(target) else 4
    # east first whatever the CRS: who reads GeoJSON from a WMS knows no other order
    shape = shapely.transform(placed[0], lambda xy: np.round(xy, digits))
    return Hit(layer, single.ids[0], orjson.loads(shapely.to_geojson(shape)), geojson.properties(single)[0])


def _values(city: Snapshot, layer: MapLayer, place: Place, at: datetime | None) -> list[Hit]:
    """The bands of the uppermost file that has values there, in the file's unit; heights in the city's datum."""
    from tiles.imagery import Frame, sheets
    from tiles.matrix_set import TILE_SIZE, MatrixSet

    x, y = place.xy
    cell = min(place.view.cell)
    grid = MatrixSet("place", "", place.view.crs, x - cell / 2, y + cell / 2, cell / TILE_SIZE, 1, 1)
    frame = Frame(grid, 0, 0, 0, 1)
    folder = city.city.folder
    for asset in sheets.touching(map_layers.until(layer.assets, at), frame):
        head = sheets.header(folder, asset)
        data, valid, _ = sheets.read(folder, asset, frame, tuple(range(1, head.count + 1)), nearest=True)
        if data.size and bool(np.asarray(valid).all()):
            values = data[:, 0, 0].astype(np.float64) * head.scale + head.offset
            if layer.id in {"dem", "dsm"}:
                values = values + (asset.height_offset_m or 0.0)
            named = {f"band_{band}": _plain(value) for band, value in enumerate(values, 1)}
            said = {"epoch": asset.epoch} if asset.epoch else {}
            return [Hit(layer, asset.id, None, said | named)]
    return []


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() else round(float(value), 4)


def body(found: Sequence[Hit], kind: str, place: Place, language: str) -> bytes:
    """The hits in a format of `FORMATS`."""
    if kind == "json":
        return _json(found, place)
    return _html(found, language).encode() if kind == "html" else _text(found, language).encode()


def _json(found: Sequence[Hit], place: Place) -> bytes:
    named = None if place.view.crs == crs.CRS84 else crs.uri(place.view.crs).replace(
        "http://www.opengis.net/def/crs/EPSG/0/", "urn:ogc:def:crs:EPSG::"
    )  # fmt: skip
    document: dict[str, Any] = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "id": f"{each.layer.id}.{each.id}", "geometry": each.geometry,
             "properties": {"layer": each.layer.id, "id": each.id} | each.properties}
            for each in found
        ],
    }  # fmt: skip
    if named:  # the older GeoJSON, which desktop GIS read here
        document["crs"] = {"type": "name", "properties": {"name": named}}
    return answer.json_bytes(document)


def _rows(hit: Hit, language: str) -> list[tuple[str, str]]:
    """Attributes that have a value, under their titles."""
    rows = [("id", hit.id)]
    for name, value in hit.properties.items():
        if value is None or name == "extra":
            continue
        attribute = hit.layer.type.attribute(name)
        title = getattr(attribute.title, language) if attribute else name
        unit = f" {attribute.unit}" if attribute and attribute.unit else ""
        rows.append((title, f"{str(value)[:_SHOWN]}{unit}"))
    return rows


def _html(found: Sequence[Hit], language: str) -> str:
    parts = []
    for hit in found:
        title = html.escape(getattr(hit.layer.type.title, language))
        cells = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in _rows(hit, language))
        parts.append(f"<h2>{title}</h2><table>{cells}</table>")
    inner = "".join(parts) or f"<p>{NOTHING[language]}</p>"
    style = "body{font:14px sans-serif}th{text-align:left;padding-right:1em;vertical-align:top}h2{font-size:1.1em}"
    return (
        f'<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>GetFeatureInfo</title>'
        f"<style>{style}</style></head><body>{inner}</body></html>"
    )


def _text(found: Sequence[Hit], language: str) -> str:
    lines = [] if found else [NOTHING[language]]
    for hit in found:
        lines.append(f"[{getattr(hit.layer.type.title, language)}]")
        for name, value in _rows(hit, language):
            plain = " ".join(value.split())
            lines.append(f"{' '.join(name.split())} = {plain}")
        lines.append("")
    return "\n".join(lines)
