"""The town as one object: plan, buildings, trees and the planted building truths, made once from the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from sample_data.maker import terrain
from sample_data.maker.buildings import Builder, Building
from sample_data.maker.illegal import plant_illegal
from sample_data.maker.layout import KERB_M, Layout

SPECIES = ("香樟", "悬铃木", "榕树", "桂花", "水杉")


@dataclass
class Trees:
    """Parallel arrays, one entry a tree; `kind` indexes SPECIES; heights above ground."""

    e: NDArray[np.float64]
    n: NDArray[np.float64]
    height_m: NDArray[np.float64]
    crown_m: NDArray[np.float64]
    kind: NDArray[np.int64]


@dataclass
class Town:
    """What all makers draw from."""

    seed: int
    plan: Layout
    buildings: list[Building]
    illegal: list[dict[str, Any]]
    trees: Trees


def make(seed: int = 0) -> Town:
    plan = Layout()
    buildings = Builder(plan, np.random.default_rng([seed, 1])).fill()
    illegal = plant_illegal(buildings, np.random.default_rng([seed, 2]))
    return Town(seed, plan, buildings, illegal, _trees(plan, buildings, np.random.default_rng([seed, 3])))


def _trees(plan: Layout, buildings: list[Building], rng: np.random.Generator) -> Trees:
    """Street trees every 16 m, park trees, and woods on the hills; none in water, pits or buildings."""
    spots = [_street_trees(plan)]
    for block in plan.blocks:
        if block.kind in {"park", "plaza"}:
            spots.append(_scatter(block.shape, 1 / 120, rng))
        elif block.kind in {"housing", "hospital", "public"}:
            spots.append(_scatter(block.shape, 1 / 700, rng))
    woods = rng.uniform((0, 0), (2000, 2000), (2600, 2)) + plan.sheet.bounds[:2]
    spots.append(woods[terrain.ground_elev_m(woods[:, 0], woods[:, 1]) > 20])
    xy = np.round(np.vstack(spots), 2)
    built = shapely.union_all([b.shape for b in buildings]).buffer(2.0)
    closed = shapely.union_all(
        [
            built,
            plan.reserved,
            plan.river_zone(3.0),
            plan.reservoir.buffer(4),
            plan.sea.buffer(14),
            plan.dam_road.buffer(5),
        ]
    )
    shapely.prepare(closed)
    xy = xy[~shapely.contains_xy(closed, xy[:, 0], xy[:, 1])]
    height = np.round(rng.uniform(4.0, 13.0, len(xy)), 1)
    return Trees(
        xy[:, 0],
        xy[:, 1],
        height,
        np.round(height * rng.uniform(0.3, 0.45, len(xy)), 1),
        rng.integers(0, len(SPECIES), len(xy)),
    )


def _street_trees(plan: Layout) -> NDArray[np.float64]:
    rows = []
    for edge in plan.edges:
        if edge.bridge or edge.road_class == "支路":
            continue
        (e0, n0), (e1, n1) = edge.line.coords
        length = np.hypot(e1 - e0, n1 - n0)
        t = np.arange(24.0, length - 20.0, 16.0)
        d = np.array([e1 - e0, n1 - n0]) / length
        left = (KERB_M - 1.5) * np.array([-d[1], d[0]])
        rows += [np.array([e0, n0]) + t[:, None] * d + side * left for side in (-1, 1)]
    return np.vstack(rows)


def _scatter(shape: shapely.Polygon, per_m2: float, rng: np.random.Generator) -> NDArray[np.float64]:
    x0, y0, x1, y1 = shape.bounds
    xy = rng.uniform((x0, y0), (x1, y1), (int((x1 - x0) * (y1 - y0) * per_m2), 2))
    inner = shape.buffer(-4)
    return np.asarray(xy[shapely.contains_xy(inner, xy[:, 0], xy[:, 1])])
