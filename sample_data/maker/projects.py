"""Project sites laid against the three control lines, with planted overlaps and near misses."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from sample_data.maker import files, site
from sample_data.maker.land import PLAN, ellipsoidal_m2
from sample_data.maker.town import Town


def projects(town: Town, lines: dict[str, gpd.GeoDataFrame]) -> tuple[gpd.GeoDataFrame, list[dict[str, Any]]]:
    """Project sites laid against the control lines: overlapping, hardly overlapping, touching and clear ones."""
    rows: list[dict[str, Any]] = []
    truths: list[dict[str, Any]] = []
    fields = list(lines["pbf"].geometry)
    red_lines = shapely.union_all(list(lines["eco_redline"].geometry))
    wide = [f for f in fields if f.area > 9000 and f.distance(red_lines) > 120]
    wide = [f for f in wide if town.plan.land.contains(_beside(f, 0.0))]
    red = shapely.get_parts(lines["eco_redline"].geometry.iloc[0])[0]

    def add(name: str, shape: BaseGeometry, use: str, stage: str, note: str) -> None:
        shape = files.rounded(shape)
        code = f"2026-XM-{len(rows) + 1:03d}"
        rows.append(
            {
                "project_code": code,
                "name": name,
                "stage": stage,
                "planned_use": use,
                "code_system": "ydyh2023",
                "approved_area_m2": round(ellipsoidal_m2(shape), 2),
                "geometry": MultiPolygon([shape]),
            }
        )
        truths.append({"project_code": code, "note": note, **_overlaps(shape, lines)})

    for k, (inside, note) in enumerate(
        (
            (20.0, "over"),
            (6.0, "over"),
            (1.2, "over"),
            (0.4, "over"),
            (0.025, "over 1 m2 but under 0.1 % of the project"),
            (0.012, "sliver"),
            (0.0, "touching"),
            (-0.5, "clear"),
            (-3.0, "clear"),
        )
    ):
        add(f"沿海产业项目{k + 1}", _beside(wide[k % len(wide)], inside), "1001", "用地预审", f"pbf {note}")
    for k, (inside, note) in enumerate(((30.0, "over"), (5.0, "over"), (-0.3, "clear"), (-8.0, "clear"))):
        add(f"云溪旅游项目{k + 1}", _below(red, inside, k), "0901", "用地预审", f"eco_redline {note}")
    for k, block in enumerate([b for b in town.plan.blocks if b.kind in {"pit", "housing"}][:6]):
        add(
            f"城区更新项目{k + 1}",
            block.shape.buffer(-6, join_style="mitre"),
            PLAN[block.kind][0],
            "建设用地批准",
            "inside the urban boundary",
        )
    return files.frame(rows), truths


def _beside(field: BaseGeometry, inside_m: float) -> Polygon:
    """A 60 m x 28 m box against the longest edge of a field from outside, `inside_m` of its depth across the line.

    28 m stays short of the next field beyond the street.
    """
    ring = np.asarray(shapely.get_parts(shapely.orient_polygons(field))[0].exterior.coords)
    longest = int(np.argmax(np.hypot(*np.diff(ring, axis=0).T)))
    a, b = ring[longest], ring[longest + 1]
    along = (b - a) / np.hypot(*(b - a))
    inward = np.array([-along[1], along[0]])
    middle = (a + b) / 2
    corners = [
        middle + s * 30 * along + d * inward
        for s, d in ((-1, inside_m), (1, inside_m), (1, inside_m - 28), (-1, inside_m - 28))
    ]
    return Polygon(corners)


def _below(red: Polygon, inside_m: float, k: int) -> Polygon:
    """An axis-parallel 70 x 50 m box whose top lies `inside_m` above the red line's lowest point at its place."""
    e0 = site.E_MIN + 120.0 + 95.0 * k
    strip = shapely.box(e0, site.N_MIN, e0 + 70, site.N_MAX).intersection(red)
    low = strip.bounds[1] + inside_m
    return shapely.box(e0, low - 50, e0 + 70, low)


def _overlaps(shape: BaseGeometry, lines: dict[str, gpd.GeoDataFrame]) -> dict[str, Any]:
    """Ellipsoidal overlap in m2 with each line (shapely on the coordinates as written, then Geod).

    `verdict` is that of farmland and red line: over 1 m2 and over 0.1 % of the project fails,
    over 1 m2 only is for review.
    """
    found: dict[str, Any] = {}
    for name in ("pbf", "eco_redline"):
        part = shapely.union_all(list(lines[name].geometry)).intersection(shape)
        found[f"{name}_m2"] = round(ellipsoidal_m2(part), 3) if part.area else 0.0
    worst = max(found.values())
    found["verdict"] = "pass" if worst <= 1.0 else "fail" if worst > 0.001 * ellipsoidal_m2(shape) else "review"
    outside = shape.difference(shapely.union_all(list(lines["urban_boundary"].geometry)))
    found["outside_urban_boundary_m2"] = round(ellipsoidal_m2(outside), 3) if outside.area else 0.0
    return found
