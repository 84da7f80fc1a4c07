"""P30 crane-conflict: tower cranes against one another, against buildings, against overhead lines.

Rules: GB 5144-2006 10.3 to 10.5 and its table 3 (`cranes.yaml`). The numbers are in `crane_conflict_reach`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from twin.analysis import features_input, place, site_features
from twin.analysis.crane_conflict_reach import MOST_JIB_M, MOST_TAIL_M, Cranes, line_gaps, pairs, tails
from twin.analysis.process import Parameter, Process
from twin.analysis.sunlight_place import once
from twin.analysis.verdict import SAME, WORST_FIRST, Verdict, worst
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City
    from twin.supervision.rules import Rule, RuleBook

FloatArray = NDArray[np.float64]

TO_MAST, VERTICAL, TAIL, LINE = "crane-jib-to-mast", "crane-vertical-gap", "crane-tail-to-building", "crane-power-line"
COLUMNS = ("jib_m", "tail_m", "low_part_elev_m", "top_elev_m")
LENGTHS = (("jib_m", MOST_JIB_M), ("tail_m", MOST_TAIL_M))
BUILDING_COLUMNS = ("base_elev_m", "height_m", "top_elev_m", "same_as")


@dataclass(frozen=True)
class Row:
    """One thing held against a rule: rows of the two things, the number, its verdict and more to tell."""

    rule: "Rule"
    first: int
    second: int
    measured: float | None
    limit: float | None
    verdict: Verdict
    confidence: str
    note: str
    more: Mapping[str, Any]


def cranes_of(found: Features, name: str = "cranes") -> Cranes:
    """Cranes of features. InvalidInput names what is wrong."""
    at = shapely.get_coordinates(shapely.force_2d(shapely.point_on_surface(found.geometry)))
    lengths = [site_features.numbers(found, name, each, least=0, most=most) for each, most in LENGTHS]
    heights = [site_features.numbers(found, name, each, least=-500, most=9500) for each in COLUMNS[2:]]
    jib, tail = (np.where(each == 0, np.nan, each) for each in lengths)  # no crane has a jib of nothing
    return Cranes(at[:, 0], at[:, 1], jib, tail, *heights)


def pair_rows(cranes: Cranes, book: "RuleBook") -> list[Row]:
    """Two rows for each pair that comes near: jib to mast, and vertical gap where the circles overlap."""
    to_mast, vertical = book[TO_MAST], book[VERTICAL]
    found = pairs(cranes, float(book[LINE].parameters["look_within_m"]))
    made = []
    for k in range(len(found.a)):
        a, b = int(found.a[k]), int(found.b[k])
        more = {
            "distance_m": _number(found.distance_m[k]), "circle_overlap_m": _number(found.overlap_m[k]),
            "low": int(found.low[k]), "low_jib_to_other_mast_m": _number(found.jib_to_mast_m[k]),
            "vertical_gap_m": _number(found.vertical_gap_m[k]),
        }  # fmt: skip
        number = _number(found.jib_to_mast_m[k])
        told = to_mast.judged(number)
        note = "" if number is not None else "jib_m is not known"
        if told != "pass" and number is not None and found.low[k] < 0 and not _is_level(cranes, a, b):
            told, note = "unknown", "which crane is higher is not known"
        made.append(Row(to_mast, a, b, number, to_mast.value, told, to_mast.confidence, note, more))
        if found.overlap_m[k] <= SAME:
            continue
        gap = _number(found.vertical_gap_m[k])
        note = "" if gap is not None else "low_part_elev_m or top_elev_m is not known"
        told = vertical.judged(gap)
        if np.isnan(found.overlap_m[k]) and told != "pass":
            told, note = "unknown", "jib_m is not known"
        made.append(Row(vertical, a, b, gap, vertical.value, told, vertical.confidence, note, more))
    return made


def _is_level(cranes: Cranes, a: int, b: int) -> bool:
    return bool(abs(cranes.low_part_elev_m[a] - cranes.low_part_elev_m[b]) <= SAME)


def tail_rows(cranes: Cranes, footprints: NDArray[np.object_], tops_m: FloatArray, book: "RuleBook") -> list[Row]:
    """A row for each building that a tail comes near in plan."""
    rule = book[TAIL]
    limit = float(rule.value or 0.0)
    made = []
    for c, b, free, flat in zip(*tails(cranes, footprints, tops_m, limit), strict=True):
        number = _number(free)
        note = "" if number is not None else "tail_m is not known" if np.isnan(flat) else "heights are not known"
        more = {"plan_gap_m": _number(flat)}
        made.append(Row(rule, int(c), int(b), number, limit, rule.judged(number), rule.confidence, note, more))
    return made


def line_rows(cranes: Cranes, lines: NDArray[np.object_], voltage_kv: FloatArray, book: "RuleBook") -> list[Row]:
    """A row for each line that a crane comes near: safe when the horizontal or the vertical distance is kept."""
    rule = book[LINE]
    look = float(rule.parameters["look_within_m"])
    reach = np.fmax(cranes.jib_m, cranes.tail_m)
    far = np.where(np.isnan(cranes.jib_m), MOST_JIB_M, reach)
    if not len(cranes) or not len(lines):
        return []
    crane, line = shapely.STRtree(lines).query(cranes.masts, "dwithin", far + look)
    made = []
    for c, i in sorted(zip(crane.tolist(), line.tolist(), strict=True)):
        volts = float(voltage_kv[i])
        row = None if np.isnan(volts) else rule.row({"voltage_kv": volts})
        limits = row.value if row else {"horizontal_m": np.inf, "vertical_m": np.nan}
        heights = (float(cranes.low_part_elev_m[c]), float(cranes.top_elev_m[c]))
        jib = float(far[c])
        flat, rise = line_gaps(
            (float(cranes.x[c]), float(cranes.y[c])), jib, heights, lines[i],
            limits["horizontal_m"] if row else look,
        )  # fmt: skip
        told, note = _line_verdict(flat, rise, limits if row else None, is_jib_known=not np.isnan(cranes.jib_m[c]))
        sure = row.confidence if row else rule.confidence
        if told == "fail" and sure == "low":
            told = "review"
        if np.isnan(volts):
            note = "voltage_kv is not known"
        more = {
            "voltage_kv": _number(volts), "horizontal_gap_m": _number(flat), "vertical_gap_m": _number(rise),
            "horizontal_limit_m": limits["horizontal_m"] if row else None,
            "vertical_limit_m": limits["vertical_m"] if row else None,
            "too_close_horizontally": bool(flat < limits["horizontal_m"] - SAME) if row else None,
        }  # fmt: skip
        limit = limits["horizontal_m"] if row else None
        made.append(Row(rule, c, i, _number(flat), limit, told, sure, note, more))
    return made


def _line_verdict(
    flat: float, rise: float, limits: Mapping[str, float] | None, *, is_jib_known: bool
) -> tuple[Verdict, str]:
    if limits is None:
        return "unknown", "the table has no line for this voltage"
    if flat >= limits["horizontal_m"] - SAME or rise >= limits["vertical_m"] - SAME:
        return "pass", ""
    if not is_jib_known:
        return "unknown", "jib_m is not known"
    if np.isnan(rise):
        return "unknown", "heights of the line or of the crane are not known"
    return "fail", ""


def tops_of(found: Features, name: str = "buildings") -> FloatArray:
    """(n,) tops of buildings: `top_elev_m`, else base and height; NaN where they are not known."""
    base, height, top = (
        site_features.numbers(found, name, each, least=-500, most=10_000) for each in BUILDING_COLUMNS[:3]
    )
    return np.where(np.isnan(top), base + np.where(height > 0, height, np.nan), top)


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def crane_conflict(
    city: "City",
    *,
    cranes: dict[str, Any],
    buildings: dict[str, Any] | None = None,
    lines: dict[str, Any] | None = None,
    crs: str | None = None,
) -> dict[str, Any]:
    """Rows for pairs, tails and lines. Buildings and lines are those of the city around the cranes when absent."""
    from twin.supervision.rules import on_day

    book = on_day(site_features.today(), city.folder)
    found = site_features.read(city, "cranes", cranes, kinds=("Point",), columns=COLUMNS)
    read = cranes_of(found)
    houses = _around(city, "buildings", buildings, "building", read, columns=BUILDING_COLUMNS, kinds=place.AREAS)
    wires = _around(city, "lines", lines, "power_line", read, columns=("voltage_kv",), kinds=place.LINES)
    volts = site_features.numbers(wires, "lines", "voltage_kv", least=0, most=2000)
    rows: list[tuple[Row, list[str]]] = [(row, found.ids) for row in pair_rows(read, book)]
    rows += [(row, houses.ids) for row in tail_rows(read, houses.geometry, tops_of(houses), book)]
    rows += [(row, wires.ids) for row in line_rows(read, wires.geometry, volts, book)]
    ends = [([read.x[row.first], read.y[row.first]], _other(row, read, houses, wires)) for row, _ in rows]
    shapes = [shapely.LineString(each) for each in ends]
    told = [_told(row, found.ids, other) for row, other in rows]
    given = (buildings, lines)
    is_looked_at = len(found) > 1 or given != (None, None) or "building" in city or "power_line" in city
    return {
        "n_cranes": len(found),
        "n_pairs": sum(row.rule.id == TO_MAST for row, _ in rows),
        "counts": {each: sum(row.verdict == each for row, _ in rows) for each in WORST_FIRST},
        "verdict": worst([row.verdict for row, _ in rows]) if rows else "pass" if is_looked_at else "unknown",
        "conflicts": place.geojson(city, np.array(shapes, dtype=object), told, target=crs),
    }


def _other(row: Row, cranes: Cranes, houses: Features, wires: Features) -> list[float]:
    mast = shapely.Point(cranes.x[row.first], cranes.y[row.first])
    if row.rule.id in {TO_MAST, VERTICAL}:
        return [float(cranes.x[row.second]), float(cranes.y[row.second])]
    thing = (houses if row.rule.id == TAIL else wires).geometry[row.second]
    nearest = shapely.shortest_line(mast, shapely.force_2d(thing))
    found: list[float] = shapely.get_coordinates(nearest)[-1].tolist()
    return found


def _told(row: Row, cranes: list[str], other: list[str]) -> dict[str, Any]:
    more = dict(row.more)
    if "low" in more:
        more["low"] = None if more["low"] < 0 else cranes[more["low"]]
    return {
        "crane": cranes[row.first], "other": other[row.second], "rule_id": row.rule.id, "measured": row.measured,
        "limit": row.limit, "unit": row.rule.unit, "verdict": row.verdict,
        "source": f"{row.rule.source} {row.rule.clause}", "confidence": row.confidence, "note": row.note or None,
        **more,
    }  # fmt: skip


def _around(
    city: "City", name: str, given: Mapping[str, Any] | None, layer: str, cranes: Cranes, *, columns: tuple[str, ...],
    kinds: tuple[str, ...],
) -> Features:  # fmt: skip
    if given is not None:
        return site_features.read(city, name, given, kinds=kinds, columns=columns)
    if layer not in city:
        return place.collected(())
    reach = np.fmax(np.where(np.isnan(cranes.jib_m), MOST_JIB_M, cranes.jib_m), cranes.tail_m) + 30.0
    spots = np.column_stack([cranes.x, cranes.y, cranes.x, cranes.y])
    return once(site_features.around(city, layer, site_features.boxes(spots, reach), columns))


PROCESS = Process(
    id="crane-conflict",
    title=Title("塔机冲突分析", "Conflicts of tower cranes"),
    description=Title(
        "塔机之间（臂端至塔身、垂直间距）、尾部至建筑物、至架空输电线的距离及判定；缺数据时为未知。",
        "Distances and verdicts of tower cranes: to one another (end of jib to mast, vertical gap), tail to buildings, "
        "and to overhead lines; what lacks data is unknown.",
    ),
    inputs={
        "cranes": Parameter(
            Title("塔机", "Cranes"), features_input.SCHEMA,
            description=Title(
                "点，属性 jib_m、tail_m、low_part_elev_m、top_elev_m",
                "Points with jib_m, tail_m, low_part_elev_m, top_elev_m",
            ),
        ),
        "buildings": Parameter(
            Title("建筑，默认为塔机周围的建筑", "Buildings; those of the city when absent"), features_input.SCHEMA,
            required=False,
        ),
        "lines": Parameter(
            Title("架空电力线，属性 voltage_kv", "Overhead lines with voltage_kv; those of the city when absent"),
            features_input.SCHEMA, required=False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "n_cranes": Parameter(Title("塔机数", "Number of cranes"), {"type": "integer"}),
        "n_pairs": Parameter(Title("相邻塔机对数", "Pairs that come near each other"), {"type": "integer"}),
        "counts": Parameter(Title("各判定数", "Verdicts, counted"), {"type": "object"}),
        "verdict": Parameter(Title("判定", "Worst verdict"), {"type": "string"}),
        "conflicts": Parameter(
            Title("逐项结果", "Rows with rule, measured, limit and verdict"), place.FEATURES_OUT,
            media_type=place.GEOJSON,
        ),
    },
    function=crane_conflict,
    keywords=("crane", "power line", "塔机"),
    is_quick=True,
)  # fmt: skip
