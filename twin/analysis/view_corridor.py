"""P17 view-corridor: what rises into a corridor under a sight line, and by how much.

The corridor is a rectangle of the given width along the straight way from viewpoint to target; over it lies the sight
plane, level across, from the eye's height to the target's. A building intrudes by the most that its top rises over the
plane where its footprint lies in the corridor: exact, at the end of that stretch that is lower. The ground intrudes
where a cell centre in the corridor lies over the plane.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input, place
from twin.analysis.elevation import Elevation, elevation
from twin.analysis.line_of_sight import (
    BUILDINGS,
    CELL_M,
    DEM,
    OBSERVER,
    REFRACTION,
    apart,
    curvature_input,
    height_input,
    heights,
    point,
)
from twin.analysis.line_of_sight_prisms import Line, Prisms, over_span, read
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.viewshed_sight import REFRACTION_K, SAME_M, bend_per_m

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]

WIDEST_M = 5_000.0
TOUCH_M2 = 1e-6
"""A footprint that has no more area in the corridor only touches it."""


def corridor(start: FloatArray, end: FloatArray, width_m: float) -> shapely.Geometry:
    """A rectangle along the way from (2,) to (2,)."""
    along = (end - start) / np.hypot(*(end - start))
    aside = np.array([-along[1], along[0]]) * width_m / 2
    return shapely.Polygon([start + aside, start - aside, end - aside, end + aside])


def stretches(
    start: FloatArray, end: FloatArray, area: shapely.Geometry, footprints: NDArray[np.object_]
) -> tuple[NDArray[np.object_], FloatArray, FloatArray]:
    """(n,) footprints -> (n,) their parts in a corridor, and from where to where these reach along it, in metres.

    NaN where they have none.
    """
    inside = shapely.intersection(footprints, area)
    n = len(footprints)
    first, last = np.full(n, np.inf), np.full(n, -np.inf)
    rows = shapely.area(inside) > TOUCH_M2
    xy, owner = shapely.get_coordinates(inside[rows], return_index=True)
    length = float(np.hypot(*(end - start)))
    along = np.clip((xy - start) @ (end - start) / length, 0.0, length)
    owner = np.flatnonzero(rows)[owner]
    np.minimum.at(first, owner, along)
    np.maximum.at(last, owner, along)
    none = ~np.isfinite(first)
    first[none] = last[none] = np.nan
    return inside, first, last


def ground_over(
    ground: Elevation,
    line: Line,
    start: FloatArray,
    end: FloatArray,
    area: shapely.Geometry,
    *,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """By how much the ground rises over the sight plane at cell centres in the corridor, its ends left out."""
    grid = ground.grid
    n = n_missing = grid.cells_beyond(area)
    n_over = 0
    worst, where = -np.inf, None
    x = grid.x(np.arange(grid.width))
    shapely.prepare(area)
    for top in range(0, grid.height, 256):
        rows = min(256, grid.height - top)
        e, north = (each.ravel() for each in np.meshgrid(x, grid.y(np.arange(top, top + rows))))
        at = ((e - start[0]) * (end - start)[0] + (north - start[1]) * (end - start)[1]) / line.length_m
        is_in = shapely.contains_xy(area, e, north) & (at > SAME_M) & (at < line.length_m - SAME_M)
        over = ground.read(top, 0, rows, grid.width).ravel()[is_in] - line.room(at[is_in])
        n, n_missing = n + over.size, n_missing + int(np.isnan(over).sum())
        n_over += int((over > SAME_M).sum())
        if over.size and not np.isnan(over).all() and np.nanmax(over) > worst:
            k = int(np.nanargmax(over))
            worst, where = float(over[k]), [float(e[is_in][k]), float(north[is_in][k])]
        progress(100.0 * (top + rows) / grid.height, "ground")
    return {
        "over_m": worst if np.isfinite(worst) else None, "at": where, "over_area_m2": n_over * grid.cell_area_m2,
        "missing_share": n_missing / n if n else 0.0,
    }  # fmt: skip


def view_corridor(
    city: "City",
    *,
    observer: dict[str, Any],
    target: dict[str, Any],
    width_m: float,
    observer_height_m: float = 1.6,
    target_height_m: float = 0.0,
    observer_elev_m: float | None = None,
    target_elev_m: float | None = None,
    dem: dict[str, Any] | None = None,
    buildings: dict[str, Any] | None = None,
    refraction_k: float = REFRACTION_K,
    curvature: bool = False,
    cell_m: float | None = None,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """What stands in the way of a view."""
    start, end = point(city, "observer", observer), point(city, "target", target)
    length = float(np.hypot(*(end - start)))
    if length < SAME_M:
        raise InvalidInput("target is where the observer is.")
    area = corridor(start, end, width_m)
    ground = elevation(city, "dem", dem, region=area, cell_m=cell_m, margin_cells=2)
    ends = np.stack([start, end])
    eye = heights(ground, ends[:1], observer_height_m, observer_elev_m)[0]
    mark = heights(ground, ends[1:], target_height_m, target_elev_m)[0]
    for name, height in (("observer", eye), ("target", mark)):
        if np.isnan(height):
            raise InvalidInput(f"{name}: the ground has no height there.", f"Give {name}_elev_m.")
    line = Line(float(eye), float(mark), length, bend_per_m(refraction_k, is_curved=curvature))
    prisms = read(city, "buildings", buildings, area, ground.at)
    prisms, left_out = apart(prisms, np.column_stack([ends, [eye, mark]]))
    inside, first, last = stretches(start, end, area, prisms.footprints)
    found = _intruders(line, prisms, inside, first, last)
    below = ground_over(ground, line, start, end, area, progress=progress)
    rows, shapes, ids = found
    worst = max((row["over_m"] for row in rows if row["over_m"] is not None), default=None)
    is_free = worst is None and (below["over_m"] is None or below["over_m"] <= SAME_M)
    n_unknown = sum(row["over_m"] is None for row in rows)
    verdict = "fail" if not is_free else "unknown" if n_unknown or below["missing_share"] > 0 else "pass"
    return {
        "verdict": verdict, "over_m": worst, "n_intruders": len(rows) - n_unknown, "n_unknown": n_unknown,
        "left_out": left_out,
        "length_m": length, "observer_elev_m": float(eye), "target_elev_m": float(mark), "ground": below,
        "intruders": place.geojson(city, shapes, rows, ids, crs),
        "corridor": place.geojson(city, np.array([area], object), [{"width_m": width_m}], target=crs),
    }  # fmt: skip


def _intruders(
    line: Line, prisms: Prisms, inside: NDArray[np.object_], first: FloatArray, last: FloatArray
) -> tuple[list[dict[str, Any]], NDArray[np.object_], list[str]]:
    """Buildings over the plane, the worst first, then those in the corridor with no known top."""
    over, at = over_span(line, prisms.top_m, first, last)
    is_in = ~np.isnan(first)
    hits = np.flatnonzero(is_in & (over > SAME_M))
    hits = np.concatenate(
        [hits[np.argsort(-over[hits], kind="stable")], np.flatnonzero(is_in & np.isnan(prisms.top_m))]
    )
    rows = [
        {
            "over_m": None if np.isnan(over[row]) else float(over[row]), "at_m": float(at[row]),
            "allowed_elev_m": float(line.room(at[row : row + 1])[0]),
            "top_elev_m": None if np.isnan(over[row]) else float(prisms.top_m[row]), "from_m": float(first[row]),
            "to_m": float(last[row]),
        } for row in hits
    ]  # fmt: skip
    return rows, inside[hits], [prisms.ids[row] for row in hits]


PROCESS = Process(
    id="view-corridor",
    title=Title("视廊分析", "View corridor"),
    description=Title(
        "视点到目标的走廊内，哪些建筑或地形高出视线面及其超出量。超出量按轮廓在走廊内的部分精确计算。",
        "Which buildings rise over the sight plane of a corridor from a viewpoint to a target, and by how much, "
        "exactly on the part of the footprint inside; ground over the plane as well.",
    ),
    inputs={
        "observer": OBSERVER,
        "target": Parameter(Title("目标点", "Point looked at"), features_input.SCHEMA),
        "width_m": Parameter(
            Title("走廊宽度", "Width of the corridor"),
            {"type": "number", "exclusiveMinimum": 0, "maximum": WIDEST_M, "x-unit": "m"},
        ),
        "observer_height_m": height_input("视点离地高", "Height of the eye over the ground", 1.6),
        "target_height_m": height_input("目标离地高", "Height of the target over the ground", 0.0),
        "observer_elev_m": height_input("视点高程", "Elevation of the eye, instead of its height", None),
        "target_elev_m": height_input("目标高程", "Elevation of the target, instead of its height", None),
        "dem": DEM,
        "buildings": BUILDINGS,
        "refraction_k": REFRACTION,
        "curvature": curvature_input(False),
        "cell_m": CELL_M,
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "verdict": Parameter(
            Title("结论", "fail: something intrudes; unknown: a height is missing; else pass"),
            {"type": "string", "enum": ["pass", "fail", "unknown"]},
        ),
        "over_m": Parameter(
            Title("建筑最大超出量", "By how much the worst building intrudes; null without one"),
            {"type": ["number", "null"], "minimum": 0, "x-unit": "m"},
        ),
        "n_intruders": Parameter(Title("超高建筑数", "Buildings that intrude"), {"type": "integer", "minimum": 0}),
        "n_unknown": Parameter(
            Title("无高度建筑数", "Buildings inside with no known top"), {"type": "integer", "minimum": 0}
        ),
        "left_out": Parameter(
            Title("不计的建筑", "Buildings left out because eye or target is inside, under their top"),
            {"type": "array", "items": {"type": "string"}},
        ),
        "length_m": Parameter(Title("走廊长度", "Length of the corridor"), {"type": "number", "x-unit": "m"}),
        "observer_elev_m": Parameter(Title("视点高程", "Elevation of the eye"), {"type": "number", "x-unit": "m"}),
        "target_elev_m": Parameter(Title("目标高程", "Elevation of the target"), {"type": "number", "x-unit": "m"}),
        "ground": Parameter(
            Title(
                "地形",
                "over_m: most the ground rises over the plane (negative: room), over_area_m2, missing_share",
            ),
            {"type": "object"},
        ),
        "intruders": Parameter(
            Title(
                "侵入部分", "Parts of footprints inside: over_m at at_m from the eye, allowed_elev_m there, top_elev_m"
            ),
            place.FEATURES_OUT,
            media_type=place.GEOJSON,
        ),
        "corridor": Parameter(Title("走廊", "The corridor"), place.FEATURES_OUT, media_type=place.GEOJSON),
    },
    function=view_corridor,
    keywords=("view protection", "视廊"),
)
