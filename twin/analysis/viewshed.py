"""P16 viewshed: which cells of the ground an observer sees.

Exact by the definition in `viewshed_sight`: the observer stands over the centre of its cell, each target over its own.
Buildings, where asked for, are put on the ground as cells whose centre lies in a footprint; a target on such a cell
is on the roof. A radius counts to centres of cells.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input, place
from twin.analysis.elevation import Elevation, Grid, elevation
from twin.analysis.line_of_sight import (
    CELL_M,
    DEM,
    OBSERVER,
    REFRACTION,
    curvature_input,
    height_input,
    point,
)
from twin.analysis.line_of_sight_prisms import Prisms, read
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.raster_out import KEEP_AS, check_name, cog, keep, raster_output
from twin.analysis.viewshed_sight import HIDDEN, OUTSIDE, REFRACTION_K, SEEN, UNKNOWN, bend_per_m, viewshed

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]

FARTHEST_M = 50_000.0
MOST_SHAPES = 100_000
"""Of the outline of what is seen, in an answer."""


@dataclass(frozen=True)
class Surface:
    """What hides and is looked at.

    Attributes
    ----------
    heights_m : (rows, columns), NaN where not known: no ground, or a building with no known top
    is_built : (rows, columns) cells of buildings
    """

    heights_m: FloatArray
    is_built: NDArray[np.bool_]


def built(ground_m: FloatArray, grid: Grid, prisms: Prisms) -> Surface:
    """Put buildings on the ground: a cell whose centre is inside has the greatest top, or the ground if that is higher.

    A building with no known top makes its cells unknown.
    """
    from affine import Affine
    from rasterio.features import rasterize

    if not len(prisms):
        return Surface(ground_m, np.zeros(ground_m.shape, bool))
    order = np.argsort(np.where(np.isnan(prisms.top_m), np.inf, prisms.top_m), kind="stable")
    number = rasterize(
        [(prisms.footprints[row], k + 1) for k, row in enumerate(order)],
        out_shape=ground_m.shape, transform=Affine(*grid.transform()), dtype="int32",
    )  # fmt: skip
    tops = np.concatenate([[-np.inf], prisms.top_m[order]])[number]
    return Surface(np.where(np.isnan(ground_m), np.nan, np.maximum(ground_m, tops)), number > 0)


def seen_from(
    city: "City",
    *,
    observer: dict[str, Any],
    radius_m: float,
    observer_height_m: float = 1.6,
    target_height_m: float = 0.0,
    observer_elev_m: float | None = None,
    dem: dict[str, Any] | None = None,
    buildings: dict[str, Any] | None = None,
    refraction_k: float = REFRACTION_K,
    curvature: bool = True,
    cell_m: float | None = None,
    outline: bool = False,
    keep_as: str | None = None,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """What a point sees within a radius."""
    if keep_as is not None:
        check_name(city, keep_as)
    eye = point(city, "observer", observer)
    ground = elevation(city, "dem", dem, region=_around(eye, radius_m), cell_m=cell_m)
    grid = ground.grid
    row, column = (int(each[0]) for each in grid.cell(eye[:1], eye[1:]))
    if not (0 <= row < grid.height and 0 <= column < grid.width):
        raise InvalidInput("observer lies outside the heights.", "Take a point on the terrain model.")
    heights = _read(ground, progress.part(0, 20))
    surface, n_unknown = Surface(heights, np.zeros((1, 1), bool)), 0
    if buildings is not None:
        prisms = read(city, "buildings", buildings, _around(eye, radius_m), ground.at)
        surface, n_unknown = built(heights, grid, prisms), prisms.n_unknown
    elev = observer_elev_m
    if elev is None:
        base = ground.cells(np.array([row]), np.array([column]))[0]
        if np.isnan(base):
            raise InvalidInput("observer: the ground has no height there.", "Give observer_elev_m.")
        elev = float(base) + observer_height_m
    states = viewshed(
        surface.heights_m, row, column, elev, dx=grid.dx, dy=grid.dy, reach_m=radius_m, target_m=target_height_m,
        bend=bend_per_m(refraction_k, is_curved=curvature),
        tell=lambda share: progress(20 + 60 * share, "sight lines"),
    )  # fmt: skip
    file = cog(progress, "viewshed", grid, _rows(states), unit="1", nodata=OUTSIDE, dtype="uint8")
    keep(city, file, keep_as, "可视域 Viewshed", "viewshed")
    answer = {"raster": file, **_told(states, surface, grid), "n_unknown_buildings": n_unknown}
    answer["outside_m2"] = _outside(grid, row, column, radius_m) * grid.cell_area_m2
    at = shapely.points([[grid.x(np.array([column]))[0], grid.y(np.array([row]))[0]]])
    answer["observer"] = place.geojson(city, at, [{"elev_m": elev}], target=crs)
    if outline:
        answer["outline"] = _outline(city, states, grid, crs)
    return answer


def _around(eye: FloatArray, radius_m: float) -> shapely.Geometry:
    return shapely.box(*np.concatenate([eye - radius_m, eye + radius_m]))


def _read(ground: Elevation, progress: Progress) -> FloatArray:
    grid = ground.grid
    heights = np.empty(grid.shape)
    for top in range(0, grid.height, 512):
        rows = min(512, grid.height - top)
        heights[top : top + rows] = ground.read(top, 0, rows, grid.width)
        progress(100.0 * (top + rows) / grid.height, "heights")
    return heights


def _rows(states: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for top in range(0, len(states), 512):
        yield top, states[top : top + 512]


def _told(states: NDArray[np.uint8], surface: Surface, grid: Grid) -> dict[str, Any]:
    count = np.bincount(states.ravel(), minlength=256)
    seen, hidden, unknown = (int(count[each]) for each in (SEEN, HIDDEN, UNKNOWN))
    whole = seen + hidden + unknown
    on_roofs = int(((states == SEEN) & surface.is_built).sum())
    return {
        "visible_m2": seen * grid.cell_area_m2, "hidden_m2": hidden * grid.cell_area_m2,
        "unknown_m2": unknown * grid.cell_area_m2, "visible_roofs_m2": on_roofs * grid.cell_area_m2,
        "visible_share": seen / whole if unknown == 0 else None, "missing_share": unknown / whole,
        "verdict": "unknown" if unknown else "pass",
    }  # fmt: skip


def _outside(grid: Grid, row: int, column: int, radius_m: float) -> int:
    """Cells within the radius that the grid does not have: row by row of the lattice."""
    rows = np.arange(-int(radius_m / grid.dy) - 1, int(radius_m / grid.dy) + 2)
    room = (radius_m * (1 + 1e-12)) ** 2 - (rows * grid.dy) ** 2
    half = np.floor(np.sqrt(np.maximum(room, 0)) / grid.dx).astype(np.int64)
    n = np.where(room >= 0, 2 * half + 1, 0)
    is_in = (rows + row >= 0) & (rows + row < grid.height)
    inside = np.minimum(half, grid.width - 1 - column) + np.minimum(half, column) + 1
    return int(n.sum() - np.where(is_in & (room >= 0), inside, 0).sum())


def _outline(city: "City", states: NDArray[np.uint8], grid: Grid, crs: str | None) -> dict[str, Any]:
    from affine import Affine
    from rasterio.features import shapes

    found = []
    for shape, _ in shapes(states, mask=states == SEEN, transform=Affine(*grid.transform())):
        found.append(shapely.geometry.shape(shape))
        if len(found) > MOST_SHAPES:
            raise InvalidInput(f"outline: it has more than {MOST_SHAPES} parts.", "Take the raster instead.")
    whole = shapely.multipolygons(found) if found else shapely.MultiPolygon()
    area = float(shapely.area(whole))
    return place.geojson(city, np.array([whole], object), [{"area_m2": area}], target=crs)


PROCESS = Process(
    id="viewshed",
    title=Title("可视域分析", "Viewshed"),
    description=Title(
        "观察点在半径内能看到哪些栅格：逐格视线，擦过为可见，计曲率与折光；可叠加建筑。观察点取格心。",
        "Which cells within a radius a point sees: a sight line for each, touching counts as seen, with the curvature "
        "of the earth and refraction; buildings on top where asked. The observer stands over the centre of its cell.",
    ),
    inputs={
        "observer": OBSERVER,
        "radius_m": Parameter(
            Title("半径", "Radius, to centres of cells"),
            {"type": "number", "exclusiveMinimum": 0, "maximum": FARTHEST_M, "x-unit": "m"},
        ),
        "observer_height_m": height_input("观察点离地高", "Height of the observer over the ground", 1.6),
        "target_height_m": height_input("目标离地高", "Height of the targets over ground or roof", 0.0),
        "observer_elev_m": height_input("观察点高程", "Elevation of the observer, instead of its height", None),
        "dem": DEM,
        "buildings": Parameter(
            Title("叠加的建筑", "Buildings put on the ground; none when absent"), features_input.SCHEMA, required=False
        ),
        "refraction_k": REFRACTION,
        "curvature": curvature_input(True),
        "cell_m": CELL_M,
        "outline": Parameter(
            Title("是否返回轮廓", "Answer with the outline of what is seen"),
            {"type": "boolean", "default": False},
            required=False,
        ),
        "keep_as": KEEP_AS,
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "raster": raster_output("可视域", "1 seen, 0 hidden, 2 unknown, 255 beyond the radius", "1"),
        "visible_m2": Parameter(Title("可见面积", "Cells seen"), {"type": "number", "minimum": 0, "x-unit": "m2"}),
        "hidden_m2": Parameter(Title("不可见面积", "Cells hidden"), {"type": "number", "minimum": 0, "x-unit": "m2"}),
        "unknown_m2": Parameter(
            Title("未知面积", "Cells that a missing height leaves open"),
            {"type": "number", "minimum": 0, "x-unit": "m2"},
        ),
        "outside_m2": Parameter(
            Title("超出地形的面积", "Of the circle, beyond the heights: nothing is told of it"),
            {"type": "number", "minimum": 0, "x-unit": "m2"},
        ),
        "visible_roofs_m2": Parameter(
            Title("可见屋顶面积", "Of the cells seen, those of buildings"),
            {"type": "number", "minimum": 0, "x-unit": "m2"},
        ),
        "visible_share": Parameter(
            Title("可见比例", "Share seen; null where some are unknown"), {"type": ["number", "null"], "x-unit": "1"}
        ),
        "missing_share": Parameter(
            Title("未知比例", "Share unknown"), {"type": "number", "minimum": 0, "maximum": 1, "x-unit": "1"}
        ),
        "verdict": Parameter(
            Title("结论", "pass: every cell is known; unknown: some are not"),
            {"type": "string", "enum": ["pass", "unknown"]},
        ),
        "n_unknown_buildings": Parameter(
            Title("无高度建筑数", "Buildings with no known top"), {"type": "integer", "minimum": 0}
        ),
        "observer": Parameter(
            Title("观察点", "Where the observer stands, with elev_m"), place.FEATURES_OUT, media_type=place.GEOJSON
        ),
        "outline": Parameter(
            Title("可见轮廓", "Outline of the cells seen"), place.FEATURES_OUT, media_type=place.GEOJSON
        ),
    },
    function=seen_from,
    keywords=("visibility", "可视域", "通视"),
)
