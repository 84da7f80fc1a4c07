"""P21 watershed: what drains to an outlet, how many cells lie above each cell, and the parts of the basin.

Pits are filled first; an outlet is taken where it is given, and moved to the strongest flow nearby only when asked.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from layers.errors import InvalidInput
from twin.analysis import place, raster_out
from twin.analysis.elevation import Grid, elevation
from twin.analysis.features_input import RASTER_SCHEMA, SCHEMA
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import SAME
from twin.analysis.watershed_flow import NONE, Flow, IntArray32, basins, flow, is_open, sub_basins

if TYPE_CHECKING:
    from twin.city import City

MOST_CELLS = 40_000_000
"""Some 22 bytes each are kept while it runs."""
STRIP = 512


def watershed(
    city: "City",
    *,
    outlet: Mapping[str, Any],
    dem: dict[str, Any] | None = None,
    region: Mapping[str, Any] | None = None,
    cell_m: float | None = None,
    snap_m: float | None = None,
    stream_m2: float | None = None,
    with_accumulation: bool = True,
    crs: str | None = None,
    keep_as: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Basin of an outlet with its area, accumulation and parts; see `PROCESS`."""
    for name, number in (("cell_m", cell_m), ("snap_m", snap_m), ("stream_m2", stream_m2)):
        if number is not None and not np.isfinite(number):
            raise InvalidInput(f"{name} is no number.")
    place.answer_crs(city, crs)
    point = _outlet(city, outlet)
    around = None
    if region is not None:
        around = shapely.union_all(place.features(city, "region", region, kinds=place.AREAS, properties=()).geometry)
    heights = elevation(city, "dem", dem, region=around, cell_m=cell_m)
    grid = heights.grid
    if grid.width * grid.height > MOST_CELLS:
        words = f"region: {grid.height} x {grid.width} cells are more than the {MOST_CELLS} that flow at once."
        raise InvalidInput(words, "Ask for a smaller region or wider cells.")
    at = _cell(grid, point)
    made = flow(heights.read(), grid.dx, grid.dy, progress.part(5, 60))
    if made.way[at] == NONE:
        raise InvalidInput("outlet has no height: its cell is void.", "Move it onto the elevation model.")
    asked, moved_m = at, 0.0
    if snap_m is not None:
        at = _snapped(made, grid, point, snap_m)
    if at != asked:
        moved_m = float(shapely.distance(point, shapely.Point(_centre(grid, at))))
    least = None if stream_m2 is None else max(int(np.ceil(stream_m2 / grid.cell_area_m2 - SAME)), 1)
    labels = basins(made, np.array([at])) if least is None else sub_basins(made, at, least)
    progress(70.0, "outlines")
    return _answer(
        city, made, grid, labels, at, moved_m=moved_m, crs=crs, keep_as=keep_as, progress=progress.part(75, 100),
        with_accumulation=with_accumulation, has_parts=least is not None,
    )  # fmt: skip


def outlines(labels: IntArray32, grid: Grid) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """(rows, columns) labels -> (k,) areas along the sides of cells, (k,) their labels, 1 and on."""
    from affine import Affine
    from rasterio.features import shapes

    rows, columns = np.flatnonzero(labels.any(axis=1)), np.flatnonzero(labels.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    part = np.ascontiguousarray(labels[top : rows[-1] + 1, left : columns[-1] + 1])
    there = grid.cut(top, left, *part.shape)
    polygons: dict[int, list[shapely.Geometry]] = {}
    for shape, value in shapes(part, mask=part > 0, connectivity=4, transform=Affine(*there.transform())):
        rings = shape["coordinates"]
        made = shapely.polygons(rings[0], [shapely.linearrings(hole) for hole in rings[1:]] or None)
        polygons.setdefault(int(value), []).append(made)
    found = np.empty(len(polygons), object)
    found[:] = [shapely.multipolygons(polygons[value]) for value in sorted(polygons)]
    return found, np.array(sorted(polygons), np.int64)


def _outlet(city: "City", given: Mapping[str, Any]) -> shapely.Geometry:
    found = place.features(city, "outlet", given, kinds=("Point",), properties=())
    if len(found) != 1:
        raise InvalidInput(f"outlet has {len(found)} points.", "Give one.")
    point: shapely.Geometry = found.geometry[0]
    return point


def _cell(grid: Grid, point: shapely.Geometry) -> tuple[int, int]:
    row, column = (
        int(each[0]) for each in grid.cell(np.array([shapely.get_x(point)]), np.array([shapely.get_y(point)]))
    )
    if not (0 <= row < grid.height and 0 <= column < grid.width):
        raise InvalidInput("outlet lies outside the heights that are looked at.", "Widen the region.")
    return row, column


def _snapped(made: Flow, grid: Grid, point: shapely.Geometry, snap_m: float) -> tuple[int, int]:
    """The cell with most above it among those whose centres lie within snap_m; of several the nearest."""
    x, y = float(shapely.get_x(point)), float(shapely.get_y(point))
    top, left, rows, columns = grid.window((x - snap_m, y - snap_m, x + snap_m, y + snap_m))
    r, c = np.meshgrid(np.arange(top, top + rows), np.arange(left, left + columns), indexing="ij")
    far = np.hypot(grid.x(c.ravel()) - x, grid.y(r.ravel()) - y)
    cells = np.where(made.way[r, c].ravel() == NONE, -1, made.cells_above[r, c].ravel())
    cells[far > snap_m + SAME] = -1
    if not cells.size or cells.max() < 0:
        return _cell(grid, point)
    best = np.lexsort((far, -cells))[0]
    return int(r.ravel()[best]), int(c.ravel()[best])


def _answer(
    city: "City", made: Flow, grid: Grid, labels: IntArray32, at: tuple[int, int], *, moved_m: float,
    crs: str | None, keep_as: str | None, progress: Progress, with_accumulation: bool, has_parts: bool,
) -> dict[str, Any]:  # fmt: skip
    whole, _ = outlines((labels > 0).astype(np.int32), grid)
    n_cells, area_m2 = int(np.count_nonzero(labels)), float(areas_m2(whole, grid.crs)[0])
    there = _centre(grid, at)
    answer: dict[str, Any] = {
        "n_cells": n_cells, "area_plane_m2": n_cells * grid.cell_area_m2, "area_m2": area_m2,
        "cells_above_outlet": int(made.cells_above[at]), "cell_m": [grid.dx, grid.dy],
        "is_open": is_open(made, labels, at), "is_snapped": moved_m > 0,
        "snapped_by_m": moved_m,
        "n_filled_cells": made.n_filled, "deepest_fill_m": made.deepest_fill_m,
        "outlet": place.geojson(
            city, np.array([shapely.Point(there)], object),
            [{"elev_m": float(made.filled_m[at]), "cells_above": int(made.cells_above[at])}], target=crs,
        ),
        "basin": place.geojson(city, whole, [{"area_m2": area_m2}], target=crs),
    }  # fmt: skip
    if has_parts:
        parts, numbers = outlines(labels, grid)
        areas, cells = areas_m2(parts, grid.crs), np.bincount(labels.ravel())[numbers]
        rows = [
            {"part": int(number), "n_cells": int(n), "area_m2": float(area)}
            for number, n, area in zip(numbers, cells, areas, strict=True)
        ]
        answer["sub_basins"] = place.geojson(city, parts, rows, [str(number) for number in numbers], crs)
    if with_accumulation or keep_as is not None:
        answer["accumulation"] = raster_out.cog(
            progress, "accumulation", grid, _blocks(made, progress), unit="1", nodata=-1, dtype="int32"
        )
        raster_out.keep(city, answer["accumulation"], keep_as, "accumulation", PROCESS.id)
    return answer


def _centre(grid: Grid, at: tuple[int, int]) -> tuple[float, float]:
    return float(grid.x(np.array([at[1]]))[0]), float(grid.y(np.array([at[0]]))[0])


def _blocks(made: Flow, progress: Progress) -> Iterator[tuple[int, NDArray[np.int32]]]:
    for top in range(0, len(made.way), STRIP):
        part = slice(top, top + STRIP)
        yield top, np.where(made.way[part] == NONE, np.int32(-1), made.cells_above[part])
        progress(95.0 * top / len(made.way), "raster")


def _metres(zh: str, en: str, most: float) -> Parameter:
    schema = {"type": "number", "exclusiveMinimum": 0, "maximum": most, "x-unit": "m"}
    return Parameter(Title(zh, en), schema, required=False)


def _value(zh: str, en: str, unit: str) -> Parameter:
    return Parameter(Title(zh, en), {"type": "number", "minimum": 0, "x-unit": unit})


PROCESS = Process(
    id="watershed",
    title=Title("流域分析", "Watershed"),
    description=Title(
        "填洼后按 D8 最陡方向（对角除以√2）求出口以上的流域、汇流累积（不含本格）与子流域；只有要求时才移动出口。",
        "The basin above an outlet, flow accumulation (the cell itself not counted) and sub-basins, by D8 steepest "
        "directions on ground whose pits are filled. The outlet is moved only when asked.",
    ),
    inputs={
        "outlet": Parameter(Title("出口（点）", "Outlet, one point"), SCHEMA),
        "dem": Parameter(Title("高程模型", "Elevation model; `dem` when absent"), RASTER_SCHEMA, required=False),
        "region": Parameter(Title("计算范围", "Where to look; all of the raster when absent"), SCHEMA, required=False),
        "cell_m": _metres("格网边长", "Side of a cell; the raster's own when absent", 1000),
        "snap_m": _metres("出口吸附半径", "Move the outlet to the strongest flow within", 10_000),
        "stream_m2": Parameter(
            Title("成河面积", "Area above which there is a stream; sub-basins lie between their confluences"),
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1e12, "x-unit": "m2"}, required=False,
        ),
        "with_accumulation": Parameter(
            Title("输出汇流累积栅格", "Make the raster of accumulation"), {"type": "boolean", "default": True},
            required=False,
        ),
        "crs": place.ANSWER_CRS,
        "keep_as": raster_out.KEEP_AS,
    },
    outputs={
        "n_cells": _value("流域格网数", "Cells of the basin, with the outlet's", "1"),
        "area_m2": _value("流域面积（椭球）", "Area of the basin on the ellipsoid", "m2"),
        "area_plane_m2": _value("流域面积（平面）", "Area of the basin on the plane", "m2"),
        "cells_above_outlet": _value("出口以上格网数", "Cells above the outlet, its own not counted", "1"),
        "cell_m": Parameter(
            Title("格网边长", "Sides of a cell"),
            {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2, "x-unit": "m"},
        ),
        "is_open": Parameter(
            Title("流域触及数据边缘或无数据", "The basin meets the rim or voids: it may be larger"), {"type": "boolean"}
        ),
        "is_snapped": Parameter(Title("出口是否移动", "Whether the outlet was moved"), {"type": "boolean"}),
        "snapped_by_m": _value("出口移动距离", "How far the outlet was moved", "m"),
        "n_filled_cells": _value("填洼格网数", "Cells that were raised, of all looked at", "1"),
        "deepest_fill_m": _value("最大填洼深度", "Most that a cell was raised", "m"),
        "outlet": Parameter(Title("出口", "Centre of its cell"), place.FEATURES_OUT, media_type=place.GEOJSON),
        "basin": Parameter(Title("流域", "The basin"), place.FEATURES_OUT, media_type=place.GEOJSON),
        "sub_basins": Parameter(
            Title("子流域", "Parts of the basin, which tile it"), place.FEATURES_OUT, required=False,
            media_type=place.GEOJSON,
        ),
        "accumulation": raster_out.raster_output("汇流累积", "Cells above each cell; -1 is void", "1"),
    },
    function=watershed,
    keywords=("watershed", "basin", "D8", "flow accumulation"),
)  # fmt: skip
