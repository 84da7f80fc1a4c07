"""P03 topology-check: outlines that are not valid, overlaps, and gaps of a layer of areas that lie side by side.

A gap is a hole of the union, or what a boundary holds beyond the union when one is given. Areas are those on the
ellipsoid. What is at most the tolerance is a sliver: counted apart, and no failure.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from layers.errors import InvalidInput
from twin.analysis import features_input, place
from twin.analysis.control_lines import mended
from twin.analysis.features_input import SCHEMA
from twin.analysis.land_classes import known_properties
from twin.analysis.overlay import NOISE_M2, Pieces, dissolved, polygonal, self_overlaps
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import SAME, WORST_FIRST, Verdict, worst
from twin.store.interface import Features
from twin.supervision.rules import Rule, on_day

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Shapes = NDArray[np.object_]

ZONE = dt.timezone(dt.timedelta(hours=8))


@dataclass(frozen=True)
class Topology:
    """What is wrong with (n,) areas.

    Attributes
    ----------
    invalid : (k,) rows of outlines that are not valid
    reasons : (k,) GEOS's words
    missing : rows without a geometry
    repaired, repaired_m2 : (n,) the areas, the invalid ones mended; None where there is none
    overlaps : pairs of them
    gaps, gap_m2 : (g,) areas that none of them covers
    outside_m2 : of what lies beyond the boundary; None without one
    """

    invalid: IntArray
    reasons: list[str]
    missing: IntArray
    repaired: Shapes
    repaired_m2: FloatArray
    overlaps: Pieces
    gaps: Shapes
    gap_m2: FloatArray
    outside_m2: float | None


def topology(
    shapes: Shapes, source: str, boundary: shapely.Geometry | None = None, progress: Progress = SILENT
) -> Topology:
    """(n,) areas in `source`, valid or not; gaps are looked for in `boundary` (valid) where it is given."""
    flat = np.asarray(shapely.force_2d(shapes), dtype=object)
    bad = np.flatnonzero(~shapely.is_valid(flat) & ~shapely.is_missing(flat))
    whole = polygonal(mended(flat))
    whole[shapely.get_dimensions(whole) != 2] = None  # what was mended may be no area any more
    overlaps = self_overlaps(whole, source, progress=progress.part(0, 50), message="overlaps")
    union = dissolved(whole[~shapely.is_missing(whole)], progress=progress.part(50, 90), message="union")
    beyond = None if boundary is None else _area(shapely.difference(union, boundary), source)
    gaps = holes(union) if boundary is None else shapely.get_parts(shapely.difference(boundary, union))
    gaps = gaps[shapely.get_type_id(gaps) == 3]
    size = areas_m2(gaps, source)
    kept = np.flatnonzero(size > NOISE_M2)
    kept = kept[np.argsort(-size[kept], kind="stable")]
    reasons = [str(each) for each in shapely.is_valid_reason(flat[bad])]
    none = np.flatnonzero(shapely.is_missing(flat) | shapely.is_empty(flat))
    own = areas_m2(whole, source)
    return Topology(bad, reasons, none, whole, own, overlaps, gaps[kept], size[kept], beyond)


def _area(shape: shapely.Geometry, source: str) -> float:
    return float(areas_m2(np.array([shape], object), source)[0])


def holes(union: shapely.Geometry) -> Shapes:
    """Ground inside a union of areas that it does not cover; islands in a hole, which may have their own, taken off."""
    parts = shapely.get_parts(union)
    parts = parts[shapely.get_type_id(parts) == 3]
    rings = [ring for each in parts for ring in each.interiors]
    found = np.array([*shapely.polygons(rings), None], object)[:-1] if rings else np.zeros(0, object)
    filled = shapely.polygons(shapely.get_exterior_ring(parts)) if len(parts) else parts
    hole, island = shapely.STRtree(filled).query(found, predicate="contains")
    for row in np.unique(hole).tolist():
        found[row] = shapely.difference(found[row], shapely.union_all(filled[island[hole == row]]))
    return shapely.get_parts(found)


def topology_check(
    city: "City",
    *,
    layer: Mapping[str, Any],
    boundary: Mapping[str, Any] | None = None,
    group_field: str | None = None,
    tolerance_m2: float | None = None,
    limit: int = 1_000,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Areas of `layer`; those of different values of `group_field` may cover each other (years, levels)."""
    place.answer_crs(city, crs)
    things = _things(city, layer, group_field)
    edge = None
    if boundary is not None:
        held = place.features(city, "boundary", boundary, kinds=place.AREAS, properties=(), is_dense=True)
        edge = dissolved(shapely.force_2d(held.geometry))
    rules = on_day(dt.datetime.now(ZONE).date(), city.folder)
    limit_m2 = float(rules["topology-overlap"].value or 0.0) if tolerance_m2 is None else tolerance_m2
    rows: dict[str, list[tuple[shapely.Geometry | None, dict[str, Any]]]] = {"invalid": [], "overlaps": [], "gaps": []}
    outside: list[float] = []
    names = place.words(things, group_field) if group_field is not None else [None] * len(things)
    for i, group in enumerate(sorted(set(names), key=lambda each: (each is None, each or ""))):
        mine = np.flatnonzero([each == group for each in names])
        share = 100.0 / len(set(names))
        found = topology(things.geometry[mine], city.crs, edge, progress.part(i * share, (i + 1) * share))
        _collect(rows, found, [things.ids[row] for row in mine.tolist()], group)
        outside += [] if found.outside_m2 is None else [found.outside_m2]
    checks = [
        _check(rules["topology-valid"], len(rows["invalid"]), 0, 0.0),
        _check_areas(rules["topology-overlap"], rows["overlaps"], limit_m2),
        _check_areas(rules["topology-gap"], rows["gaps"], limit_m2),
    ]
    return {
        "verdict": worst(each["verdict"] for each in checks),
        "n_features": len(things),
        "checks": checks,
        "outside_m2": sum(outside) if edge is not None else None,
        "is_complete": all(len(each) <= limit for each in rows.values()),
        **{name: _told(city, each[:limit], limit_m2, crs) for name, each in rows.items()},
    }


def _things(city: "City", layer: Mapping[str, Any], group_field: str | None) -> Features:
    """Areas as they are: invalid ones too, which `place.features` would refuse."""
    wanted = () if group_field is None else (group_field,)
    known = known_properties(city, "layer", layer, wanted)
    found = place.collected(features_input.read(city, "layer", layer, properties=known, is_dense=True), "layer")
    if group_field is not None and group_field not in found.attributes.column_names:
        raise InvalidInput(f"group_field: layer has no attribute {group_field!r}.", "See its queryables.")
    if not len(found):
        raise InvalidInput("layer has no feature.", "Check its filter, bbox and ids.")
    kinds = shapely.get_type_id(found.geometry)
    for row in np.flatnonzero(~np.isin(kinds, (-1, 3, 6))).tolist():
        name = shapely.GeometryType(int(kinds[row])).name
        raise InvalidInput(f"layer: {found.ids[row]!r} has a {name}.", "Topology is checked of areas.")
    place.check_inside(city, "layer", found.geometry)
    return found


def _collect(
    rows: dict[str, list[tuple[shapely.Geometry | None, dict[str, Any]]]],
    found: Topology,
    ids: list[str],
    group: str | None,
) -> None:
    own = {} if group is None else {"group": group}
    for row, reason in zip(found.invalid.tolist(), found.reasons, strict=True):
        values = {"id": ids[row], "reason": reason, "repaired_area_m2": float(found.repaired_m2[row])}
        rows["invalid"].append((found.repaired[row], values | own))
    for row in found.missing.tolist():
        rows["invalid"].append((None, {"id": ids[row], "reason": "No geometry", "repaired_area_m2": 0.0} | own))
    pairs = found.overlaps
    for row in np.argsort(-pairs.areas_m2, kind="stable").tolist():
        values = {"a": ids[pairs.left[row]], "b": ids[pairs.right[row]], "area_m2": float(pairs.areas_m2[row])}
        rows["overlaps"].append((polygonal(pairs.shapes[row : row + 1])[0], values | own))
    rows["gaps"] += [(gap, {"area_m2": float(size)} | own) for gap, size in zip(found.gaps, found.gap_m2, strict=True)]


def _check(rule: Rule, n: int, n_slivers: int, largest: float, **more: Any) -> dict[str, Any]:
    measured = float(n) if not rule.unit else largest
    verdict: Verdict = rule.judged(measured, more.get("limit"))
    return {
        "rule_id": rule.id, "measured": measured, "limit": rule.value, "unit": rule.unit, "verdict": verdict, "n": n,
        "n_slivers": n_slivers, "source": f"{rule.source} {rule.clause}", "confidence": rule.confidence,
    } | more  # fmt: skip


def _check_areas(
    rule: Rule, found: list[tuple[shapely.Geometry | None, dict[str, Any]]], tolerance_m2: float
) -> dict[str, Any]:
    size = np.array([values["area_m2"] for _, values in found], np.float64)
    is_large = size > tolerance_m2 + SAME
    return _check(
        rule, int(is_large.sum()), int((~is_large).sum()), float(size.max(initial=0.0)), limit=tolerance_m2,
        area_m2=float(size[is_large].sum()), sliver_m2=float(size[~is_large].sum()),
    )  # fmt: skip


def _told(
    city: "City", rows: list[tuple[shapely.Geometry | None, dict[str, Any]]], tolerance_m2: float, crs: str | None
) -> dict[str, Any]:
    shapes = np.array([*[shape for shape, _ in rows], None], object)[:-1]
    told = [
        values | ({"is_sliver": bool(values["area_m2"] <= tolerance_m2 + SAME)} if "area_m2" in values else {})
        for _, values in rows
    ]
    return place.geojson(city, shapes, told, target=crs)


_M2: dict[str, Any] = {"type": "number", "x-unit": "m2"}
_CHECK: dict[str, Any] = {
    "type": "object",
    "properties": {
        "rule_id": {"type": "string"}, "measured": {"type": "number"}, "limit": {"type": "number"},
        "unit": {"type": "string"}, "verdict": {"enum": list(WORST_FIRST)}, "n": {"type": "integer"},
        "n_slivers": {"type": "integer"}, "area_m2": _M2, "sliver_m2": _M2, "source": {"type": "string"},
        "confidence": {"type": "string"},
    },
}  # fmt: skip

PROCESS = Process(
    id="topology-check",
    title=Title("拓扑检查", "Topology check"),
    description=Title(
        "面图层的无效图形（附修复结果）、相互重叠和空隙；不超过容差的碎片另计。空隙为并集的孔洞，给出边界时为边界减并集。",
        "Outlines of a layer of areas that are not valid (with what they are mended to), overlaps and gaps; slivers up "
        "to the tolerance are counted apart. A gap is a hole of the union, or the boundary less the union.",
    ),
    inputs={
        "layer": Parameter(Title("面图层", "Areas"), SCHEMA),
        "boundary": Parameter(Title("边界", "Boundary that they should fill"), SCHEMA, False),
        "group_field": Parameter(
            Title("分组字段", "Attribute of what may cover each other"), {"type": "string", "minLength": 1}, False,
            Title("例如 survey_year：各组分别检查", "For example survey_year: each value by itself"),
        ),
        "tolerance_m2": Parameter(
            Title("容差", "Tolerance"), {"type": "number", "minimum": 0, "maximum": 1e6, "x-unit": "m2"}, False,
            Title("缺省 1 平方米；等于容差为碎片", "1 m² when absent; equal to it is a sliver"),
        ),
        "limit": Parameter(
            Title("每类最多列出", "Listed at most of each kind"),
            {"type": "integer", "minimum": 0, "maximum": 100_000, "default": 1_000}, False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "verdict": Parameter(Title("结论", "Worst verdict"), {"type": "string", "enum": list(WORST_FIRST)}),
        "n_features": Parameter(Title("要素数", "Number of features"), {"type": "integer"}),
        "checks": Parameter(Title("逐项结果", "By check"), {"type": "array", "items": _CHECK}),
        "outside_m2": Parameter(
            Title("超出边界的面积", "Area beyond the boundary"), {"type": ["number", "null"], "x-unit": "m2"}
        ),
        "is_complete": Parameter(Title("是否全部列出", "All of them are listed"), {"type": "boolean"}),
        **{
            name: Parameter(title, place.FEATURES_OUT, media_type=place.GEOJSON)
            for name, title in (
                ("invalid", Title("无效图形及修复结果", "Invalid outlines, mended")),
                ("overlaps", Title("重叠", "Overlaps, largest first")),
                ("gaps", Title("空隙", "Gaps, largest first")),
            )
        },
    },
    function=topology_check,
    keywords=("topology", "拓扑", "重叠", "空隙"),
)  # fmt: skip
