"""P25 pipe-clearance: which pipes lie too near each other, beside or across, by GB 50289-2016 as data.

Side by side counts the distance in plan, outer wall to outer wall; where plans cross, the difference of heights. The
distance in space is told too. Each pair says its limit, how sure that is, and which of the two gives way.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from twin.analysis import features_input, pipe_structures, place
from twin.analysis.pipe_avoidance import gives_way
from twin.analysis.pipe_clearance_pairs import Clearances, clearances, is_buried
from twin.analysis.pipe_structures import Structures
from twin.analysis.pipes import MM, Pipes
from twin.analysis.pipes import read as read_pipes
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import WORST_FIRST, worst
from twin.supervision.rules import Row, Rule, RuleBook, on_day

if TYPE_CHECKING:
    from twin.city import City

HORIZONTAL, VERTICAL, AVOIDANCE = "pipe-clearance-horizontal", "pipe-clearance-vertical", "pipe-avoidance"
MOST = 10_000
LACKS = {
    "od": ("缺外径", "the outer diameter is not known"),
    "height": ("缺高程", "the height at the crossing is not known"),
    "fact": (
        "缺压力、管径或埋设方式，或表中无此行",
        "a pressure, diameter or burial is not known, or not in the table",
    ),
}


def pipe_clearance(
    city: "City",
    *,
    pipes: list[dict[str, Any]] | None = None,
    structures: list[dict[str, Any]] | None = None,
    horizontal: list[dict[str, Any]] | None = None,
    vertical: list[dict[str, Any]] | None = None,
    nominal_is_outer: bool = False,
    include_passes: bool = False,
    limit: int = MOST,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Pairs of pipes (and of pipes and structures) against the tables of clearances.

    Without `pipes` all pipe layers of the city are taken. `horizontal` and `vertical` are lines that stand before
    those of the tables. `nominal_is_outer` takes the nominal diameter where the outer one is missing: such a pair's
    answer says so and never fails, but is `review`.
    """
    given = read_pipes(city, pipes)
    book = on_day(dt.datetime.now(dt.UTC).date(), city.folder)
    rules = Rules.of(book)
    rules = replace(
        rules, horizontal=_with_rows(rules.horizontal, horizontal, "horizontal"),
        vertical=_with_rows(rules.vertical, vertical, "vertical"),
    )  # fmt: skip
    is_drawn = np.isnan(given.width_m) & np.isfinite(given.dn_mm) if nominal_is_outer else np.zeros(len(given), bool)
    given = _drawn(given, is_drawn)
    found = clearances(given, rules.horizontal, rules.vertical, progress=progress.part(0, 80))
    parts: list[tuple[Clearances, Structures | None]] = [(_softened(found, is_drawn, is_drawn), None)]
    if structures is not None:
        others = _structures(city, structures)
        more = pipe_structures.clearances(given, others, rules.horizontal, rules.vertical)
        parts.append((_softened(more, is_drawn, np.zeros(len(others), bool)), others))
    asked = _Asked(include_passes, limit, crs)
    return _answer(city, given, parts, rules, asked)


def _with_rows(rule: Rule, rows: Sequence[Mapping[str, Any]] | None, name: str) -> Rule:
    """The rule with lines of one's own before its own."""
    if not rows:
        return rule
    made = []
    for each in rows:
        when = {key: value for key, value in each.items() if key != "value"}
        turned = {{"a": "b", "b": "a"}[key[0]] + key[1:]: value for key, value in when.items()}
        made += [Row(each["value"], "high", when), Row(each["value"], "high", turned)]
    return replace(rule, rows=(*made, *rule.rows), source=f"{rule.source}; {name}")


def _drawn(given: Pipes, rows: NDArray[np.bool_]) -> Pipes:
    """Pipes with their nominal diameter as outer one in some rows."""
    nominal = given.dn_mm * MM
    return replace(
        given, width_m=np.where(rows, nominal, given.width_m), height_m=np.where(rows, nominal, given.height_m),
        crown_m=np.where(rows & np.isnan(given.crown_m), nominal / 2, given.crown_m),
    )  # fmt: skip


def _structures(city: "City", given: Sequence[Mapping[str, Any]]) -> Structures:
    parts = []
    for each in given:
        layer = str(each["collection"]) if "collection" in each else None
        names: tuple[str, ...] = pipe_structures.PROPERTIES
        if layer is not None:
            known = {one.name for one in city.store.layer(layer, city.scope).type.attributes}
            names = tuple(one for one in pipe_structures.PROPERTIES if one in known)
        found = place.features(city, "structures", each, kinds=(*place.AREAS, *place.LINES), properties=names)
        parts.append(pipe_structures.from_features(found, layer))
    return Structures(
        [name for each in parts for name in each.names], np.concatenate([each.geometry for each in parts]),
        np.concatenate([each.kind for each in parts]), np.concatenate([each.base_m for each in parts]),
    )  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """The two tables, and who gives way."""

    horizontal: Rule
    vertical: Rule
    avoidance: Rule

    @classmethod
    def of(cls, book: RuleBook) -> "Rules":
        """Those of a day."""
        return cls(book[HORIZONTAL], book[VERTICAL], book[AVOIDANCE])


@dataclass(frozen=True)
class _Asked:
    include_passes: bool
    limit: int
    crs: str | None


def _softened(found: Clearances, drawn_a: NDArray[np.bool_], drawn_b: NDArray[np.bool_]) -> Clearances:
    """Pairs where a nominal diameter stands for an outer one: nothing fails, and nothing is sure."""
    drawn = drawn_a[found.a] | drawn_b[found.b]
    return replace(
        found, verdict=np.where(drawn & (found.verdict == "fail"), "review", found.verdict).astype(object),
        confidence=np.where(drawn, "low", found.confidence).astype(object),
    )  # fmt: skip


def row_of(given: Pipes, found: Clearances, k: int, rules: Rules, others: Structures | None = None) -> dict[str, Any]:
    """One pair as JSON."""
    a, b = int(found.a[k]), int(found.b[k])
    rule = rules.vertical if found.is_vertical[k] else rules.horizontal
    net, bound = _number(found.net_m[k]), float(found.limit_m[k])
    way = None if others is not None else gives_way(rules.avoidance, given, a, b)
    names = given.names[a], (given.names[b] if others is None else others.names[b])
    lacks = LACKS.get(str(found.lacks[k]))
    return {
        "rule_id": rule.id, "a": names[0], "b": names[1], "kind_a": given.kind[a],
        "kind_b": given.kind[b] if others is None else others.kind[b],
        "measured": net, "limit": bound, "unit": rule.unit,
        "shortfall_m": None if net is None else round(max(bound - net, 0.0), 6),
        "distance_3d_m": _number(found.space_m[k]), "verdict": str(found.verdict[k]),
        "gives_way": None if way is None else names[0 if way.is_first else 1],
        "gives_way_why": None if way is None else {"zh": way.zh, "en": way.en},
        "lacks": None if lacks is None else {"zh": lacks[0], "en": lacks[1]},
        "clause": rule.clause, "source": rule.source, "confidence": str(found.confidence[k]),
    }  # fmt: skip


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _answer(
    city: "City", given: Pipes, parts: list[tuple[Clearances, Structures | None]], rules: Rules, asked: _Asked
) -> dict[str, Any]:
    every = np.concatenate([found.verdict for found, _ in parts])
    counts = {each: int((every == each).sum()) for each in WORST_FIRST}
    rank = np.array([WORST_FIRST.index(each) for each in every], np.int64)
    net = np.concatenate([found.net_m for found, _ in parts])
    short = np.nan_to_num(np.concatenate([found.limit_m for found, _ in parts]) - net, nan=-np.inf)
    order = np.lexsort((-short, rank))
    told = order if asked.include_passes else order[every[order] != "pass"]
    listed = told[: asked.limit]
    part = np.repeat(np.arange(len(parts)), [len(found) for found, _ in parts])
    first = np.cumsum([0, *(len(found) for found, _ in parts)])
    rows = [row_of(given, parts[k][0], int(at - first[k]), rules, parts[k][1])
            for at, k in zip(listed.tolist(), part[listed].tolist(), strict=True)]  # fmt: skip
    shapes = np.concatenate([found.place for found, _ in parts])[listed]
    return {
        "verdict": worst(each for each in WORST_FIRST if counts[each]) if len(every) else "pass",
        "counts": counts,
        "n_pipes": len(given),
        "n_not_in_ground": int((~is_buried(given)).sum()),
        "n_without_outer_size": int(np.isnan(given.width_m).sum()),
        "n_without_heights": int((~given.has_axis).sum()),
        "n_without_kind": sum(kind is None for kind in given.kind),
        "is_complete": len(told) <= asked.limit,
        "pairs": rows,
        "features": place.geojson(city, shapely.force_2d(shapes), rows, target=asked.crs),
    }


_SIDE = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_ROWS: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["a", "b", "value"],
        "properties": {
            "a": _SIDE, "b": _SIDE, "value": {"type": "number", "minimum": 0, "maximum": 100, "x-unit": "m"},
            **{f"{side}_{key}": {"type": "number", "minimum": 0, "x-unit": key.rsplit("_", 1)[1]} for side in "ab"
               for key in ("dn_max_mm", "dn_over_mm", "voltage_from_kv", "voltage_under_kv")},
            **{f"{side}_{key}": _SIDE for side in "ab" for key in ("pressure", "burial")},
        },
        "additionalProperties": False,
    },
}  # fmt: skip

PIPES = Parameter(
    Title("管线", "Pipes"),
    features_input.SCHEMA,
    required=False,
    max_occurs=16,
    description=Title(
        "线要素，属性同 pipe_water 等图层：kind 或 type_code、od_mm、dn_mm、pressure_class、burial、voltage_kv、"
        "start_node、end_node、z_ref（缺省 centre：z 为管中心）。缺省为城市的全部管线图层",
        "Lines with the properties of pipe_water and the like: kind or type_code, od_mm, dn_mm, pressure_class, "
        "burial, voltage_kv, start_node, end_node, z_ref (centre when absent: z is the axis). All pipe layers when "
        "absent",
    ),
)
PROCESS = Process(
    id="pipe-clearance",
    title=Title("管线净距检查", "Pipe clearance"),
    description=Title(
        "按 GB 50289-2016 表 4.1.9、4.1.14 检查管线间及管线与建（构）筑物的净距：并行取平面外壁净距，"
        "平面交叉取垂直净距；在节点相接的管线不算冲突；缺外径或高程为 unknown。",
        "Clearances of pipes among each other and from structures by tables 4.1.9 and 4.1.14 of GB 50289-2016: side by "
        "side in plan, wall to wall; where plans cross, vertically. Joined pipes are no clash; without outer diameter "
        "or heights: unknown.",
    ),
    inputs={
        "pipes": PIPES,
        "structures": Parameter(
            Title("建（构）筑物", "Structures"),
            features_input.SCHEMA,
            required=False,
            max_occurs=4,
            description=Title(
                "面或线，kind 为 building、culvert 或 rail，base_elev_m 为基底高程；building 图层可直接给出",
                "Areas or lines with kind building, culvert or rail and base_elev_m; the layer building as it is",
            ),
        ),
        "horizontal": Parameter(Title("水平净距补充行", "Lines before those of table 4.1.9"), _ROWS, required=False),
        "vertical": Parameter(Title("垂直净距补充行", "Lines before those of table 4.1.14"), _ROWS, required=False),
        "nominal_is_outer": Parameter(
            Title("缺外径时以公称直径代替", "Take the nominal diameter where the outer one is missing"),
            {"type": "boolean", "default": False},
            required=False,
        ),
        "include_passes": Parameter(
            Title("列出合格的管线对", "List pairs that pass too"), {"type": "boolean", "default": False}, required=False
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
        "counts": Parameter(Title("各结论的管线对数", "Pairs by verdict"), {"type": "object"}),
        "n_pipes": Parameter(Title("管线数", "Pipes"), {"type": "integer"}),
        "n_not_in_ground": Parameter(
            Title("架空或在综合管廊内（不检查）", "Overhead or in a tunnel, not checked"), {"type": "integer"}
        ),
        "n_without_outer_size": Parameter(Title("缺外径的管线", "Pipes without outer size"), {"type": "integer"}),
        "n_without_heights": Parameter(Title("缺高程的管线", "Pipes without heights"), {"type": "integer"}),
        "n_without_kind": Parameter(Title("类型未知的管线", "Pipes of unknown kind"), {"type": "integer"}),
        "is_complete": Parameter(Title("是否全部列出", "All are listed"), {"type": "boolean"}),
        "pairs": Parameter(
            Title("管线对", "Pairs, worst first"),
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        key: {"type": ["number", "null"], "x-unit": "m"}
                        for key in ("measured", "limit", "shortfall_m", "distance_3d_m")
                    },
                },
            },
        ),
        "features": Parameter(
            Title("位置", "Where: a line between the two, or the crossing"),
            place.FEATURES_OUT,
            media_type=place.GEOJSON,
        ),
    },
    function=pipe_clearance,
    keywords=("pipe", "clearance", "clash", "GB 50289"),
)
