"""Geometries given by hand: read, brought into the city's CRS, checked against the layer's kind of geometry."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from layers import crs as crs_module
from layers.catalogue import LayerType
from layers.errors import InvalidInput
from twin.store import geometry_kind

_FAMILY = {"Point": 0, "MultiPoint": 0, "LineString": 1, "LinearRing": 1, "MultiLineString": 1, "Polygon": 2,
           "MultiPolygon": 2}  # fmt: skip
_NAMES = ("Point", "LineString", "Polygon")
MAX_POINTS = 1_000_000


def checked(
    layer_type: LayerType, given: Sequence[Any], crs: str | None, city_crs: str, where: Sequence[str]
) -> NDArray[np.object_]:
    """(n,) shapely geometries or GeoJSON objects in `crs` (the city's when absent), east first -> in the city's CRS.

    z stays as it is: a height of the city's datum. InvalidInput names the first feature that is wrong.
    """
    out = np.empty(len(given), dtype=object)
    out[:] = [read(each, name) for each, name in zip(given, where, strict=True)]
    if layer_type.geometry == "none":
        return _none(layer_type, out, where)
    for shape, name in zip(out, where, strict=True):
        _check(layer_type, shape, name)
    if layer_type.geometry.startswith("Multi"):  # as files are read
        single = np.isin(shapely.get_type_id(out), (0, 1, 3))
        out[single] = geometry_kind.promoted(out[single])
    return out if crs is None else crs_module.transform_geometries(crs, city_crs, out)


def _none(layer_type: LayerType, shapes: NDArray[np.object_], where: Sequence[str]) -> NDArray[np.object_]:
    for shape, name in zip(shapes, where, strict=True):
        if shape is not None:
            raise InvalidInput(f"{name}: layer {layer_type.id!r} is a table without geometry.", "Leave it out.")
    return shapes


def read(given: Any, where: str) -> shapely.Geometry | None:
    """A shapely geometry, or one made of a GeoJSON geometry."""
    if given is None or isinstance(given, shapely.Geometry):
        return given
    if isinstance(given, Mapping):
        try:
            return shapely.from_geojson(orjson.dumps(given, option=orjson.OPT_SERIALIZE_NUMPY))
        except (shapely.errors.ShapelyError, TypeError, ValueError) as error:
            raise InvalidInput(f"{where}: the geometry is no GeoJSON geometry: {error}.") from error
    raise InvalidInput(
        f"{where}: a geometry is given as {type(given).__name__}.", "Give a shapely geometry or a GeoJSON object."
    )


def _check(layer_type: LayerType, shape: shapely.Geometry | None, where: str) -> None:
    if shape is None or shapely.is_empty(shape):
        raise InvalidInput(f"{where}: the geometry is empty.", "Give one, or delete the feature.")
    wanted = layer_type.geometry.removesuffix("Z")
    family = _FAMILY.get(shape.geom_type)
    if wanted in _FAMILY and family != _FAMILY[wanted]:
        raise InvalidInput(
            f"{where}: a {shape.geom_type} does not fit layer {layer_type.id!r}.", f"It holds {wanted} geometries."
        )
    n_points = int(shapely.get_num_coordinates(shape))
    if n_points > MAX_POINTS:
        raise InvalidInput(f"{where}: the geometry has {n_points:,} points.", f"At most {MAX_POINTS:,} are taken.")
    has_z = shapely.has_z(shape)
    if not np.isfinite(shapely.get_coordinates(shape, include_z=has_z)).all():
        raise InvalidInput(f"{where}: a coordinate is not finite.", "Correct it.")
    if family == _FAMILY["Polygon"] and not shapely.is_valid(shape):
        reason = shapely.is_valid_reason(shape)
        raise InvalidInput(f"{where}: the outline is not valid: {reason}.", "shapely.make_valid may mend it.")
