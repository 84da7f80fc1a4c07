"""Features as Arrow tables with typed columns, and their geometries of one kind in the CRS asked for.

Columns are those that a GeoPackage of the store has: `id`, the attributes, `version`, `valid_from`, `valid_to`,
`extra`; an attribute of such a name gets an underscore behind it. Geometries are east first: FlatGeobuf, GeoPackage
and GeoParquet know no other order (GeoParquet 1.1, "Coordinate axis order"; OGC 12-128r18, 2.1.2.1.1).
"""

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.catalogue import ARROW_TYPES, Attribute
from layers.errors import InvalidInput
from server import vertical
from server.formats.selection import Selection, Shape
from server.serving import CRS84H
from twin.store import geometry_kind
from twin.store.columns import column_names
from twin.store.interface import Features

ID, VERSION, VALID_FROM, VALID_TO, EXTRA = "id", "version", "valid_from", "valid_to", "extra"
_MOMENT = ARROW_TYPES["datetime"]


@lru_cache(maxsize=128)
def names(attributes: tuple[str, ...]) -> dict[str, str]:
    """Attribute name -> column name; no two columns differ by case alone."""
    from layers.catalogue import Title

    return column_names([Attribute(each, "string", Title(each, each)) for each in attributes], {})


def schema(selection: Selection) -> pa.Schema:
    """Columns of `table`, in order."""
    columns = names(tuple(each.name for each in selection.attributes))
    fields = [(ID, pa.string())]
    fields += [(columns[each.name], each.arrow_type) for each in selection.attributes]
    fields += [(VERSION, pa.int64()), (VALID_FROM, _MOMENT), (VALID_TO, _MOMENT)]
    if selection.asked.query.properties is None:
        fields.append((EXTRA, pa.string()))
    return pa.schema(fields)


def table(batch: Features, selection: Selection) -> pa.Table:
    """A batch without its geometries."""
    n, kinds = len(batch), schema(selection)
    arrays: list[pa.Array | pa.ChunkedArray] = [pa.array(batch.ids, pa.string())]
    held = set(batch.attributes.column_names)
    for each in selection.attributes:
        column = batch.attributes.column(each.name) if each.name in held else pa.nulls(n, each.arrow_type)
        arrays.append(column.cast(each.arrow_type))
    arrays += [pa.array(batch.versions), _moments(batch.valid_from), _moments(batch.valid_to)]
    if EXTRA in kinds.names:
        arrays.append(pa.array(batch.extra, pa.string()))
    return pa.Table.from_arrays(arrays, schema=kinds)


def _moments(texts: list[str] | list[str | None]) -> pa.Array:
    """RFC 3339 texts as moments; empty ones are null."""
    found = pa.array(texts, pa.string()).dictionary_encode()  # most features have come with one of few builds
    values = pc.if_else(pc.equal(found.dictionary, ""), pa.scalar(None, pa.string()), found.dictionary)
    return values.cast(_MOMENT).take(found.indices)


def geometries(batch: Features, selection: Selection) -> NDArray[np.object_]:
    """Geometries in the CRS asked for, east first, of the one kind that the selection's shape names.

    Single ones become multi geometries of one part where the layer has both. Raises InvalidInput where a coordinate
    cannot be expressed in the CRS.
    """
    return of_shape(in_crs(batch, selection), selection.shape)


def in_crs(batch: Features, selection: Selection) -> NDArray[np.object_]:
    """Geometries as they are, in the CRS asked for, east first; heights are ellipsoidal in CRS84h, else normal."""
    city, target = selection.city.city, selection.asked.crs
    placed = crs.transform_geometries(city.config.crs, target, batch.geometry)
    if not np.isfinite(shapely.get_coordinates(placed)).all():
        raise InvalidInput("A coordinate cannot be expressed in the CRS asked for.", "Ask for another crs.")
    return vertical.raised(placed, vertical.anomaly(city, target))


def of_shape(placed: NDArray[np.object_], shape: Shape) -> NDArray[np.object_]:
    """Geometries made equal in kind; None stays None."""
    rows = geometry_kind.singles(placed, shape.kind)
    if len(rows):
        out = np.array(placed, object)
        out[rows] = geometry_kind.promoted(placed[rows])
        placed = out
    return placed


def wkb(placed: NDArray[np.object_], shape: Shape) -> pa.Array:
    """Geometries as ISO WKB without measures, null for None; each with heights if it has any and the shape says so."""
    return pa.array(shapely.to_wkb(placed, output_dimension=3 if shape.has_z else 2, flavor="iso"), pa.binary())


def geometry_name(shape: Shape) -> str:
    """GDAL's name of the kind: `MultiPolygon Z`, `Point`, `Unknown`."""
    name = {
        "POINT": "Point", "LINESTRING": "LineString", "POLYGON": "Polygon", "MULTIPOINT": "MultiPoint",
        "MULTILINESTRING": "MultiLineString", "MULTIPOLYGON": "MultiPolygon",
        "GEOMETRYCOLLECTION": "GeometryCollection",
    }.get(shape.kind)  # fmt: skip
    return "Unknown" if name is None else f"{name} Z" if shape.has_z else name


def free(name: str, rows: pa.Table) -> str:
    """A column name that the table does not have, whatever the case of its letters."""
    taken = {each.casefold() for each in rows.column_names}
    while name.casefold() in taken:
        name += "_"
    return name


def file_crs(target: str) -> str:
    """The CRS as a file names it: with coordinates that are east first in any case, CRS84 is EPSG:4326."""
    return {crs.CRS84: "EPSG:4326", CRS84H: "EPSG:4979"}.get(target, target)
