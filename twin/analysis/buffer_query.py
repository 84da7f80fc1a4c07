"""P01 buffer-query: which features of a layer lie within a distance of a geometry.

The test is the exact plane distance in the city's CRS (a feature at exactly the distance counts), never membership in
a polygon that approximates the buffer. The buffer polygon in the answer is only a picture: with 64 segments a quadrant
its area is 0.01 % too small.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import place
from twin.analysis.features_input import FARTHEST
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.store.cql2_parse import from_json, from_text, reproject
from twin.store.interface import Query

if TYPE_CHECKING:
    from twin.city import City

QUADRANT_SEGMENTS = 64
SAME_M = 1e-6
"""Numbers equal on paper are equal: a distance larger by less than this still counts."""


def within_distance(
    geometries: NDArray[np.object_], to: shapely.Geometry, distance_m: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """(n,) geometries in a plane CRS -> (n,) whether within distance_m of `to`, (n,) distances in metres.

    Plane distance, heights ignored; 0 where they touch or overlap; NaN, and not within, for None or empty ones.
    """
    distances = np.asarray(shapely.distance(geometries, to), np.float64)
    return distances <= distance_m + SAME_M, distances


def buffer_query(
    city: "City",
    *,
    geometry: dict[str, Any],
    distance_m: float,
    layer: str,
    filter: str | dict[str, Any] | None = None,  # noqa: A002 the standard's word
    crs: str | None = None,
    limit: int = 10_000,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Features of `layer` within `distance_m` of a GeoJSON geometry, nearest first.

    `crs` is of the geometry, of geometries in `filter`, and of the answer; the default is CRS84 (longitude, latitude).
    `n_hits` counts all hits; at most `limit` of them are listed, the nearest.
    """
    city.store.layer(layer, city.scope)  # what may not be seen is not there, wherever the geometry lies
    used = place.answer_crs(city, crs)
    centre = _placed(geometry, used, city.crs)
    _check_reach(city, centre, distance_m)
    box = shapely.box(*np.add(shapely.bounds(centre), np.array([-1, -1, 1, 1]) * (distance_m + SAME_M)))
    query = Query(region=box, filter=_filter(filter, used, city.crs))
    found: list[tuple[float, dict[str, Any]]] = []
    n_hits = 0
    shapely.prepare(centre)
    for features in city.store.query(layer, query, city.scope):
        is_hit, distances = within_distance(features.geometry, centre, distance_m)
        hits = np.flatnonzero(is_hit)
        n_hits += len(hits)
        shapes = _as_json(features.geometry[hits], city.crs, used)
        names = features.attributes.take(hits).to_pylist()
        for row, shape, attributes in zip(hits.tolist(), shapes, names, strict=True):
            properties = {**attributes, "distance_m": round(float(distances[row]), 6)}
            feature = {"type": "Feature", "id": features.ids[row], "geometry": shape, "properties": properties}
            found.append((float(distances[row]), feature))
        if len(found) > 2 * limit:
            found = _nearest(found, limit)
        progress(0, f"{n_hits} found")  # how many there will be is not known
    outline = shapely.buffer(centre, distance_m, quad_segs=QUADRANT_SEGMENTS)
    return {
        "n_hits": n_hits,
        "is_complete": n_hits <= limit,
        "distance_m": distance_m,
        "layer": layer,
        "features": {
            "type": "FeatureCollection",
            "features": [feature for _, feature in _nearest(found, limit)],
        },
        "buffer": _as_json(np.array([outline], dtype=object), city.crs, used)[0],
        "buffer_area_m2": float(shapely.area(outline)),
    }


def _nearest(found: list[tuple[float, dict[str, Any]]], limit: int) -> list[tuple[float, dict[str, Any]]]:
    return sorted(found, key=lambda each: each[0])[:limit]


def _check_reach(city: "City", centre: shapely.Geometry, distance_m: float) -> None:
    """Refuse a place from which the distance does not reach the city: swapped axes, another CRS."""
    box = place.extent(city)
    if box is not None and shapely.distance(centre, shapely.box(*box)) > distance_m + place.MARGIN_M:
        at = shapely.bounds(centre)
        raise InvalidInput(
            f"geometry lies outside the city: at {at[0]:.0f}, {at[1]:.0f} in {city.crs}.",
            "Coordinates are longitude, latitude unless `crs` says otherwise.",
        )


def _placed(geometry: dict[str, Any], source: str, target: str) -> shapely.Geometry:
    try:
        made = shapely.from_geojson(orjson.dumps(geometry, option=orjson.OPT_SERIALIZE_NUMPY))
    except (shapely.errors.ShapelyError, TypeError) as error:
        raise InvalidInput(f"geometry is no GeoJSON geometry: {error}.") from error
    if made is None or shapely.is_empty(made):
        raise InvalidInput("geometry is empty.", "Give at least one position.")
    placed = crs.transform_geometries(source, target, np.array([made], dtype=object))[0]
    if not (np.abs(shapely.get_coordinates(placed)) < FARTHEST).all():
        raise InvalidInput(f"geometry does not fit into {target}.", f"Its coordinates are read as {source}.")
    if not shapely.is_valid(placed):
        raise InvalidInput(f"geometry is not valid: {shapely.is_valid_reason(placed)}.", "Repair it first.")
    return placed


def _filter(given: str | dict[str, Any] | None, source: str, target: str) -> dict[str, Any] | None:
    if given is None:
        return None
    return reproject(from_text(given) if isinstance(given, str) else from_json(given), source, target)


def _as_json(geometries: NDArray[np.object_], source: str, target: str) -> list[Any]:
    placed = crs.transform_geometries(source, target, geometries)
    return [orjson.loads(text) for text in shapely.to_geojson(placed).tolist()]


PROCESS = Process(
    id="buffer-query",
    title=Title("缓冲区查询", "Buffer query"),
    description=Title(
        "查找图层中与给定几何的平面距离不超过指定值的要素；按精确距离判断，等于该值也算。",
        "Features of a layer within a plane distance of a geometry; exact distance, equal to the limit counts.",
    ),
    inputs={
        "geometry": Parameter(
            Title("几何", "Geometry"), {"type": "object", "required": ["type"], "format": "geojson-geometry"}
        ),
        "distance_m": Parameter(
            Title("距离", "Distance"), {"type": "number", "minimum": 0, "maximum": 100_000, "x-unit": "m"}
        ),
        "layer": Parameter(Title("图层", "Layer"), {"type": "string", "minLength": 1}),
        "filter": Parameter(
            Title("筛选 (CQL2)", "Filter (CQL2)"), {"oneOf": [{"type": "string"}, {"type": "object"}]}, required=False
        ),
        "crs": Parameter(
            Title("坐标系", "CRS of geometry and answer; `city` for the city's"), {"type": "string"}, required=False
        ),
        "limit": Parameter(
            Title("最多列出", "List at most"),
            {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 10_000},
            required=False,
        ),
    },
    outputs={
        "n_hits": Parameter(Title("命中数", "Number of hits"), {"type": "integer"}),
        "is_complete": Parameter(Title("是否全部列出", "All hits are listed"), {"type": "boolean"}),
        "distance_m": Parameter(Title("距离", "Distance"), {"type": "number", "x-unit": "m"}),
        "layer": Parameter(Title("图层", "Layer"), {"type": "string"}),
        "features": Parameter(
            Title("要素", "Hits with distance_m, nearest first"),
            {"type": "object", "format": "geojson-feature-collection"},
            media_type="application/geo+json",
        ),
        "buffer": Parameter(
            Title("缓冲区", "Outline, for display"),
            {"type": "object", "format": "geojson-geometry"},
            media_type="application/geo+json",
        ),
        "buffer_area_m2": Parameter(Title("缓冲区面积", "Area of the outline"), {"type": "number", "x-unit": "m2"}),
    },
    function=buffer_query,
    keywords=("buffer", "distance"),
    is_quick=True,
)
