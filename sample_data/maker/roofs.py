"""Roof heights of gabled and hipped rectangular buildings, as a formula and as surfaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sample_data.maker import site
from sample_data.maker.buildings import Building

RISE_M = 1.8  # ridge over eaves; `height_m` of a building is the ridge height above its base


def local(
    b: Building, e: NDArray[np.float64], n: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map to the building's own axes about its centroid, metres."""
    c, angle = b.shape.centroid, np.radians(site.GRID_ROTATION_DEG + b.turn_deg)
    de, dn = e - c.x, n - c.y
    return np.cos(angle) * de + np.sin(angle) * dn, -np.sin(angle) * de + np.cos(angle) * dn


def roof_elev_m(b: Building, e: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Roof height, 1985 datum, at points inside the footprint. Flat where the plan is not a rectangle."""
    top = b.base_elev_m + b.height_m
    if b.roof == "flat" or not b.size[0]:
        return np.full(np.shape(e), top)
    x, y = local(b, np.asarray(e, float), np.asarray(n, float))
    w, d = plan_size(b)
    drop = np.abs(y) / (d / 2)
    if b.roof == "hipped":
        drop = np.maximum(drop, 1 - (w / 2 - np.abs(x)) / (d / 2))
    return top - RISE_M * np.clip(drop, 0, 1)


def plan_size(b: Building) -> tuple[float, float]:
    """Plan size as it is now; the width is along the building's own x axis."""
    ring = np.asarray(b.shape.exterior.coords)
    x, y = local(b, ring[:, 0], ring[:, 1])
    return float(np.ptp(x)), float(np.ptp(y))


def solid(b: Building) -> tuple[NDArray[np.float64], list[tuple[str, list[int]]]]:
    """LoD2 shell of a gabled or hipped rectangle.

    Returns (10, 3) vertices, 1985 datum heights: 4 ground, 4 eaves, 2 ridge; and (semantic type, outward ring) faces.
    """
    w, d = plan_size(b)
    if w < d:
        raise ValueError(f"{b.id}: the ridge runs along the longer side, which must be the first.")
    c, angle = b.shape.centroid, np.radians(site.GRID_ROTATION_DEG + b.turn_deg)
    inset = d / 2 if b.roof == "hipped" else 0.0
    xy = np.array([(-w / 2, -d / 2), (w / 2, -d / 2), (w / 2, d / 2), (-w / 2, d / 2)])
    ridge = np.array([(-w / 2 + inset, 0.0), (w / 2 - inset, 0.0)])
    plan = np.vstack([xy, xy, ridge])
    z = np.array([b.base_elev_m] * 4 + [b.base_elev_m + b.height_m - RISE_M] * 4 + [b.base_elev_m + b.height_m] * 2)
    turned = plan @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + [c.x, c.y]
    walls: list[tuple[str, list[int]]] = [("WallSurface", [0, 1, 5, 4]), ("WallSurface", [2, 3, 7, 6])]
    if b.roof == "hipped":
        ends: list[tuple[str, list[int]]] = [
            ("WallSurface", [1, 2, 6, 5]),
            ("WallSurface", [3, 0, 4, 7]),
            ("RoofSurface", [5, 6, 9]),
            ("RoofSurface", [7, 4, 8]),
        ]
    else:
        ends = [("WallSurface", [1, 2, 6, 9, 5]), ("WallSurface", [3, 0, 4, 8, 7])]
    faces = [
        ("GroundSurface", [3, 2, 1, 0]),
        *walls,
        *ends,
        ("RoofSurface", [4, 5, 9, 8]),
        ("RoofSurface", [6, 7, 8, 9]),
    ]
    return np.column_stack([turned, z]), faces


def as_cityjson_boundaries(faces: list[tuple[str, list[int]]], start: int) -> tuple[Any, Any]:
    """Faces to a CityJSON Solid's `boundaries` and `semantics`, vertex numbers from `start`."""
    kinds = ["GroundSurface", "WallSurface", "RoofSurface"]
    shell = [[[start + v for v in ring]] for _, ring in faces]
    return [shell], {"surfaces": [{"type": k} for k in kinds], "values": [[kinds.index(kind) for kind, _ in faces]]}
