"""P18 skyline: how high buildings and ground rise at each azimuth, seen from a point.

Walls count exactly, where the ray of an azimuth crosses an edge of a footprint; the ground where it crosses the lattice
of cell centres. Where a height is missing on a ray the answer there is unknown, and only what it is at least is told.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import place
from twin.analysis.elevation import Elevation, elevation, taken
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
from twin.analysis.line_of_sight_prisms import read
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.skyline_edges import Highest, edges, ground, walls
from twin.analysis.viewshed_sight import REFRACTION_K, bend_per_m

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]

FARTHEST_M = 50_000.0
MOST_AZIMUTHS = 36_000


def azimuths(first_deg: float, last_deg: float, step_deg: float) -> FloatArray:
    """Bearings from `first_deg` by `step_deg` to `last_deg`, clockwise; over north where the last is less.

    A full circle ends before it is where it began.
    """
    span = (last_deg - first_deg) % 360.0 or (360.0 if last_deg != first_deg else 0.0)
    n = int(np.floor(span / step_deg + 1e-9)) + 1
    if span == 360.0 and abs((n - 1) * step_deg - 360.0) < 1e-9:
        n -= 1
    return np.asarray(first_deg + step_deg * np.arange(n), np.float64)


def skyline(
    city: "City",
    *,
    observer: dict[str, Any],
    radius_m: float,
    observer_height_m: float = 1.6,
    observer_elev_m: float | None = None,
    from_deg: float = 0.0,
    to_deg: float = 360.0,
    step_deg: float = 1.0,
    dem: dict[str, Any] | None = None,
    with_ground: bool = True,
    buildings: dict[str, Any] | None = None,
    refraction_k: float = REFRACTION_K,
    curvature: bool = False,
    cell_m: float | None = None,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """The skyline around a point."""
    bearings = azimuths(from_deg, to_deg, step_deg)
    if len(bearings) > MOST_AZIMUTHS:
        raise InvalidInput(f"step_deg: more than {MOST_AZIMUTHS} azimuths.", "Take a wider step or a smaller range.")
    at = point(city, "observer", observer)
    region = shapely.box(*np.concatenate([at - radius_m, at + radius_m]))
    relief = elevation(city, "dem", dem, region=region, cell_m=cell_m, margin_cells=2)
    elev = heights(relief, at[None], observer_height_m, observer_elev_m)[0]
    if np.isnan(elev):
        raise InvalidInput("observer: the ground has no height there.", "Give observer_elev_m.")
    eye = np.append(at, elev)
    bend = bend_per_m(refraction_k, is_curved=curvature)
    prisms, left_out = apart(read(city, "buildings", buildings, region, relief.at), eye[None])
    rim = edges(prisms.footprints)
    by_walls = walls(eye, bearings, rim, prisms.top_m[rim.of], reach_m=radius_m, bend=bend)
    by_ground = None
    if with_ground:
        by_ground = _ground(relief, eye, bearings, progress, reach_m=radius_m, bend=bend)
    names = [prisms.ids[rim.of[edge]] if edge >= 0 else None for edge in by_walls.which]
    rows = _rows(bearings, by_walls, by_ground, names)
    n_known = sum(row["state"] != "unknown" for row in rows)
    highest = max((row["elevation_deg"] for row in rows if row["elevation_deg"] is not None), default=None)
    return {
        "verdict": "pass" if n_known == len(rows) else "unknown",
        "missing_share": 1.0 - n_known / len(rows),
        "max_elevation_deg": highest if n_known == len(rows) else None,
        "n_unknown_buildings": prisms.n_unknown, "left_out": left_out, "observer_elev_m": float(elev),
        "skyline": rows,
        "line": _line(city, eye, rows, crs),
    }  # fmt: skip


def _ground(relief: Elevation, eye: FloatArray, bearings: FloatArray, progress: Progress, **reach: float) -> Highest:
    grid = relief.grid
    z = relief.read()
    k = len(bearings)
    made = Highest(np.empty(k), np.empty(k), np.full(k, -1, np.int64), np.empty(k))
    for first, last, part in ground(lambda rows, columns: taken(z, rows, columns), grid, eye, bearings, **reach):
        made.tangent[first:last], made.at_m[first:last], made.missing[first:last] = (
            part.tangent,
            part.at_m,
            part.missing,
        )
        progress(100.0 * last / k, "ground")
    return made


def _rows(
    bearings: FloatArray, by_walls: Highest, by_ground: Highest | None, names: list[str | None]
) -> list[dict[str, Any]]:
    made = []
    for row, bearing in enumerate(bearings.tolist()):
        tangent, at_m, by = float(by_walls.tangent[row]), float(by_walls.at_m[row]), names[row]
        missing = float(by_walls.missing[row])
        if by_ground is not None:
            missing = max(missing, float(by_ground.missing[row]))
            if by_ground.tangent[row] > tangent:
                tangent, at_m, by = float(by_ground.tangent[row]), float(by_ground.at_m[row]), "ground"
        angle = float(np.degrees(np.arctan(tangent))) if np.isfinite(tangent) else None
        is_known = missing == 0
        made.append({
            "azimuth_deg": bearing % 360.0, "elevation_deg": angle if is_known else None, "at_least_deg": angle,
            "by": by, "distance_m": at_m if by is not None else None, "state": _state(angle, is_known),
            "missing_share": missing,
        })  # fmt: skip
    return made


def _state(angle: float | None, is_known: bool) -> str:
    return "unknown" if not is_known else "open" if angle is None else "known"


def _line(city: "City", eye: FloatArray, rows: list[dict[str, Any]], crs: str | None) -> dict[str, Any]:
    """Where on the ground plan the skyline is: a point for each azimuth that has one."""
    has = [row for row in rows if row["distance_m"] is not None]
    turn = np.radians([row["azimuth_deg"] for row in has])
    far = np.array([row["distance_m"] for row in has])
    xy = eye[:2] + np.column_stack([np.sin(turn) * far, np.cos(turn) * far]) if has else np.empty((0, 2))
    keys = ("azimuth_deg", "elevation_deg", "by", "distance_m")
    return place.geojson(city, shapely.points(xy), [{key: row[key] for key in keys} for row in has], target=crs)


def _degrees(zh: str, en: str, default: float, low: float, high: float) -> Parameter:
    schema = {"type": "number", "minimum": low, "maximum": high, "default": default, "x-unit": "deg"}
    return Parameter(Title(zh, en), schema, required=False)


PROCESS = Process(
    id="skyline",
    title=Title("天际线分析", "Skyline"),
    description=Title(
        "从视点看，各方位角上建筑与地形的最大仰角。墙体精确求交；缺高程的方位为未知，仅给下限。",
        "The greatest elevation angle of buildings and ground at each azimuth, seen from a point. Walls are cut "
        "exactly; an azimuth on which a height is missing is unknown and has a lower bound only.",
    ),
    inputs={
        "observer": OBSERVER,
        "radius_m": Parameter(
            Title("半径", "How far is looked"),
            {"type": "number", "exclusiveMinimum": 0, "maximum": FARTHEST_M, "x-unit": "m"},
        ),
        "observer_height_m": height_input("视点离地高", "Height of the eye over the ground", 1.6),
        "observer_elev_m": height_input("视点高程", "Elevation of the eye, instead of its height", None),
        "from_deg": _degrees("起始方位角", "First azimuth, clockwise from grid north", 0.0, 0.0, 360.0),
        "to_deg": _degrees("终止方位角", "Last azimuth; less than the first: over north", 360.0, 0.0, 360.0),
        "step_deg": _degrees("步长", "Step", 1.0, 0.01, 90.0),
        "dem": DEM,
        "with_ground": Parameter(
            Title("是否计地形", "The ground counts"), {"type": "boolean", "default": True}, required=False
        ),
        "buildings": BUILDINGS,
        "refraction_k": REFRACTION,
        "curvature": curvature_input(False),
        "cell_m": CELL_M,
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "verdict": Parameter(
            Title("结论", "pass: every azimuth is known; unknown: some are not"),
            {"type": "string", "enum": ["pass", "unknown"]},
        ),
        "missing_share": Parameter(
            Title("未知比例", "Share of azimuths unknown"),
            {"type": "number", "minimum": 0, "maximum": 1, "x-unit": "1"},
        ),
        "max_elevation_deg": Parameter(
            Title("最大仰角", "Greatest of all; null where some are unknown"),
            {"type": ["number", "null"], "minimum": -90, "maximum": 90, "x-unit": "deg"},
        ),
        "n_unknown_buildings": Parameter(
            Title("无高度建筑数", "Buildings around with no known top"), {"type": "integer", "minimum": 0}
        ),
        "left_out": Parameter(
            Title("不计的建筑", "Buildings left out because the eye is inside, under their top"),
            {"type": "array", "items": {"type": "string"}},
        ),
        "observer_elev_m": Parameter(Title("视点高程", "Elevation of the eye"), {"type": "number", "x-unit": "m"}),
        "skyline": Parameter(
            Title(
                "天际线",
                "For each azimuth: elevation_deg (null where unknown or open), by what, distance_m, state",
            ),
            {"type": "array", "items": {"type": "object"}, "x-unit": "deg"},
        ),
        "line": Parameter(
            Title("天际线平面位置", "Where it is in plan, a point an azimuth"),
            place.FEATURES_OUT,
            media_type=place.GEOJSON,
        ),
    },
    function=skyline,
    keywords=("天际线", "horizon"),
)
