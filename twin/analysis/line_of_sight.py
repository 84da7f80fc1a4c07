"""P15 line-of-sight: does a point see others over ground and buildings, and what is first in the way.

The ground counts where the line crosses the lattice of cell centres (`line_of_sight_ground`), buildings are prisms from
the ground up and cut exactly. A line that only touches passes. A missing height in the way makes the answer unknown,
unless something known hides the target anyway.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input, place
from twin.analysis.elevation import Elevation, elevation
from twin.analysis.line_of_sight_ground import crossings, over_line, sights
from twin.analysis.line_of_sight_prisms import Line, Prisms, first_over, over_span, read, spans
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.viewshed_sight import REFRACTION_K, SAME_M, bend_per_m

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
State = Literal["visible", "hidden", "unknown"]

MOST_TARGETS = 1_000
HIGHEST_M = 10_000.0


@dataclass(frozen=True)
class Sight:
    """What one line meets.

    Attributes
    ----------
    state : hidden where something known is in the way; else unknown where a height is missing; else visible
    first_m : distance to what is first in the way; None where nothing known is
    first_by : "ground", or the building's id
    over_m : by how much the worst obstacle rises over the line; less than 0 is the least room; None: nothing known
    over_at_m : where that is
    missing_share : of the ground's heights that are asked for
    unknown_buildings : in the way with no known top
    """

    state: State
    first_m: float | None
    first_by: str | None
    over_m: float | None
    over_at_m: float | None
    missing_share: float
    unknown_buildings: tuple[str, ...] = ()


def look(
    ground: Elevation, prisms: Prisms, eye: FloatArray, targets: FloatArray, bend: float, *, progress: Progress = SILENT
) -> list[Sight]:
    """From (3,) east, north, height to (k, 3) targets, each apart from the eye. NaN heights make it unknown."""
    start = np.repeat(eye[None, :2], len(targets), axis=0)
    found = crossings(ground.cells, ground.grid, start, targets[:, :2])
    length = np.hypot(*(targets[:, :2] - start).T)
    over = over_line(found, np.full(len(targets), eye[2]), targets[:, 2], length, bend)
    worst = sights(found, over, len(targets), SAME_M)
    tree = shapely.STRtree(prisms.footprints)
    made = []
    for k in range(len(targets)):
        line = Line(float(eye[2]), float(targets[k, 2]), float(length[k]), bend)
        by_ground = (worst.first_m[k], worst.over_m[k], worst.at_m[k], worst.missing[k])
        near = np.sort(tree.query(shapely.LineString([eye[:2], targets[k, :2]])))
        which, *span = spans(eye[:2], targets[k, :2], prisms.footprints[near])
        made.append(_one(line, prisms, near[which], span, by_ground))
        progress(100.0 * (k + 1) / len(targets), "lines")
    return made


def _one(
    line: Line, prisms: Prisms, met: NDArray[np.intp], span: list[FloatArray], by_ground: tuple[float, ...]
) -> Sight:
    """A line, the buildings that it meets, (m,) entries and exits, and what the ground does to it."""
    first, over, at, missing = by_ground
    top = prisms.top_m[met]
    first_by = None if np.isnan(first) else "ground"
    is_known = ~np.isnan(top)
    rise, place_m = over_span(line, top, *span)
    for row in np.flatnonzero(is_known & (rise > SAME_M)):
        meets_m = first_over(line, top[row], span[0][row], span[1][row], SAME_M)
        if not np.isnan(meets_m) and not meets_m >= first:
            first, first_by = meets_m, prisms.ids[met[row]]
    if is_known.any() and np.nanmax(rise) > over:
        over, at = float(np.nanmax(rise)), float(place_m[np.nanargmax(rise)])
    unknown = tuple(prisms.ids[row] for row in np.unique(met[~is_known]))
    has_ends = bool(np.isfinite([line.eye_m, line.target_m]).all())
    state: State = "visible"
    if has_ends and first_by is not None:
        state = "hidden"
    elif not has_ends or missing > 0 or unknown:
        state = "unknown"
    has_over = has_ends and np.isfinite(over)
    return Sight(
        state, float(first) if first_by is not None else None, first_by, float(over) if has_over else None,
        float(at) if has_over else None, float(missing), unknown,
    )  # fmt: skip


def point(city: "City", name: str, given: dict[str, Any]) -> FloatArray:
    """(2,) place of an input that is one point."""
    found = place.features(city, name, given, kinds=("Point",), properties=())
    if len(found) != 1:
        raise InvalidInput(f"{name}: {len(found)} points are given.", "Give one.")
    return np.asarray(shapely.get_coordinates(found.geometry)[0], np.float64)


def heights(ground: Elevation, xy: FloatArray, height_m: float, elev_m: float | None) -> FloatArray:
    """(k,) heights of (k, 2) points: so high over the ground, or at `elev_m` where that is given."""
    if elev_m is not None:
        return np.full(len(xy), float(elev_m))
    return ground.at(xy[:, 0], xy[:, 1]) + height_m


def line_of_sight(
    city: "City",
    *,
    observer: dict[str, Any],
    targets: dict[str, Any],
    observer_height_m: float = 1.6,
    target_height_m: float = 0.0,
    observer_elev_m: float | None = None,
    target_elev_m: float | None = None,
    dem: dict[str, Any] | None = None,
    buildings: dict[str, Any] | None = None,
    with_buildings: bool = True,
    refraction_k: float = REFRACTION_K,
    curvature: bool = True,
    cell_m: float | None = None,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Which of the targets a point sees."""
    eye = point(city, "observer", observer)
    found = place.features(city, "targets", targets, kinds=("Point",), properties=(), most=MOST_TARGETS)
    ends = shapely.get_coordinates(found.geometry)
    if (np.hypot(*(ends - eye).T) < SAME_M).any():
        raise InvalidInput("targets: one is where the observer is.")
    region = shapely.box(*np.concatenate([np.minimum(ends.min(axis=0), eye), np.maximum(ends.max(axis=0), eye)]))
    ground = elevation(city, "dem", dem, region=region, cell_m=cell_m, margin_cells=2)
    prisms = Prisms([], np.empty(0, object), np.empty(0))
    if with_buildings:
        prisms = read(city, "buildings", buildings, region, ground.at)
    start = np.append(eye, heights(ground, eye[None], observer_height_m, observer_elev_m))
    stop = np.column_stack([ends, heights(ground, ends, target_height_m, target_elev_m)])
    prisms, left_out = apart(prisms, np.concatenate([start[None], stop]))
    seen = look(ground, prisms, start, stop, bend_per_m(refraction_k, is_curved=curvature), progress=progress)
    return _answer(start, stop, seen, left_out, partial(place.geojson, city, ids=found.ids, target=crs))


def apart(prisms: Prisms, ends: FloatArray) -> tuple[Prisms, list[str]]:
    """Without the buildings that one of (k, 3) ends is inside of, under their top: they hide nothing from within."""
    if not len(prisms):
        return prisms, []
    at, which = shapely.STRtree(prisms.footprints).query(shapely.points(ends[:, :2]), predicate="within")
    low = ~(ends[at, 2] >= prisms.top_m[which] - SAME_M)
    is_out = np.zeros(len(prisms), bool)
    is_out[which[low]] = True
    return prisms.but(is_out), [prisms.ids[row] for row in np.flatnonzero(is_out)]


def _answer(
    eye: FloatArray, ends: FloatArray, seen: list[Sight], left_out: list[str], told: Callable[..., dict[str, Any]]
) -> dict[str, Any]:
    """`told`: (n,) lines and their properties as GeoJSON."""
    lines = shapely.linestrings([[eye[:2], end[:2]] for end in ends])
    rows = []
    for sight, end in zip(seen, ends, strict=True):
        at = None
        if sight.first_m is not None:
            share = sight.first_m / np.hypot(*(end[:2] - eye[:2]))
            at = (eye[:2] + share * (end[:2] - eye[:2])).tolist()
        rows.append({
            "state": sight.state, "distance_m": float(np.hypot(*(end[:2] - eye[:2]))),
            "observer_elev_m": _number(eye[2]), "target_elev_m": _number(end[2]), "first_block_m": sight.first_m,
            "first_block": sight.first_by, "first_block_at": at, "over_m": sight.over_m, "over_at_m": sight.over_at_m,
            "missing_share": sight.missing_share, "unknown_buildings": list(sight.unknown_buildings),
        })  # fmt: skip
    states = [sight.state for sight in seen]
    worst: State = "hidden" if "hidden" in states else "unknown" if "unknown" in states else "visible"
    return {
        "state": worst,
        "n_visible": states.count("visible"), "n_hidden": states.count("hidden"), "n_unknown": states.count("unknown"),
        "left_out": left_out,
        "lines": told(lines, rows),
    }  # fmt: skip


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def height_input(zh: str, en: str, default: float | None) -> Parameter:
    """An input that is a height in metres: over the ground with a default, an elevation without."""
    low = 0 if default is not None else -500
    schema: dict[str, Any] = {"type": "number", "minimum": low, "maximum": HIGHEST_M, "x-unit": "m"}
    return Parameter(Title(zh, en), schema | ({} if default is None else {"default": default}), required=False)


def curvature_input(default: bool) -> Parameter:
    """Whether the earth is round."""
    title = Title("是否计入地球曲率", "The ground drops with the distance, d² (1 − k) / 2R")
    return Parameter(title, {"type": "boolean", "default": default}, required=False)


REFRACTION = Parameter(
    Title("大气折光系数 k", "Coefficient of refraction k"),
    {"type": "number", "minimum": 0, "maximum": 1, "default": REFRACTION_K, "x-unit": "1"},
    required=False,
)
BUILDINGS = Parameter(
    Title(
        "建筑（默认 building 图层）", "Buildings with height_m and, where known, base_elev_m; layer building if absent"
    ),
    features_input.SCHEMA,
    required=False,
)
OBSERVER = Parameter(Title("观察点", "Point of the observer"), features_input.SCHEMA)
DEM = Parameter(
    Title("地形（默认 dem）", "Heights; the terrain of the city when absent"),
    features_input.RASTER_SCHEMA,
    required=False,
)
CELL_M = Parameter(
    Title("格网边长", "Side of the cells; the raster's own when absent"),
    {"type": "number", "minimum": 0.01, "maximum": 1000, "x-unit": "m"},
    required=False,
)

PROCESS = Process(
    id="line-of-sight",
    title=Title("通视分析", "Line of sight"),
    description=Title(
        "观察点能否看到各目标点：地形与建筑遮挡，给出首个遮挡处。高度为离地高，擦过视为可见，缺高程则未知。",
        "Whether a point sees others over ground and buildings, and what is first in the way. Heights are above the "
        "ground; a line that touches passes; where a height is missing the answer is unknown.",
    ),
    inputs={
        "observer": OBSERVER,
        "targets": Parameter(Title("目标点", f"Points looked at, at most {MOST_TARGETS}"), features_input.SCHEMA),
        "observer_height_m": height_input("观察点离地高", "Height of the observer over the ground", 1.6),
        "target_height_m": height_input("目标离地高", "Height of the targets over the ground", 0.0),
        "observer_elev_m": height_input("观察点高程", "Elevation of the observer, instead of its height", None),
        "target_elev_m": height_input("目标高程", "Elevation of the targets, instead of their height", None),
        "dem": DEM,
        "buildings": BUILDINGS,
        "with_buildings": Parameter(
            Title("建筑是否遮挡", "Buildings hide"), {"type": "boolean", "default": True}, required=False
        ),
        "refraction_k": REFRACTION,
        "curvature": curvature_input(True),
        "cell_m": CELL_M,
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "state": Parameter(
            Title("结论", "hidden if any target is, else unknown if any is, else visible"),
            {"type": "string", "enum": ["visible", "hidden", "unknown"]},
        ),
        "n_visible": Parameter(Title("可见数", "Targets seen"), {"type": "integer", "minimum": 0}),
        "n_hidden": Parameter(Title("不可见数", "Targets hidden"), {"type": "integer", "minimum": 0}),
        "n_unknown": Parameter(Title("未知数", "Targets not known"), {"type": "integer", "minimum": 0}),
        "left_out": Parameter(
            Title("不计的建筑", "Buildings left out because an end of a line is inside, under their top"),
            {"type": "array", "items": {"type": "string"}},
        ),
        "lines": Parameter(
            Title("视线", "Sight lines: state, first_block_m, first_block (ground or a building's id), over_m …"),
            place.FEATURES_OUT,
            media_type=place.GEOJSON,
        ),
    },
    function=line_of_sight,
    keywords=("visibility", "通视"),
)
