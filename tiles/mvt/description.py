"""TileJSON 3.0 of vector tiles: https://github.com/mapbox/tilejson-spec/tree/master/3.0.0."""

from collections.abc import Sequence
from typing import Any

from layers import crs
from layers.catalogue import LayerType
from layers.crs import Bounds
from layers.errors import LayerNotFound
from tiles.city import TileCity
from tiles.matrix_set import MatrixSet
from tiles.mvt import choice
from tiles.mvt.one_tile import layer_bounds_in, min_zoom
from twin.scope import Scope
from twin.store import read_raw
from twin.store.read_raw import RawLayer

_WORDS = {"integer": "Number", "number": "Number", "boolean": "Boolean"}


def tilejson(
    city: TileCity,
    layer_ids: Sequence[str],
    tiles_url: str,
    matrix_set: MatrixSet,
    scope: Scope,
    *,
    name: str | None = None,
) -> dict[str, Any]:
    """TileJSON of some collections on a grid; `tiles_url` is absolute, with `{z}`, `{x}` and `{y}` in it.

    `minzoom` and `maxzoom` are levels of the grid. Raises LayerNotFound for an unknown layer and where there is none.
    """
    with read_raw.reading(city.store) as reader:
        layers = [reader.layer(layer_id, scope) for layer_id in layer_ids]
    if not layers:
        raise LayerNotFound("", [info.id for info in city.store.layers(scope)])
    described = [vector_layer(city, each, matrix_set) for each in layers]
    west, south, east, north = lonlat_bounds(city, layers)
    low, high = min(each["minzoom"] for each in described), choice.level_of(matrix_set, choice.MAX_ZOOM)
    return {
        "tilejson": "3.0.0",
        "name": name or (layers[0].record.type.title.en if len(layers) == 1 else city.config.title_in("en")),
        "version": "1.0.0",
        "scheme": "xyz",
        "format": "pbf",
        "tiles": [tiles_url],
        "minzoom": low,
        "maxzoom": high,
        "bounds": [west, south, east, north],
        "center": [(west + east) / 2, (south + north) / 2, max(low, choice.level_of(matrix_set, choice.EXACT_ZOOM))],
        "vector_layers": described,
        "tileMatrixSet": matrix_set.id,
    }


def vector_layer(city: TileCity, layer: RawLayer, matrix_set: MatrixSet) -> dict[str, Any]:
    """An entry of `vector_layers`: fields of the exact zooms; what coarser ones have stands in the description."""
    found = layer.record.type
    exact = choice.level_of(matrix_set, choice.EXACT_ZOOM)
    coarse = ("id", "layer", *choice.attributes(found, choice.detail(matrix_set, max(exact - 1, 0))))
    return {
        "id": found.id,
        "description": f"{found.title.zh} / {found.title.en}. Below zoom {exact} at most {choice.MAX_FEATURES} "
        f"features a tile, the largest, with {', '.join(coarse)} only.",
        "fields": fields(found),
        "minzoom": choice.level_of(matrix_set, min_zoom(city.frame.city_crs, layer.count, layer.bounds)),
        "maxzoom": choice.level_of(matrix_set, choice.MAX_ZOOM),
    }


def fields(layer_type: LayerType) -> dict[str, str]:
    """Attribute name -> `Number`, `Boolean` or `String`, as the tiles have them."""
    return {"id": "String", "layer": "String"} | {
        each.name: _WORDS.get(each.type, "String") for each in layer_type.attributes
    }


def lonlat_bounds(city: TileCity, layers: Sequence[RawLayer]) -> Bounds:
    """West, south, east, north in degrees of all layers; the city's origin where they are empty."""
    boxes = [each.bounds for each in layers if each.bounds is not None]
    if not boxes:
        return city.frame.lon_deg, city.frame.lat_deg, city.frame.lon_deg, city.frame.lat_deg
    west, south, east, north = zip(*boxes, strict=True)
    return layer_bounds_in(crs.CRS84, city.frame.city_crs, (min(west), min(south), max(east), max(north)))
