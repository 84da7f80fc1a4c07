"""Footprint shapes about their own centre, and their placement in the map."""

from __future__ import annotations

import math

import numpy as np
import shapely
from shapely import Polygon

from sample_data.maker import site


def rectangle(w: float, d: float) -> Polygon:
    return shapely.box(-w / 2, -d / 2, w / 2, d / 2)


def l_shape(w: float, d: float, wing: float) -> Polygon:
    """A w x d rectangle without its upper right quarter; both wings `wing` wide."""
    x, y = w / 2, d / 2
    return Polygon([(-x, -y), (x, -y), (x, -y + wing), (-x + wing, -y + wing), (-x + wing, y), (-x, y)])


def u_shape(w: float, d: float, wing: float) -> Polygon:
    x, y = w / 2, d / 2
    return Polygon(
        [
            (-x, -y),
            (x, -y),
            (x, y),
            (x - wing, y),
            (x - wing, -y + wing),
            (-x + wing, -y + wing),
            (-x + wing, y),
            (-x, y),
        ]
    )


def courtyard(w: float, d: float, wing: float) -> Polygon:
    """A rectangle with a rectangular hole."""
    return rectangle(w, d).difference(rectangle(w - 2 * wing, d - 2 * wing))


def round_plan(radius: float, sides: int = 32) -> Polygon:
    t = 2 * math.pi * np.arange(sides) / sides
    return Polygon(np.column_stack([radius * np.cos(t), radius * np.sin(t)]))


def place(shape: Polygon, e: float, n: float, turn_deg: float = 0.0) -> Polygon:
    """Turn a shape by the street grid's angle + `turn_deg`, move it to (e, n), round to millimetres."""
    angle = math.radians(site.GRID_ROTATION_DEG + turn_deg)
    c, s = math.cos(angle), math.sin(angle)
    turned = shapely.transform(shape, lambda p: np.round(p @ np.array([[c, s], [-s, c]]) + [e, n], 3))
    return shapely.orient_polygons(turned)
