"""P14 cut-fill: earth to move from the ground to a design surface inside areas.

The sum over cells of (ground - design) times the part of the cell's area that lies inside, exactly; cut where the
ground is higher, fill where it is lower. Areas and volumes are those of the grid's plane.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import features_input, place
from twin.analysis.cut_fill_cover import cover
from twin.analysis.elevation import Elevation, Grid, elevation
from twin.analysis.line_of_sight import CELL_M, DEM
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.raster_out import KEEP_AS, check_name, cog, keep, raster_output

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
Design = Callable[[int, int], FloatArray | float]
"""First row and number of rows -> (rows, columns) heights of the design surface there, or one for all."""

ATTRIBUTE = "design_elev_m"
ROWS = 256
MOST_AREAS = 1_000
SAME_M2 = 1e-6


@dataclass(frozen=True)
class Earth:
    """What is moved in an area; volumes in m3, areas in m2, where both ground and design are known."""

    cut_m3: float
    fill_m3: float
    cut_m2: float
    fill_m2: float
    known_m2: float


def volumes(difference_m: FloatArray, share: FloatArray, cell_m2: float) -> Earth:
    """(rows, columns) ground less design, NaN where not known; (rows, columns) shares of cells inside."""
    inside = share * cell_m2
    known = np.where(np.isnan(difference_m), 0.0, inside)
    z = np.nan_to_num(difference_m)
    return Earth(
        float((np.maximum(z, 0.0) * known).sum()), float((np.maximum(-z, 0.0) * known).sum()),
        float(known[z > 0].sum()), float(known[z < 0].sum()), float(known.sum()),
    )  # fmt: skip


def earth(
    ground: Elevation,
    area: shapely.Geometry,
    design: Design,
    seen: Callable[[int, FloatArray, FloatArray], None] | None = None,
) -> Earth:
    """Volumes in one area, in blocks of rows. `seen` gets first row, differences and shares of each block."""
    grid = ground.grid
    outline = cover(area, grid)
    parts = []
    for top in range(0, grid.height, ROWS):
        rows = min(ROWS, grid.height - top)
        share = outline.shares(top, rows)
        if not share.any():
            continue
        difference = ground.read(top, 0, rows, grid.width) - design(top, rows)
        if seen is not None:
            seen(top, difference, share)
        parts.append(volumes(difference, share, grid.cell_area_m2))
    return Earth(*(sum(getattr(each, name) for each in parts) for name in Earth.__dataclass_fields__))


def cut_fill(
    city: "City",
    *,
    area: dict[str, Any],
    design_elev_m: float | None = None,
    design: dict[str, Any] | None = None,
    dem: dict[str, Any] | None = None,
    cell_m: float | None = None,
    keep_as: str | None = None,
    crs: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Cut and fill of areas, each with its own design level where none is given for all."""
    if keep_as is not None:
        check_name(city, keep_as)
    found = place.features(city, "area", area, kinds=place.AREAS, properties=_wanted(city, area), most=MOST_AREAS)
    levels = _levels(found, design_elev_m, design)
    whole = _whole(found.geometry)
    ground = elevation(city, "dem", dem, region=whole, cell_m=cell_m)
    grid = ground.grid
    surface = None if design is None else elevation(city, "design", design, region=whole, margin_cells=2)
    raster = np.full(grid.shape, np.nan, np.float32)
    rows = []
    for k, shape in enumerate(found.geometry):
        cut = _cut_to(ground, shape)
        if cut is None:
            rows.append(_row(Earth(0, 0, 0, 0, 0), shape))
            continue
        part, top, left = cut
        level = float(levels[k])

        def told(first: int, difference: FloatArray, share: FloatArray, top: int = top, left: int = left) -> None:
            window = raster[top + first : top + first + len(share), left : left + share.shape[1]]
            np.copyto(window, difference.astype(np.float32), where=share > 0)

        rows.append(_row(earth(part, shape, _design(part.grid, surface, level), told), shape))
        progress(80.0 * (k + 1) / len(found), "areas")
    file = cog(progress, "cut-fill", grid, _blocks(raster), unit="m")
    keep(city, file, keep_as, "填挖高差 Ground less design", "cut-fill")
    return {**_sum(rows), "raster": file, "areas": place.geojson(city, found.geometry, rows, found.ids, crs)}


def _wanted(city: "City", area: dict[str, Any]) -> tuple[str, ...]:
    if "collection" not in area:
        return (ATTRIBUTE,)
    names = features_input.attributes(city, "area", str(area["collection"]))
    return (ATTRIBUTE,) if ATTRIBUTE in names else ()


def _levels(found: Any, design_elev_m: float | None, design: dict[str, Any] | None) -> FloatArray:
    """(n,) design levels; NaN where a raster says them."""
    if design is not None and design_elev_m is not None:
        raise InvalidInput("design_elev_m: a design raster is given as well.", "Give one of the two.")
    if design is not None:
        return np.full(len(found), np.nan)
    if design_elev_m is not None:
        return np.full(len(found), float(design_elev_m))
    levels = place.numbers(found, ATTRIBUTE, "area")
    if np.isnan(levels).any():
        name = found.ids[int(np.flatnonzero(np.isnan(levels))[0])]
        raise InvalidInput(f"design_elev_m: none is given, and area {name!r} has none of its own.")
    return levels


def _whole(areas: NDArray[np.object_]) -> shapely.Geometry:
    whole = shapely.union_all(areas)
    if shapely.area(areas).sum() - shapely.area(whole) > max(1e-6 * shapely.area(whole), SAME_M2):
        raise InvalidInput("area: areas overlap each other.", "Earth would be counted twice.")
    return whole


class _Part:
    """A window of heights as heights of its own."""

    def __init__(self, ground: Elevation, grid: Grid, top: int, left: int) -> None:
        self._ground, self.grid, self._top, self._left = ground, grid, top, left

    def read(self, top: int, left: int, rows: int, columns: int) -> FloatArray:
        return self._ground.read(self._top + top, self._left + left, rows, columns)


def _cut_to(ground: Elevation, shape: shapely.Geometry) -> tuple[Any, int, int] | None:
    west, south, east, north = shapely.bounds(shape).tolist()
    top, left, rows, columns = ground.grid.window((west, south, east, north))
    if rows == 0 or columns == 0:
        return None
    return _Part(ground, ground.grid.cut(top, left, rows, columns), top, left), top, left


def _design(grid: Grid, surface: Elevation | None, level: float) -> Design:
    def at(top: int, rows: int) -> FloatArray | float:
        if surface is None:
            return level
        x, y = np.meshgrid(grid.x(np.arange(grid.width)), grid.y(np.arange(top, top + rows)))
        return surface.at(x.ravel(), y.ravel()).reshape(x.shape)

    return at


def _row(found: Earth, shape: shapely.Geometry) -> dict[str, Any]:
    """Of one area. Where heights are missing there is no volume, only that of the known part."""
    area = float(shapely.area(shape))
    missing = max(area - found.known_m2, 0.0)
    is_whole = missing <= max(SAME_M2, 1e-6 * area)
    return {
        "verdict": "pass" if is_whole else "unknown",
        "cut_m3": found.cut_m3 if is_whole else None, "fill_m3": found.fill_m3 if is_whole else None,
        "net_m3": found.cut_m3 - found.fill_m3 if is_whole else None, "area_m2": area,
        "cut_m2": found.cut_m2, "fill_m2": found.fill_m2, "missing_share": 0.0 if is_whole else missing / area,
        "known_cut_m3": found.cut_m3, "known_fill_m3": found.fill_m3,
    }  # fmt: skip


def _sum(rows: list[dict[str, Any]]) -> dict[str, Any]:
    is_whole = all(row["verdict"] == "pass" for row in rows)
    names = ("area_m2", "cut_m2", "fill_m2", "known_cut_m3", "known_fill_m3")
    made: dict[str, Any] = {name: sum(row[name] for row in rows) for name in names}
    for name in ("cut_m3", "fill_m3", "net_m3"):
        made[name] = sum(row[name] for row in rows) if is_whole else None
    missing = sum(row["missing_share"] * row["area_m2"] for row in rows)
    return {**made, "missing_share": missing / made["area_m2"], "verdict": "pass" if is_whole else "unknown"}


def _blocks(raster: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for top in range(0, len(raster), 512):
        yield top, raster[top : top + 512]


def _volume(zh: str, en: str, *, may_miss: bool) -> Parameter:
    kind: Any = ["number", "null"] if may_miss else "number"
    return Parameter(Title(zh, en), {"type": kind, "x-unit": "m3"})


def _area(zh: str, en: str) -> Parameter:
    return Parameter(Title(zh, en), {"type": "number", "minimum": 0, "x-unit": "m2"})


PROCESS = Process(
    id="cut-fill",
    title=Title("填挖方计算", "Cut and fill"),
    description=Title(
        "范围内由现状地形到设计面的挖方与填方：逐格（高程 − 设计高程）× 范围内面积，边界格按精确面积计。",
        "Earth to cut and to fill from the ground to a design surface inside areas: for each cell (ground - design) "
        "times its area inside, exact at the edge. Null where a height is missing.",
    ),
    inputs={
        "area": Parameter(
            Title("范围", f"Areas; each may have its own {ATTRIBUTE}. At most {MOST_AREAS}"), features_input.SCHEMA
        ),
        "design_elev_m": Parameter(
            Title("设计高程", "Level of the design surface for all areas"),
            {"type": "number", "minimum": -500, "maximum": 9000, "x-unit": "m"},
            required=False,
        ),
        "design": Parameter(
            Title("设计面栅格", "Raster of the design surface"), features_input.RASTER_SCHEMA, required=False
        ),
        "dem": DEM,
        "cell_m": CELL_M,
        "keep_as": KEEP_AS,
        "crs": place.ANSWER_CRS,
    },
    outputs={
        "verdict": Parameter(
            Title("结论", "unknown where a height is missing"), {"type": "string", "enum": ["pass", "unknown"]}
        ),
        "cut_m3": _volume("挖方", "Cut; null where a height is missing", may_miss=True),
        "fill_m3": _volume("填方", "Fill; null where a height is missing", may_miss=True),
        "net_m3": _volume("净方（挖 − 填）", "Cut less fill", may_miss=True),
        "known_cut_m3": _volume("已知部分挖方", "Cut of the part with heights", may_miss=False),
        "known_fill_m3": _volume("已知部分填方", "Fill of the part with heights", may_miss=False),
        "area_m2": _area("范围面积", "Area, in the grid's plane"),
        "cut_m2": _area("挖方面积", "Where earth is cut"),
        "fill_m2": _area("填方面积", "Where earth is filled"),
        "missing_share": Parameter(
            Title("缺失比例", "Share of the area without a height"),
            {"type": "number", "minimum": 0, "maximum": 1, "x-unit": "1"},
        ),
        "raster": raster_output("高差", "Ground less design, in cells that the areas touch", "m"),
        "areas": Parameter(Title("分区结果", "The same for each area"), place.FEATURES_OUT, media_type=place.GEOJSON),
    },
    function=cut_fill,
    keywords=("earthwork", "填挖方", "土方"),
)
