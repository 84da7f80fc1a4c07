"""buildings.gpkg, permits and the CityJSON file: the same buildings as three departments would hand them over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from sample_data.maker import files, roofs, site
from sample_data.maker.admin import district_of
from sample_data.maker.town import Town

LOD2_COUNT = 32


def buildings(town: Town) -> gpd.GeoDataFrame:
    """Footprints as surveyed in 2026. Every eleventh height is missing, some of these have no floor count either."""
    rows = []
    planted = {row["building_id"] for row in town.illegal}
    for k, b in enumerate(town.buildings):
        no_height = k % 11 == 7 and b.id not in planted
        rows.append(
            {
                "建筑编号": b.id,
                "名称": b.name,
                "行政区代码": district_of(b.shape.centroid),
                "基底高程": b.base_elev_m,
                "建筑高度": None if no_height else b.height_m,
                "地上层数": None if no_height and k % 33 == 18 else b.floors,
                "建筑面积": b.gfa_m2,
                "用途": b.use,
                "建成年份": b.year,
                "重点用能": b.key_energy,
                "geometry": b.shape,
            }
        )
    table = files.frame(rows)
    table["地上层数"] = table["地上层数"].astype("Int32")
    return table


def permits(town: Town) -> gpd.GeoDataFrame:
    """One planning permit a permitted building, and one for the library that is not built yet."""
    rows = []
    for b in town.buildings:
        if b.permit_shape is None:
            continue
        gfa = round(b.permit_shape.area * max(1, round(b.permit_height_m / b.height_m * b.floors)), 1)
        number = f"建字第{b.year}-{int(b.id[1:]):04d}号"
        rows.append(_permit(number, b.name, height=b.permit_height_m, gfa=gfa, year=b.year - 1, shape=b.permit_shape))
    library = site.PLOTS["library"]
    outline = shapely.Polygon(library.corners()).buffer(-6, join_style="mitre")
    rows.append(_permit("建字第2026-0901号", library.title_zh, height=18.0, gfa=9000.0, year=2026, shape=outline))
    return files.frame(rows)


def _permit(number: str, name: str, *, height: float, gfa: float, year: int, shape: Any) -> dict[str, Any]:
    return {
        "permit_no": number,
        "name": name,
        "height_m": height,
        "gfa_m2": gfa,
        "date": f"{year}-03-15",
        "geometry": shapely.MultiPolygon([shape]),
    }


def lod2_buildings(town: Town) -> list[Any]:
    """Detached houses with pitched roofs that are longer than deep, spread over the town."""
    fit = [
        b
        for b in town.buildings
        if b.roof != "flat" and b.size[0] and b.use in {"农村住宅", "城镇住宅"} and b.size[0] > b.size[1] + 1.2
    ]
    return fit[:: max(1, len(fit) // LOD2_COUNT)][:LOD2_COUNT]


def write_cityjson(town: Town, path: Path) -> list[dict[str, Any]]:
    """CityJSON 2.0, one Solid each; `building_id` links to the footprint. Returns id, link and volume."""
    objects: dict[str, Any] = {}
    vertices: list[list[int]] = []
    rows = []
    offset = np.array([site.E_MIN, site.N_MIN, 0.0])
    for number, b in enumerate(lod2_buildings(town), 1):
        points, faces = roofs.solid(b)
        boundaries, semantics = roofs.as_cityjson_boundaries(faces, len(vertices))
        vertices += np.round((points - offset) * 1000).astype(int).tolist()
        key = f"LOD2-{number:03d}"
        objects[key] = {
            "type": "Building",
            "attributes": {
                "building_id": b.id,
                "roofType": b.roof,
                "storeysAboveGround": b.floors,
                "measuredHeight": b.height_m,
                "yearOfConstruction": b.year,
            },
            "geometry": [{"type": "Solid", "lod": "2.2", "boundaries": boundaries, "semantics": semantics}],
        }
        rows.append({"object_id": key, "building_id": b.id, "roof": b.roof, "volume_m3": round(_volume(b), 2)})
    used = np.asarray(vertices) / 1000 + offset
    doc = {
        "type": "CityJSON",
        "version": "2.0",
        "transform": {"scale": [0.001, 0.001, 0.001], "translate": offset.tolist()},
        "metadata": {
            "identifier": "sample-town-lod2",
            "referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4549",
            "referenceDate": "2026-04-18",
            "title": "清湾镇建筑LoD2模型（高程：1985国家高程基准）",
            "geographicalExtent": [*used.min(axis=0).round(3).tolist(), *used.max(axis=0).round(3).tolist()],
        },
        "CityObjects": objects,
        "vertices": vertices,
    }
    files.write_json(path, doc, indent=None)
    return rows


def _volume(b: Any) -> float:
    """Volume by the prism formulas: box to the eaves + gable prism, or hipped roof."""
    w, d = roofs.plan_size(b)
    box = w * d * (b.height_m - roofs.RISE_M)
    prism = w * d * roofs.RISE_M / 2
    if b.roof == "gabled":
        return float(box + prism)
    return float(box + roofs.RISE_M * d * (3 * w - d) / 6)
