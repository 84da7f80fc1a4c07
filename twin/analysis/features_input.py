"""Features as an input: GeoJSON, or a layer of the city with a filter, a box and a moment. One schema, one resolver.

`{"collection": "building", "filter": "height_m > 30", "bbox": [west, south, east, north]}` names features without
sending them. Coordinates, in GeoJSON, boxes and filters alike, are in `crs`, east first; CRS84 when it is absent.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.ellipsoid_area import unit_length_m
from layers.errors import InvalidInput, NotFound
from twin.store.cql2_parse import from_json, from_text, reproject
from twin.store.interface import Features, Query

if TYPE_CHECKING:
    from twin.city import City

MOST_INLINE = 100_000
GEOMETRIES = (
    "Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection",
)  # fmt: skip

COLLECTION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Features of a layer",
    "required": ["collection"],
    "properties": {
        "collection": {"type": "string", "minLength": 1, "description": "Id of the layer, as in /collections."},
        "filter": {
            "oneOf": [{"type": "string"}, {"type": "object"}],
            "description": "CQL2 text or CQL2 JSON over the layer's queryables.",
        },
        "bbox": {
            "type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4,
            "description": "West, south, east, north.",
        },
        "crs": {"type": "string", "description": "Of bbox and of geometries in filter; `city` for the city's."},
        "ids": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 10000},
        "datetime": {"type": "string", "description": "State of that moment; now when absent."},
    },
    "additionalProperties": False,
}  # fmt: skip
GEOJSON_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "GeoJSON feature collection, feature or geometry",
    "required": ["type"],
    "properties": {
        "type": {"type": "string", "enum": ["FeatureCollection", "Feature", *GEOMETRIES]},
        "crs": {"type": "string", "description": "Of the coordinates, which are east first; `city` for the city's."},
    },
    "format": "geojson-feature-collection",
}
SCHEMA: dict[str, Any] = {"oneOf": [GEOJSON_SCHEMA, COLLECTION_SCHEMA]}
"""Schema of an input that is features."""

RASTER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "A raster layer",
    "required": ["collection"],
    "properties": {
        "collection": {"type": "string", "minLength": 1, "description": "Id of a raster layer, for example dem."},
        "asset": {"type": "string", "description": "One raster of the layer; all of them, newest first, when absent."},
    },
    "additionalProperties": False,
}
"""Schema of an input that is a raster of the city; `city.store.assets(city.scope, collection)` are its files."""


FARTHEST = 1e9
"""No coordinate of a place on earth is as large, in metres or feet, with a zone before it or without."""
MOST_DENSE = 20_000
DENSE_M = 20.0
"""Edges of GeoJSON are divided so densely before they are placed, where asked: bent by less than 0.01 mm then."""


def read(
    city: "City",
    name: str,
    given: Mapping[str, Any],
    *,
    properties: tuple[str, ...] | None = None,
    is_dense: bool = False,
) -> Iterator[Features]:
    """Batches of the features that an input with `SCHEMA` means, geometries in the city's CRS.

    Parameters
    ----------
    name : of the input, for messages
    given : its value
    properties : attributes that are needed; None for all. One that a GeoJSON feature lacks is null
    is_dense : edges of GeoJSON in another CRS than the city's stay what they are there, as corners of their own

    Raises
    ------
    InvalidInput, LayerNotFound
        Named after the input.
    """
    source = _crs_of(city, name, given.get("crs"))
    if "collection" in given:
        yield from _named(city, name, given, source, properties)
    else:
        yield _inline(city, name, given, source, properties, is_dense=is_dense)


def _crs_of(city: "City", name: str, given: Any) -> str:
    if given is None:
        return crs.CRS84
    if given == "city":
        return city.crs
    try:
        return crs.name(str(given))
    except InvalidInput as error:
        raise InvalidInput(f"{name}/crs: {error.problem}", error.hint) from error


def _named(
    city: "City", name: str, given: Mapping[str, Any], source: str, properties: tuple[str, ...] | None
) -> Iterator[Features]:
    """What the store gives; where it refuses, the message begins with the input's name."""
    with naming(name):
        asked = _query(city, name, given, source, properties)
        yield from city.store.query(str(given["collection"]), asked, city.scope)


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Messages of what goes wrong within begin with the input's name."""
    try:
        yield
    except (InvalidInput, NotFound) as error:
        if not error.problem.startswith(name):
            error.problem = f"{name}: {error.problem}"
            error.args = (f"{error.problem} {error.hint}".strip(),)
        raise


def attributes(city: "City", name: str, layer: str) -> frozenset[str]:
    """Names of the attributes of a layer; LayerNotFound begins with the name of the input that asks for it."""
    with naming(name):
        return frozenset(each.name for each in city.store.layer(layer, city.scope).type.attributes)


def wanted(city: "City", name: str, given: Mapping[str, Any], columns: tuple[str, ...]) -> tuple[str, ...]:
    """Those columns that a layer has; all of them for GeoJSON, where a missing one is null."""
    if "collection" not in given:
        return columns
    known = attributes(city, name, str(given["collection"]))
    return tuple(each for each in columns if each in known)


def _query(city: "City", name: str, given: Mapping[str, Any], source: str, properties: tuple[str, ...] | None) -> Query:
    from twin.city import moment

    region = condition = None
    if "bbox" in given:
        west, south, east, north = (float(value) for value in given["bbox"])
        if not np.isfinite([west, south, east, north]).all() or west > east or south > north:
            raise InvalidInput(f"{name}/bbox is no box.", "Give west, south, east, north.")
        region = crs.transform_box(source, city.crs, (west, south, east, north))
    if "filter" in given:
        text = given["filter"]
        condition = reproject(from_text(text) if isinstance(text, str) else from_json(text), source, city.crs)
    return Query(
        region=region, filter=condition, ids=tuple(given["ids"]) if "ids" in given else None,
        at=moment(given.get("datetime")), properties=properties,
    )  # fmt: skip


def _inline(
    city: "City",
    name: str,
    given: Mapping[str, Any],
    source: str,
    properties: tuple[str, ...] | None,
    *,
    is_dense: bool,
) -> Features:
    features = _features(name, given)
    if len(features) > MOST_INLINE:
        raise InvalidInput(f"{name} has {len(features)} features.", f"At most {MOST_INLINE} are taken inline.")
    shapes = _shapes(name, features)
    if is_dense and crs.horizontal(source) != crs.horizontal(city.crs):
        shapes = _dense(shapes, source)
    geometry = crs.transform_geometries(source, city.crs, shapes)
    for row, shape in enumerate(geometry):
        if shape is not None and not (np.abs(shapely.get_coordinates(shape)) < FARTHEST).all():
            raise InvalidInput(f"{name}/{row}: the geometry does not fit into {city.crs}.", f"It is read as {source}.")
    rows = [_properties(name, row, each) for row, each in enumerate(features)]
    ids = [str(each["id"]) if each.get("id") is not None else str(row) for row, each in enumerate(features)]
    n = len(features)
    return Features(
        np.arange(1, n + 1), ids, geometry, _table(name, rows, properties), [None] * n, np.ones(n, np.int64), [""] * n,
        [None] * n,
    )  # fmt: skip


def _dense(shapes: NDArray[np.object_], source: str) -> NDArray[np.object_]:
    out = shapes.copy()
    with np.errstate(all="ignore"):  # GEOS would mend a bow-tie by dropping half of it
        sound = (shapely.get_dimensions(shapes) >= 1) & shapely.is_valid(shapes)
    for row in np.flatnonzero(sound).tolist():
        if np.isfinite(shapely.get_coordinates(shapes[row])).all():  # else it is refused where it is placed
            step = max(DENSE_M / unit_length_m(source), float(shapely.length(shapes[row])) / MOST_DENSE)
            with contextlib.suppress(shapely.errors.GEOSException):  # a part that is one place: nothing to divide
                out[row] = shapely.segmentize(shapes[row], step)
    return out


def _features(name: str, given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if given["type"] == "FeatureCollection":
        found = given.get("features")
        if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
            raise InvalidInput(f"{name}: the feature collection has no list of features.", 'Write {"features": […]}.')
        return found
    return [given] if given["type"] == "Feature" else [{"geometry": {k: v for k, v in given.items() if k != "crs"}}]


def _properties(name: str, row: int, feature: Mapping[str, Any]) -> dict[str, Any]:
    found = feature.get("properties") or {}
    if not isinstance(found, Mapping):
        raise InvalidInput(f"{name}/{row}: properties is no object.", 'Write {"properties": {…}}.')
    return dict(found)


def _shapes(name: str, features: list[Mapping[str, Any]]) -> NDArray[np.object_]:
    made = np.empty(len(features), object)
    for row, each in enumerate(features):
        if each.get("geometry") is None:
            continue
        try:
            made[row] = shapely.from_geojson(orjson.dumps(each["geometry"], option=orjson.OPT_SERIALIZE_NUMPY))
        except (shapely.errors.ShapelyError, TypeError) as error:
            raise InvalidInput(f"{name}/{row}: no GeoJSON geometry: {error}.") from error
    return made


def _table(name: str, rows: list[dict[str, Any]], properties: tuple[str, ...] | None) -> pa.Table:
    names = properties if properties is not None else tuple(dict.fromkeys(key for row in rows for key in row))
    try:
        return pa.table({key: pa.array([row.get(key) for row in rows]) for key in names})
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInput(f"{name}: values of one property have different types: {error}.") from error
