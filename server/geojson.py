"""Features of the store -> GeoJSON (RFC 7946; other CRSs as in OGC API Features part 2), in bulk.

Coordinates are rounded to 0.1 mm: 9 decimals of a degree, 4 of a metre. Heights stay normal heights.
"""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.errors import InvalidInput
from server import vertical
from twin.store.interface import Features

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY


def geometries(
    features: Features, city_crs: str, target: str, anomaly: vertical.Anomaly | None = None
) -> NDArray[np.object_]:
    """GeoJSON text of each geometry (None stays None) in `target`, in its axis order on the wire."""
    return texts(features.geometry, city_crs, target, anomaly)


def texts(
    shapes: NDArray[np.object_], city_crs: str, target: str, anomaly: vertical.Anomaly | None = None
) -> NDArray[np.object_]:
    """GeoJSON text of each of n geometries; see `geometries`."""
    found = np.full(len(shapes), None, object)
    has_z = shapely.has_z(shapes)
    present = ~shapely.is_missing(shapes)
    for where, include_z in ((present & ~has_z, False), (present & has_z, True)):
        if where.any():
            xyz = shapely.get_coordinates(shapes[where], include_z=include_z)
            placed = shapely.set_coordinates(np.array(shapes[where], object), _placed(xyz, city_crs, target, anomaly))
            found[where] = shapely.to_geojson(placed)
    return found


def _placed(
    xyz: NDArray[np.float64], city_crs: str, target: str, anomaly: vertical.Anomaly | None
) -> NDArray[np.float64]:
    """(n, 2) or (n, 3) coordinates in `target`, in its axis order, rounded."""
    east, north = crs.transform(city_crs, target, xyz[:, 0], xyz[:, 1])
    if not (np.isfinite(east).all() and np.isfinite(north).all()):
        raise InvalidInput("A coordinate cannot be expressed in the CRS asked for.", "Ask for another crs.")
    decimals = 9 if crs.is_geographic(target) else 4
    axes = [north, east] if crs.is_north_first(target) else [east, north]
    heights = [] if xyz.shape[1] < 3 else [xyz[:, 2] if anomaly is None else xyz[:, 2] + anomaly(east, north)]
    return np.column_stack([*(np.round(axis, decimals) for axis in axes), *(np.round(z, 4) for z in heights)])


def properties(features: Features) -> list[dict[str, Any]]:
    """Attributes of each feature with what the store adds (version, validity) and what no schema knows (`extra`)."""
    rows: list[dict[str, Any]] = features.attributes.to_pylist()
    versions = features.versions.tolist()
    for i, row in enumerate(rows):
        row.setdefault("version", versions[i])
        row.setdefault("valid_from", features.valid_from[i])
        row.setdefault("valid_to", features.valid_to[i])
        extra = features.extra[i]
        if extra:
            row.setdefault("extra", orjson.Fragment(extra))
    return rows


def encode(features: Features, city_crs: str, target: str, anomaly: vertical.Anomaly | None = None) -> list[bytes]:
    """Each feature as a GeoJSON Feature."""
    shapes = geometries(features, city_crs, target, anomaly)
    return [
        orjson.dumps(
            {
                "type": "Feature",
                "id": feature_id,
                "geometry": None if text is None else orjson.Fragment(text),
                "properties": row,
            },
            option=_OPTIONS,
        )
        for feature_id, text, row in zip(features.ids, shapes, properties(features), strict=True)
    ]


def now() -> str:
    """`timeStamp` of an answer."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
