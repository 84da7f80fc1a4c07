"""P12 bim-clash: which elements run into each other, by how much, and which come too near.

Boxes first (a tree), then the least distance of the surfaces, then the boolean intersection of closed meshes. A gap up
to the soft gap, equal included, is a soft clash; surfaces that only touch are never a hard one. Volumes and gaps are in
the city's plane coordinates and heights, as the models were drawn.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import place
from twin.analysis.bim_clash_contacts import HARD, Contact, contacts
from twin.analysis.bim_clash_pairs import near_pairs
from twin.analysis.model_diff_models import MODELS_SCHEMA, Model, models, origin
from twin.analysis.model_diff_solids import Solid
from twin.analysis.parcel_intensity import today_rules
from twin.analysis.parcel_intensity_buildings import number
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import Verdict, worst
from twin.supervision.rules import Rule, softened

if TYPE_CHECKING:
    from twin.city import City

IntArray = NDArray[np.int64]

COLUMNS = ("parent_id", "connected_to", "same_as", "ifc_class", "system")
MOST_ELEMENTS = 100_000
TOLERANCE_M = 1e-4


@dataclass(frozen=True)
class Clashes:
    """What was found among elements.

    Attributes
    ----------
    elements : those with a mesh, of both sets, to which `found` refers
    found : clashes
    n_pairs : pairs near enough to be looked at
    without_mesh, open_mesh : of nothing can be told; of which no volume is known
    """

    elements: list[Model]
    found: list[Contact]
    n_pairs: int
    without_mesh: list[Model]
    open_mesh: list[Model]


def clashes(
    elements: Sequence[Model],
    against: Sequence[Model] | None = None,
    *,
    soft_gap_m: float | None = None,
    tolerance_m: float = TOLERANCE_M,
    ignore_related: bool = True,
    progress: Progress = SILENT,
) -> Clashes:
    """Clashes within a set, or of one set with another.

    `ignore_related` leaves out pairs that are made to meet: a part and its whole, elements connected to each other, two
    models of the same thing. The same element in both sets does not clash with itself.
    """
    everything = [*elements, *(against or ())]
    meshed = [row for row, each in enumerate(everything) if each.solid is not None]
    kept = [everything[row] for row in meshed]
    solids: list[Solid] = [each.solid for each in kept if each.solid is not None]
    n_first = sum(row < len(elements) for row in meshed)
    known = _related(kept) if ignore_related else np.empty(0, np.int64)
    pairs = _pairs(kept, solids, n_first if against is not None else None, soft_gap_m or 0.0)
    wanted = (part[~np.isin(part.min(axis=1) * len(kept) + part.max(axis=1), known)] for part in pairs)
    found, n_pairs = contacts(
        solids, (part for part in wanted if len(part)), soft_gap_m=soft_gap_m, tolerance_m=tolerance_m,
        progress=progress,
    )  # fmt: skip
    return Clashes(
        kept, found, n_pairs, [each for each in everything if each.solid is None],
        [each for each, mesh in zip(kept, solids, strict=True) if mesh.body is None],
    )  # fmt: skip


def _pairs(kept: Sequence[Model], solids: Sequence[Solid], n_first: int | None, gap_m: float) -> Iterator[IntArray]:
    low = np.array([each.low for each in solids]).reshape(-1, 3)
    high = np.array([each.high for each in solids]).reshape(-1, 3)
    if n_first is None:
        yield from near_pairs(low, high, gap_m)
        return
    number_of: dict[tuple[str, str], int] = {}
    same = np.array([number_of.setdefault((each.layer, each.id), row) for row, each in enumerate(kept)], np.int64)
    is_new = same == np.arange(len(same))  # what is in both sets is looked at once
    for part in near_pairs(low[:n_first], high[:n_first], gap_m, (low[n_first:], high[n_first:])):
        rows = part + np.array([0, n_first])
        both = same[rows]
        in_first = ~is_new[rows[:, 1]]
        keep = (both[:, 0] != both[:, 1]) & (~in_first | (both[:, 0] < both[:, 1]))
        yield rows[keep]


def _related(kept: Sequence[Model]) -> IntArray:
    """Keys (lesser row × n + greater row) of pairs that are made to meet."""
    rows: dict[str, list[int]] = {}
    for row, each in enumerate(kept):
        rows.setdefault(each.id, []).append(row)
    keys = set()
    for row, each in enumerate(kept):
        for column in ("parent_id", "connected_to", "same_as"):
            for name in re.split(r'[\s,;\[\]"]+', each.values.get(column) or ""):
                for other in rows.get(name, ()):
                    keys.add(min(row, other) * len(kept) + max(row, other))
    return np.array(sorted(keys), np.int64)


def bim_clash(
    city: "City",
    *,
    elements: Mapping[str, Any],
    against: Mapping[str, Any] | None = None,
    soft_gap_m: float | None = None,
    tolerance_m: float = TOLERANCE_M,
    ignore_related: bool = True,
    limit: int = 10_000,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Clashes among elements, or of elements with others; without `soft_gap_m` hard ones only.

    At most `limit` are listed, hard ones with the greatest volume first; `n_hard` and `n_soft` count all.
    """
    first = models(city, "elements", elements, columns=COLUMNS, needs_solid=True, progress=progress.part(0, 20))
    second = None
    if against is not None:
        second = models(city, "against", against, columns=COLUMNS, needs_solid=True, progress=progress.part(20, 40))
    for name, given in (("elements", first), ("against", second)):
        if given is not None and not given:
            raise InvalidInput(f"{name} has no element.", "Check its filter, bbox and ids.")
        if given is not None and len(given) > MOST_ELEMENTS:
            raise InvalidInput(f"{name} has more than {MOST_ELEMENTS} elements.", "Ask for a part of them.")
    told = clashes(
        first, second, soft_gap_m=soft_gap_m, tolerance_m=tolerance_m, ignore_related=ignore_related,
        progress=progress.part(40, 95),
    )  # fmt: skip
    return _answer(city, told, soft_gap_m, limit, crs)


def _answer(city: "City", told: Clashes, soft_gap_m: float | None, limit: int, target: str | None) -> dict[str, Any]:
    book, shift = today_rules(city), origin(city)
    order = sorted(told.found, key=lambda each: (each.kind != HARD, -np.nan_to_num(each.volume_m3), each.gap_m))
    rows = [
        row_of(book["bim-clash-hard" if each.kind == HARD else "bim-clash-soft"], told, each, soft_gap_m)
        for each in order
    ]
    spots = np.array([each.place + shift for each in order[:limit]]).reshape(-1, 3)
    points = np.asarray(shapely.points(spots), dtype=object)
    n_hard = sum(each.kind == HARD for each in order)
    # no clash among elements of which some have no mesh is no clean bill
    verdicts: list[Verdict] = [each["verdict"] for each in rows]
    if not verdicts:
        verdicts = ["unknown" if told.without_mesh or len(told.elements) < 2 else "pass"]
    return {
        "clashes": place.geojson(city, points, rows[:limit], None, target),
        "n_hard": n_hard,
        "n_soft": len(order) - n_hard,
        "is_complete": len(order) <= limit,
        "n_elements": len(told.elements),
        "n_pairs": told.n_pairs,
        "without_mesh": [each.id for each in told.without_mesh],
        "open_mesh": [each.id for each in told.open_mesh],
        "verdict": worst(verdicts),
    }


def row_of(rule: Rule, told: Clashes, each: Contact, soft_gap_m: float | None) -> dict[str, Any]:
    """What is told of a clash."""
    a, b = told.elements[each.a], told.elements[each.b]
    is_hard = each.kind == HARD
    return {
        "a": a.id,
        "b": b.id,
        "a_layer": a.layer,
        "b_layer": b.layer,
        "a_class": a.values.get("ifc_class"),
        "b_class": b.values.get("ifc_class"),
        "kind": each.kind,
        "volume_m3": number(each.volume_m3),
        "volume_is_known": not is_hard or not np.isnan(each.volume_m3),
        "thickness_m": number(each.thickness_m),
        "gap_m": each.gap_m,
        "rule_id": rule.id,
        "measured": number(each.volume_m3) if is_hard else each.gap_m,
        "limit": 0.0 if is_hard else soft_gap_m,
        "unit": rule.unit,
        "verdict": softened("fail", rule.confidence),
        "source": f"{rule.source} {rule.clause}",
        "confidence": rule.confidence,
    }


_IDS = {"type": "array", "items": {"type": "string"}}

PROCESS = Process(
    id="bim-clash",
    title=Title("模型碰撞检查", "Clash of models"),
    description=Title(
        "硬碰撞：封闭网格布尔交集的体积；软碰撞：表面最小距离小于或等于给定间隙。仅接触不算硬碰撞；不封闭网格体积未知。",
        "Hard: volume of the boolean intersection of closed meshes; soft: least distance of surfaces up to a gap. What "
        "only touches is no hard clash; of a mesh that is not closed the volume is unknown.",
    ),
    inputs={
        "elements": Parameter(
            Title("构件", "Elements: a layer with meshes, areas with base_elev_m and height_m, or meshes"),
            MODELS_SCHEMA,
        ),
        "against": Parameter(
            Title("另一组构件", "Others; absent means elements against each other"), MODELS_SCHEMA, required=False
        ),
        "soft_gap_m": Parameter(
            Title("软碰撞间隙", "Gap up to which it is a soft clash; absent means hard ones only"),
            {"type": "number", "minimum": 0, "maximum": 100, "x-unit": "m"},
            required=False,
        ),
        "tolerance_m": Parameter(
            Title("硬碰撞厚度容差", "What is shared counts from this mean thickness on"),
            {"type": "number", "minimum": 0, "maximum": 1, "default": TOLERANCE_M, "x-unit": "m"},
            required=False,
        ),
        "ignore_related": Parameter(
            Title("略去本应相接的构件", "Leave out parts of a whole, connected elements, models of one thing"),
            {"type": "boolean", "default": True},
            required=False,
        ),
        "limit": Parameter(
            Title("最多列出", "List at most"),
            {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 10_000},
            required=False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "clashes": Parameter(
            Title("碰撞", "Clashes: where, who, volume or gap"), place.FEATURES_OUT, media_type=place.GEOJSON
        ),
        "n_hard": Parameter(Title("硬碰撞数", "Hard clashes"), {"type": "integer"}),
        "n_soft": Parameter(Title("软碰撞数", "Soft clashes"), {"type": "integer"}),
        "is_complete": Parameter(Title("是否全部列出", "All are listed"), {"type": "boolean"}),
        "n_elements": Parameter(Title("有网格的构件数", "Elements with a mesh"), {"type": "integer"}),
        "n_pairs": Parameter(Title("细查的对数", "Pairs that were near enough to be looked at"), {"type": "integer"}),
        "without_mesh": Parameter(Title("没有网格的构件", "Elements without a mesh: nothing is told of them"), _IDS),
        "open_mesh": Parameter(Title("网格不封闭的构件", "Elements whose mesh is not closed"), _IDS),
        "verdict": Parameter(Title("总结论", "Worst of the verdicts"), {"type": "string"}),
    },
    function=bim_clash,
    keywords=("BIM", "clash", "碰撞"),
)
