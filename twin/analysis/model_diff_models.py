"""Models that an analysis takes: meshes of a layer's features, meshes sent along, or areas with a height.

Everything is in the city's own plane coordinates and normal heights, less a place near it: a model measures what it
measures in its drawing, and the ratio to true metres is the projection's (some 100 parts in a million).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.errors import InvalidInput
from layers.frame import CityFrame
from layers.geocentric import ecef_to_geodetic
from layers.mesh import Mesh, decode
from layers.mesh_copy import expanded, is_copy, read_copies
from twin.analysis import features_input, place
from twin.analysis.model_diff_solids import Solid, solid
from twin.analysis.parcel_intensity_buildings import heights
from twin.analysis.progress import SILENT, Progress
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]

MESHES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Triangle meshes",
    "required": ["meshes"],
    "properties": {
        "meshes": {
            "type": "array",
            "maxItems": 20_000,
            "items": {
                "type": "object",
                "required": ["id", "vertices", "triangles"],
                "properties": {
                    "id": {"type": "string", "minLength": 1},
                    # rows are looked at when they are read: a schema of each number takes seconds for a large model
                    "vertices": {
                        "type": "array",
                        "minItems": 3,
                        "description": "Rows of east, north in `crs`, normal height in metres.",
                    },
                    "triangles": {
                        "type": "array",
                        "minItems": 1,
                        "description": "Rows of three vertices' numbers, counter-clockwise seen from outside.",
                    },
                },
                "additionalProperties": False,
            },
        },
        "crs": {"type": "string", "description": "Of the vertices, east first; `city` for the city's."},
    },
    "additionalProperties": False,
}
MODELS_SCHEMA: dict[str, Any] = {
    "oneOf": [features_input.GEOJSON_SCHEMA, features_input.COLLECTION_SCHEMA, MESHES_SCHEMA]
}
"""Schema of an input that is models: features (their meshes, else area and height), or meshes."""
CHUNK = 2000
MOST_MODELS = 200_000


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes
    ----------
    layer : of the city, empty for what was sent along
    footprint : area or whatever its feature has, city CRS; None where it is a mesh that was sent along
    solid : its mesh less the origin; None where there is none
    base_m, top_m : lowest and highest, NaN where not known
    height_m : between them, NaN where not known
    prism_m3 : area × height, NaN where it has a mesh or no height
    method : `mesh`, `prism` (area × height) or `none`
    values : attributes asked for, by name
    """

    id: str
    layer: str
    footprint: shapely.Geometry | None
    solid: Solid | None
    base_m: float
    top_m: float
    height_m: float
    prism_m3: float
    method: str
    values: Mapping[str, Any]

    @property
    def volume_m3(self) -> float:
        """What it encloses; NaN where not known: no height, or a mesh that is not closed."""
        return self.solid.volume_m3 if self.method == "mesh" and self.solid is not None else self.prism_m3


def origin(city: "City") -> FloatArray:
    """(3,) a place near everything: rounding is that of the city's size, not of its distance from the equator."""
    east, north = crs.transform(crs.CRS84, city.crs, np.array([city.frame.lon_deg]), np.array([city.frame.lat_deg]))
    return np.array([np.floor(east[0]), np.floor(north[0]), 0.0])


def to_plan(frame: CityFrame, enu: FloatArray) -> FloatArray:
    """(n, 3) of the city's ENU frame -> (n, 3) east, north, normal height; back within 1e-8 m."""
    matrix = np.array(frame.root_transform).reshape(4, 4).T
    geodetic = ecef_to_geodetic(enu @ matrix[:3, :3].T + matrix[:3, 3])
    lon, lat = geodetic[:, 0], geodetic[:, 1]
    east, north = crs.transform(crs.WGS84, frame.city_crs, lon, lat)
    return np.stack([east, north, geodetic[:, 2] - frame.height_model.undulation_m(lon, lat)], axis=1)


def models(
    city: "City",
    name: str,
    given: Mapping[str, Any],
    *,
    columns: tuple[str, ...] = (),
    needs_solid: bool = False,
    progress: Progress = SILENT,
) -> list[Model]:
    """The models that an input with `MODELS_SCHEMA` means.

    Parameters
    ----------
    columns : attributes that are wanted beside base and height
    needs_solid : make a mesh of areas with base and height too
    """
    if "meshes" in given:
        return list(_sent(city, name, given))
    asked = tuple(dict.fromkeys(("base_elev_m", "height_m", *columns)))
    layer = str(given.get("collection", ""))
    if layer:
        known = features_input.attributes(city, name, layer)
        asked = tuple(each for each in asked if each in known)
    found = place.collected(features_input.read(city, name, given, properties=asked), name, MOST_MODELS)
    place.check_inside(city, name, found.geometry)
    place.check_valid(name, found)
    return of_features(
        city, layer, found, columns=columns, needs_solid=needs_solid, at=given.get("datetime"), input_name=name,
        progress=progress,
    )  # fmt: skip


def of_features(
    city: "City",
    layer: str,
    found: Features,
    *,
    columns: tuple[str, ...] = (),
    needs_solid: bool = False,
    at: Any = None,
    input_name: str = "features",
    progress: Progress = SILENT,
) -> list[Model]:
    """The models of features in the city's CRS; of a layer's features the meshes that are stored with them."""
    meshes = dict(_stored(city, layer, found, at, progress)) if layer else {}
    base, height = place.numbers(found, "base_elev_m", input_name), heights(found, input_name)
    values = {key: place.words(found, key) for key in columns}
    shift = origin(city)
    if layer and city.store.layer(layer, city.scope).type.solid == "extrude":
        # what stands there without a known height is a plate that marks the place
        meshes = {row: mesh for row, mesh in meshes.items() if height[row] > 0}
    prisms = _prisms(found, base, height, shift) if needs_solid else {}
    made = []
    for row, name in enumerate(found.ids):
        mine = {key: column[row] for key, column in values.items()}
        shape = found.geometry[row]
        if row in meshes:
            made.append(_of_mesh(name, layer, shape, meshes[row], mine))
        else:
            area = _Area(shape, float(base[row]), float(height[row]), prisms.get(row))
            made.append(_of_area(name, layer, area, mine))
    return made


def _of_mesh(name: str, layer: str, shape: Any, mesh: Solid, values: Mapping[str, Any]) -> Model:
    low, high = float(mesh.low[2]), float(mesh.high[2])
    return Model(name, layer, shape, mesh, low, high, high - low, np.nan, "mesh", values)


@dataclass(frozen=True)
class _Area:
    shape: Any
    base_m: float
    height_m: float
    prism: Solid | None


def _of_area(name: str, layer: str, given: _Area, values: Mapping[str, Any]) -> Model:
    shape, base, height = given.shape, given.base_m, given.height_m
    is_area = shape is not None and shapely.get_dimensions(shape) == 2 and shapely.is_valid(shape)
    if not (is_area and height > 0):
        return Model(name, layer, shape, None, np.nan, np.nan, np.nan, np.nan, "none", values)
    volume = float(shapely.area(shape)) * height
    return Model(name, layer, shape, given.prism, base, base + height, height, volume, "prism", values)


def _stored(city: "City", layer: str, found: Features, at: Any, progress: Progress) -> Iterator[tuple[int, Solid]]:
    """Rows of features and their meshes; what is damaged or empty has none."""
    from twin.city import moment

    table = city.store.mesh_table(layer, city.scope, moment(at))
    rows = np.flatnonzero(np.isin(found.fids, table.fids))
    shift = origin(city)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        meshes = _decoded(city, layer, found.fids[part])
        plan = to_plan(city.frame, np.concatenate([each.vertices for each in meshes])) - shift
        ends = np.cumsum([len(each.vertices) for each in meshes])
        for row, mesh, points in zip(part.tolist(), meshes, np.split(plan, ends[:-1]), strict=True):
            try:
                yield row, solid(points, _joined(mesh))
            except InvalidInput:
                continue
        progress(100.0 * (start + len(part)) / len(rows), "meshes")


def _joined(mesh: Mesh) -> NDArray[np.int64]:
    """Triangles with equal corners as one: they are equal in the store, and no longer after turning."""
    _, first, place_ = np.unique(mesh.vertices, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[place_.reshape(-1)][mesh.triangles], np.int64)


def _decoded(city: "City", layer: str, fids: NDArray[np.int64]) -> list[Mesh]:
    stored = city.store.mesh_blobs(layer, fids, city.scope)
    made = []
    for blob in stored.blobs:
        if is_copy(blob):
            keys, matrices = read_copies([blob])
            blob = expanded(stored.shapes[keys[0]], matrices)[0]  # noqa: PLW2901 the copy as a mesh of its own
        made.append(decode(blob))
    return made


def _prisms(found: Features, base: FloatArray, height: FloatArray, shift: FloatArray) -> dict[int, Solid]:
    """Areas with base and height as closed meshes, by row."""
    from twin.fuse.extrude import extrude

    with np.errstate(invalid="ignore"):
        usable = (shapely.get_dimensions(found.geometry) == 2) & shapely.is_valid(found.geometry) & (height > 0)
    rows = np.flatnonzero(usable & ~np.isnan(base))
    if not rows.size:
        return {}
    flat = shapely.transform(shapely.force_2d(found.geometry[rows]), lambda xy: xy - shift[:2])
    made = extrude(flat, base[rows], base[rows] + height[rows])
    points, faces = np.cumsum(np.r_[0, made.n_vertices]), np.cumsum(np.r_[0, made.n_triangles])
    return {
        row: solid(made.vertices[points[at] : points[at + 1]], made.triangles[faces[at] : faces[at + 1]])
        for at, row in enumerate(rows.tolist())
        if made.n_triangles[at]
    }


def _sent(city: "City", name: str, given: Mapping[str, Any]) -> Iterator[Model]:
    source = _crs_of(city, name, given.get("crs"))
    shift = origin(city)
    for row, each in enumerate(given["meshes"]):
        vertices = _rows(f"{name}/meshes/{row}/vertices", each["vertices"])
        faces = _rows(f"{name}/meshes/{row}/triangles", each["triangles"])
        if (faces != np.floor(faces)).any():
            raise InvalidInput(f"{name}/meshes/{row}/triangles: a vertex' number is no whole number.")
        east, north = crs.transform(source, city.crs, vertices[:, 0], vertices[:, 1])
        plan = np.stack([east, north, vertices[:, 2]], axis=1)
        if not np.isfinite(plan).all():
            raise InvalidInput(
                f"{name}/meshes/{row}/vertices do not fit into {city.crs}.", f"They are read as {source}."
            )
        place.check_inside(city, f"{name}/meshes/{row}", np.array([shapely.box(*_box(plan))], dtype=object))
        try:
            mesh = solid(plan - shift, faces.astype(np.int64))
        except InvalidInput as error:
            raise InvalidInput(f"{name}/meshes/{row}: {error.problem}", error.hint) from error
        yield _of_mesh(str(each["id"]), "", None, mesh, {})


def _rows(name: str, given: Any) -> FloatArray:
    """(n, 3) numbers of an input."""
    try:
        rows = np.array(given, np.float64)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{name}: not every row has three numbers.") from error
    if rows.ndim != 2 or rows.shape[1] != 3 or not np.isfinite(rows).all():
        raise InvalidInput(f"{name}: not every row has three numbers.")
    return rows


def _box(plan: FloatArray) -> tuple[float, float, float, float]:
    (west, south, _), (east, north, _) = plan.min(axis=0).tolist(), plan.max(axis=0).tolist()
    return west, south, east, north


def _crs_of(city: "City", name: str, given: Any) -> str:
    if given is None:
        return crs.CRS84
    if given == "city":
        return city.crs
    try:
        return crs.name(str(given))
    except InvalidInput as error:
        raise InvalidInput(f"{name}/crs: {error.problem}", error.hint) from error
