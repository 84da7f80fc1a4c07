"""Cadastral lookup: from a parcel's or unit's code to its ground, its units and the buildings on it (S18)."""

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from layers.errors import InvalidInput, NotFound
from twin.analysis import place
from twin.analysis.cadastral_codes import PARCEL_LENGTH, is_parcel_code, unit_code
from twin.analysis.control_lines import mended
from twin.analysis.process import Parameter, Process
from twin.store.interface import Features, Query

if TYPE_CHECKING:
    from twin.city import City


def cadastral_lookup(city: "City", *, code: str, crs: str | None = None) -> dict[str, Any]:
    """What a code of 19 or 28 characters names; blanks are left out."""
    place.answer_crs(city, crs)
    plain = "".join(code.split()).upper()
    unit = unit_code(plain)
    if unit is None and not is_parcel_code(plain):
        raise InvalidInput(
            f"code: {plain[:60]!r} is no code of a parcel (19 characters) or real-estate unit (28).",
            "A parcel has 12 digits, two letters and 5 digits; a unit one letter and 8 digits more.",
        )
    parcels = _having(city, "parcel", {"op": "=", "args": [{"property": "parcel_code"}, plain[:PARCEL_LENGTH]]})
    units = _having(city, "building_unit", _units_of(plain))
    if not len(parcels) and not len(units):
        raise NotFound(
            f"code: the city has no parcel {plain[:PARCEL_LENGTH]} and no unit {plain}.", code="NO_SUCH_CODE"
        )
    ground = shapely.union_all(mended(parcels.geometry))
    buildings = _on(city, ground)
    return {
        "parcel_code": plain[:PARCEL_LENGTH],
        "unit_code": plain if unit is not None else None,
        "building_no": None if unit is None else unit.building,
        "unit_no": None if unit is None else unit.unit,
        "is_unit_found": None if unit is None else len(units) > 0,
        **{
            name: _told(city, found, ground if len(parcels) else None, crs)
            for name, found in (("parcels", parcels), ("units", units), ("buildings", buildings))
        },
    }


def _units_of(code: str) -> dict[str, Any]:
    field = {"property": "unit_code"}
    if len(code) > PARCEL_LENGTH:
        return {"op": "=", "args": [field, code]}
    return {"op": "like", "args": [field, f"{code}%"]}


def _having(city: "City", layer: str, condition: dict[str, Any]) -> Features:
    if layer not in city:
        return place.collected(())
    return place.collected(city.store.query(layer, Query(filter=condition), city.scope))


def _on(city: "City", ground: shapely.Geometry) -> Features:
    if "building" not in city or shapely.is_empty(ground):
        return place.collected(())
    return place.collected(city.store.query("building", Query(region=ground), city.scope))


def _told(city: "City", found: Features, ground: shapely.Geometry | None, crs: str | None) -> dict[str, Any]:
    shapes = mended(found.geometry)
    area = areas_m2(shapes, city.crs)
    inside = np.full(len(shapes), np.nan)
    if ground is not None:
        inside = areas_m2(shapely.intersection(shapes, ground), city.crs)
    values = [
        attributes | {"area_on_ellipsoid_m2": float(own), "in_parcel_m2": None if np.isnan(part) else float(part)}
        for attributes, own, part in zip(found.attributes.to_pylist(), area, inside, strict=True)
    ]
    return place.geojson(city, found.geometry, values, found.ids, crs)


_CODE: dict[str, Any] = {"type": ["string", "null"]}

PROCESS = Process(
    id="cadastral-lookup",
    title=Title("不动产单元查询", "Cadastral lookup"),
    description=Title(
        "由 19 位宗地代码或 28 位不动产单元代码查宗地、户和其上的建筑，并给出各在宗地内的面积（椭球面积）。",
        "From a parcel's code of 19 characters or a unit's of 28 to the parcel, its units and the buildings on it, "
        "with how much of each lies in the parcel (on the ellipsoid).",
    ),
    inputs={
        "code": Parameter(Title("宗地或不动产单元代码", "Code"), {"type": "string", "minLength": 1, "maxLength": 100}),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "parcel_code": Parameter(Title("宗地代码", "Parcel code"), {"type": "string"}),
        "unit_code": Parameter(Title("不动产单元代码", "Unit code"), _CODE),
        "building_no": Parameter(Title("幢号", "Number of the building"), _CODE),
        "unit_no": Parameter(Title("户号", "Number of the unit"), _CODE),
        "is_unit_found": Parameter(Title("是否有该户", "The unit is in the city"), {"type": ["boolean", "null"]}),
        **{
            name: Parameter(title, place.FEATURES_OUT, media_type=place.GEOJSON)
            for name, title in (
                ("parcels", Title("宗地", "Parcels of the code")),
                ("units", Title("户", "Units")),
                ("buildings", Title("建筑", "Buildings that meet the parcel")),
            )
        },
    },
    function=cadastral_lookup,
    keywords=("cadastre", "不动产", "宗地"),
    is_quick=True,
)
