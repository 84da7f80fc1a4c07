"""P34 building-energy: energy and carbon of buildings by floor area, by building, street, town and use, ranked.

Intensity = energy of twelve months / gross floor area. A year with a month missing, or a building without floor area,
has none: nothing is stretched or estimated. Factors are inputs, each with its date, because they change every year.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input
from twin.analysis.building_energy_sums import MONTHS, Group, Used, grouped, month_number, ranks, used
from twin.analysis.place import ANSWER_CRS, FEATURES_OUT, GEOJSON, collected, features, geojson, numbers, words
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import verdict
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City
    from twin.supervision.indicators import Zones

FloatArray = NDArray[np.float64]
NO_STREET = ""
_DATE = "^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$"
_COLUMNS = ("building_code", "name", "gfa_m2", "use", "key_energy", "xzqdm")


@dataclass(frozen=True)
class Factors:
    """Of carbon and of gas, and when they were valid; None where not given."""

    co2_kg_per_kwh: float | None = None
    co2_kg_per_m3: float | None = None
    gas_kwh_per_m3: float | None = None
    date: str | int | None = None

    def checked(self) -> "Factors":
        """InvalidInput where a factor has no date."""
        given = [
            name for name in ("co2_kg_per_kwh", "co2_kg_per_m3", "gas_kwh_per_m3") if getattr(self, name) is not None
        ]
        if given and not self.date:
            raise InvalidInput(f"factor_date: {given[0]} needs the date it is of.", "Give for example 2024-12-31.")
        return self


def building_energy(
    city: "City",
    *,
    buildings: Mapping[str, Any] | None = None,
    readings: Mapping[str, Any] | None = None,
    year: int | None = None,
    co2_kg_per_kwh: float | None = None,
    co2_kg_per_m3: float | None = None,
    gas_kwh_per_m3: float | None = None,
    factor_date: str | int | None = None,
    limits: Mapping[str, float] | None = None,
    limit_source: str | None = None,
    xzqdm: str | int | None = None,
    level: str = "town",
    street_within_m: float = 100.0,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Intensity and carbon of each building with readings, and of groups of them; see the inputs' descriptions."""
    from twin.analysis.plan_indicators import source_of, zones_of
    from twin.supervision.indicators.amounts import place

    factors = Factors(co2_kg_per_kwh, co2_kg_per_m3, gas_kwh_per_m3, factor_date).checked()
    if limits and not limit_source:
        raise InvalidInput("limit_source: limits need the document they are from.", "Name it.")
    asked = buildings or {"collection": "building"}
    columns = features_input.wanted(city, "buildings", asked, _COLUMNS)
    houses = features(city, "buildings", asked, properties=columns)
    progress(20, "readings")
    table = _readings(city, readings or {"collection": "energy_meter_obs"})
    chosen, sums, unmatched = _year(houses, table, year)
    rows = np.flatnonzero((sums.n_months > 0) | (sums.n_gas_months > 0))
    numbers_of = _numbers(houses, sums, factors)
    where = zones_of(source_of(city, None, None, ()), level, xzqdm, None)
    slot = place(where, houses)
    if where.is_part:
        rows = rows[slot[rows] <= len(where)]
    progress(60, "streets")
    streets = _streets(city, houses, rows, street_within_m)
    told = _told(houses, rows, sums, numbers_of, limits or {})
    for entry, row, street in zip(told, rows.tolist(), streets, strict=True):
        entry |= {"street": street or None, **_zone(where, int(slot[row]))}
    inside = np.array([int(slot[row]) <= len(where) for row in rows.tolist()], bool)
    uses = [each or "" for each in words(houses, "use")]
    return {
        "year": chosen, "energy": "electricity and gas" if gas_kwh_per_m3 is not None else "electricity",
        "factors": vars(factors) | {"limit_source": limit_source},
        "city": _group(_by(["city"] * int(inside.sum()), numbers_of, rows[inside]).get("city", _none(numbers_of))),
        "by_zone": _by_zone(where, slot, numbers_of, rows),
        "by_street": _list(_by(np.array(streets, object)[inside].tolist(), numbers_of, rows[inside]), "street"),
        "by_use": _list(_by([uses[row] for row in rows[inside].tolist()], numbers_of, rows[inside]), "use"),
        "buildings": geojson(city, shapely.force_2d(houses.geometry[rows]), told, _taken(houses.ids, rows), crs),
        "unmatched": unmatched | {"n_repeated": sums.n_repeated},
        "n_key_without_readings": _silent(houses, rows),
    }  # fmt: skip


def _readings(city: "City", given: Mapping[str, Any]) -> Features:
    """The readings; InvalidInput where there are none."""
    columns = features_input.wanted(city, "readings", given, ("building_id", "month", "kwh", "gas_m3"))
    found = collected(features_input.read(city, "readings", given, properties=columns), "readings")
    if not len(found):
        raise InvalidInput("readings has no reading.", "Check its filter.")
    return found


def _year(houses: Features, table: Features, year: int | None) -> tuple[int, Used, dict[str, Any]]:
    """The year asked for (the latest with all months, else the latest), its sums by building, what fits no building."""
    number = {code: row for row, code in enumerate(words(houses, "building_code")) if code}
    number |= {name: row for row, name in enumerate(houses.ids)}
    owner = np.array([number.get(each or "", -1) for each in words(table, "building_id")], np.int64)
    told = [month_number(each) for each in words(table, "month")]
    month = np.array([-1 if each is None else each for each in told], np.int64)
    kwh, gas = numbers(table, "kwh"), numbers(table, "gas_m3")
    for name, values in (("kwh", kwh), ("gas_m3", gas)):
        bad = np.flatnonzero((values < 0) | np.isinf(values))
        if bad.size:
            raise InvalidInput(f"readings: {name} of {table.ids[bad[0]]!r} is {values[bad[0]]:g}.", "Correct it.")
    years = sorted({int(each) // 12 for each in month[month >= 0]})
    if not years:
        raise InvalidInput("readings: no reading has a month.", "Write month as 2025-01.")
    whole = [each for each in years if len({int(m) for m in month if m // 12 == each}) == MONTHS]
    chosen = year if year is not None else (whole or years)[-1]
    if chosen not in years:
        raise InvalidInput(f"year: there are no readings of {chosen}.", f"They are of {', '.join(map(str, years))}.")
    of_year = month // 12 == chosen
    known = of_year & (owner >= 0)
    sums = used(len(houses), owner[known], month[known] % 12, kwh[known], gas[known])
    lost = of_year & (owner < 0)
    unmatched = {
        "n": int(lost.sum()), "kwh": float(np.nansum(kwh[lost])), "gas_m3": float(np.nansum(gas[lost])),
        "building_ids": sorted(set(filter(None, _taken(words(table, "building_id"), np.flatnonzero(lost)))))[:1000],
        "n_without_month": int((month < 0).sum()),
    }  # fmt: skip
    return chosen, sums, unmatched


def _numbers(houses: Features, sums: Used, factors: Factors) -> dict[str, FloatArray]:
    """(n,) of every building; `eui` and `co2_m2` are NaN where they cannot be told."""
    gfa = numbers(houses, "gfa_m2")
    gfa = np.where(gfa > 0, gfa, np.nan)
    energy = sums.kwh.copy()
    is_whole = sums.is_whole
    if factors.gas_kwh_per_m3 is not None:
        energy = energy + sums.gas_m3 * factors.gas_kwh_per_m3
        is_whole &= (sums.n_gas_months == 0) | (sums.n_gas_months == MONTHS)
    co2 = np.full(len(houses), np.nan)
    if factors.co2_kg_per_kwh is not None:
        co2 = sums.kwh * factors.co2_kg_per_kwh + sums.gas_m3 * (factors.co2_kg_per_m3 or 0.0)
    rated = is_whole & ~np.isnan(gfa)
    return {
        "kwh": sums.kwh, "gas_m3": sums.gas_m3, "energy_kwh": energy, "gfa_m2": np.nan_to_num(gfa), "co2_kg": co2,
        "eui": np.where(rated, energy / gfa, np.nan), "co2_m2": np.where(rated, co2 / gfa, np.nan),
        "rated": rated.astype(float), "is_whole": is_whole.astype(float), "has_gfa": (~np.isnan(gfa)).astype(float),
    }  # fmt: skip


def _told(
    houses: Features, rows: NDArray[np.int64], sums: Used, own: dict[str, FloatArray], limits: Mapping[str, float]
) -> list[dict[str, Any]]:
    """A row of properties for each building with readings."""
    rank = ranks(own["eui"][rows])
    uses, names = words(houses, "use"), words(houses, "name")
    made = []
    for place, row in zip(rank, rows.tolist(), strict=True):
        eui = _number(own["eui"][row])
        limit = limits.get(uses[row] or "")
        missing = [] if own["is_whole"][row] else [f"months: {sums.n_months[row]} of {MONTHS}"]
        missing += [] if own["has_gfa"][row] else ["gfa_m2"]
        made.append({
            "name": names[row], "use": uses[row], "gfa_m2": own["gfa_m2"][row] or None, "kwh": own["kwh"][row],
            "gas_m3": own["gas_m3"][row], "n_months": int(sums.n_months[row]), "eui_kwh_m2": eui,
            "co2_kg": _number(own["co2_kg"][row]), "co2_kg_m2": _number(own["co2_m2"][row]), "rank": place,
            "measured": eui, "limit": limit, "unit": "kWh/m2", "verdict": verdict(eui, "<=", limit),
            "missing": "; ".join(missing) or None,
        })  # fmt: skip
    return made


def _taken(things: Sequence[Any], rows: NDArray[np.int64]) -> list[Any]:
    return [things[row] for row in rows.tolist()]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _streets(city: "City", houses: Features, rows: NDArray[np.int64], within_m: float) -> list[str]:
    """(n,) name of the nearest road that has one, not farther than `within_m`; empty where there is none."""
    if "road" not in city or not len(rows):
        return [NO_STREET] * len(rows)
    roads = features(city, "road", {"collection": "road"}, properties=("name",))
    told = words(roads, "name")
    named = np.array([row for row, name in enumerate(told) if name], np.int64)
    if not named.size:
        return [NO_STREET] * len(rows)
    tree = shapely.STRtree(shapely.force_2d(roads.geometry[named]))
    shapes = shapely.force_2d(houses.geometry[rows])
    made = [NO_STREET] * len(rows)
    house, road = tree.query_nearest(shapes, max_distance=max(within_m, 1e-9), all_matches=True)
    for row, index in zip(house.tolist(), named[road].tolist(), strict=True):
        made[row] = min(filter(None, (made[row], told[index] or "")))
    return made


def _zone(where: "Zones", slot: int) -> dict[str, Any]:
    k = len(where)
    if slot < k:
        return {"xzqdm": where.codes[slot], "zone": where.names[slot]}
    return {"xzqdm": None, "zone": ("rest", "outside", "unlocated")[slot - k]}


def _by(group: Sequence[str], own: dict[str, FloatArray], rows: NDArray[np.int64]) -> dict[str, Group]:
    return grouped(group, {name: values[rows] for name, values in own.items()}, own["rated"][rows] > 0)


def _by_zone(where: "Zones", slot: NDArray[np.int64], own: dict[str, FloatArray], rows: NDArray[np.int64]) -> Any:
    k = len(where)
    none = _none(own)
    found = _by([str(each) for each in slot[rows].tolist()], own, rows)
    made = []
    for index in range(k + 3):
        group = found.get(str(index))
        if index < k or group is not None:
            kind = "zone" if index < k else ("rest", "outside", "unlocated")[index - k]
            code, name = (where.codes[index], where.names[index]) if index < k else ("", "")
            made.append({"xzqdm": code, "name": name, "kind": kind, **_group(group or none)})
    return made


def _none(own: dict[str, FloatArray]) -> Group:
    """A group without buildings: it used nothing and has no intensity."""
    co2 = None if np.isnan(own["co2_kg"]).any() else 0.0
    return Group(0, 0, 0.0, 0.0, 0.0, 0.0, co2, co2)


def _group(group: Group) -> dict[str, Any]:
    """A group as a JSON object."""
    return {
        "n_buildings": group.n, "n_rated": group.n_rated, "kwh": group.kwh, "gas_m3": group.gas_m3,
        "rated_energy_kwh": group.energy_kwh, "rated_gfa_m2": group.gfa_m2, "eui_kwh_m2": group.eui,
        "co2_kg": group.co2_kg, "co2_kg_m2": group.co2_m2,
    }  # fmt: skip


def _list(found: Mapping[str, Group], name: str) -> list[dict[str, Any]]:
    rows = [{name: key or None, **_group(group)} for key, group in found.items()]
    return sorted(rows, key=lambda row: -(row["eui_kwh_m2"] or 0.0))


def _silent(houses: Features, rows: NDArray[np.int64]) -> int:
    """Key energy buildings without any reading."""
    if "key_energy" not in houses.attributes.column_names:
        return 0
    is_key = np.array([each is True for each in houses.attributes["key_energy"].to_pylist()], bool)
    is_key[rows] = False
    return int(is_key.sum())


def _factor(zh: str, en: str, most: float, unit: str) -> Parameter:
    schema = {"type": "number", "minimum": 0, "maximum": most, "x-unit": unit}
    return Parameter(Title(zh, en), schema, required=False)


def _process() -> Process:
    from twin.analysis.plan_indicators import LEVEL, XZQDM

    table: dict[str, Any] = {"type": "array", "items": {"type": "object"}}
    return Process(
        id="building-energy",
        title=Title("建筑能耗与碳排放", "Building energy and carbon"),
        description=Title(
            "按建筑、道路、镇街、用途统计全年单位面积能耗与碳排放并排名，与限值比较。缺月份或缺建筑面积的不推算。排放因子须注明日期。",
            "Energy and carbon by floor area over a year, by building, street, town and use, ranked and held against "
            "limits. Missing months or floor areas are not made up. Factors come with their date.",
        ),
        inputs={
            "buildings": Parameter(
                Title("建筑", "Buildings, with gfa_m2; the layer building when absent"),
                features_input.SCHEMA,
                required=False,
            ),
            "readings": Parameter(
                Title("读数", "Readings by month: building_id, month, kwh, gas_m3; energy_meter_obs when absent"),
                features_input.SCHEMA,
                required=False,
            ),
            "year": Parameter(
                Title("年份", "Year; the latest with all months when absent"),
                {"type": "integer", "minimum": 1900, "maximum": 2200, "x-unit": "a"},
                required=False,
            ),
            "co2_kg_per_kwh": _factor("电力排放因子", "kgCO2 a kWh of electricity", 10, "kg/kWh"),
            "co2_kg_per_m3": _factor("燃气排放因子", "kgCO2 a m3 of gas; gas has none when absent", 10, "kg/m3"),
            "gas_kwh_per_m3": _factor("燃气热值", "kWh a m3 of gas; only electricity when absent", 100, "kWh/m3"),
            "factor_date": Parameter(
                Title("因子日期", "Date of the factors"),
                {"type": ["string", "integer"], "pattern": _DATE, "minimum": 1900, "maximum": 2200},
                required=False,
            ),
            "limits": Parameter(
                Title("能耗限值", "Limits by use"),
                {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "x-unit": "kWh/m2"}},
                required=False,
            ),
            "limit_source": Parameter(
                Title("限值依据", "Document of the limits"), {"type": "string", "minLength": 1}, required=False
            ),
            "xzqdm": XZQDM,
            "level": LEVEL,
            "street_within_m": Parameter(
                Title("道路距离", "A building belongs to the nearest named road within"),
                {"type": "number", "minimum": 0, "maximum": 5000, "x-unit": "m", "default": 100},
                required=False,
            ),
            "crs": ANSWER_CRS,
        },
        outputs={
            "year": Parameter(Title("年份", "Year"), {"type": "integer"}),
            "energy": Parameter(Title("能源", "What counts as energy"), {"type": "string"}),
            "factors": Parameter(Title("因子", "Factors and their date"), {"type": "object"}),
            "city": Parameter(Title("全市", "All in the city: kWh, m3, kWh/m2, kg, kg/m2"), {"type": "object"}),
            "by_zone": Parameter(Title("分区", "By zone; zones and rest add up to the city"), table),
            "by_street": Parameter(Title("道路", "By street, highest first; they add up to the city"), table),
            "by_use": Parameter(Title("用途", "By use, highest first; they add up to the city"), table),
            "buildings": Parameter(Title("建筑", "Buildings with readings"), FEATURES_OUT, media_type=GEOJSON),
            "unmatched": Parameter(
                Title("未匹配", "Readings of no building, without month, or told twice"), {"type": "object"}
            ),
            "n_key_without_readings": Parameter(
                Title("无读数的重点建筑数", "Key energy buildings without readings"), {"type": "integer"}
            ),
        },
        function=building_energy,
        keywords=("energy", "carbon", "EUI"),
    )  # fmt: skip


PROCESS = _process()
