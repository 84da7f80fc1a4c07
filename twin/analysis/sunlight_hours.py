"""P19 sunlight-hours: how long windows see the sun on a day, and what a new building takes from them.

Definitions: GB 50180-2018 4.0.9 (day, span, hours, sill), GB/T 50947-2014 (true solar time, declination of 2001).
Exact in time (see `sunlight_shadow`); a building is a prism with a flat top.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from twin.analysis import features_input, place, site_features, sun_position, sunlight_day, sunlight_place
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.sunlight_day import Day
from twin.analysis.sunlight_shadow import Obstacles, Stretches, as_clock, reach_m, shading, sunlight
from twin.analysis.verdict import Verdict, verdict, worst

if TYPE_CHECKING:
    from twin.city import City
    from twin.store.interface import Features

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Sunlight:
    """Hours of windows.

    Attributes
    ----------
    at_least_h, at_most_h : (n,) equal where everything is known; NaN where nothing can be said
    stretches : with all buildings of unknown height as high as they may be
    longest : for windows whose two numbers differ, the stretches without these buildings
    unsure : for windows whose two numbers differ, the rows of buildings of unknown height that may shade them
    """

    at_least_h: FloatArray
    at_most_h: FloatArray
    stretches: Stretches
    longest: Mapping[int, list[list[float]]]
    unsure: Mapping[int, NDArray[np.int64]]


def hours_of(
    points: FloatArray, around: tuple[Obstacles, Obstacles], day: Day, *, latitude_deg: FloatArray,
    convergence_deg: FloatArray | float = 0.0, facing_deg: FloatArray | None = None, progress: Progress = SILENT,
) -> Sunlight:  # fmt: skip
    """Hours of sunlight.

    Parameters
    ----------
    points : (n, 3) east, north, height; a window whose height is NaN has no hours
    around : buildings of known height, and all of them with the greatest height that unknown ones may have
    latitude_deg, convergence_deg, facing_deg : (n,) as in `sunlight_shadow.sunlight`
    """
    n = len(points)
    rows = np.flatnonzero(np.isfinite(points[:, 2]))
    turn = np.broadcast_to(np.asarray(convergence_deg, np.float64), n)
    facing = np.full(n, np.nan) if facing_deg is None else facing_deg
    known, highest = around
    is_unknown = np.isnan(known.tops_m)
    settings: dict[str, Any] = {"declination": day.declination_deg, "from_h": day.from_h, "to_h": day.to_h}

    def run(some: NDArray[np.int64], buildings: Obstacles, part: Progress) -> Stretches:
        return sunlight(
            points[some], buildings, latitude_deg=latitude_deg[some], convergence_deg=turn[some],
            facing_deg=facing[some], progress=part, **settings,
        )  # fmt: skip

    low = run(rows, highest, progress.part(0, 70))
    hours = low.hours(day.shortest_min)
    at_least, at_most = np.full(n, np.nan), np.full(n, np.nan)
    at_least[rows] = at_most[rows] = hours
    unsure: dict[int, NDArray[np.int64]] = {}
    longest: dict[int, list[list[float]]] = {}
    if is_unknown.any() and rows.size:
        only = replace(highest, tops_m=np.where(is_unknown, highest.tops_m, np.nan))
        near = shading(points[rows], only, latitude_deg=latitude_deg[rows], convergence_deg=turn[rows], **settings)
        again = np.flatnonzero([len(each) > 0 for each in near])
        free = run(rows[again], known, progress.part(70, 100))
        high = free.hours(day.shortest_min)
        at_most[rows[again]] = high
        at_least[rows[again]] = np.where(np.isnan(hours[again]) & ~np.isnan(high), 0.0, hours[again])
        for k, (at, most) in enumerate(zip(again.tolist(), high.tolist(), strict=True)):
            if most - at_least[rows[at]] > 1e-9:
                unsure[int(rows[at])] = near[at]
                longest[int(rows[at])] = free.of(k)
    begins = np.zeros(n + 1, np.int64)
    begins[rows + 1] = np.diff(low.starts)
    inside = np.full(n, -1)
    inside[rows] = low.inside
    return Sunlight(at_least, at_most, Stretches(np.cumsum(begins), low.times_h, inside), longest, unsure)


def judged(at_least_h: float, at_most_h: float, limit_h: float | None) -> Verdict:
    """Pass or fail where both bounds say the same, else unknown."""
    if limit_h is None or np.isnan(at_least_h):
        return "unknown"
    low, high = verdict(at_least_h, ">=", limit_h), verdict(at_most_h, ">=", limit_h)
    return low if low == high else "unknown"


def sunlight_hours(
    city: "City",
    *,
    windows: dict[str, Any],
    buildings: dict[str, Any] | None = None,
    proposed: dict[str, Any] | None = None,
    use: str = "dwelling",
    latitude_deg: float | None = None,
    sill_m: float | None = None,
    spacing_m: float = 3.0,
    unknown_height_up_to_m: float | None = None,
    terrain: bool = False,
    crs: str | None = None,
    progress: Progress = SILENT,
    **day_inputs: Any,
) -> dict[str, Any]:
    """Hours of sunlight of each window, with the stretches, and the loss that `proposed` buildings cause."""
    from twin.supervision.rules import on_day

    book = on_day(site_features.today(), city.folder)
    day = sunlight_day.settle(book, use=use, **day_inputs)
    sill = float(book[sunlight_day.RULES[use]].parameters["sill_m"]) if sill_m is None else sill_m
    found = site_features.read(
        city, "windows", windows, kinds=(*place.AREAS, "Point"), columns=sunlight_place.WINDOW_COLUMNS
    )
    asked = sunlight_place.windows(city, found, sill, spacing_m)
    latitude, turn = sun_position.place_of(city.crs, asked.points[:, 0], asked.points[:, 1])
    facing = np.where(np.isnan(asked.facing_grid_deg), asked.facing_deg, asked.facing_grid_deg + turn)
    if latitude_deg is not None:
        latitude = np.full(len(asked), float(latitude_deg))
    bound = 100.0 if unknown_height_up_to_m is None else unknown_height_up_to_m
    progress(2, "buildings")
    around = _around(city, buildings, asked.points, latitude, day=day, bound=bound)
    top_of_window = float(np.nanmax(asked.points[:, 2], initial=0.0))
    where: dict[str, Any] = {"latitude_deg": latitude, "convergence_deg": turn, "facing_deg": facing}

    def lit(buildings: "Features", start: float, end: float) -> Sunlight:
        both = sunlight_place.prisms(city, buildings, bound, top_of_window)
        part = progress.part(start, end)
        made = hours_of(asked.points, both, day, progress=part.part(0, 90), **where)
        if not terrain:
            return made
        from twin.analysis.sunlight_terrain import behind_hills

        return behind_hills(city, asked.points, made, day, where, progress=part.part(90, 100))

    shown, before, names = lit(around, 5, 50), None, around.ids
    if proposed is not None:
        extra = sunlight_place.given_obstacles(city, "proposed", proposed)
        both = place.collected([_columns(around), _columns(extra)], "buildings")
        before, shown, names = shown, lit(both, 50, 99), both.ids
    rows = [_row(i, asked, shown, before, day=day, facing=facing, names=names) for i in range(len(asked))]
    return _answer(city, asked, rows, day=day, latitude=latitude, bound=bound, crs=crs)


def _columns(found: "Features") -> "Features":
    """Only what prisms are made of, so that layers of any schema go together."""
    import pyarrow as pa

    table = {name: place.numbers(found, name) for name in ("base_elev_m", "height_m", "top_elev_m")}
    return replace(found, attributes=pa.table(table))


def _around(
    city: "City", given: Mapping[str, Any] | None, points: FloatArray, latitude: FloatArray, *, day: Day, bound: float
) -> "Features":
    if given is not None:
        return sunlight_place.given_obstacles(city, "buildings", given)
    lowest = np.nanmin(points[:, 2], initial=np.inf)
    if not np.isfinite(lowest):
        return place.collected(())
    ends = (float(latitude.min()), float(latitude.max()))
    reach = [
        max(reach_m(phi, day.declination_deg, day.from_h, day.to_h, height) for phi in ends)
        for height in (bound, sunlight_place.MOST_HEIGHT_M)
    ]
    box = (*points[:, :2].min(axis=0).tolist(), *points[:, :2].max(axis=0).tolist())
    return sunlight_place.near_obstacles(city, box, reach[0] + 1.0, reach[1] + 1.0, float(lowest) + bound)


def _row(
    i: int, asked: sunlight_place.Windows, shown: Sunlight, before: Sunlight | None, *, day: Day, facing: FloatArray,
    names: list[str],
) -> dict[str, Any]:  # fmt: skip
    least, most = float(shown.at_least_h[i]), float(shown.at_most_h[i])
    is_known = most - least <= 1e-9
    note = _why(i, asked, shown, names)
    row: dict[str, Any] = {
        "window": asked.ids[i],
        "elev_m": _number(asked.points[i, 2]),
        "facing_deg": _number(facing[i] % 360.0, 3),
        "hours_h": _number(least) if is_known else None,
        "hours_at_least_h": _number(least),
        "hours_at_most_h": _number(most),
        "stretches_h": [[round(t, 6) for t in each] for each in shown.stretches.of(i)],
        "stretches": ["/".join(as_clock(each)) for each in shown.stretches.of(i)],
        "rule_id": day.rule.id if day.rule else None,
        "measured": _number(least) if is_known else None,
        "limit": day.limit_h,
        "unit": "h",
        "verdict": judged(least, most, day.limit_h),
        "source": f"{day.rule.source} {day.rule.clause}" if day.rule else None,
        "confidence": day.rule.confidence if day.rule else None,
        "note": note or (day.reason or None),
    }
    if before is not None:
        first = (float(before.at_least_h[i]), float(before.at_most_h[i]))
        sure = is_known and first[1] - first[0] <= 1e-9
        row["hours_before_h"] = _number(first[0]) if first[1] - first[0] <= 1e-9 else None
        row["loss_h"] = _number(first[0] - least) if sure else None
    return row


def _why(i: int, asked: sunlight_place.Windows, shown: Sunlight, names: list[str]) -> str | None:
    if np.isnan(asked.points[i, 2]):
        return "the window has no height: give z, elev_m or floor_elev_m"
    if i in shown.unsure:
        listed = ", ".join(names[j] for j in shown.unsure[i][:5].tolist())
        return f"height not known: {listed}"
    if shown.stretches.inside[i] >= 0:
        return f"the point lies inside building {names[shown.stretches.inside[i]]}"
    if np.isnan(shown.at_least_h[i]):
        return "there are no heights of the ground towards the sun"
    return None


def _number(value: float, digits: int = 6) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)


def _answer(
    city: "City", asked: sunlight_place.Windows, rows: list[dict[str, Any]], *, day: Day,
    latitude: FloatArray, bound: float, crs: str | None,
) -> dict[str, Any]:  # fmt: skip
    verdicts = [row["verdict"] for row in rows]
    at = np.where(np.isnan(asked.points[:, 2:]), 0.0, asked.points)
    shapes = np.where(np.isnan(asked.points[:, 2]), shapely.points(asked.points[:, :2]), shapely.points(at))
    return {
        "n_windows": len(rows),
        "declination_deg": round(day.declination_deg, 6),
        "declination_from": day.declination_from,
        "date": None if day.day is None else day.day.isoformat(),
        "from_h": day.from_h,
        "to_h": day.to_h,
        "latitude_deg": round(float(latitude.mean()), 6),
        "limit_h": day.limit_h,
        "unknown_height_up_to_m": bound,
        "counts": {each: verdicts.count(each) for each in ("pass", "fail", "review", "unknown")},
        "verdict": worst(verdicts),
        "features": place.geojson(city, shapes, rows, target=crs),
    }


_HOUR: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 24, "x-unit": "h"}
PROCESS = Process(
    id="sunlight-hours",
    title=Title("日照分析", "Hours of sunlight"),
    description=Title(
        "按真太阳时计算窗口在指定日的日照时段与累计时数（解析解，无时间步长），并可给出拟建建筑造成的损失；"
        "高度不明的建筑可能遮挡时，结果为区间，判定可为未知。",
        "When windows see the sun on a day and for how long, in true solar time and closed form, and what proposed "
        "buildings take away; where a building of unknown height may stand in the way, hours are bounds.",
    ),
    inputs={
        "windows": Parameter(
            Title("窗口点，或建筑轮廓（沿外墙布点）", "Points, or outlines of buildings (points along their walls)"),
            features_input.SCHEMA,
            description=Title(
                "点的高程取 z、elev_m 或 floor_elev_m 加窗台高；facing_deg 为窗面真方位角，可省略。",
                "Height of a point: z, elev_m, or floor_elev_m plus sill; facing_deg is the true azimuth it faces.",
            ),
        ),
        "buildings": Parameter(
            Title("遮挡建筑，默认为建筑图层", "Buildings in the way; the layer building when absent"),
            features_input.SCHEMA, required=False,
            description=Title("属性 base_elev_m、height_m 或 top_elev_m", "base_elev_m and height_m, or top_elev_m"),
        ),
        "proposed": Parameter(
            Title("拟建建筑", "Proposed buildings, added to the others"), features_input.SCHEMA, required=False
        ),
        "use": Parameter(
            Title("被遮挡建筑用途", "What the windows belong to"),
            {"type": "string", "enum": list(sunlight_day.RULES), "default": "dwelling"}, required=False,
        ),
        "climate_zone": Parameter(
            Title("建筑气候区划", "Climate zone for buildings"),
            {"type": "string", "enum": ["I", "II", "III", "IV", "V", "VI", "VII"]}, required=False,
        ),
        "population_person": Parameter(
            Title("城区常住人口", "Urban population"),
            {"type": "number", "minimum": 0, "maximum": 100_000_000, "x-unit": "person"}, required=False,
        ),
        "date": Parameter(
            Title("日期：great-cold 大寒日、winter-solstice 冬至日或年月日", "great-cold, winter-solstice or a date"),
            {"type": "string", "maxLength": 40}, required=False,
        ),
        "declination_deg": Parameter(
            Title("太阳赤纬（代替日期）", "Declination of the sun, instead of a date"),
            {"type": "number", "minimum": -23.45, "maximum": 23.45, "x-unit": "deg"}, required=False,
        ),
        "latitude_deg": Parameter(
            Title("纬度，默认为各窗口自身", "Latitude; each window's own when absent"),
            {"type": "number", "minimum": -90, "maximum": 90, "x-unit": "deg"}, required=False,
        ),
        "from_h": Parameter(Title("有效时段起", "Span of true solar time, from"), _HOUR, required=False),
        "to_h": Parameter(Title("有效时段止", "Span of true solar time, to"), _HOUR, required=False),
        "limit_h": Parameter(Title("标准时数", "Hours that are wanted"), _HOUR, required=False),
        "shortest_min": Parameter(
            Title("最短计入时段", "Shortest stretch that counts"),
            {"type": "number", "minimum": 0, "maximum": 120, "x-unit": "min"}, required=False,
        ),
        "sill_m": Parameter(
            Title("窗台高", "Sill above the floor"), {"type": "number", "minimum": 0, "maximum": 10, "x-unit": "m"},
            required=False,
        ),
        "spacing_m": Parameter(
            Title("沿外墙布点间距", "Spacing of points along walls"),
            {"type": "number", "minimum": 0.1, "maximum": 100, "default": 3.0, "x-unit": "m"}, required=False,
        ),
        "unknown_height_up_to_m": Parameter(
            Title("高度不明的建筑最高可达", "How high a building of unknown height may be"),
            {"type": "number", "minimum": 0, "maximum": 1000, "default": 100.0, "x-unit": "m"}, required=False,
        ),
        "terrain": Parameter(
            Title("地形也作为遮挡", "The ground hides the sun too"), {"type": "boolean", "default": False},
            required=False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "n_windows": Parameter(Title("测点数", "Number of points"), {"type": "integer"}),
        "declination_deg": Parameter(Title("太阳赤纬", "Declination used"), {"type": "number", "x-unit": "deg"}),
        "declination_from": Parameter(
            Title("赤纬来源", "Where the declination comes from"), {"type": "string", "enum": ["given", "date"]}
        ),
        "date": Parameter(Title("日期", "Day"), {"type": ["string", "null"]}),
        "from_h": Parameter(Title("有效时段起", "From"), {"type": "number", "x-unit": "h"}),
        "to_h": Parameter(Title("有效时段止", "To"), {"type": "number", "x-unit": "h"}),
        "latitude_deg": Parameter(Title("平均纬度", "Mean latitude"), {"type": "number", "x-unit": "deg"}),
        "limit_h": Parameter(Title("标准时数", "Limit"), {"type": ["number", "null"], "x-unit": "h"}),
        "unknown_height_up_to_m": Parameter(
            Title("高度不明建筑的上限", "Bound of unknown heights"), {"type": "number", "x-unit": "m"}
        ),
        "counts": Parameter(Title("各判定数", "Verdicts, counted"), {"type": "object"}),
        "verdict": Parameter(Title("判定", "Worst verdict"), {"type": "string"}),
        "features": Parameter(
            Title("测点结果", "Points with hours_h, stretches_h, verdict"), place.FEATURES_OUT,
            media_type=place.GEOJSON,
        ),
    },
    function=sunlight_hours,
    keywords=("sunlight", "shadow", "日照"),
)  # fmt: skip
