"""Where a 3D Tiles set lies on Earth: its root's bounding volume through the root's transform.

A set without georeference has small numbers instead of geocentric ones; it is parked, or placed where `values` of
city.toml put the origin of its frame (x east, y north, z up).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest import place
from layers.crs import Bounds
from layers.errors import InvalidInput, Unplaceable
from layers.geocentric import ecef_to_geodetic, local_to_ecef

Matrix = NDArray[np.float64]

DEEPEST_M, HIGHEST_M = -15_000.0, 100_000.0
KEYS = ("lon", "lat", "height", "heading")
SAMPLES = 9
"""Points along each edge of a volume; between them an edge of 100 km bends away by 3 m."""


@dataclass(frozen=True)
class Extent:
    """Longitudes and latitudes (west, south, east, north) and ellipsoidal heights in metres."""

    bounds: Bounds
    low_m: float
    high_m: float


def extent_of(kind: str, values: Matrix, matrix: Matrix) -> Extent | None:
    """Extent of a checked bounding volume; None where its coordinates are not geocentric."""
    if kind == "region":
        west, south, east, north = np.degrees(values[:4]).tolist()
        return Extent((west, south, east if east >= west else east + 360, north), float(values[4]), float(values[5]))
    if kind == "sphere":
        centre = (matrix @ [*values[:3], 1])[:3]
        radius = float(values[3] * np.linalg.norm(matrix[:3, :3], axis=0).max())
        axes = np.eye(3) * radius
    else:
        centre = (matrix @ [*values[:3], 1])[:3]
        axes = values[3:].reshape(3, 3) @ matrix[:3, :3].T
        radius = float(np.linalg.norm(axes, axis=1).sum())
    return extent_of_box(centre, axes, radius, round_=kind == "sphere")


def extent_of_box(centre: Matrix, axes: Matrix, radius: float, *, round_: bool = False) -> Extent | None:
    """Extent of centre ± three half axes (rows), geocentric metres; of the sphere inside where `round_`."""
    if not (np.isfinite(centre).all() and np.isfinite(axes).all()):
        return None
    lon, _, height = ecef_to_geodetic(centre[None])[0].tolist()
    if not (DEEPEST_M - radius <= height <= HIGHEST_M + radius) or radius > 1e7 or float(np.linalg.norm(centre)) < 6e6:
        return None
    steps = np.linspace(-1, 1, SAMPLES)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    if round_:
        grid = grid / np.maximum(np.linalg.norm(grid, axis=1, keepdims=True), 1)
    found = ecef_to_geodetic(centre + grid @ axes)
    east = lon + (found[:, 0] - lon + 180) % 360 - 180  # one run of longitudes, also across 180 degrees
    bounds = (float(east.min()), float(found[:, 1].min()), float(east.max()), float(found[:, 1].max()))
    return Extent(bounds, float(found[:, 2].min()), float(found[:, 2].max()))


def given_place(values: Mapping[str, Any], name: str) -> Matrix | None:
    """(4, 4) matrix of the frame that `values = {lon, lat, height, heading}` puts somewhere; None without them.

    Raises InvalidInput for half a place, or numbers that are none on Earth.
    """
    if not {"lon", "lat"} & set(values):
        return None
    try:
        lon, lat = float(values["lon"]), float(values["lat"])
        height, heading = float(values.get("height", 0)), float(values.get("heading", 0))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"The place of {name} in city.toml needs lon and lat, and height, as numbers.",
            lines(name),
            code="PLACE_GIVEN",
        ) from error
    ok = -180 <= lon <= 180 and -90 <= lat <= 90 and DEEPEST_M <= height <= HIGHEST_M and math.isfinite(heading)
    if not ok:
        problem = f"{name} cannot be put at lon {lon}, lat {lat}, height {height}, heading {heading}."
        raise InvalidInput(problem, lines(name), code="PLACE_GIVEN")
    return local_to_ecef(lon, lat, height, heading)


def lines(name: str) -> str:
    """What to write into city.toml to place a file that has a frame of its own."""
    values = "values = { lon = 121.0, lat = 28.1, height = 40.0, heading = 0.0 }"
    return (
        "Write into city.toml where the origin of the model is (degrees, metres above the ellipsoid, and how far its "
        f"north is turned clockwise):\n{place.toml_lines(name)}\n{values}"
    )


def unplaced(name: str, what: str) -> Unplaceable:
    """The refusal of a set or tile with small coordinates."""
    problem = f"{name} is not georeferenced: {what}."
    return Unplaceable(problem, lines(name), code="TILESET_NOT_PLACED")
