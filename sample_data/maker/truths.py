"""expected.json: what is planted in the town, with counts and heights read back from the files by other means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pyogrio
import pyproj
import rasterio

from sample_data.maker import site
from sample_data.maker.town import Town

CHECK_POINTS = (
    (597900.5, 3109500.5),
    (598273.711, 3109927.739),
    (598800.3, 3110300.7),
    (597450.0, 3109230.0),
    (598400.25, 3109150.25),
    (597900.0, 3110700.0),
    (599100.0, 3109800.0),
)


def collect(town: Town, out: Path, planted: dict[str, Any]) -> dict[str, Any]:
    """All truths as one document; `how` says where each group's numbers come from."""
    return {
        "town": {
            "crs": site.CRS,
            "vertical_crs": site.VERTICAL_CRS,
            "bounds": site.BOUNDS,
            "seed": town.seed,
            "origin_lon_lat": [121.0, 28.1],
            "origin_e_n": [598273.711, 3109927.739],
        },
        "how": {
            "counts": "pyogrio, rasterio and laspy on the written files",
            "ground_heights": "bilinear on dem.tif cell centres, written out with numpy; wgs84 by pyproj",
            "illegal_buildings": "by construction, areas by shapely; a case counts when more than 10 m2 and more than "
            "5 % of the present footprint lie outside its permit, it has no permit, or it is higher than permitted",
            "project_overlaps": "ellipsoidal m2: shapely intersection, then pyproj Geod, edges in 20 m steps",
            "pipes": "net gaps, cover and slope by construction, outer walls from 外径; the invert of a gravity pipe "
            "is its inner bottom: its axis is 管径/2 above it, its top 外径/2 higher",
            "crane_pairs": "by construction, plane distances",
            "exceedances": "values set in the series",
            "lod2": "volumes by prism formulas",
        },
        "counts": counts(out),
        "ground_heights": ground_heights(out / "terrain" / "dem.tif"),
        **planted,
    }


def counts(out: Path) -> dict[str, Any]:
    """Features by file and layer, rows of CSV tables, CityJSON objects, points by class."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in out.rglob("*") if p.suffix in {".gpkg", ".shp", ".geojson"}):
        found[path.relative_to(out).as_posix()] = {
            str(name): int(pyogrio.read_info(path, layer=name, force_feature_count=True)["features"])
            for name, _ in pyogrio.list_layers(path)
        }
    for path in sorted(out.rglob("*.csv")):
        encoding = "gb18030" if "能耗" in path.name else "utf-8-sig"
        found[path.relative_to(out).as_posix()] = len(path.read_text(encoding=encoding).splitlines()) - 1
    for path in sorted(out.rglob("*.city.json")):
        found[path.relative_to(out).as_posix()] = len(json.loads(path.read_text(encoding="utf-8"))["CityObjects"])
    for path in sorted(out.rglob("*.laz")):
        kinds, n = np.unique(laspy.read(path).classification, return_counts=True)
        found[path.relative_to(out).as_posix()] = {
            "points": int(n.sum()),
            "by_class": {str(k): int(c) for k, c in zip(kinds, n, strict=True)},
        }
    return found


def ground_heights(dem: Path) -> list[dict[str, float]]:
    """Bilinear between the four nearest cell centres."""
    if not dem.exists():
        return []
    to_degrees = pyproj.Transformer.from_crs(site.CRS, "EPSG:4326", always_xy=True)
    with rasterio.open(dem) as src:
        z, transform = src.read(1).astype(float), src.transform
    rows = []
    for e, n in CHECK_POINTS:
        col, row = (e - transform.c) / transform.a, (n - transform.f) / transform.e
        c, r = col - 0.5, row - 0.5
        c0, r0 = int(np.floor(c)), int(np.floor(r))
        a, b = c - c0, r - r0
        corners = z[r0 : r0 + 2, c0 : c0 + 2]
        value = (1 - b) * ((1 - a) * corners[0, 0] + a * corners[0, 1]) + b * (
            (1 - a) * corners[1, 0] + a * corners[1, 1]
        )
        lon, lat = to_degrees.transform(e, n)
        rows.append(
            {"e": e, "n": n, "lon": round(lon, 9), "lat": round(lat, 9), "ground_elev_m": round(float(value), 3)}
        )
    return rows
