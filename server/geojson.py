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
    placed = vertical.raised(crs.transform_geometries(city_crs, target, shapes), anomaly)
    if crs.is_north_first(target):
        placed = crs.swap_axes(placed)
    present = np.array([geometry is not None for geometry in placed], bool)
    found = np.full(len(placed), None, object)
    if present.any():
        found[present] = shapely.to_geojson(_rounded(placed[present], 9 if crs.is_geographic(target) else 4))
    return found


def _rounded(placed: NDArray[np.object_], decimals: int) -> NDArray[np.object_]:
    def round_2d(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.round(xy, decimals)
        out[:, 2:] = np.round(xy[:, 2:], 4)
        if not np.isfinite(out[:, :2]).all():
            raise InvalidInput("A coordinate cannot be expressed in the CRS asked for.", "Ask for another crs.")
        return out

    has_z = shapely.has_z(placed)
    out = np.array(placed, object)
    for include_z, where in ((False, ~has_z), (True, has_z)):
        if where.any():
            out[where] = shapely.transform(out[where], round_2d, include_z=include_z)
    return out


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
