"""Airborne laser points over the middle of the town: LAS 1.4, point format 6, LAZ."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import laspy
import numpy as np
import pyproj
import rasterio.features
import shapely
from numpy.typing import NDArray
from rasterio.transform import from_origin

from sample_data.maker import roofs, site, terrain
from sample_data.maker.rasters import SEA_LEVEL_M
from sample_data.maker.town import Town

BOX = (598150.0, 3109400.0, 598850.0, 3110000.0)  # e0, n0, e1, n1
SPACING_M = 1.1
GROUND, HIGH_VEGETATION, BUILDING, WATER = 2, 5, 6, 9


def write(town: Town, path: Path) -> None:
    """Rows of points in flight order, jittered; roofs, water, tree crowns or ground, whichever is on top."""
    rng = np.random.default_rng([town.seed, 5])
    e, n = np.meshgrid(np.arange(BOX[0] + 0.5, BOX[2], SPACING_M), np.arange(BOX[1] + 0.5, BOX[3], SPACING_M))
    e[1::2] = e[1::2, ::-1]  # every second line is flown back
    e, n = (np.round(a.ravel() + rng.uniform(-0.3, 0.3, a.size), 2) for a in (e, n))
    z, kind = terrain.ground_elev_m(e, n), np.full(e.size, GROUND, np.uint8)
    _water(town, e, n, z, kind)
    _buildings(town, e, n, z, kind)
    e2, n2, z2 = _crowns(town, rng)
    z = np.concatenate([z + rng.normal(0, 0.02, z.size), z2])
    _save(
        path,
        np.concatenate([e, e2]),
        np.concatenate([n, n2]),
        z,
        np.concatenate([kind, np.full(e2.size, HIGH_VEGETATION, np.uint8)]),
    )


def _water(
    town: Town, e: NDArray[np.float64], n: NDArray[np.float64], z: NDArray[np.float64], kind: NDArray[np.uint8]
) -> None:
    wet = shapely.contains_xy(town.plan.river, e, n) | shapely.contains_xy(town.plan.sea, e, n)
    wet &= z < SEA_LEVEL_M
    z[wet], kind[wet] = SEA_LEVEL_M, WATER


def _buildings(
    town: Town, e: NDArray[np.float64], n: NDArray[np.float64], z: NDArray[np.float64], kind: NDArray[np.uint8]
) -> None:
    near = [b for b in town.buildings if b.shape.intersects(shapely.box(*BOX))]
    transform = from_origin(BOX[0], BOX[3], 0.5, 0.5)
    size = (int((BOX[3] - BOX[1]) / 0.5), int((BOX[2] - BOX[0]) / 0.5))
    numbers = rasterio.features.rasterize(
        [(b.shape.buffer(0.5), k + 1) for k, b in enumerate(near)], size, transform=transform, dtype="int32"
    )
    row = np.clip(((BOX[3] - n) / 0.5).astype(int), 0, size[0] - 1)
    col = np.clip(((e - BOX[0]) / 0.5).astype(int), 0, size[1] - 1)
    candidate = numbers[row, col]
    for k, b in enumerate(near):
        at = np.flatnonzero(candidate == k + 1)
        at = at[shapely.contains_xy(b.shape, e[at], n[at])]
        z[at], kind[at] = roofs.roof_elev_m(b, e[at], n[at]), BUILDING


def _crowns(
    town: Town, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    t = town.trees
    inside = (t.e > BOX[0] + 6) & (t.e < BOX[2] - 6) & (t.n > BOX[1] + 6) & (t.n < BOX[3] - 6)
    times = 18
    e, n, h, r = (np.repeat(a[inside], times) for a in (t.e, t.n, t.height_m, t.crown_m))
    turn, away = rng.uniform(0, 2 * np.pi, e.size), np.sqrt(rng.uniform(0, 1, e.size))
    z = terrain.ground_elev_m(e, n) + h * (1 - 0.4 * away)
    return np.round(e + r * away * np.cos(turn), 2), np.round(n + r * away * np.sin(turn), 2), z


def _save(
    path: Path, e: NDArray[np.float64], n: NDArray[np.float64], z: NDArray[np.float64], kind: NDArray[np.uint8]
) -> None:
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.offsets, header.scales = [BOX[0], BOX[1], 0.0], [0.01, 0.01, 0.01]
    header.creation_date = dt.date(2026, 4, 18)
    header.system_identifier, header.generating_software = "sample town", "make_town.py"
    header.add_crs(pyproj.CRS.from_user_input(f"{site.CRS}+5737"))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = e, n, np.round(z, 2)
    cloud.classification = kind
    cloud.return_number = cloud.number_of_returns = np.ones(e.size, np.uint8)
    cloud.intensity = np.choose(np.searchsorted([2, 5, 6, 9], kind), [40, 25, 70, 5]).astype(np.uint16)
    cloud.gps_time = np.arange(e.size) * 1e-5
    path.parent.mkdir(parents=True, exist_ok=True)
    cloud.write(path)
