"""Administrative units: one county-level unit, three towns, nested villages.

The codes are not assigned to any real place.
"""

from __future__ import annotations

import itertools

import geopandas as gpd
import numpy as np
import shapely
from shapely import Point
from shapely.geometry.base import BaseGeometry

from sample_data.maker import files, site
from sample_data.maker.town import Town

COUNTY, COUNTY_NAME = "999901", "清湾市"
TOWNS = (("999901001", "云溪镇"), ("999901002", "清湾街道"), ("999901003", "滨海新区"))
VILLAGES = ("东社区", "西社区", "南社区", "北社区")


def town_shapes(town: Town) -> dict[str, BaseGeometry]:
    """Three strips of the land, cut across the street grid, that tile it without gap or overlap."""
    cuts = (-2000.0, -330.0, 250.0, 2000.0)
    found = {}
    for (code, _), v0, v1 in zip(TOWNS, cuts[:-1], cuts[1:], strict=True):
        found[code] = town.plan.land.intersection(_band(v0, v1, -2000, 2000))
    return found


def _band(v0: float, v1: float, u0: float, u1: float) -> shapely.Polygon:
    e, n = site.grid_to_map(np.array([u0, u1, u1, u0]), np.array([v0, v0, v1, v1]))
    return shapely.Polygon(np.column_stack([e, n]))


def village_shapes(town: Town) -> dict[str, BaseGeometry]:
    """Each town cut into up to four parts by u."""
    cuts = (-2000.0, -480.0, 0.0, 320.0, 2000.0)
    found = {}
    for code, shape in town_shapes(town).items():
        for k, (u0, u1) in enumerate(itertools.pairwise(cuts), 1):
            part = shape.intersection(_band(-2000, 2000, u0, u1))
            if part.area > 1:
                found[f"{code}{k:03d}"] = part
    return found


def units(town: Town) -> gpd.GeoDataFrame:
    """All levels in one layer: 6, 9 and 12 digit codes. A level's population is the sum of the level below."""
    names = dict(TOWNS)
    rows = []
    for code, shape in village_shapes(town).items():
        people = sum(int(b.gfa_m2 / 38) for b in town.buildings if "住宅" in b.use and shape.contains(b.shape.centroid))
        rows.append(
            {
                "xzqdm": code,
                "name": names[code[:9]] + VILLAGES[int(code[9:]) - 1],
                "级别": 5,
                "population": people,
                "geometry": shape,
            }
        )
    for code, shape in town_shapes(town).items():
        rows.append(
            {
                "xzqdm": code,
                "name": names[code],
                "级别": 4,
                "population": sum(
                    r["population"] for r in rows if r["xzqdm"].startswith(code) and len(r["xzqdm"]) == 12
                ),
                "geometry": shape,
            }
        )
    total = sum(r["population"] for r in rows if len(r["xzqdm"]) == 9)
    rows.append({"xzqdm": COUNTY, "name": COUNTY_NAME, "级别": 3, "population": total, "geometry": town.plan.land})
    for row in rows:
        row["geometry"] = shapely.MultiPolygon(
            [p for p in shapely.get_parts(row["geometry"]) if p.geom_type == "Polygon" and p.area > 0.01]
        )
    return files.frame(sorted(rows, key=lambda r: (len(str(r["xzqdm"])), r["xzqdm"])))


def district_of(point: Point) -> str:
    """The 12-digit code of the village that holds a point on land."""
    u, v = site.map_to_grid(point.x, point.y)
    town_code = TOWNS[int(np.searchsorted((-330.0, 250.0), v))][0]
    return f"{town_code}{int(np.searchsorted((-480.0, 0.0, 320.0), u)) + 1:03d}"
