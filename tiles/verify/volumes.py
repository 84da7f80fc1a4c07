"""Bounding volumes of 3D Tiles: their form, and whether points or other volumes lie inside. Pure.

A region (WGS 84 radians, ellipsoidal metres) does not move with transforms; boxes and spheres do.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.verify.json_text import numbers

FloatArray = NDArray[np.float64]

SEMI_MAJOR_M, SEMI_MINOR_M = 6378137.0, 6356752.314245179
E2 = 1 - (SEMI_MINOR_M / SEMI_MAJOR_M) ** 2
SIZES = {"box": 12, "region": 6, "sphere": 4}


@dataclass(frozen=True)
class Volume:
    """`box`: centre and three half axes as (4, 3); `sphere`: centre and radius; `region`: six numbers."""

    kind: str
    values: FloatArray

    @property
    def size(self) -> float:
        """About the diagonal, metres."""
        if self.kind == "box":
            return 2 * float(np.linalg.norm(np.linalg.norm(self.values.reshape(4, 3)[1:], axis=1)))
        if self.kind == "sphere":
            return 2 * float(self.values[3])
        return float(np.linalg.norm(np.ptp(self.points(), axis=0)))

    def points(self) -> FloatArray:
        """(n, 3) points on it that show its reach: corners of a box, poles of a sphere, a grid over a region."""
        if self.kind == "box":
            centre, axes = self.values[:3], self.values[3:].reshape(3, 3)
            return np.asarray(centre + _SIGNS @ axes)
        if self.kind == "sphere":
            return np.asarray(self.values[:3] + self.values[3] * np.vstack([np.eye(3), -np.eye(3)]))
        west, south, east, north, low, high = self.values
        if east < west:
            east += 2 * np.pi
        grid = np.meshgrid(np.linspace(west, east, 5), np.linspace(south, north, 5), [low, high])
        return ecef(*(each.ravel() for each in grid))

    def moved(self, matrix: FloatArray) -> "Volume":
        """After a 4 x 4 transform."""
        if self.kind == "box":
            vectors = self.values.reshape(4, 3) @ matrix[:3, :3].T
            vectors[0] += matrix[:3, 3]
            return Volume("box", vectors.ravel())
        if self.kind == "sphere":
            scale = float(np.linalg.norm(matrix[:3, :3], axis=0).max())
            return Volume(
                "sphere", np.append(self.values[:3] @ matrix[:3, :3].T + matrix[:3, 3], self.values[3] * scale)
            )
        return self

    def excess(self, points: FloatArray) -> float:
        """How far the farthest of the points lies outside, metres; 0 where all are inside."""
        if not len(points):
            return 0.0
        if self.kind == "box":
            return _box_excess(self.values, points)
        if self.kind == "sphere":
            return max(0.0, float(np.linalg.norm(points - self.values[:3], axis=1).max() - self.values[3]))
        return _region_excess(self.values, points)

    def excess_of(self, other: "Volume") -> float:
        """How far another volume reaches out of this one, metres (regions against regions by their numbers)."""
        if self.kind == "region" and other.kind == "region":
            return _region_in_region(self.values, other.values)
        if other.kind == "sphere" and self.kind == "sphere":
            apart = float(np.linalg.norm(other.values[:3] - self.values[:3]))
            return max(0.0, apart + float(other.values[3] - self.values[3]))
        if other.kind == "sphere" and self.kind == "box":
            inside = _Axes(self.values)
            away = np.abs((other.values[:3] - inside.centre) @ inside.directions.T)
            return max(0.0, float((away + other.values[3] - inside.lengths).max()))
        return self.excess(other.points())


_SIGNS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


class _Axes:
    def __init__(self, box: FloatArray) -> None:
        self.centre = box[:3]
        axes = box[3:].reshape(3, 3)
        self.lengths = np.linalg.norm(axes, axis=1)
        self.directions = axes / np.where(self.lengths > 0, self.lengths, 1)[:, None]
        flat = np.flatnonzero(self.lengths == 0)
        if len(flat) == 1:  # a flat box: the missing direction stands on the other two
            one, two = (self.directions[each] for each in range(3) if each != flat[0])
            normal = np.cross(one, two)
            self.directions[flat[0]] = normal / max(float(np.linalg.norm(normal)), 1e-300)


def _box_excess(box: FloatArray, points: FloatArray) -> float:
    axes = _Axes(box)
    # skewed boxes are parallelepipeds: solve for coordinates along the axes instead of projecting
    matrix = axes.directions.T
    if abs(np.linalg.det(matrix)) < 1e-6:
        along = (points - axes.centre) @ axes.directions.T
    else:
        along = np.linalg.solve(matrix, (points - axes.centre).T).T
    return max(0.0, float((np.abs(along) - axes.lengths).max()))


def _region_excess(region: FloatArray, points: FloatArray) -> float:
    west, south, east, north, low, high = (float(each) for each in region)
    lon, lat, height = geodetic(points)
    if east < west:
        east += 2 * np.pi
    middle = (west + east) / 2
    lon = np.asarray(middle + (lon - middle + np.pi) % (2 * np.pi) - np.pi)
    parallel = SEMI_MAJOR_M * np.cos(lat)
    outside = [
        (west - lon) * parallel, (lon - east) * parallel, (south - lat) * SEMI_MAJOR_M,
        (lat - north) * SEMI_MAJOR_M, low - height, height - high,
    ]  # fmt: skip
    return max(0.0, float(np.max(outside)))


def _region_in_region(outer: FloatArray, inner: FloatArray) -> float:
    turn = 2 * np.pi
    west, east = outer[0], outer[2] + (turn if outer[2] < outer[0] else 0)
    inner_east = inner[2] + (turn if inner[2] < inner[0] else 0)
    spans = [max(west - inner[0] - shift, inner_east + shift - east) for shift in (-turn, 0, turn)]
    over = [min(spans) * SEMI_MAJOR_M, (outer[1] - inner[1]) * SEMI_MAJOR_M, (inner[3] - outer[3]) * SEMI_MAJOR_M]
    return max(0.0, *map(float, over), float(outer[4] - inner[4]), float(inner[5] - outer[5]))


def read_volume(value: Any) -> tuple[Volume | None, str]:
    """A `boundingVolume` object; (None, what is wrong) where it is not sound, (None, "") for unknown extensions."""
    if not isinstance(value, dict):
        return None, "boundingVolume is not an object"
    kinds = [kind for kind in SIZES if kind in value]
    if not kinds and isinstance(value.get("extensions"), dict):
        return None, ""
    if len(kinds) != 1:
        return None, f"boundingVolume has {kinds or 'none'} of box, region and sphere"
    kind = kinds[0]
    read = numbers(value[kind], SIZES[kind])
    if read is None:
        return None, f"{kind} is not {SIZES[kind]} finite numbers"
    made = np.array(read)
    if kind == "sphere" and made[3] < 0:
        return None, f"the sphere's radius is {made[3]}"
    if kind == "region" and not (
        np.all(np.abs(made[:4]) <= [np.pi + 1e-9, np.pi / 2 + 1e-9, np.pi + 1e-9, np.pi / 2 + 1e-9])
        and made[1] <= made[3]
        and made[4] <= made[5]
    ):
        return None, f"the region {read} is not west, south, east, north (radians), lowest, highest"
    return Volume(kind, made), ""


def ecef(lon: FloatArray, lat: FloatArray, height: FloatArray) -> FloatArray:
    """(n, 3) geocentric metres of radians and ellipsoidal metres on WGS 84."""
    normal = SEMI_MAJOR_M / np.sqrt(1 - E2 * np.sin(lat) ** 2)
    return np.stack(
        [
            (normal + height) * np.cos(lat) * np.cos(lon),
            (normal + height) * np.cos(lat) * np.sin(lon),
            (normal * (1 - E2) + height) * np.sin(lat),
        ],
        axis=-1,
    )


def geodetic(points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(lon, lat, height) in radians and metres; Bowring's start and three steps: 1e-6 m up to 100 km of height."""
    x, y, z = points.T
    across = np.hypot(x, y)
    lat = np.arctan2(z, across * (1 - E2))
    for _ in range(5):
        normal = SEMI_MAJOR_M / np.sqrt(1 - E2 * np.sin(lat) ** 2)
        lat = np.arctan2(z + E2 * normal * np.sin(lat), across)
    normal = SEMI_MAJOR_M / np.sqrt(1 - E2 * np.sin(lat) ** 2)
    height = across * np.cos(lat) + z * np.sin(lat) - normal * (1 - E2 * np.sin(lat) ** 2)
    return np.arctan2(y, x), lat, height
