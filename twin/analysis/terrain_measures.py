"""P13 terrain: slope, aspect or hillshade of the ground as a raster, and its profile along a line.

Horn's 3 x 3 on the raster's own cells. A cell of whose nine heights one is missing has no value; the share of those is
told. The profile is bilinear between cell centres.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input, place
from twin.analysis.elevation import Elevation, Grid, Surrounded, elevation, surrounded
from twin.analysis.outputs import COG
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.raster_out import KEEP_AS, check_name, cog, keep
from twin.analysis.terrain_slope import MEASURES, Measure, blocks

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]

UNITS: dict[Measure, str] = {"slope_deg": "deg", "slope_pct": "%", "aspect_deg": "deg", "hillshade": "1"}
CLASSES_DEG = (2.0, 6.0, 15.0, 25.0)
"""Upper ends of the slope classes of farmland in the national land survey (TD/T 1055-2019, annex; 2 belongs to I)."""
MOST_POINTS = 100_000
_TITLES: dict[Measure, str] = {
    "slope_deg": "坡度（度） Slope (degrees)",
    "slope_pct": "坡度（百分比） Slope (percent)",
    "aspect_deg": "坡向 Aspect",
    "hillshade": "山体阴影 Hillshade",
}


def stations(line: shapely.Geometry, step_m: float) -> tuple[FloatArray, FloatArray]:
    """A line -> (n,) distances along it every `step_m` and at its vertices and end, (n, 2) positions."""
    xy = shapely.get_coordinates(line)
    at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    n = int(np.floor(at[-1] / step_m + 1e-9))
    along = np.concatenate([np.arange(n + 1) * step_m, at])
    along = np.sort(along)
    along = along[np.concatenate([[True], np.diff(along) > 1e-6])]
    return along, np.column_stack([np.interp(along, at, xy[:, 0]), np.interp(along, at, xy[:, 1])])


class Counted:
    """Statistics of blocks as they go by."""

    def __init__(self) -> None:
        self.n = self.n_asked = 0
        self.low, self.high, self.total = np.inf, -np.inf, 0.0
        self.classes = np.zeros(len(CLASSES_DEG) + 1, np.int64)

    def add(self, values: NDArray[np.float32], is_asked: NDArray[np.bool_] | None, measure: Measure) -> None:
        """Of cells asked for, all where that is None."""
        self.n_asked += values.size if is_asked is None else int(is_asked.sum())
        known = values[~np.isnan(values)].astype(np.float64)
        if known.size == 0:
            return
        self.n += known.size
        self.low, self.high = min(self.low, float(known.min())), max(self.high, float(known.max()))
        self.total += float(known.sum())
        if measure == "slope_deg":
            self.classes += np.bincount(np.searchsorted(CLASSES_DEG, known - 1e-6), minlength=len(CLASSES_DEG) + 1)

    def told(self, measure: Measure, grid: Grid) -> dict[str, Any]:
        """As the answer has it; no mean of bearings."""
        has = self.n > 0
        made: dict[str, Any] = {
            "measure": measure, "unit": UNITS[measure], "min": self.low if has else None,
            "mean": self.total / self.n if has and measure != "aspect_deg" else None,
            "max": self.high if has else None, "cell_m": [grid.dx, grid.dy], "n_cells": self.n_asked,
            "missing_share": 1.0 - self.n / self.n_asked if self.n_asked else 1.0,
        }  # fmt: skip
        if measure == "slope_deg":
            ends = [0.0, *CLASSES_DEG, 90.0]
            made["classes"] = [
                {"over_deg": low, "to_deg": high, "n_cells": int(n), "area_m2": int(n) * grid.cell_area_m2}
                for low, high, n in zip(ends[:-1], ends[1:], self.classes, strict=True)
            ]
        return made


def inside(area: shapely.Geometry, grid: Grid, top: int, rows: int) -> NDArray[np.bool_]:
    """(rows, width) cells of a grid whose centre lies in an area."""
    from affine import Affine
    from rasterio.features import rasterize

    transform = Affine(*grid.cut(top, 0, rows, grid.width).transform())
    found = rasterize([(area, 1)], out_shape=(rows, grid.width), transform=transform, dtype="uint8")
    return np.asarray(found == 1)


def terrain(
    city: "City",
    *,
    measure: Measure | None = None,
    dem: dict[str, Any] | None = None,
    area: dict[str, Any] | None = None,
    line: dict[str, Any] | None = None,
    step_m: float | None = None,
    cell_m: float | None = None,
    z_factor: float = 1.0,
    azimuth_deg: float = 315.0,
    altitude_deg: float = 45.0,
    keep_as: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """A measure of the ground, a profile, or both. Slope in degrees where neither is asked for."""
    answer: dict[str, Any] = {}
    if keep_as is not None:
        check_name(city, keep_as)
    if keep_as is not None and measure is None and line is not None:
        raise InvalidInput("keep_as: there is no raster to keep.", "Ask for a measure as well.")
    if measure is not None or line is None:
        region = None
        if area is not None:
            region = shapely.union_all(place.features(city, "area", area, kinds=place.AREAS, properties=()).geometry)
        ground = surrounded(city, "dem", dem, region=region, cell_m=cell_m)
        light = {"z_factor": z_factor, "azimuth_deg": azimuth_deg, "altitude_deg": altitude_deg}
        answer = _raster(ground, measure or "slope_deg", region, light, progress)
        if keep_as is not None:
            keep(city, answer["raster"], keep_as, _TITLES[measure or "slope_deg"], "terrain")
    if line is not None:
        answer["profile"] = _profile(city, dem, line, step_m, cell_m)
    return answer


def _raster(
    ground: Surrounded, measure: Measure, region: shapely.Geometry | None, light: dict[str, float], progress: Progress
) -> dict[str, Any]:
    grid, counted = ground.grid, Counted()

    def told() -> Iterator[tuple[int, NDArray[np.float32]]]:
        for top, values in blocks(ground, grid.shape, measure, (grid.dx, grid.dy), light=light):
            is_asked = None if region is None else inside(region, grid, top, len(values))
            if is_asked is not None:
                values[~is_asked] = np.nan
            counted.add(values, is_asked, measure)
            progress(90.0 * (top + len(values)) / grid.height, measure)
            if measure == "hillshade":
                yield top, np.nan_to_num(np.floor(values + 0.5), nan=0.0).astype(np.float32)
            else:
                yield top, values

    counted.n_asked = 0 if region is None else grid.cells_beyond(region)
    is_byte = measure == "hillshade"
    file = cog(
        progress, measure, grid, told(), unit=UNITS[measure], nodata=0.0 if is_byte else float("nan"),
        dtype="uint8" if is_byte else "float32",
    )  # fmt: skip
    return {"raster": file, "statistics": counted.told(measure, grid)}


def _profile(
    city: "City", dem: dict[str, Any] | None, line: dict[str, Any], step_m: float | None, cell_m: float | None
) -> dict[str, Any]:
    found = place.features(city, "line", line, kinds=("LineString",), properties=())
    if len(found) != 1:
        raise InvalidInput(f"line: {len(found)} lines are given.", "A profile is taken along one LineString.")
    shape = found.geometry[0]
    if shapely.length(shape) <= 0:
        raise InvalidInput("line has no length.")
    ground: Elevation = elevation(city, "dem", dem, region=shape, cell_m=cell_m, margin_cells=1)
    step = step_m or min(ground.grid.dx, ground.grid.dy)
    if shapely.length(shape) / step > MOST_POINTS:
        raise InvalidInput(f"step_m: more than {MOST_POINTS} points.", "Take a longer step or a shorter line.")
    along, xy = stations(shape, step)
    heights = ground.at(xy[:, 0], xy[:, 1])
    is_known = ~np.isnan(heights)
    return {
        "length_m": float(along[-1]),
        "missing_share": float(1.0 - is_known.mean()),
        "min_elev_m": float(heights[is_known].min()) if is_known.any() else None,
        "max_elev_m": float(heights[is_known].max()) if is_known.any() else None,
        "points": [
            {"distance_m": d, "x": x, "y": y, "ground_elev_m": None if np.isnan(z) else z}
            for d, (x, y), z in zip(along.tolist(), xy.tolist(), heights.tolist(), strict=True)
        ],
    }


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
    id="terrain",
    title=Title("地形分析", "Terrain"),
    description=Title(
        "由地形模型计算坡度、坡向（下坡方位角）或山体阴影（Horn 3×3），以及剖面。缺邻域高程处无值，平地无坡向。",
        "Slope, aspect (bearing of the way down) or hillshade by Horn's 3 x 3, and a profile along a line. "
        "A cell has no value where one of its nine heights is missing; level ground has no aspect.",
    ),
    inputs={
        "measure": Parameter(
            Title("量", "Measure; slope_deg when neither it nor a line is given"),
            {"type": "string", "enum": list(MEASURES)},
            required=False,
        ),
        "dem": DEM,
        "area": Parameter(
            Title("范围", "Only cells whose centre lies in these areas"), features_input.SCHEMA, required=False
        ),
        "line": Parameter(Title("剖面线", "Line of the profile"), features_input.SCHEMA, required=False),
        "step_m": Parameter(
            Title("剖面步长", "Step of the profile; one cell when absent"),
            {"type": "number", "minimum": 0.01, "maximum": 10_000, "x-unit": "m"},
            required=False,
        ),
        "cell_m": CELL_M,
        "z_factor": Parameter(
            Title("高程放大倍数", "Heights count so many times"),
            {"type": "number", "minimum": 0.001, "maximum": 1000, "default": 1, "x-unit": "1"},
            required=False,
        ),
        "azimuth_deg": Parameter(
            Title("光源方位角", "Bearing of the light, for the hillshade"),
            {"type": "number", "minimum": 0, "maximum": 360, "default": 315, "x-unit": "deg"},
            required=False,
        ),
        "altitude_deg": Parameter(
            Title("光源高度角", "Altitude of the light, for the hillshade"),
            {"type": "number", "minimum": 0, "maximum": 90, "default": 45, "x-unit": "deg"},
            required=False,
        ),
        "keep_as": KEEP_AS,
    },
    outputs={
        "raster": Parameter(
            Title("栅格", "Raster of the measure, in the unit that statistics/unit tells"),
            {"type": "string", "contentEncoding": "binary", "contentMediaType": COG},
            media_type=COG,
        ),
        "statistics": Parameter(
            Title(
                "统计",
                "Least, mean and greatest value, share of cells without one, cells by slope class",
            ),
            {"type": "object"},
        ),
        "profile": Parameter(
            Title("剖面", "Ground heights along the line, null where there is none; x, y in the city's CRS"),
            {"type": "object", "x-unit": "m"},
        ),
    },
    function=terrain,
    keywords=("slope", "aspect", "hillshade", "profile", "坡度", "坡向", "剖面"),
)
