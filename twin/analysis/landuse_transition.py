"""P06 landuse-transition: what the land of one survey has become in a later one, as a matrix of areas.

Areas are those on the ellipsoid, of geometries as they were drawn (ridges between fields are not taken off). Land that
the later survey does not cover has no class there (`to` is null), so that the rows add up to the earlier survey.
Overlaps inside a survey are reported, not resolved.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import land_codes
from layers.catalogue import Title
from layers.ellipsoid_area import MU_M2, areas_m2
from layers.errors import InvalidInput
from twin.analysis import place
from twin.analysis.features_input import SCHEMA
from twin.analysis.land_classes import FIELDS, SYSTEM, Classes, check_same, classes, is_known, known_properties
from twin.analysis.overlay import Cover, Pieces, common, polygonal, self_overlaps, uncovered_m2
from twin.analysis.overlay_stats import shortened
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
Shapes = NDArray[np.object_]

Key = tuple[str, str | None, str | None]

YEAR = "survey_year"


@dataclass(frozen=True)
class Transition:
    """Land of two surveys, piece by piece.

    Attributes
    ----------
    pieces : `left` of the earlier, `right` of the later one, each pair once
    before_m2, after_m2 : (n,) (m,) areas
    lost_m2, new_m2 : (n,) of the earlier that the later does not cover, (m,) the reverse
    before_overlaps, after_overlaps : pairs inside one survey
    """

    pieces: Pieces
    before_m2: FloatArray
    after_m2: FloatArray
    lost_m2: FloatArray
    new_m2: FloatArray
    before_overlaps: Pieces
    after_overlaps: Pieces


def transition(before: Shapes, after: Shapes, source: str, progress: Progress = SILENT) -> Transition:
    """(n,) and (m,) valid areas in `source`, without heights."""
    before_m2, after_m2 = areas_m2(before, source), areas_m2(after, source)
    pieces = common(before, Cover(after, source), left_m2=before_m2, progress=progress.part(0, 50), message="pairs")
    of_before = self_overlaps(before, source, progress=progress.part(50, 70), message="overlaps")
    of_after = self_overlaps(after, source, progress=progress.part(70, 90), message="overlaps")
    lost = uncovered_m2(before_m2, pieces if not len(of_after) else _once(before, before_m2, after, source))
    turned = Pieces(pieces.right, pieces.left, pieces.shapes, pieces.areas_m2)
    new = uncovered_m2(after_m2, turned if not len(of_before) else _once(after, after_m2, before, source))
    progress(100, "sums")
    return Transition(pieces.pairs(), before_m2, after_m2, lost, new, of_before, of_after)


def _once(left: Shapes, left_m2: FloatArray, right: Shapes, source: str) -> Pieces:
    return common(left, Cover(right, source, is_one=True), left_m2=left_m2)


def landuse_transition(
    city: "City",
    *,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    field: str | None = None,
    class_digits: int | None = None,
    limit: int = 10_000,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """From the classes of `before` to those of `after`, both of one code system."""
    place.answer_crs(city, crs)
    (old, old_classes), (new, new_classes) = (
        _survey(city, name, given, field) for name, given in (("before", before), ("after", after))
    )
    example = next((each for each in (*old_classes.codes, *new_classes.codes) if each), None)
    check_same("before", old_classes.system, "after", new_classes.system, example)
    system = old_classes.system
    was, became = (
        [code if class_digits is None else shortened(code, system, class_digits) for code in each.codes]
        for each in (old_classes, new_classes)
    )
    found = transition(shapely.force_2d(old.geometry), shapely.force_2d(new.geometry), city.crs, progress)
    n, rows, told = changes(found.pieces, (old, was), (new, became), limit)
    return {
        "matrix": [_row(system, *key, area_m2=area) for key, area in matrix(found, was, became).items()],
        "from_totals": _totals(system, was, found.before_m2),
        "to_totals": _totals(system, became, found.after_m2),
        "farmland": _farmland(found, old_classes, new_classes),
        "overlaps": {"before": _overlap(found.before_overlaps), "after": _overlap(found.after_overlaps)},
        "class_system": system,
        "unknown_codes": {"before": old_classes.unknown, "after": new_classes.unknown},
        "n_changes": n,
        "is_complete": n == len(rows),
        "changes": place.geojson(city, polygonal(found.pieces.shapes[rows]), told, target=crs),
    }


def matrix(found: Transition, was: list[str | None], became: list[str | None]) -> dict[Key, float]:
    """Areas by (kind, earlier class, later class), in order; a feature without a code has the class None.

    Kinds: `both` surveys cover it, `only_before`, `only_after`.
    """
    pieces = found.pieces
    rows: list[tuple[Key, float]] = []
    for i, j, area in zip(pieces.left.tolist(), pieces.right.tolist(), pieces.areas_m2.tolist(), strict=True):
        rows.append((("both", was[i], became[j]), area))
    rows += [(("only_before", was[i], None), found.lost_m2[i]) for i in np.flatnonzero(found.lost_m2).tolist()]
    rows += [(("only_after", None, became[j]), found.new_m2[j]) for j in np.flatnonzero(found.new_m2).tolist()]
    sums: dict[Key, float] = {}
    for key, area in rows:
        sums[key] = sums.get(key, 0.0) + float(area)
    return dict(sorted(sums.items(), key=lambda each: [(part is None, part or "") for part in each[0]]))


def _survey(city: "City", name: str, given: Mapping[str, Any], field: str | None) -> tuple[Features, Classes]:
    wanted = (field,) if field is not None else FIELDS
    properties = known_properties(city, name, given, (*wanted, SYSTEM, YEAR))
    found = place.features(city, name, given, kinds=place.AREAS, properties=properties, is_dense=True)
    years = sorted({each for each in place.words(found, YEAR) if each is not None})
    if len(years) > 1:
        hint = f"Ask for one of them, for example with the filter {YEAR} = {years[-1]}."
        raise InvalidInput(f"{name}/{YEAR}: surveys of {', '.join(years)} are mixed in one input.", hint)
    return found, classes(name, found, field)


def _row(system: str, kind: str, start: str | None, end: str | None, *, area_m2: float) -> dict[str, Any]:
    names = {f"{which}_name": None if code is None else land_codes.name(code, system)
             for which, code in (("from", start), ("to", end))}  # fmt: skip
    return {"kind": kind, "from": start, "to": end, **names, **_area(area_m2)}


def _area(area_m2: float) -> dict[str, float]:
    return {"area_m2": area_m2, "area_ha": area_m2 / 10_000.0, "area_mu": area_m2 / MU_M2}


def _totals(system: str, codes: list[str | None], areas: FloatArray) -> list[dict[str, Any]]:
    sums: dict[str | None, float] = {}
    for code, area in zip(codes, areas.tolist(), strict=True):
        sums[code] = sums.get(code, 0.0) + area
    rows = sorted(sums.items(), key=lambda each: (each[0] is None, each[0] or ""))
    return [
        {"class": code, "class_name": None if code is None else land_codes.name(code, system), **_area(area)}
        for code, area in rows
    ]


def _farmland(found: Transition, old: Classes, new: Classes) -> dict[str, float]:
    """A class that is missing or not in the list is neither farmland nor another one: `unclassified`."""
    had, has = (_is(each, lambda code: is_known(code, old.system)) for each in (old, new))
    was, is_now = _is(old, land_codes.is_farmland) & had, _is(new, land_codes.is_farmland) & has
    i, j, area = found.pieces.left, found.pieces.right, found.pieces.areas_m2
    lost, won = float(area[was[i] & ~is_now[j] & has[j]].sum()), float(area[~was[i] & had[i] & is_now[j]].sum())
    told = {
        "before": float(found.before_m2[was].sum()), "after": float(found.after_m2[is_now].sum()),
        "loss": lost, "gain": won, "net": won - lost, "not_surveyed_again": float(found.lost_m2[was].sum()),
        "unclassified": float(area[(was[i] & ~has[j]) | (~had[i] & is_now[j])].sum()),
    }  # fmt: skip
    return {
        f"{name}_{unit}": size_m2 / size
        for name, size_m2 in told.items()
        for unit, size in (("m2", 1.0), ("mu", MU_M2))
    }


def _is(listed: Classes, what: Callable[[str], bool]) -> NDArray[np.bool_]:
    """(n,) whether something holds for a feature's code; False without one."""
    return np.array([bool(code) and what(str(code)) for code in listed.codes], bool)


def _overlap(pairs: Pieces) -> dict[str, Any]:
    return {"n": len(pairs), "area_m2": float(pairs.areas_m2.sum())}


def changes(
    pieces: Pieces, old: tuple[Features, list[str | None]], new: tuple[Features, list[str | None]], limit: int
) -> tuple[int, NDArray[np.int64], list[dict[str, Any]]]:
    """Pieces whose class is another one now: how many, the largest `limit` of them (rows), and what is told of each."""
    is_other = [old[1][i] != new[1][j] for i, j in zip(pieces.left.tolist(), pieces.right.tolist(), strict=True)]
    rows = np.flatnonzero(np.array(is_other, bool))
    rows = rows[np.argsort(-pieces.areas_m2[rows], kind="stable")]
    told = [
        {"before": old[0].ids[pieces.left[i]], "after": new[0].ids[pieces.right[i]], "from": old[1][pieces.left[i]],
         "to": new[1][pieces.right[i]], **_area(float(pieces.areas_m2[i]))}
        for i in rows[:limit].tolist()
    ]  # fmt: skip
    return len(rows), rows[:limit], told


_AREAS: dict[str, Any] = {
    "area_m2": {"type": "number", "x-unit": "m2"}, "area_ha": {"type": "number", "x-unit": "har"},
    "area_mu": {"type": "number", "x-unit": "mu"},
}  # fmt: skip
_CODE: dict[str, Any] = {"type": ["string", "null"]}
_ROW: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["both", "only_before", "only_after"]},
        "from": _CODE,
        "to": _CODE,
        "from_name": _CODE,
        "to_name": _CODE,
        **_AREAS,
    },
}
_TOTALS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "object", "properties": {"class": _CODE, "class_name": _CODE, **_AREAS}},
}
_FARMLAND: dict[str, Any] = {
    "type": "object",
    "properties": {
        f"{name}_{unit}": {"type": "number", "x-unit": unit}
        for name in ("before", "after", "loss", "gain", "net", "not_surveyed_again", "unclassified")
        for unit in ("m2", "mu")
    },
}

PROCESS = Process(
    id="landuse-transition",
    title=Title("地类变化", "Land use transition"),
    description=Title(
        "两次调查之间的地类转移矩阵（椭球面积）和耕地增减；各行之和等于前一次调查；两套地类代码不混用。",
        "Matrix of areas (on the ellipsoid) from the classes of one survey to those of a later one, and farmland lost "
        "and won; rows add up to the earlier survey; the two code systems are never mixed.",
    ),
    inputs={
        "before": Parameter(Title("前一次调查", "Earlier survey"), SCHEMA),
        "after": Parameter(Title("后一次调查", "Later survey"), SCHEMA),
        "field": Parameter(
            Title("地类代码字段", "Attribute of class codes"), {"type": "string", "minLength": 1}, False,
            Title("缺省为 DLBM 或 ydyh_code", "DLBM or ydyh_code when absent"),
        ),
        "class_digits": Parameter(
            Title("地类代码位数", "Digits of class codes"), {"type": "integer", "enum": [2, 4, 6]}, False
        ),
        "limit": Parameter(
            Title("最多列出的变化", "Changes listed at most"),
            {"type": "integer", "minimum": 0, "maximum": 100_000, "default": 10_000}, False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "matrix": Parameter(Title("转移矩阵", "Matrix"), {"type": "array", "items": _ROW}),
        "from_totals": Parameter(Title("前一次各地类面积", "Classes of the earlier survey"), _TOTALS),
        "to_totals": Parameter(Title("后一次各地类面积", "Classes of the later survey"), _TOTALS),
        "farmland": Parameter(Title("耕地增减", "Farmland"), _FARMLAND),
        "overlaps": Parameter(
            Title("调查内部的重叠", "Overlaps inside each survey"),
            {"type": "object", "description": "For before and after: number of pairs and area_m2."},
        ),
        "class_system": Parameter(Title("分类体系", "Code system"), {"type": "string"}),
        "unknown_codes": Parameter(Title("未知代码", "Codes the list does not have, how often"), {"type": "object"}),
        "n_changes": Parameter(Title("变化图斑数", "Pieces that changed"), {"type": "integer"}),
        "is_complete": Parameter(Title("是否全部列出", "All of them are listed"), {"type": "boolean"}),
        "changes": Parameter(
            Title("变化图斑", "Pieces that changed, largest first"), place.FEATURES_OUT, media_type=place.GEOJSON
        ),
    },
    function=landuse_transition,
    keywords=("land use", "transition", "地类变化", "转移矩阵", "耕地"),
)  # fmt: skip
