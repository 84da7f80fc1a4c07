"""P29 pit-impact: how dangerous an excavation is by its depth, and what lies within k times the depth of its edge.

Depth classes: 建办质〔2018〕31号 (from 3 m dangerous, from 5 m over scale). Distances are exact plane distances from
the pit's outline, never membership in a polygon that approximates the buffer; what is at exactly the distance is in.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input, place, site_features
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import SAME, Verdict, worst
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City
    from twin.supervision.rules import Rule, RuleBook

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NONE, DANGEROUS, OVER_SCALE, UNKNOWN = "none", "dangerous", "over-scale", "unknown"
CLASSES = {
    NONE: Title("一般", "Not dangerous by depth"),
    DANGEROUS: Title("危险性较大的分部分项工程", "Dangerous works"),
    OVER_SCALE: Title("超过一定规模的危险性较大的分部分项工程", "Dangerous works over scale"),
    UNKNOWN: Title("深度不明", "Depth not known"),
}
OUTLINE_SEGMENTS = 32
MOST_AFFECTED = 100_000


def classes(depth_m: FloatArray, dangerous_m: float = 3.0, over_scale_m: float = 5.0) -> NDArray[np.object_]:
    """(n,) depths -> (n,) `none`, `dangerous` (>= 3 m), `over-scale` (>= 5 m), `unknown` for NaN."""
    depth = np.asarray(depth_m, np.float64)
    with np.errstate(invalid="ignore"):
        chosen = [np.isnan(depth), depth >= over_scale_m - SAME, depth >= dangerous_m - SAME]
    return np.select(chosen, [UNKNOWN, OVER_SCALE, DANGEROUS], NONE).astype(object)


def affected(
    pits: NDArray[np.object_], depth_m: FloatArray, factor: float, objects: NDArray[np.object_]
) -> tuple[IntArray, IntArray, FloatArray]:
    """What lies within factor x depth of pits.

    Parameters
    ----------
    pits : (n,) areas; depth_m : (n,), NaN reaches nothing
    objects : (m,) geometries of any kind in the same plane CRS

    Returns
    -------
    (k,) rows of pits, (k,) rows of objects, (k,) plane distances in metres (0 where they meet), by pit and distance
    """
    reach = np.where(np.isnan(depth_m), -1.0, depth_m * factor)
    grown = shapely.bounds(pits) + (np.maximum(reach, 0.0)[:, None] + SAME) * np.array([-1, -1, 1, 1])
    boxes = shapely.box(*grown.T)
    pit, item = shapely.STRtree(objects).query(boxes)
    distance = np.asarray(shapely.distance(pits[pit], objects[item]), np.float64)
    is_in = distance <= reach[pit] + SAME
    pit, item, distance = pit[is_in], item[is_in], distance[is_in]
    order = np.lexsort((item, distance, pit))
    return pit[order].astype(np.int64), item[order].astype(np.int64), distance[order]


def pit_impact(
    city: "City",
    *,
    pits: dict[str, Any],
    depth_m: float | None = None,
    factor: float | None = None,
    layers: list[str] | None = None,
    objects: dict[str, Any] | None = None,
    is_complex: bool | None = None,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Class of each pit, its zone, and what lies in it, nearest first."""
    from twin.supervision.rules import on_day

    book = on_day(site_features.today(), city.folder)
    found = site_features.read(city, "pits", pits, kinds=place.AREAS, columns=("depth_m", "pit_class", "is_complex"))
    depth = site_features.numbers(found, "pits", "depth_m", least=0, most=500)
    depth = np.where(depth == 0, np.nan, depth)  # what is dug has a depth
    if depth_m is not None:
        depth = np.full(len(found), float(depth_m))
    near = book["pit-influence"]
    k = float(near.parameters["factor"]) if factor is None else factor
    outlines = shapely.force_2d(found.geometry)
    flagged = _flags(found, is_complex)
    named = classes(depth, float(book["pit-dangerous"].value or 0), float(book["pit-over-scale"].value or 0))
    hit: list[dict[str, Any]] = []
    shapes: list[shapely.Geometry] = []
    counts = np.zeros(len(found), np.int64)
    sources = _sources(city, layers, objects, book)
    for done, (layer, given) in enumerate(sources, 1):
        things = _things(city, layer, given, outlines, depth * k)
        rows_of = affected(outlines, depth, k, shapely.force_2d(things.geometry))
        counts += np.bincount(rows_of[0], minlength=len(found))
        if counts.sum() > MOST_AFFECTED:
            raise InvalidInput(f"layers: more than {MOST_AFFECTED} features lie near the pits.", "Ask for fewer pits.")
        shapes += things.geometry[rows_of[1]].tolist()
        hit += _hits(rows_of, found.ids, layer, things.ids, depth_m=depth, factor=k, rule=near)
        progress(100.0 * done / len(sources), layer)
    rows = [
        _pit_row(found.ids[i], float(depth[i]), str(named[i]), book, is_complex=flagged[i], n=int(counts[i]), k=k)
        for i in range(len(found))
    ]
    zones = shapely.buffer(outlines, np.nan_to_num(depth * k), quad_segs=OUTLINE_SEGMENTS)
    return {
        "n_pits": len(rows),
        "n_affected": len(hit),
        "factor": k,
        "verdict": worst([row["verdict"] for row in rows]),
        "pits": place.geojson(city, outlines, rows, found.ids, crs),
        "zones": place.geojson(
            city, zones, [{"pit": row["pit"], "reach_m": row["reach_m"]} for row in rows], found.ids, crs
        ),
        "affected": place.geojson(city, np.array(shapes, dtype=object), hit, target=crs),
    }


def _hits(
    found: tuple[IntArray, IntArray, FloatArray], pits: list[str], layer: str, things: list[str], *,
    depth_m: FloatArray, factor: float, rule: "Rule",
) -> list[dict[str, Any]]:  # fmt: skip
    rows = []
    for p, i, metres in zip(*(each.tolist() for each in found), strict=True):
        ratio = metres / depth_m[p] if depth_m[p] > 0 else None
        rows.append(
            {
                "pit": pits[p], "layer": layer, "object": things[i], "distance_m": round(metres, 6),
                "distance_in_depths": None if ratio is None else round(ratio, 6), "rule_id": rule.id,
                "measured": round(metres, 6), "limit": round(float(depth_m[p] * factor), 6), "unit": "m",
                "verdict": "review", "source": f"{rule.source} {rule.clause}", "confidence": rule.confidence,
            }
        )  # fmt: skip
    return rows


def _flags(found: Any, is_complex: bool | None) -> list[bool]:
    if is_complex is not None:
        return [is_complex] * len(found)
    return [word is not None and word.lower() in {"true", "1"} for word in place.words(found, "is_complex")]


def _sources(
    city: "City", layers: list[str] | None, objects: Mapping[str, Any] | None, book: "RuleBook"
) -> list[tuple[str, Mapping[str, Any] | None]]:
    if objects is not None and layers is None:
        return [("objects", objects)]
    wanted = layers or [each for each in book["pit-influence"].parameters["layers"] if each in city]
    with features_input.naming("layers"):
        for each in wanted:
            city.store.layer(each, city.scope)  # LayerNotFound with the nearest name
    found: list[tuple[str, Mapping[str, Any] | None]] = [(each, None) for each in wanted]
    return found + ([("objects", objects)] if objects is not None else [])


def _things(
    city: "City", layer: str, given: Mapping[str, Any] | None, pits: NDArray[np.object_], reach: FloatArray
) -> Features:
    if given is not None:
        return site_features.read(city, layer, given)
    return site_features.around(city, layer, site_features.boxes(shapely.bounds(pits), np.nan_to_num(reach) + 1.0))


def _pit_row(
    name: str, depth: float, found: str, book: "RuleBook", *, is_complex: bool, n: int, k: float
) -> dict[str, Any]:
    known = found != UNKNOWN
    rule = book["pit-over-scale" if found == OVER_SCALE else "pit-dangerous"]
    told: Verdict = "unknown" if not known else "pass" if found == NONE else "review"
    if told == "pass" and is_complex:
        rule, told = book["pit-complex-surroundings"], "review"
    return {
        "pit": name,
        "class": found,
        "class_title": {"zh": CLASSES[found].zh, "en": CLASSES[found].en},
        "depth_m": round(depth, 6) if known else None,
        "is_complex": is_complex,
        "reach_m": round(depth * k, 6) if known else None,
        "n_affected": n if known else None,
        "rule_id": rule.id,
        "measured": round(depth, 6) if known else None,
        "limit": rule.value,
        "unit": rule.unit,
        "verdict": told,
        "source": f"{rule.source} {rule.clause}",
        "confidence": rule.confidence,
        "note": None if known else "depth_m is not known",
    }


PROCESS = Process(
    id="pit-impact",
    title=Title("基坑影响分析", "Impact of excavations"),
    description=Title(
        "按开挖深度判定基坑等级（3 m、5 m），并列出坑边 k 倍深度内的建筑、管线等，距离为精确平面距离。",
        "Class of excavations by depth (3 m, 5 m), and what lies within k depths of their edge, by exact plane "
        "distance.",
    ),
    inputs={
        "pits": Parameter(
            Title("基坑，属性 depth_m", "Excavations with depth_m"), features_input.SCHEMA,
            description=Title("无深度者判定为未知", "Without a depth the class is unknown"),
        ),
        "depth_m": Parameter(
            Title("开挖深度，代替属性", "Depth, instead of the attribute"),
            {"type": "number", "minimum": 0, "maximum": 500, "x-unit": "m"}, required=False,
        ),
        "factor": Parameter(
            Title("影响范围为深度的倍数", "Zone in depths"),
            {"type": "number", "minimum": 1, "maximum": 3, "x-unit": "1"}, required=False,
        ),
        "layers": Parameter(
            Title("受影响图层", "Layers looked at; buildings, roads and pipes when absent"),
            {"type": "string", "minLength": 1}, required=False, max_occurs=50,
        ),
        "objects": Parameter(Title("受影响要素", "Features looked at"), features_input.SCHEMA, required=False),
        "is_complex": Parameter(
            Title("周边环境复杂", "Surroundings are complex"), {"type": "boolean"}, required=False,
            description=Title("深度不足3 m时给出复核", "Under 3 m this asks for review"),
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "n_pits": Parameter(Title("基坑数", "Number of excavations"), {"type": "integer"}),
        "n_affected": Parameter(Title("受影响数", "Number of affected features"), {"type": "integer"}),
        "factor": Parameter(Title("倍数", "Depths"), {"type": "number", "x-unit": "1"}),
        "verdict": Parameter(Title("判定", "Worst verdict"), {"type": "string"}),
        "pits": Parameter(
            Title("基坑与等级", "Excavations with class and verdict"), place.FEATURES_OUT, media_type=place.GEOJSON
        ),
        "zones": Parameter(Title("影响范围", "Zones, for display"), place.FEATURES_OUT, media_type=place.GEOJSON),
        "affected": Parameter(
            Title("受影响要素", "Affected features with distance_m, nearest first"), place.FEATURES_OUT,
            media_type=place.GEOJSON,
        ),
    },
    function=pit_impact,
    keywords=("excavation", "基坑"),
    is_quick=True,
)  # fmt: skip
