"""GeoJSON and JSON-FG features of an edit -> features in the city's CRS, checked against their layer by member.

RFC 7946; JSON-FG (21-045r1) `place` and `coordRefSys`. Coordinates are in the axis order of their CRS, as everywhere on
the wire; z is a height of the city's datum, in metres.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.catalogue import LayerType
from layers.errors import InvalidInput
from server import vertical
from server.editing_body import WrongMember, kind, object_of
from server.serving import Snapshot
from twin.edit import shapes, values

GEOMETRIES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection")
MULTI = (4, 5, 6)
KEPT_BY_STORE = ("id", "version", "valid_from", "valid_to")
"""Readable, not writable. QGIS and others send them back as they came."""
FAR_M = 50_000.0
"""Nothing lies farther from the city's box than that: the axes are swapped, or the CRS is another one."""


@dataclass(frozen=True)
class Given:
    """One feature as it was sent, its geometry in the city's CRS, east first. `where` is its place in the body."""

    where: str
    id: str | None
    geometry: shapely.Geometry | None
    properties: dict[str, Any]


@dataclass(frozen=True)
class _Shape:
    """A geometry as it was sent, with the CRS that it is in and its place in the body."""

    where: str
    geometry: shapely.Geometry | None
    crs: str


def content_crs(header: str | None, city: Snapshot, name: str = "Content-Crs") -> str:
    """The CRS that a body is in, with angle brackets or without; CRS84 where nothing is said."""
    if header is None:
        return crs.CRS84
    text = header.strip().removeprefix("<").removesuffix(">").strip()
    try:
        wanted = crs.name(text)
    except InvalidInput as error:
        raise InvalidInput(f"{name} = {text[:80]!r} is no CRS.", "Give one of /collections/{id}: crs.") from error
    if wanted not in city.feature_crs_names:
        raise InvalidInput(f"{name} = {text[:80]!r} is not offered.", f"Offered: {', '.join(city.feature_crs_names)}.")
    return wanted


def several(document: Any, city: Snapshot, layer: LayerType, source: str, where: str = "") -> list[Given]:
    """The features of a Feature or a FeatureCollection. InvalidInput names the first member that is wrong."""
    document = object_of(document, where)
    if document.get("type") == "FeatureCollection":
        members = document.get("features")
        if not isinstance(members, list) or not members:
            raise WrongMember(_at(where, "features"), "a list of at least one feature is expected.")
        places = [f"{_at(where, 'features')}[{i}]" for i in range(len(members))]
        source = _stated(document, city, where) or source
    else:
        members, places = [document], [where]
    return features(members, places, city, layer, source)


def features(
    members: Sequence[Any], places: Sequence[str], city: Snapshot, layer: LayerType, source: str
) -> list[Given]:
    """Whole features, for a layer to take in or to have in the place of others."""
    most = city.settings.max_edit_features
    if len(members) > most:
        raise InvalidInput(f"{len(members):,} features are sent at once.", f"At most {most:,} are taken.")
    documents = [_feature(member, where) for member, where in zip(members, places, strict=True)]
    sent = [
        _shape_of(document, where, city, source) or _Shape(_at(where, "geometry"), None, source)
        for document, where in zip(documents, places, strict=True)
    ]
    placed = _placed(sent, city, layer)
    out = []
    for document, where, shape in zip(documents, places, placed, strict=True):
        own = _properties(document, where)
        name = _id(document, own, where)
        checked = writable(own, layer, _at(where, "properties"))
        _has_required(checked, layer, _at(where, "properties"))
        out.append(Given(where, name, shape, checked))
    _once(out)
    return out


def patch(
    document: Any, city: Snapshot, layer: LayerType, source: str, *, current: shapely.Geometry | None, where: str = ""
) -> Given:
    """What a merge patch (RFC 7396) changes; no geometry where that stays. `current`: of the feature, city CRS."""
    document = object_of(document, where)
    own = document.get("properties", {})
    if own is None:
        raise WrongMember(_at(where, "properties"), "null would empty all of them.", "Name those that go.")
    own = dict(object_of(own, _at(where, "properties")))
    for name in document.keys() - {"type", "id", "geometry", "properties", "place", "coordRefSys", "links", "bbox"}:
        if layer.attribute(name) is None:
            raise WrongMember(_at(where, name), "a feature has no such member.", "Attributes stand in `properties`.")
        own.setdefault(name, document[name])
    shape = _shape_of(document, where, city, source, current)
    moved = None
    if shape is not None:
        if shape.geometry is None and layer.geometry != "none":
            raise WrongMember(shape.where, "the geometry cannot be taken away.", "Give another, or delete the feature.")
        moved = _placed([shape], city, layer)[0]
    name = document.get("id")
    return Given(where, None if name is None else str(name), moved, own)


def unwritable(given: Mapping[str, Any], layer: LayerType, own: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The properties of a patch; what the store keeps itself may be sent back as it is (`own`), not changed."""
    for name in KEPT_BY_STORE:
        if layer.attribute(name) is None and given.get(name) not in (None, own[name]):
            raise WrongMember(
                _at(where, name), f"{name} is kept by the store itself: it is {own[name]!r}.", "Leave it out."
            )
    return writable(given, layer, where)


def writable(given: Mapping[str, Any], layer: LayerType, where: str) -> dict[str, Any]:
    """Properties without those that the store keeps itself, each checked against the layer's schema."""
    out = {}
    for name, value in given.items():
        place = _at(where, name)
        attribute = layer.attribute(name)
        if attribute is None and name in KEPT_BY_STORE:
            continue
        if attribute is None and name in values.OWN:
            raise WrongMember(place, f"{name!r} is kept by the store itself.", "Leave it out.")
        if attribute is not None:
            try:
                values.value_of(attribute, value, "")
            except InvalidInput as error:
                raise WrongMember(place, error.problem.removeprefix(": "), error.hint) from error
        out[name] = value
    try:
        values.checked(layer, {name: value for name, value in out.items() if layer.attribute(name) is None}, where)
    except InvalidInput as error:
        raise WrongMember(where, error.problem.removeprefix(f"{where}: "), error.hint) from error
    return out


def _has_required(given: Mapping[str, Any], layer: LayerType, where: str) -> None:
    for attribute in layer.attributes:
        if attribute.required and given.get(attribute.name) is None:
            raise WrongMember(_at(where, attribute.name), f"{layer.id} needs a value.", "See /schema.")


def _at(where: str, member: str) -> str:
    return f"{where}.{member}" if where else member


def _feature(member: Any, where: str) -> dict[str, Any]:
    document = object_of(member, where)
    if document.get("type") != "Feature":
        said = document.get("type")
        shown = repr(said[:40]) if isinstance(said, str) else kind(said)
        raise WrongMember(_at(where, "type"), f"{shown} is no GeoJSON feature.", 'It begins with "type": "Feature".')
    if "geometry" not in document and "place" not in document:
        raise WrongMember(_at(where, "geometry"), "a feature has a geometry, be it null.")
    return document


def _properties(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    own = document.get("properties")
    return {} if own is None else dict(object_of(own, _at(where, "properties")))


def _id(document: Mapping[str, Any], own: Mapping[str, Any], where: str) -> str | None:
    """The id that a feature states for itself: a text or a number."""
    place, name = _at(where, "id"), document.get("id")
    if name is None:
        place, name = _at(where, "properties.id"), own.get("id")
    if name is None:
        return None
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise WrongMember(place, f"{kind(name)} is no id.", "Give text, or leave it out to get one.")
    text = str(name)
    if not text.strip() or len(text) > 1000 or not text.isprintable():
        raise WrongMember(place, f"{text[:40]!r} is no id.", "Give 1 to 1,000 printable characters.")
    return text


def _once(given: Sequence[Given]) -> None:
    seen: set[str] = set()
    for each in given:
        if each.id is not None and each.id in seen:
            raise WrongMember(_at(each.where, "id"), f"{each.id[:80]!r} is given twice.", "Give each feature once.")
        seen |= {each.id} if each.id is not None else set()


def _stated(document: Mapping[str, Any], city: Snapshot, where: str) -> str | None:
    """`coordRefSys` of JSON-FG: a URI, a safe CURIE, or a reference to one. None where it is not stated."""
    said = document.get("coordRefSys")
    if isinstance(said, dict):
        said = said.get("href")
    if said is None:
        return None
    place = _at(where, "coordRefSys")
    if not isinstance(said, str):
        raise WrongMember(place, "the CRS is neither a URI nor a reference to one.")
    try:
        return content_crs(said, city, place)
    except InvalidInput as error:
        raise WrongMember(place, error.problem, error.hint) from error


def _shape_of(
    document: Mapping[str, Any], where: str, city: Snapshot, source: str, current: shapely.Geometry | None = None
) -> _Shape | None:
    """`place` where it is given, else `geometry`; None where there is neither."""
    name = "place" if document.get("place") is not None else "geometry"
    if name not in document:
        return None
    given, place = document[name], _at(where, name)
    if name == "place":
        inner = given if isinstance(given, dict) else {}
        source = _stated(inner, city, place) or _stated(document, city, where) or source
    if given is None:
        return _Shape(place, None, source)
    return _Shape(place, _read(given, place, current), source)


def _read(given: Any, where: str, current: shapely.Geometry | None) -> shapely.Geometry:
    given = object_of(given, where)
    name = given.get("type", current.geom_type if current is not None else None)  # a merge patch may leave it out
    if name not in GEOMETRIES:
        shown = repr(name[:40]) if isinstance(name, str) else kind(name)
        raise WrongMember(_at(where, "type"), f"{shown} is no GeoJSON geometry.", f"Give {', '.join(GEOMETRIES[:6])}.")
    member = "geometries" if name == "GeometryCollection" else "coordinates"
    if not isinstance(given.get(member), list):
        raise WrongMember(_at(where, member), f"an array is expected, not {kind(given.get(member))}.")
    try:
        found = shapely.from_geojson(orjson.dumps({"type": name, member: given[member]}))
    except (shapely.errors.ShapelyError, ValueError, RecursionError) as error:
        said = " ".join(str(error).replace("ParseException: ", "").replace("IllegalArgumentException: ", "").split())
        raise WrongMember(_at(where, member), f"not those of a {name}: {said[:200]}.") from error
    if shapely.has_z(found) and not np.isfinite(shapely.get_coordinates(found, include_z=True)[:, 2]).all():
        raise WrongMember(_at(where, member), "some positions have a height, others not.", "Give one to all or none.")
    return found


def _placed(sent: Sequence[_Shape], city: Snapshot, layer: LayerType) -> NDArray[np.object_]:
    """(n,) geometries in the city's CRS, of the layer's kind and near the city."""
    out = np.full(len(sent), None, object)
    out[:] = [each.geometry for each in sent]
    places = [each.where for each in sent]
    out[:] = _fitting(out, places, layer)
    for source in {each.crs for each in sent if each.geometry is not None}:
        rows = np.array([each.crs == source and each.geometry is not None for each in sent])
        given = out[rows]
        _in_range(given, source, [where for where, chosen in zip(places, rows, strict=True) if chosen])
        east_first = crs.swap_axes(given) if crs.is_north_first(source) else given
        up = vertical.anomaly(city.city, source)
        if up is not None:  # ellipsoidal heights of CRS84h
            east_first = vertical.raised(east_first, partial(_down, up))
        out[rows] = crs.transform_geometries(source, city.city.config.crs, east_first)
    _near(out, sent, city)
    return out


def _down(up: vertical.Anomaly, lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    return -up(lon_deg, lat_deg)


def _fitting(given: NDArray[np.object_], places: Sequence[str], layer: LayerType) -> NDArray[np.object_]:
    try:
        fitting = shapes.checked(layer, list(given), None, "", places)
    except InvalidInput as error:
        where = error.problem.split(": ", 1)[0]
        raise WrongMember(where, error.problem.removeprefix(f"{where}: "), error.hint) from error
    wanted = layer.geometry.removesuffix("Z")
    if wanted not in {"Point", "LineString", "Polygon"}:
        return fitting
    for row in np.flatnonzero(np.isin(shapely.get_type_id(fitting), MULTI)).tolist():
        if shapely.get_num_geometries(fitting[row]) == 1:
            fitting[row] = shapely.get_geometry(fitting[row], 0)
        elif wanted != "LineString":  # a line with gaps is taken, as from a file
            raise WrongMember(
                places[row], f"{layer.id!r} holds one {wanted} a feature.", "Make several features of it."
            )
    return fitting


def _in_range(given: NDArray[np.object_], source: str, places: Sequence[str]) -> None:
    if not crs.is_geographic(source):
        return
    limits = np.array([90.0, 180.0] if crs.is_north_first(source) else [180.0, 90.0])
    corners, owner = shapely.get_coordinates(given, return_index=True)
    wrong = np.flatnonzero((np.abs(corners) > limits).any(axis=1))
    if wrong.size:
        first = corners[wrong[0]]
        raise WrongMember(
            places[owner[wrong[0]]], f"({first[0]:g}, {first[1]:g}) is no position in {source}.", _order(source)
        )


def _near(placed: NDArray[np.object_], sent: Sequence[_Shape], city: Snapshot) -> None:
    """Refuse what lies far from the city: swapped axes or another CRS are the usual reason."""
    box = city.city_bounds or _origin(city)
    lows, highs = np.array(box[:2]) - FAR_M, np.array(box[2:]) + FAR_M
    corners, owner = shapely.get_coordinates(placed, return_index=True)
    wrong = np.flatnonzero(~((corners >= lows) & (corners <= highs)).all(axis=1))
    if not wrong.size:
        return
    first = corners[wrong[0]]
    away = float(np.hypot(*np.maximum(np.maximum(lows + FAR_M - first, first - highs + FAR_M), 0)))
    shown = f"{away / 1000:,.0f} km from the city" if np.isfinite(away) else "outside the area of the city's CRS"
    each = sent[owner[wrong[0]]]
    raise WrongMember(each.where, f"it lies {shown}, read as {each.crs}.", _order(each.crs))


def _origin(city: Snapshot) -> tuple[float, float, float, float]:
    config = city.city.config
    x, y = crs.transform(crs.CRS84, config.crs, np.array([config.origin_lon_deg]), np.array([config.origin_lat_deg]))
    return float(x[0]), float(y[0]), float(x[0]), float(y[0])


def _order(source: str) -> str:
    first = "north, then east" if crs.is_north_first(source) else "east, then north"
    return f"Coordinates in {source} are {first}; Content-Crs says which CRS they are in."


def named(given: Given, name: str) -> Given:
    """The same feature under the id of its address; its own must be the same, if it has one."""
    if given.id is not None and given.id != name:
        raise WrongMember(
            _at(given.where, "id"), f"{given.id[:80]!r} is not the {name[:80]!r} of the address.", "Leave it out."
        )
    return replace(given, id=name)
