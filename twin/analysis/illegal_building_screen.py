"""P10 illegal-building-screen: which buildings stand without a permit, beyond it, or higher than it says.

Suspected is a building of which more than 10 m² and more than 5 % of its present footprint lie outside its permits
(both strictly), that has no permit, that is higher than permitted, or that stands in a control line. With the buildings
of an earlier date only what has changed since is screened; where no permits are known, changes alone are told, as
leads. Measured areas are plane m² in the city's CRS, as permits are drawn; `area_m2` of a suspect is on the ellipsoid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from layers.errors import InvalidInput
from twin.analysis import illegal_building_screen_reasons as reasons
from twin.analysis import place
from twin.analysis.features_input import RASTER_SCHEMA, SCHEMA
from twin.analysis.illegal_building_screen_excess import Cover, cover
from twin.analysis.illegal_building_screen_reasons import Houses, Suspect
from twin.analysis.parcel_intensity import today_rules
from twin.analysis.parcel_intensity_buildings import COLUMNS, chosen, heights, is_estimated, number, standing
from twin.analysis.parcel_intensity_read import areas, areas_or_layer, has_any
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.store.interface import Features
from twin.supervision.rules import RuleBook

if TYPE_CHECKING:
    from twin.city import City

PERMIT_COLUMNS = ("permit_no", "building_code", "height_m", "gfa_m2", "permit_date", "project_code")


@dataclass(frozen=True)
class Screened:
    """What a screening found: suspects, the permits of buildings, and rows whose height cannot be judged."""

    suspects: list[Suspect]
    cover: Cover | None
    no_height: NDArray[np.int64]
    no_limit: NDArray[np.int64]


def as_houses(found: Features, name: str = "buildings") -> Houses:
    """Footprints and heights of building features."""
    return Houses(found.geometry, heights(found, name), is_estimated(found, "height_m"))


def named_pairs(houses: Features, permits: Features) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of buildings and permits that name each other: `building_code` of the permit is the building's or its id."""
    codes: dict[str, list[int]] = {}
    for row, (code, name) in enumerate(zip(place.words(houses, "building_code"), houses.ids, strict=True)):
        for key in {code, name} - {None}:
            codes.setdefault(str(key), []).append(row)
    pairs = [
        (building, permit)
        for permit, code in enumerate(place.words(permits, "building_code"))
        for building in codes.get(code or "", ())
    ]
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def screened(
    book: RuleBook,
    houses: Features,
    permits: Features,
    before: Features | None = None,
    tolerance_m: float | None = None,
) -> Screened:
    """Hold buildings against permits by the rules of `illegal_building.yaml`; only what has changed since `before`.

    Parameters
    ----------
    houses, permits, before : areas in one plane CRS; each building once
    tolerance_m : of heights, in place of the rule's
    """
    now = as_houses(houses)
    least = float(book["illegal-building-permit"].parameters["permit_share_min_pct"]) / 100.0
    found = cover(now.footprints, permits.geometry, named_pairs(houses, permits), least=least)
    judged = reasons.too_high(book, now, found, heights(permits, "permits"), tolerance_m)
    suspects = [*reasons.without_permit(book, now, found), *reasons.enlarged(book, found), *judged.suspects]
    if before is not None:
        changed = {each.row for each in reasons.changed(book, now, as_houses(before, "buildings_before"))}
        suspects = [each for each in suspects if each.row in changed]
    return Screened(suspects, found, np.flatnonzero(judged.no_height), np.flatnonzero(judged.no_limit))


def illegal_building_screen(
    city: "City",
    *,
    buildings: Mapping[str, Any] | None = None,
    permits: Mapping[str, Any] | None = None,
    buildings_before: Mapping[str, Any] | None = None,
    lines: Sequence[Mapping[str, Any]] = (),
    dsm_before: Mapping[str, Any] | None = None,
    dsm: Mapping[str, Any] | None = None,
    region: Mapping[str, Any] | None = None,
    rise_min_m: float | None = None,
    height_tolerance_m: float | None = None,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Suspects among the city's buildings, or those given; or among what rose between two surface models.

    Parameters
    ----------
    buildings, permits : the layers building and permit_building when absent
    buildings_before : buildings of an earlier date (the layer with `datetime`, or another one)
    lines : areas to keep free, for example the layers pbf and eco_redline
    dsm_before, dsm : surface models of two dates instead of buildings
    region, rise_min_m : where these are compared, and from which rise on
    """
    if dsm is not None or dsm_before is not None:
        return _from_surfaces(city, _Surfaces(dsm_before, dsm, region, permits, rise_min_m, crs), progress)
    for name, value in (("region", region), ("rise_min_m", rise_min_m)):
        if value is not None:
            raise InvalidInput(f"{name} belongs to surface models, and none is given.", "Give dsm_before and dsm.")
    houses = areas(city, "buildings", buildings or {"collection": "building"}, COLUMNS)
    houses = chosen(houses, standing(houses))
    progress(20, "permits")
    knows_permits = permits is not None or has_any(city, "permit_building")
    allowed = areas_or_layer(city, "permits", permits, "permit_building", houses.geometry, columns=PERMIT_COLUMNS)
    before = None if buildings_before is None else _before(city, buildings_before, houses)
    if not knows_permits and before is None:
        raise InvalidInput(
            "permits: the city has nothing in a layer permit_building, so every building would be suspected.",
            "Give permits, or buildings_before to look for changes.",
        )
    progress(40, "screening")
    book = today_rules(city)
    if knows_permits:
        found = screened(book, houses, allowed, before, height_tolerance_m)
    else:
        assert before is not None
        none = np.empty(0, np.int64)
        found = Screened(
            reasons.changed(book, as_houses(houses), as_houses(before, "buildings_before")), None, none, none
        )
    progress(70, "control lines")
    kept = _lines(city, lines, houses)
    size_m2 = np.asarray(shapely.area(houses.geometry), np.float64)
    for layer, area in kept:
        scale = areas_m2(houses.geometry, city.crs) / size_m2
        for each in reasons.in_control_lines(book, as_houses(houses), area.geometry, scale):
            found.suspects.append(replace(each, reason=f"control_line:{layer}"))
    progress(85, "answer")
    return _answer(city, houses, allowed, found, crs)


def _from_surfaces(city: "City", given: "_Surfaces", progress: Progress) -> dict[str, Any]:
    """What rose between two surface models and lies in no permit."""
    from twin.analysis.illegal_building_screen_dsm import risen, uncovered

    if given.dsm is None or given.dsm_before is None:
        raise InvalidInput("dsm_before and dsm: both dates are needed.", "Name a raster for each.")
    place_ = None
    if given.region is not None:
        place_ = shapely.union_all(areas(city, "region", given.region, ()).geometry)
    book = today_rules(city)
    shapes, rows = risen(
        city, book, given.dsm_before, given.dsm, region=place_, rise_min_m=given.rise_min_m,
        progress=progress.part(0, 80),
    )  # fmt: skip
    near = np.array(shapes, dtype=object)
    allowed = areas_or_layer(city, "permits", given.permits, "permit_building", near, columns=PERMIT_COLUMNS)
    kept, properties = uncovered(city, book, shapes, rows, allowed)
    ids = [f"{each['reason']}/{row}" for row, each in enumerate(properties)]
    return {
        "suspects": place.geojson(city, np.array(kept, dtype=object), properties, ids, given.crs),
        "n_checked": len(shapes),
        "n_suspects": len(kept),
        "unknown": [],
    }


@dataclass(frozen=True)
class _Surfaces:
    dsm_before: Mapping[str, Any] | None
    dsm: Mapping[str, Any] | None
    region: Mapping[str, Any] | None
    permits: Mapping[str, Any] | None
    rise_min_m: float | None
    crs: str | None


def _before(city: "City", given: Mapping[str, Any], houses: Features) -> Features:
    found = areas_or_layer(city, "buildings_before", given, "building", houses.geometry, columns=COLUMNS)
    return chosen(found, standing(found))


def _lines(city: "City", given: Sequence[Mapping[str, Any]], houses: Features) -> list[tuple[str, Features]]:
    out = []
    for row, each in enumerate(given):
        name = str(each.get("collection", row))
        found = areas_or_layer(city, f"lines/{row}", each, name, houses.geometry, columns=())
        out.append((name, found))
    return out


def _answer(city: "City", houses: Features, permits: Features, found: Screened, target: str | None) -> dict[str, Any]:
    shapes = np.array([each.shape for each in found.suspects], dtype=object)
    survey_m2 = areas_m2(shapes, city.crs)
    size_m2 = np.asarray(shapely.area(houses.geometry), np.float64)
    height = heights(houses)
    allowed_m = np.full(len(houses), np.nan)
    names: list[list[str]] = [[] for _ in houses.ids]
    if found.cover is not None:
        allowed_m = found.cover.highest(heights(permits))[0]
        for building, permit in zip(found.cover.building.tolist(), found.cover.permit.tolist(), strict=True):
            names[building].append(permits.ids[permit])
    properties = []
    for each, area in zip(found.suspects, survey_m2.tolist(), strict=True):
        is_area = each.rule.unit == "m2"
        properties.append(
            {
                "building_id": houses.ids[each.row],
                "reason": each.reason,
                "area_m2": area,
                "height_m": number(height[each.row]),
                "permit_height_m": number(allowed_m[each.row]),
                "permits": names[each.row],
                "footprint_m2": float(size_m2[each.row]),
                "excess_m2": each.measured if is_area else None,
                "excess_share_pct": 100.0 * each.measured / float(size_m2[each.row]) if is_area else None,
                "rule_id": each.rule.id,
                "measured": each.measured,
                "limit": each.limit,
                "unit": each.rule.unit,
                "verdict": each.verdict,
                "source": f"{each.rule.source} {each.rule.clause}",
                "confidence": each.confidence,
            }
        )
    ids = [f"{each['building_id']}/{each['reason']}" for each in properties]
    unknown = [(row, "height_unknown") for row in found.no_height.tolist()]
    unknown += [(row, "permit_height_unknown") for row in found.no_limit.tolist()]
    return {
        "suspects": place.geojson(city, shapes, properties, ids, target),
        "n_checked": len(houses),
        "n_suspects": len({each.row for each in found.suspects}),
        "unknown": [
            {"building_id": houses.ids[row], "what": what, "verdict": "unknown"} for row, what in sorted(unknown)
        ],
    }


PROCESS = Process(
    id="illegal-building-screen",
    title=Title("违法建设筛查", "Screening for illegal buildings"),
    description=Title(
        "筛查无许可、超许可范围（大于10平方米且大于现状基底5%）、超许可高度及占压控制线的建筑；可与早期建筑或表面模型比较只查变化。",
        "Buildings without a permit, beyond it (more than 10 m² and more than 5 % of the present footprint), higher, "
        "or in a control line; with the buildings or the surface model of an earlier date only what has changed.",
    ),
    inputs={
        "buildings": Parameter(
            Title("现状建筑（缺省为建筑图层）", "Buildings now; the layer building when absent"), SCHEMA, required=False
        ),
        "permits": Parameter(
            Title("许可（缺省为规划许可建筑图层）", "Permits; the layer permit_building when absent"),
            SCHEMA,
            required=False,
        ),
        "buildings_before": Parameter(
            Title("早期建筑", "Buildings of an earlier date, for example the layer with datetime"),
            SCHEMA,
            required=False,
        ),
        "lines": Parameter(
            Title("控制线", "Areas to keep free, for example the layers pbf and eco_redline"),
            SCHEMA,
            required=False,
            max_occurs=8,
        ),
        "dsm_before": Parameter(
            Title("早期表面模型", "Surface model of the earlier date"), RASTER_SCHEMA, required=False
        ),
        "dsm": Parameter(
            Title("现状表面模型", "Surface model now, instead of buildings"), RASTER_SCHEMA, required=False
        ),
        "region": Parameter(Title("范围", "Where surface models are compared"), SCHEMA, required=False),
        "rise_min_m": Parameter(
            Title("最小抬升", "Least rise between surface models, in place of the rule's"),
            {"type": "number", "minimum": 0, "maximum": 1000, "x-unit": "m"},
            required=False,
        ),
        "height_tolerance_m": Parameter(
            Title("高度容差", "Tolerance of heights, in place of the rule's"),
            {"type": "number", "minimum": 0, "maximum": 100, "x-unit": "m"},
            required=False,
        ),
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "suspects": Parameter(
            Title("疑似违法图斑", "Suspects: reason, area, height, permits, rule"),
            place.FEATURES_OUT,
            media_type=place.GEOJSON,
        ),
        "n_checked": Parameter(Title("检查建筑数", "Buildings that were checked"), {"type": "integer"}),
        "n_suspects": Parameter(Title("疑似建筑数", "Buildings that are suspected"), {"type": "integer"}),
        "unknown": Parameter(
            Title("高度无法判定的建筑", "Buildings whose height cannot be judged, and why"), {"type": "array"}
        ),
    },
    function=illegal_building_screen,
    keywords=("illegal building", "permit", "违法建设"),
)
