"""P11 model-diff: by how much a model, or a surface, differs from an earlier one.

Volumes are exact: of a closed mesh what it encloses, of an area with a height the prism; of a mesh that is not closed
none is known. All are in the city's plane coordinates and heights, as models are drawn. Surface models are held against
each other cell by cell; a cell that one of them does not know counts as unknown, not as unchanged.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis.elevation import Elevation, elevation
from twin.analysis.features_input import RASTER_SCHEMA, SCHEMA
from twin.analysis.model_diff_dsm import Change, differences, inside
from twin.analysis.model_diff_models import MODELS_SCHEMA, Model, models
from twin.analysis.model_diff_pairs import Difference, by_key, by_overlap, difference
from twin.analysis.parcel_intensity_buildings import number, rows_schema
from twin.analysis.parcel_intensity_read import areas
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.raster_out import KEEP_AS, cog, keep, raster_output

if TYPE_CHECKING:
    from twin.city import City

CHANGE_MIN_M = 0.5


def model_diff(
    city: "City",
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    match: str = "id",
    key: str | None = None,
    dsm_before: Mapping[str, Any] | None = None,
    dsm_after: Mapping[str, Any] | None = None,
    region: Mapping[str, Any] | None = None,
    change_min_m: float = CHANGE_MIN_M,
    keep_as: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Differences of models (`before` and `after`), of surface models (`dsm_before` and `dsm_after`), or both.

    Parameters
    ----------
    match : `id`, `key` (the attribute `key`) or `overlap` of footprints
    region, change_min_m : where surfaces are compared, and from which change on a cell counts
    keep_as : layer that the raster of differences becomes
    """
    if (before is None) != (after is None):
        raise InvalidInput("before and after: both are needed.")
    for name, value in (("region", region), ("keep_as", keep_as)):
        if value is not None and dsm_before is None and dsm_after is None:
            raise InvalidInput(
                f"{name} belongs to surface models, and none is given.", "Give dsm_before and dsm_after."
            )
    if (dsm_before is None) != (dsm_after is None):
        raise InvalidInput("dsm_before and dsm_after: both are needed.")
    if before is None and dsm_before is None:
        raise InvalidInput(
            "before: nothing is given to compare.", "Give before and after, or dsm_before and dsm_after."
        )
    if (match == "key") != (key is not None):
        raise InvalidInput("key: it goes with match=key, and match=key needs it.")
    out: dict[str, Any] = {}
    end = 40.0 if dsm_before is not None else 100.0
    if before is not None and after is not None:
        out |= _models(city, (before, after), match, key, progress.part(0, end))
    if dsm_before is not None and dsm_after is not None:
        out |= _surfaces(
            city, _Surfaces(dsm_before, dsm_after, region, change_min_m, keep_as),
            progress.part(0 if before is None else end, 100),
        )  # fmt: skip
    return out


def _models(
    city: "City", sides: tuple[Mapping[str, Any], Mapping[str, Any]], match: str, key: str | None, progress: Progress
) -> dict[str, Any]:
    columns = ("same_as",) if key is None else ("same_as", key)
    old = models(city, "before", sides[0], columns=columns, progress=progress.part(0, 45))
    new = models(city, "after", sides[1], columns=columns, progress=progress.part(45, 90))
    for name, side in (("before", old), ("after", new)):
        if not side:
            raise InvalidInput(f"{name} has no model.", "Check its filter, bbox and ids.")
    if match == "overlap":  # a finer model of a footprint that is there too would stand in for it
        old, new = _once(old), _once(new)
    pairs = by_overlap(old, new) if match == "overlap" else by_key(old, new, key)
    found = [difference(old[a], new[b]) for a, b in pairs]
    known = [each for each in found if not np.isnan(each.volume_m3)]
    rest_old, rest_new = {a for a, _ in pairs}, {b for _, b in pairs}
    return {
        "differences": [_row(each) for each in found],
        "only_before": [each.id for row, each in enumerate(old) if row not in rest_old],
        "only_after": [each.id for row, each in enumerate(new) if row not in rest_new],
        "difference_m3": None if found and not known else sum(each.volume_m3 for each in known),
        "n_unknown": len(found) - len(known),
    }


def _once(side: list[Model]) -> list[Model]:
    """Without second models of things of which another one is there."""
    names = {each.id for each in side}
    return [each for each in side if each.values.get("same_as") not in names]


def _row(each: Difference) -> dict[str, Any]:
    return {
        "before": each.before.id,
        "after": each.after.id,
        "volume_before_m3": number(each.before.volume_m3),
        "volume_after_m3": number(each.after.volume_m3),
        "difference_m3": number(each.volume_m3),
        "difference_pct": number(each.percent),
        "height_before_m": number(each.before.height_m),
        "height_after_m": number(each.after.height_m),
        "height_difference_m": number(each.height_m),
        "top_difference_m": number(each.top_m),
        "change": each.change,
        "method_before": each.before.method,
        "method_after": each.after.method,
        "note": _why([each.before, each.after]),
    }


def _why(sides: list[Model]) -> str | None:
    """Why a volume is not known."""
    for each in sides:
        if np.isnan(each.volume_m3):
            what = "no mesh, or no area with height" if each.solid is None else "the mesh is not closed"
            return f"{each.id}: {what}"
    return None


@dataclass(frozen=True)
class _Surfaces:
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    region: Mapping[str, Any] | None
    change_min_m: float
    keep_as: str | None


def _surfaces(city: "City", given: _Surfaces, progress: Progress) -> dict[str, Any]:
    where = None
    if given.region is not None:
        where = shapely.union_all(areas(city, "region", given.region, ()).geometry)
    after = elevation(city, "dsm_after", dict(given.after), region=where)
    before = elevation(city, "dsm_before", dict(given.before), region=where)
    change = Change()
    blocks = _counted((before, after), where, change, given.change_min_m, progress)
    file = cog(progress, "difference", after.grid, blocks, unit="m")
    keep(city, file, given.keep_as, "两期表面高差", "model-diff")
    return {
        "surface": {
            "raised_m2": change.raised_m2,
            "raised_m3": change.raised_m3,
            "lowered_m2": change.lowered_m2,
            "lowered_m3": change.lowered_m3,
            "compared_m2": change.compared_m2,
            "unknown_m2": change.unknown_m2,
            "highest_m": number(change.highest_rise_m),
            "lowest_m": number(change.deepest_fall_m),
            "change_min_m": given.change_min_m,
            "cell_m": after.grid.dx,
            "verdict": "unknown" if change.compared_m2 == 0 else None,
        },
        "difference": file,
    }


def _counted(
    surfaces: tuple[Elevation, Elevation], where: Any, change: Change, least_m: float, progress: Progress
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    grid = surfaces[1].grid
    for top, block in differences(*surfaces, progress.part(0, 90)):
        wanted = inside(grid, top, len(block), where)
        change.add(block, wanted, least_m, grid.cell_area_m2)
        yield top, np.where(wanted, block, np.nan)


_M3 = {"type": "number", "x-unit": "m3"}
_M3_OR_NONE = {"type": ["number", "null"], "x-unit": "m3"}
_IDS = {"type": "array", "items": {"type": "string"}}
_DIFFERENCES = rows_schema(
    volume_before_m3="m3",
    volume_after_m3="m3",
    difference_m3="m3",
    difference_pct="%",
    height_before_m="m",
    height_after_m="m",
    height_difference_m="m",
    top_difference_m="m",
)
_SURFACE = rows_schema(
    raised_m2="m2",
    raised_m3="m3",
    lowered_m2="m2",
    lowered_m3="m3",
    compared_m2="m2",
    unknown_m2="m2",
    highest_m="m",
    lowest_m="m",
    change_min_m="m",
    cell_m="m",
)["items"]

PROCESS = Process(
    id="model-diff",
    title=Title("模型差异", "Difference of models"),
    description=Title(
        "规划、许可与建成模型逐个比较体积与高度；两期表面模型逐格比较并输出高差栅格。网格不封闭时体积未知。",
        "Volumes and heights of planned, permitted and built models one by one; surface models of two dates cell by "
        "cell with a raster of differences. Of a mesh that is not closed no volume is told.",
    ),
    inputs={
        "before": Parameter(
            Title("前一模型", "Models before: a layer, areas with height_m, or meshes"), MODELS_SCHEMA, required=False
        ),
        "after": Parameter(Title("后一模型", "Models after"), MODELS_SCHEMA, required=False),
        "match": Parameter(
            Title("对应方式", "How models are matched"),
            {"type": "string", "enum": ["id", "key", "overlap"], "default": "id"},
            required=False,
        ),
        "key": Parameter(
            Title("对应属性", "Attribute to match by, for match=key"),
            {"type": "string", "minLength": 1},
            required=False,
        ),
        "dsm_before": Parameter(Title("前期表面模型", "Surface model before"), RASTER_SCHEMA, required=False),
        "dsm_after": Parameter(Title("后期表面模型", "Surface model after"), RASTER_SCHEMA, required=False),
        "region": Parameter(Title("比较范围", "Where surfaces are compared"), SCHEMA, required=False),
        "change_min_m": Parameter(
            Title("最小变化", "A cell counts when it changed by more than this"),
            {"type": "number", "minimum": 0, "maximum": 1000, "default": CHANGE_MIN_M, "x-unit": "m"},
            required=False,
        ),
        "keep_as": KEEP_AS,
    },
    outputs={
        "differences": Parameter(Title("逐个差异", "One row for each pair of models"), _DIFFERENCES),
        "only_before": Parameter(Title("仅前有", "Only before"), _IDS),
        "only_after": Parameter(Title("仅后有", "Only after"), _IDS),
        "difference_m3": Parameter(Title("已知体积差合计", "Sum of the differences that are known"), _M3_OR_NONE),
        "n_unknown": Parameter(Title("体积差未知的对数", "Pairs whose difference is not known"), {"type": "integer"}),
        "surface": Parameter(Title("表面变化", "Areas and volumes that rose and fell"), _SURFACE),
        "difference": raster_output("高差（后减前）", "Differences, after less before", "m"),
    },
    function=model_diff,
    keywords=("BIM", "DSM", "change", "模型比对"),
)
