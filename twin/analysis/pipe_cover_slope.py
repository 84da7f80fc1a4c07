"""P26 pipe-cover-slope: cover over drains along their length, slope, diameter, velocity and flow at full bore.

Cover is ground - outer top, the least anywhere on the pipe; slope is fall by length in plan in the direction of flow;
velocity is Manning's at full bore. Limits are those of GB 50014-2021 as data, or one's own.
"""

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from layers.catalogue import Title
from layers.errors import NotFound
from twin.analysis import place
from twin.analysis.elevation import terrain_of
from twin.analysis.features_input import RASTER_SCHEMA
from twin.analysis.pipe_carriageway import carriageways
from twin.analysis.pipe_clearance import PIPES
from twin.analysis.pipe_drain_rules import SURFACES, Row, inlets_of, rows, with_limit
from twin.analysis.pipe_drains import Drains, drains
from twin.analysis.pipes import DRAIN_LAYERS, DRAINS, Pipes
from twin.analysis.pipes import read as read_pipes
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import worst
from twin.store.interface import Query
from twin.supervision.rules import RuleBook, on_day
from twin.terrain import Terrain

if TYPE_CHECKING:
    from twin.city import City

MOST = 10_000


def pipe_cover_slope(
    city: "City",
    *,
    pipes: list[dict[str, Any]] | None = None,
    dem: dict[str, Any] | None = None,
    surface: str | None = None,
    min_cover_m: float | None = None,
    min_slope: float | None = None,
    manning_n: float | None = None,
    include_passes: bool = False,
    limit: int = MOST,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Drains of the city, or the pipes given, against the rules of cover, slope, diameter and velocity.

    The surface over a pipe is its property `surface`, else a carriageway where a road of the city (line with width, or
    area) is over it, else `surface`; where none says so, both limits are tried.
    """
    given = read_pipes(city, pipes, DRAIN_LAYERS)
    book = on_day(dt.datetime.now(dt.UTC).date(), city.folder)
    for rule, value in (("drain-cover", min_cover_m), ("drain-slope", min_slope)):
        book = RuleBook([*book, with_limit(book[rule], value)], book.day)
    roads = None if surface is not None else carriageways(city, given.geometry)
    found = drains(given, _terrain(city, dem), roads, book, manning_n=manning_n, progress=progress.part(0, 70))
    inlets = _inlets(city)
    progress(75, "rules")
    made = rows(given, found, book, surface=surface, inlets=inlets)
    return _answer(city, given, found, made, is_all=include_passes, limit=limit, crs=crs)


def _terrain(city: "City", dem: dict[str, Any] | None) -> Terrain | None:
    if dem is not None:
        return terrain_of(city, "dem", dem)
    try:
        return terrain_of(city, "dem", None)
    except NotFound:
        return None  # cover is unknown then, and says so


def _inlets(city: "City") -> frozenset[str]:
    if "pipe_node" not in city:
        return frozenset()
    query = Query(properties=("node_code", "appendage"), with_geometry=False)
    found = place.collected(city.store.query("pipe_node", query, city.scope), "pipe_node")
    return inlets_of(place.words(found, "node_code"), place.words(found, "appendage"))


def _answer(
    city: "City", given: Pipes, found: Drains, made: list[Row], *, is_all: bool, limit: int, crs: str | None
) -> dict[str, Any]:
    counts = {each: sum(row.judged.verdict == each for row in made) for each in ("fail", "review", "unknown", "pass")}
    order = {"fail": 0, "review": 1, "unknown": 2, "pass": 3}
    told = sorted((row for row in made if is_all or row.judged.verdict != "pass"),
                  key=lambda row: order[row.judged.verdict])[:limit]  # fmt: skip
    listed = [_row(given, row) for row in told]
    shapes = np.empty(len(told), object)
    shapes[:] = [row.place for row in told]
    return {
        "verdict": worst(row.judged.verdict for row in made),
        "counts": counts,
        "n_pipes": len(given),
        "n_not_drains": int((~np.isin(given.kind.astype(str), DRAINS)).sum()),
        "is_complete": len(told) == (sum(counts.values()) if is_all else sum(counts.values()) - counts["pass"]),
        "results": listed,
        "pipes": [_numbers(given, found, row) for row in range(min(len(given), limit))],
        "features": place.geojson(city, shapely.force_2d(shapes), listed, target=crs),
    }


def _row(given: Pipes, row: Row) -> dict[str, Any]:
    return {
        "rule_id": row.rule.id, "pipe": given.names[row.pipe], "measured": _number(row.measured),
        "limit": _number(row.judged.limit), "unit": row.rule.unit, "verdict": row.judged.verdict,
        "note": None if row.note is None else {"zh": row.note.zh, "en": row.note.en},
        "clause": row.rule.clause, "source": row.rule.source, "confidence": row.judged.confidence,
    }  # fmt: skip


def _numbers(given: Pipes, found: Drains, row: int) -> dict[str, Any]:
    flow = found.flow_m3_s[row] * 1000.0
    return {
        "pipe": given.names[row],
        "cover_carriageway_m": _number(found.on_road.least_m[row]),
        "cover_elsewhere_m": _number(found.off_road.least_m[row]),
        "length_m": _number(found.length_m[row]),
        "slope": _number(found.slope[row], 9),
        "rise_m": _number(found.rise_m[row]),
        "invert_start_m": _number(found.invert_m[row, 0]),
        "invert_end_m": _number(found.invert_m[row, 1]),
        "material_class": found.material[row],
        "manning_n": _number(found.n[row]),
        "velocity_full_m_s": _number(found.velocity_m_s[row]),
        "flow_full_l_s": _number(flow),
    }


def _number(value: float, digits: int = 6) -> float | None:
    return None if not np.isfinite(value) else round(float(value), digits)


_UNITS = {
    "cover_carriageway_m": "m", "cover_elsewhere_m": "m", "length_m": "m", "slope": "1", "rise_m": "m",
    "invert_start_m": "m", "invert_end_m": "m", "manning_n": "s/m^(1/3)", "velocity_full_m_s": "m/s",
    "flow_full_l_s": "L/s",
}  # fmt: skip
PROCESS = Process(
    id="pipe-cover-slope",
    title=Title("管道覆土与坡度", "Cover and slope of pipes"),
    description=Title(
        "沿管道全长求最小覆土（地面减管外顶）、坡度、管径、满流流速与流量（曼宁公式），按 GB 50014-2021 判定；"
        "缺高程、外径或地面为 unknown。",
        "Least cover along the whole pipe (ground minus outer top), slope, diameter, velocity and flow at full bore "
        "(Manning), judged by GB 50014-2021; without heights, outer diameter or ground: unknown.",
    ),
    inputs={
        "pipes": PIPES,
        "dem": Parameter(Title("地面高程", "Ground; the city's when absent"), RASTER_SCHEMA, required=False),
        "surface": Parameter(
            Title("管道上方地面", "Surface over the pipes; by the city's roads when absent"),
            {"type": "string", "enum": list(SURFACES)},
            required=False,
        ),
        "min_cover_m": Parameter(
            Title("最小覆土", "Least cover, instead of the rule's"),
            {"type": "number", "minimum": 0, "maximum": 50, "x-unit": "m"},
            required=False,
        ),
        "min_slope": Parameter(
            Title("最小坡度", "Least slope, instead of the rule's"),
            {"type": "number", "minimum": 0, "maximum": 1, "x-unit": "1"},
            required=False,
        ),
        "manning_n": Parameter(
            Title("曼宁糙率", "Manning's n for all; by material when absent"),
            {"type": "number", "minimum": 0.005, "maximum": 0.1, "x-unit": "s/m^(1/3)"},
            required=False,
        ),
        "include_passes": Parameter(
            Title("列出合格项", "List what passes too"), {"type": "boolean", "default": False}, required=False
        ),
        "limit": Parameter(
            Title("最多列出", "List at most"),
            {"type": "integer", "minimum": 1, "maximum": 100_000, "default": MOST},
            required=False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "verdict": Parameter(Title("结论", "Verdict"), {"type": "string"}),
        "counts": Parameter(Title("各结论的项数", "Results by verdict"), {"type": "object"}),
        "n_pipes": Parameter(Title("管道数", "Pipes"), {"type": "integer"}),
        "n_not_drains": Parameter(
            Title("非重力管道数（不判定）", "Pipes that are no drains, not judged"), {"type": "integer"}
        ),
        "is_complete": Parameter(Title("是否全部列出", "All are listed"), {"type": "boolean"}),
        "results": Parameter(
            Title("判定", "Results, worst first; `unit` is that of measured and limit"),
            {"type": "array", "items": {"type": "object"}},
        ),
        "pipes": Parameter(
            Title("各管道数值", "Numbers of each pipe"),
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {key: {"type": ["number", "null"], "x-unit": unit} for key, unit in _UNITS.items()},
                },
            },
        ),
        "features": Parameter(
            Title("位置", "Where: the place of least cover, or the pipe"), place.FEATURES_OUT, media_type=place.GEOJSON
        ),
    },
    function=pipe_cover_slope,
    keywords=("pipe", "cover", "slope", "Manning", "GB 50014"),
)
