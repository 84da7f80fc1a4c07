"""The four IFC models of the sample town and what is true about them.

office_ifc4_mm.ifc      IFC4, millimetres, IfcMapConversion (turned, Scale 0.001) to EPSG:4549, heights EPSG:5737
school_ifc2x3.ifc       IFC2X3, metres, nothing but IfcSite latitude, longitude, elevation and a true north
sluice_ifc4x3.ifc       IFC4X3_ADD2, metres, a tidal sluice as IfcMarineFacility, IfcMapConversion; crest at 6.80 m
guardhouse_ifc4.ifc     IFC4 with no georeference at all: it must be parked
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from layers import crs  # noqa: E402
from sample_data.maker import site, terrain  # noqa: E402
from sample_data.maker.bim_author import Author, counts  # noqa: E402
from sample_data.maker.bim_house import House, build  # noqa: E402
from sample_data.maker.bim_sluice import CREST_ELEV_M, build_sluice  # noqa: E402

OFFICE, SCHOOL = "office_ifc4_mm.ifc", "school_ifc2x3.ifc"
SLUICE, GUARDHOUSE = "sluice_ifc4x3.ifc", "guardhouse_ifc4.ifc"


def write(out_dir: Path) -> list[dict[str, Any]]:
    """Write the models and `bim_truths.json` into `out_dir`; return the truths."""
    out_dir.mkdir(parents=True, exist_ok=True)
    truths = [_office(out_dir), _school(out_dir), _sluice(out_dir), _guardhouse(out_dir)]
    text = json.dumps(truths, ensure_ascii=False, indent=1)
    (out_dir / "bim_truths.json").write_text(text + "\n", "utf8")
    return truths


def _spatial(author: Author, title: str) -> tuple[Any, Any]:
    """Site and building at the local origin."""
    place = author.place()
    ground = author.root("IfcSite", "场地", ObjectPlacement=place, CompositionType="ELEMENT")
    building = author.root("IfcBuilding", title, ObjectPlacement=author.place(parent=ground), CompositionType="ELEMENT")
    author.aggregate(author.project, ground)
    author.aggregate(ground, building)
    return ground, building


def _map_conversion(author: Author, plot: site.Plot, height_m: float, scale: float) -> dict[str, float]:
    """IfcMapConversion to the plot's corner; returns the numbers as they stand in the file."""
    make = author.model.create_entity
    metre = make("IfcSIUnit", None, "LENGTHUNIT", None, "METRE")
    target = make(
        "IfcProjectedCRS", site.CRS, "CGCS2000 / 3-degree Gauss-Kruger CM 120E", "CGCS2000", site.VERTICAL_CRS
    )
    target.MapProjection, target.MapZone, target.MapUnit = "Gauss-Kruger", "CM 120E", metre
    turn = math.radians(plot.rotation_deg)
    numbers = {
        "eastings": round(plot.e, 3),
        "northings": round(plot.n, 3),
        "orthogonal_height": height_m,
        "x_axis_abscissa": round(math.cos(turn), 12),
        "x_axis_ordinate": round(math.sin(turn), 12),
        "scale": scale,
    }
    make("IfcMapConversion", author.context, target, *numbers.values())
    return numbers


def _point(numbers: dict[str, float], local: tuple[float, float, float]) -> dict[str, Any]:
    """A known point by the formula of IfcMapConversion, term by term, in the units of the file."""
    x, y, z = local
    s, c, o = numbers["scale"], numbers["x_axis_abscissa"], numbers["x_axis_ordinate"]
    return {
        "local": list(local),
        "e": round(numbers["eastings"] + s * x * c - s * y * o, 6),
        "n": round(numbers["northings"] + s * x * o + s * y * c, 6),
        "h": round(numbers["orthogonal_height"] + s * z, 6),
        "arithmetic": f"E = {numbers['eastings']} + {s}*({x}*{c} - {y}*{o}); "
        f"N = {numbers['northings']} + {s}*({x}*{o} + {y}*{c}); H = {numbers['orthogonal_height']} + {s}*{z}",
    }


def _truth(author: Author, name: str, schema: str, **more: Any) -> dict[str, Any]:
    products = counts(author.model)
    not_counted = ("IfcOpeningElement",)
    spatial = ("IfcSite", "IfcBuilding", "IfcBuildingStorey", "IfcSpace", "IfcMarineFacility", "IfcMarinePart")
    shapeless = [e for e in author.model.by_type("IfcElement") if e.Representation is None]
    elements = {k: v for k, v in products.items() if k not in (*not_counted, *spatial)}
    return {
        "file": f"bim/{name}",
        "schema": schema,
        "products_by_class": products,
        "n_bim_element": sum(elements.values()) - len(shapeless),
        "n_bim_assembly": sum(v for k, v in products.items() if k in spatial) + len(shapeless),
        "shapeless_assemblies": sorted(e.GlobalId for e in shapeless),
        **more,
    }


def _office(out: Path) -> dict[str, Any]:
    plot = site.PLOTS["office"]
    author = Author("IFC4", OFFICE, plot.title_zh, millimetres=True)
    _, building = _spatial(author, plot.title_zh)
    house = House(8.0, 10.0, 42.0, 18.0, 3.6, 5, 7, "IfcWall", "plaster", "办公区")
    storeys = build(author, building, house)
    top = house.n_storeys * house.storey_height
    _flat_roof(author, building, storeys[-1], house, top)
    _pipes(author, storeys, house)
    mast = author.product(
        "IfcBuildingElementProxy", "测量标志", building, (author.box((8, 10, top, 0.2, 0.2, 2)), "steel")
    )
    author.contain(building, mast)
    numbers = _map_conversion(author, plot, plot.pad_elev_m, 0.001)
    author.save(out / OFFICE)
    return _truth(
        author,
        OFFICE,
        "IFC4",
        method="map-conversion",
        crs=site.CRS,
        vertical_crs=site.VERTICAL_CRS,
        map_conversion=numbers,
        known_points=[
            {"what": "south-west bottom corner of 测量标志", "guid": mast.GlobalId}
            | _point(numbers, (8000.0, 10000.0, top * 1000)),
            {"what": "north-east top corner of 测量标志", "guid": mast.GlobalId}
            | _point(numbers, (8200.0, 10200.0, (top + 2) * 1000)),
        ],
        ground_floor_elev_m=plot.pad_elev_m,
    )


def _flat_roof(author: Author, building: Any, storey: Any, house: House, top: float) -> None:
    plate = author.box((house.x - 0.6, house.y - 0.6, top - 0.15, house.width + 1.2, house.depth + 1.2, 0.25))
    kind = "ShapeType" if author.schema == "IFC2X3" else "PredefinedType"
    roof = author.product("IfcRoof", "屋面", building, (plate, "roof"), **{kind: "FLAT_ROOF"})
    author.contain(storey, roof)


def _pipes(author: Author, storeys: list[Any], house: House) -> None:
    """A riser and one branch a storey, in a system."""
    members = []
    x, y = house.x + 1.0, house.y + 1.0
    for level, storey in enumerate(storeys):
        riser = author.pipe((x, y, 0), (0, 0, 1), house.storey_height, 0.055)
        branch = author.pipe((x, y + 0.06, 2.8), (0, 1, 0), house.depth - 4, 0.025)
        for label, solid in (("立管", riser), ("支管", branch)):
            segment = author.product("IfcPipeSegment", f"{label}-{level + 1}F", storey, (solid, "pipe"))
            segment.PredefinedType = "RIGIDSEGMENT"
            members.append(segment)
            author.contain(storey, segment)
    author.group("IfcDistributionSystem", "给水系统", members)


def _school(out: Path) -> dict[str, Any]:
    """Latitude and longitude of the plot's corner, rounded to a millionth of a second (0.03 mm)."""
    plot = site.PLOTS["school"]
    author = Author("IFC2X3", SCHOOL, plot.title_zh)
    ground, building = _spatial(author, plot.title_zh)
    house = House(6.0, 8.0, 54.0, 12.0, 3.9, 3, 9, "IfcWallStandardCase", "brick", "教室")
    storeys = build(author, building, house)
    top = house.n_storeys * house.storey_height
    _flat_roof(author, building, storeys[-1], house, top)
    flag = author.product("IfcBuildingElementProxy", "旗杆", building, (author.box((30, 2, 0, 0.2, 0.2, 12)), "steel"))
    author.contain(building, flag)
    lon, lat = (float(v[0]) for v in crs.transform(site.CRS, "EPSG:4326", np.array([plot.e]), np.array([plot.n])))
    ground.RefLatitude, ground.RefLongitude = _dms(lat), _dms(lon)
    ground.RefElevation = plot.pad_elev_m
    # angle from local y to true north: grid north lies `convergence` clockwise of true north, the x axis is turned
    convergence = _convergence_deg(lat, lon - 120.0)
    turn = math.radians(convergence - plot.rotation_deg)
    author.context.TrueNorth = author.direction(round(-math.sin(turn), 12), round(math.cos(turn), 12))
    author.save(out / SCHOOL)
    c, s = math.cos(math.radians(plot.rotation_deg)), math.sin(math.radians(plot.rotation_deg))
    return _truth(
        author,
        SCHOOL,
        "IFC2X3",
        method="site-lat-lon",
        crs=site.CRS,
        site={"lat_dms": _dms(lat), "lon_dms": _dms(lon), "elevation_m": plot.pad_elev_m},
        convergence_deg=round(convergence, 9),
        known_points=[
            {
                "what": "south-west bottom corner of 旗杆",
                "guid": flag.GlobalId,
                "local": [30.0, 2.0, 0.0],
                "e": round(plot.e + 30 * c - 2 * s, 6),
                "n": round(plot.n + 30 * s + 2 * c, 6),
                "h": plot.pad_elev_m,
                "arithmetic": f"corner ({plot.e:.6f}, {plot.n:.6f}) + (30, 2) turned by {plot.rotation_deg} degrees",
            }
        ],
        ground_floor_elev_m=plot.pad_elev_m,
    )


def _dms(degrees: float) -> list[int]:
    """IfcCompoundPlaneAngleMeasure of a positive angle: degrees, minutes, seconds, millionths of a second."""
    millionths = round(degrees * 3600e6)
    seconds, millionth = divmod(millionths, 1_000_000)
    minutes, second = divmod(seconds, 60)
    degree, minute = divmod(minutes, 60)
    return [degree, minute, second, millionth]


def _convergence_deg(lat_deg: float, dlon_deg: float) -> float:
    """Meridian convergence of Gauss-Kruger, series to the third order in longitude (CGCS2000 ellipsoid)."""
    e2 = 2 / 298.257222101 - 1 / 298.257222101**2
    lat, dlon = math.radians(lat_deg), math.radians(dlon_deg)
    eta2 = e2 / (1 - e2) * math.cos(lat) ** 2
    third = dlon**3 / 3 * math.sin(lat) * math.cos(lat) ** 2 * (1 + 3 * eta2 + 2 * eta2**2)
    return math.degrees(dlon * math.sin(lat) + third)


def _sluice(out: Path) -> dict[str, Any]:
    plot = site.PLOTS["sluice"]
    middle = plot.corners().mean(axis=0)
    bed = math.floor(10 * float(terrain.ground_elev_m(middle[0], middle[1]))) / 10
    author = Author("IFC4X3_ADD2", SLUICE, plot.title_zh)
    place = author.place()
    ground = author.root("IfcSite", "河口场地", ObjectPlacement=place, CompositionType="ELEMENT")
    author.aggregate(author.project, ground)
    crest = build_sluice(author, ground, plot.width_m, plot.depth_m, bed)
    numbers = _map_conversion(author, plot, 0.0, 1.0)
    author.save(out / SLUICE)
    x, y, z = crest["corner"]
    return _truth(
        author,
        SLUICE,
        "IFC4X3_ADD2",
        method="map-conversion",
        crs=site.CRS,
        vertical_crs=site.VERTICAL_CRS,
        map_conversion=numbers,
        crest_elev_m=CREST_ELEV_M,
        bed_elev_m=bed,
        crest_guids=crest["guids"],
        known_points=[
            {"what": "first top corner of pier 1", "guid": crest["guids"][0]} | _point(numbers, (x, y, z)),
        ],
    )


def _guardhouse(out: Path) -> dict[str, Any]:
    author = Author("IFC4", GUARDHOUSE, "水库管理房", millimetres=True)
    _, building = _spatial(author, "水库管理房")
    house = House(0.0, 0.0, 7.2, 5.0, 3.3, 1, 2, "IfcWall", "brick", "值班室")
    storeys = build(author, building, house)
    _flat_roof(author, building, storeys[-1], house, house.storey_height)
    author.save(out / GUARDHOUSE)
    return _truth(author, GUARDHOUSE, "IFC4", method="none", parked_with="IFC_NO_GEOREFERENCE")


if __name__ == "__main__":
    write(ROOT / "sample_data" / "town" / "bim")
