"""Buildings that break their permits, and near misses: made by changing what stands, or by leaving the permit out."""

from __future__ import annotations

from typing import Any

import numpy as np
from shapely import Polygon, STRtree
from shapely.geometry.base import BaseGeometry

from sample_data.maker import shapes, site
from sample_data.maker.buildings import Building, Random


def widened(b: Building, extra_m: float) -> Polygon:
    """The building with its right-hand wall moved out by `extra_m` (rectangles only)."""
    w, d = b.size
    c = b.shape.centroid
    angle = np.radians(site.GRID_ROTATION_DEG + b.turn_deg)
    return shapes.place(
        shapes.rectangle(w + extra_m, d),
        c.x + np.cos(angle) * extra_m / 2,
        c.y + np.sin(angle) * extra_m / 2,
        b.turn_deg,
    )


def _free(grown: Polygon, b: Building, tree: STRtree, all_shapes: list[BaseGeometry]) -> bool:
    return not any(
        all_shapes[k] is not b.shape and all_shapes[k].intersects(grown) for k in tree.query(grown.buffer(1.0))
    )


def plant_illegal(found: list[Building], rng: Random) -> list[dict[str, Any]]:
    """Change 14 buildings against their permits and 14 by less than counts; return what was done, one row each.

    Counts: more than 10 m2 *and* more than 5 % of the present footprint outside the permit, or a height above it.
    """
    recipes: list[tuple[str, bool, float]] = [
        *[("no_permit", True, 0.0)] * 5,
        *[("enlarged", True, x) for x in (2.5, 3.0, 4.0, 1.6)],
        *[("too_high", True, x) for x in (3.0, 6.0, 3.2, 1.5, 9.0)],
        *[("enlarged", False, x) for x in (0.45, 0.7, 0.3)],  # under 10 m2
        *[("enlarged_large", False, x) for x in (1.2, 1.5)],  # over 10 m2, under 5 %
        *[("smaller", False, x) for x in (-1.0, -2.0, -0.5)],
        *[("lower", False, x) for x in (-0.2, -3.0, 0.0)],
        *[("as_permitted_new", False, 0.0)] * 3,
    ]
    shapes_now: list[BaseGeometry] = [b.shape for b in found]
    tree = STRtree(shapes_now)
    order = rng.permutation(len(found))
    used: set[str] = set()
    rows = []
    for reason, illegal, amount in recipes:
        b = next(
            found[k] for k in order if found[k].id not in used and _suits(found[k], reason, amount, tree, shapes_now)
        )
        used.add(b.id)
        _apply(b, reason, amount)
        rows.append(_truth(b, reason, illegal))
    return rows


def _suits(b: Building, reason: str, amount: float, tree: STRtree, shapes_now: list[BaseGeometry]) -> bool:
    w, d = b.size
    if b.key_energy or b.use == "公用设施":
        return False
    if reason in {"enlarged", "enlarged_large", "smaller"}:
        if w == 0 or abs(b.shape.area - w * d) > 0.1:
            return False
        area, share = abs(amount) * d, abs(amount) / (w + amount)
        fits = {
            "enlarged": (area < 9.5 and share > 0.02) if amount < 1 else (area > 12 and share > 0.07),
            "enlarged_large": area > 11 and share < 0.045,
            "smaller": True,
        }
        return bool(fits[reason]) and _free(widened(b, amount), b, tree, shapes_now)
    if reason in {"no_permit", "as_permitted_new"}:
        return 60 < b.shape.area < 900 and b.roof == "flat"
    return b.roof == "flat" and b.floors >= 2


def _apply(b: Building, reason: str, amount: float) -> None:
    if reason in {"no_permit", "as_permitted_new"}:
        b.year = 2025
        if reason == "no_permit":
            b.permit_shape = None
    elif reason in {"enlarged", "enlarged_large", "smaller"}:
        b.shape = widened(b, amount)
        b.year = max(b.year, 2025) if reason == "enlarged" else b.year
    else:
        b.height_m = round(b.permit_height_m + amount, 2)
        if amount >= 2.5:
            b.floors += int(amount // 2.9)


def _truth(b: Building, reason: str, illegal: bool) -> dict[str, Any]:
    c = b.shape.representative_point()
    excess = b.shape.area if b.permit_shape is None else b.shape.difference(b.permit_shape).area
    return {
        "building_id": b.id,
        "reason": reason,
        "illegal": illegal,
        "e": round(c.x, 2),
        "n": round(c.y, 2),
        "footprint_m2": round(b.shape.area, 3),
        "excess_m2": round(excess, 3),
        "excess_share": round(excess / b.shape.area, 5),
        "height_m": b.height_m,
        "permit_height_m": None if b.permit_shape is None else b.permit_height_m,
    }
