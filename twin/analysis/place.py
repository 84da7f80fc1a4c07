"""Where an analysis works and what it answers: features in the city's CRS, refused outside the city; GeoJSON out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.catalogue import Title
from layers.crs import Bounds
from layers.errors import InvalidInput
from twin.analysis import features_input
from twin.analysis.process import Parameter
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City

MOST_FEATURES = 5_000_000
AREAS = ("Polygon", "MultiPolygon")
LINES = ("LineString", "MultiLineString")
POINTS = ("Point", "MultiPoint")
MARGIN_M = 1_000.0
"""An input may lie so far outside what the city holds: a project at its edge is no mistake."""

ANSWER_CRS = Parameter(
    Title("答案坐标系", "CRS of the answer's geometries; `city` for the city's, CRS84 when absent"),
    {"type": "string"},
    required=False,
)
FEATURES_OUT: dict[str, Any] = {"type": "object", "format": "geojson-feature-collection"}
GEOJSON = "application/geo+json"


def features(
    city: "City",
    name: str,
    given: Mapping[str, Any],
    *,
    kinds: Sequence[str] = (),
    properties: tuple[str, ...] | None = None,
    most: int = MOST_FEATURES,
    is_dense: bool = False,
) -> Features:
    """All features that an input with `features_input.SCHEMA` means, in the city's CRS.

    Parameters
    ----------
    name : of the input, for messages
    kinds : geometry types that are taken (all when empty); a feature without geometry is refused where they are given
    properties : attributes that are needed; None for all
    is_dense : edges of GeoJSON in another CRS than the city's stay what they are there (for areas)

    Raises
    ------
    InvalidInput, LayerNotFound
        No feature, too many, of another kind, not valid, or outside the city; named after the input.
    """
    checked = batches(city, name, given, kinds=kinds, properties=properties, is_dense=is_dense)
    found = collected(checked, name, most)
    if not len(found):
        raise InvalidInput(f"{name} has no feature.", "Check its filter, bbox and ids.")
    return found


def batches(
    city: "City",
    name: str,
    given: Mapping[str, Any],
    *,
    kinds: Sequence[str] = (),
    properties: tuple[str, ...] | None = None,
    is_dense: bool = False,
) -> Iterator[Features]:
    """The same one batch after the other, for what need not be held at once; none where there is no feature."""
    for batch in features_input.read(city, name, given, properties=properties, is_dense=is_dense):
        if kinds:
            _check_kinds(name, batch, kinds)
        check_valid(name, batch)
        check_inside(city, name, batch.geometry)
        yield batch


def collected(batches: Iterable[Features], name: str = "features", most: int = MOST_FEATURES) -> Features:
    """Batches as one; InvalidInput where there are more than `most`."""
    parts, n = [], 0
    for batch in batches:
        n += len(batch)
        if n > most:
            raise InvalidInput(f"{name} has more than {most} features.", "Ask for a smaller area.")
        parts.append(batch)
    if not parts:
        none = np.empty(0, np.int64)
        return Features(none, [], np.empty(0, object), pa.table({}), [], none, [], [])
    return Features(
        np.concatenate([each.fids for each in parts]),
        [text for each in parts for text in each.ids],
        np.concatenate([each.geometry for each in parts]),
        pa.concat_tables([each.attributes for each in parts], promote_options="permissive"),
        [text for each in parts for text in each.extra],
        np.concatenate([each.versions for each in parts]),
        [text for each in parts for text in each.valid_from],
        [text for each in parts for text in each.valid_to],
    )


def numbers(found: Features, column: str, name: str = "features") -> NDArray[np.float64]:
    """(n,) values of an attribute, NaN where there is none or the attribute does not exist.

    InvalidInput, which names the input (`name`), where a value is no number.
    """
    if column not in found.attributes.column_names:
        return np.full(len(found), np.nan)
    try:
        values = found.attributes[column].combine_chunks()
        if pa.types.is_boolean(values.type):
            raise InvalidInput(f"{name}: {column} is no number: it is true or false.")
        values = values.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise InvalidInput(f"{name}: {column} is no number: {error}.") from error
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def words(found: Features, column: str) -> list[str | None]:
    """(n,) values of an attribute as text, None where there is none or the attribute does not exist."""
    if column not in found.attributes.column_names:
        return [None] * len(found)
    return [None if value is None else str(value) for value in found.attributes[column].to_pylist()]


def _check_kinds(name: str, found: Features, kinds: Sequence[str]) -> None:
    types = shapely.get_type_id(found.geometry)
    allowed = [shapely.GeometryType[kind.upper()].value for kind in kinds]
    bad = np.flatnonzero(~np.isin(types, allowed))
    if bad.size:
        kind = "no geometry" if types[bad[0]] < 0 else f"a {shapely.GeometryType(int(types[bad[0]])).name}"
        raise InvalidInput(f"{name}: {found.ids[bad[0]]!r} has {kind}.", f"It takes {' or '.join(kinds)}.")
    none = np.flatnonzero(shapely.is_empty(found.geometry))
    if none.size:
        raise InvalidInput(f"{name}: {found.ids[none[0]]!r} has an empty geometry.", "Give it coordinates.")


def check_valid(name: str, found: Features) -> None:
    """InvalidInput where an area is not valid, with the reason."""
    rows = np.flatnonzero(shapely.get_dimensions(found.geometry) == 2)
    bad = rows[~shapely.is_valid(found.geometry[rows])]
    if bad.size:
        reason = shapely.is_valid_reason(found.geometry[bad[0]])
        hint = "Repair it first; topology-check finds and mends what is invalid."
        raise InvalidInput(f"{name}: {found.ids[bad[0]]!r} is no valid area: {reason}.", hint)


def extent(city: "City") -> Bounds | None:
    """West, south, east, north in the city's CRS around everything the asker may see; None for an empty city."""
    boxes = [info.bounds for info in city.layers if info.bounds is not None]
    boxes += [asset.city_bounds for asset in city.store.assets(city.scope)]
    if not boxes:
        return None
    west, south, east, north = np.array(boxes, np.float64).T
    return float(west.min()), float(south.min()), float(east.max()), float(north.max())


def check_inside(city: "City", name: str, geometries: NDArray[np.object_]) -> None:
    """InvalidInput where a geometry lies wholly outside the city, or has numbers that are none."""
    bounds = shapely.bounds(geometries)
    has_shape = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    if not np.isfinite(bounds[has_shape]).all():
        raise InvalidInput(f"{name}: a coordinate is no number.")
    box = extent(city)
    if box is None:
        return
    with np.errstate(invalid="ignore"):
        is_out = (bounds[:, 2] < box[0] - MARGIN_M) | (bounds[:, 0] > box[2] + MARGIN_M)
        is_out |= (bounds[:, 3] < box[1] - MARGIN_M) | (bounds[:, 1] > box[3] + MARGIN_M)
    bad = np.flatnonzero(is_out & has_shape)
    if bad.size:
        at, (west, south, east, north) = bounds[bad[0]], box
        raise InvalidInput(
            f"{name} lies outside the city: feature {bad[0]} is at {at[0]:.0f}, {at[1]:.0f}; the city reaches from "
            f"{west:.0f}, {south:.0f} to {east:.0f}, {north:.0f} in {city.crs}.",
            "Coordinates are longitude, latitude unless `crs` says otherwise.",
        )


def answer_crs(city: "City", given: str | None) -> str:
    """The CRS an answer is in, from an input like `ANSWER_CRS`."""
    if given is None:
        return crs.CRS84
    if given == "city":
        return city.crs
    try:
        return crs.name(given)
    except InvalidInput as error:
        raise InvalidInput(f"crs: {error.problem}", error.hint) from error


def geojson(
    city: "City",
    geometries: NDArray[np.object_],
    properties: Sequence[Mapping[str, Any]],
    ids: Sequence[str] | None = None,
    target: str | None = None,
) -> dict[str, Any]:
    """(n,) geometries in the city's CRS, (n,) properties -> a feature collection in `target`, CRS84 when absent."""
    placed = crs.transform_geometries(city.crs, answer_crs(city, target), np.asarray(geometries, dtype=object))
    made: list[dict[str, Any]] = []
    for row, (text, values) in enumerate(zip(shapely.to_geojson(placed).tolist(), properties, strict=True)):
        feature: dict[str, Any] = {"type": "Feature"}
        if ids is not None:
            feature["id"] = ids[row]
        shape = None if text is None else orjson.loads(text)
        made.append(feature | {"geometry": shape, "properties": dict(values)})
    return {"type": "FeatureCollection", "features": made}
