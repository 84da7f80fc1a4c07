"""P24 runoff-peak: peak flow by the rational formula, or depth of runoff by SCS curve numbers.

Rational: Q = C i A / 360 with C (-), i in mm/h, A in ha, Q in m³/s. SCS (NEH part 630, ch. 10): S = 25400 / CN - 254
mm, Q = (P - Ia)² / (P - Ia + S) for P > Ia, else 0, with Ia = 0.2 S unless another share is given.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from layers.errors import InvalidInput
from twin.analysis import place
from twin.analysis.features_input import SCHEMA
from twin.analysis.process import Parameter, Process

if TYPE_CHECKING:
    from twin.city import City

INITIAL_SHARE = 0.2
HA_M2 = 10_000.0


def rational_m3s(runoff_coefficient: float, intensity_mm_h: float, area_ha: float) -> float:
    """Peak flow in m³/s; InvalidInput names what is out of its range."""
    _between("runoff_coefficient", runoff_coefficient, 0.0, 1.0)
    _between("intensity_mm_h", intensity_mm_h, 0.0, 1000.0)
    _between("area", area_ha, 0.0, 1e8)
    return runoff_coefficient * intensity_mm_h * area_ha / 360.0


def retention_mm(curve_number: float) -> float:
    """Greatest retention S of a curve number, mm; InvalidInput where it is not above 0 and at most 100."""
    _between("curve_number", curve_number, 0.0, 100.0)
    if curve_number <= 0:
        raise InvalidInput("curve_number must be above 0.")
    return 25400.0 / curve_number - 254.0


def scs_runoff_mm(curve_number: float, rain_mm: float, initial_share: float = INITIAL_SHARE) -> float:
    """Depth of runoff in mm, between 0 and the rain."""
    _between("rain_mm", rain_mm, 0.0, 3000.0)
    _between("initial_share", initial_share, 0.0, 1.0)
    s = retention_mm(curve_number)
    left = rain_mm - initial_share * s
    if left <= 0:
        return 0.0
    return left * left / (left + s)


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN too
        raise InvalidInput(f"{name} is {value:g}; it must be between {low:g} and {high:g}.", "Check its unit.")


def runoff_peak(
    city: "City",
    *,
    method: str,
    area_m2: float | None = None,
    catchment: Mapping[str, Any] | None = None,
    runoff_coefficient: float | None = None,
    intensity_mm_h: float | None = None,
    curve_number: float | None = None,
    rain_mm: float | None = None,
    initial_share: float | None = None,
) -> dict[str, Any]:
    """Peak flow (`rational`) or depth and volume of runoff (`scs`); see `PROCESS`."""
    given = {
        "runoff_coefficient": runoff_coefficient, "intensity_mm_h": intensity_mm_h, "curve_number": curve_number,
        "rain_mm": rain_mm, "initial_share": initial_share,
    }  # fmt: skip
    wanted = ("runoff_coefficient", "intensity_mm_h") if method == "rational" else ("curve_number", "rain_mm")
    allowed = wanted if method == "rational" else (*wanted, "initial_share")
    for name, value in given.items():
        if value is not None and name not in allowed:
            raise InvalidInput(f"{name} has no meaning with {method}.", "Leave it out, or choose the other method.")
        if value is None and name in wanted:
            raise InvalidInput(f"{name} is missing: {method} needs it.")
    area = _area_m2(city, area_m2, catchment)
    if method == "rational":
        assert runoff_coefficient is not None
        assert intensity_mm_h is not None
        if area is None:
            raise InvalidInput("area_m2 is missing: rational needs it.", "Give area_m2 or catchment.")
        peak = rational_m3s(runoff_coefficient, intensity_mm_h, area / HA_M2)
        return {"method": method, "peak_m3s": peak, "area_m2": area, "area_ha": area / HA_M2}
    assert curve_number is not None
    assert rain_mm is not None
    share = INITIAL_SHARE if initial_share is None else initial_share
    runoff, retention = scs_runoff_mm(curve_number, rain_mm, share), retention_mm(curve_number)
    answer = {
        "method": method, "runoff_mm": runoff, "retention_mm": retention, "initial_mm": share * retention,
        "lost_mm": rain_mm - runoff,
    }  # fmt: skip
    if area is not None:
        answer |= {"area_m2": area, "area_ha": area / HA_M2, "volume_m3": runoff / 1000.0 * area}
    return answer


def _area_m2(city: "City", given: float | None, catchment: Mapping[str, Any] | None) -> float | None:
    if catchment is None:
        if given is not None and not np.isfinite(given):
            raise InvalidInput("area_m2 is no number.")
        return given
    if given is not None:
        raise InvalidInput("area_m2 and catchment are given both.", "Give one of them.")
    found = place.features(city, "catchment", catchment, kinds=place.AREAS, properties=())
    return float(areas_m2(found.geometry, city.crs).sum())


def _number(zh: str, en: str, unit: str, low: float, high: float, **more: Any) -> Parameter:
    schema = {"type": "number", "minimum": low, "maximum": high, "x-unit": unit, **more}
    return Parameter(Title(zh, en), schema, required=False)


PROCESS = Process(
    id="runoff-peak",
    title=Title("产流与洪峰", "Runoff and peak flow"),
    description=Title(
        "推理公式 Q = C·i·A/360（毫米/小时、公顷）求小流域洪峰；或 SCS 曲线法由降雨求径流深。",
        "Peak flow of a small catchment by the rational formula Q = C i A / 360 (mm/h, ha), or the depth of runoff "
        "from rain by SCS curve numbers.",
    ),
    inputs={
        "method": Parameter(Title("方法", "Method"), {"type": "string", "enum": ["rational", "scs"]}),
        "area_m2": _number("汇水面积", "Area of the catchment", "m2", 0, 1e12),
        "catchment": Parameter(
            Title("汇水区（面）", "Catchment: areas, measured on the ellipsoid"), SCHEMA, required=False
        ),
        "runoff_coefficient": _number("径流系数 C", "Runoff coefficient C", "1", 0, 1),
        "intensity_mm_h": _number("暴雨强度 i", "Intensity of the rain", "mm/h", 0, 1000),
        "curve_number": _number("曲线数 CN", "Curve number", "1", 0, 100, exclusiveMinimum=0),
        "rain_mm": _number("降雨量 P", "Rain", "mm", 0, 3000),
        "initial_share": _number("初损系数", "Initial loss as a share of S", "1", 0, 1, default=INITIAL_SHARE),
    },
    outputs={
        "method": Parameter(Title("方法", "Method"), {"type": "string"}),
        "peak_m3s": _number("洪峰流量", "Peak flow", "m3/s", 0, 1e9),
        "runoff_mm": _number("径流深", "Depth of runoff", "mm", 0, 3000),
        "volume_m3": _number("径流总量", "Volume of runoff", "m3", 0, 1e13),
        "retention_mm": _number("最大滞留量 S", "Greatest retention S", "mm", 0, 1e9),
        "initial_mm": _number("初损", "Initial loss", "mm", 0, 1e9),
        "lost_mm": _number("损失", "Rain that does not run off", "mm", 0, 3000),
        "area_m2": _number("汇水面积", "Area of the catchment", "m2", 0, 1e12),
        "area_ha": _number("汇水面积", "Area of the catchment", "ha", 0, 1e8),
    },
    function=runoff_peak,
    keywords=("runoff", "rational formula", "SCS", "peak flow"),
    is_quick=True,
)
