"""Two surface models held against each other, block by block: what rose, what sank, where nobody can tell."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.elevation import Elevation, Grid
from twin.analysis.progress import SILENT, Progress

FloatArray = NDArray[np.float64]
BLOCK_ROWS = 512


@dataclass
class Change:
    """Sums over cells whose height changed by more than a limit; plane m² and m³.

    `unknown_m2` is the area of cells where one of the two models has no height: nothing is said of it.
    """

    raised_m2: float = 0.0
    raised_m3: float = 0.0
    lowered_m2: float = 0.0
    lowered_m3: float = 0.0
    compared_m2: float = 0.0
    unknown_m2: float = 0.0
    highest_rise_m: float = field(default=float("nan"))
    deepest_fall_m: float = field(default=float("nan"))

    def add(self, difference: FloatArray, wanted: NDArray[np.bool_], limit_m: float, cell_m2: float) -> None:
        """Count a block; cells that are not `wanted` are left out."""
        known = ~np.isnan(difference) & wanted
        self.compared_m2 += float(known.sum()) * cell_m2
        self.unknown_m2 += float((np.isnan(difference) & wanted).sum()) * cell_m2
        values = difference[known]
        up, down = values[values > limit_m + 1e-6], values[values < -limit_m - 1e-6]
        self.raised_m2 += len(up) * cell_m2
        self.raised_m3 += float(up.sum()) * cell_m2
        self.lowered_m2 += len(down) * cell_m2
        self.lowered_m3 -= float(down.sum()) * cell_m2
        if len(values):
            self.highest_rise_m = float(np.fmax(self.highest_rise_m, values.max()))
            self.deepest_fall_m = float(np.fmin(self.deepest_fall_m, values.min()))


def differences(before: Elevation, after: Elevation, progress: Progress = SILENT) -> Iterator[tuple[int, FloatArray]]:
    """(first row, (rows, width) after - before in metres), on the cells of `after`; NaN where either has no height."""
    grid = after.grid
    other = before.on(grid)
    for top in range(0, grid.height, BLOCK_ROWS):
        rows = min(BLOCK_ROWS, grid.height - top)
        yield top, after.read(top, 0, rows) - other.read(top, 0, rows)
        progress(100.0 * (top + rows) / grid.height, "heights")


def inside(grid: Grid, top: int, rows: int, region: shapely.Geometry | None) -> NDArray[np.bool_]:
    """(rows, width) whether the centres of cells lie in a region; all where there is none."""
    if region is None:
        return np.ones((rows, grid.width), bool)
    from affine import Affine
    from rasterio.features import geometry_mask

    cut = grid.cut(top, 0, rows, grid.width)
    return np.asarray(
        geometry_mask([region], (rows, grid.width), Affine(*cut.transform()), invert=True, all_touched=False), bool
    )


@dataclass(frozen=True)
class Patch:
    """Cells side by side that rose: outline in the city's CRS, area, median and greatest rise in metres."""

    shape: shapely.Geometry
    area_m2: float
    rise_m: float
    highest_m: float


def patches(
    before: Elevation, after: Elevation, rise_m: float, least_m2: float, progress: Progress = SILENT
) -> list[Patch]:
    """Connected cells (by their sides) that rose by more than `rise_m`, where they come to more than `least_m2`."""
    from affine import Affine
    from rasterio.features import shapes
    from scipy.ndimage import find_objects, label, maximum, median

    grid = after.grid
    difference = np.empty(grid.shape, np.float32)
    for top, block in differences(before, after, progress):
        difference[top : top + len(block)] = block
    labels, n = label(difference > rise_m + 1e-6)
    if not n:
        return []
    sizes = np.bincount(labels.ravel(), minlength=n + 1) * grid.cell_area_m2
    keep = np.flatnonzero(sizes[1:] > least_m2 + 1e-6) + 1
    windows = find_objects(labels)
    found = []
    for number in keep.tolist():
        rows, columns = windows[number - 1]
        piece = labels[rows, columns] == number
        cut = grid.cut(rows.start, columns.start, *piece.shape)
        outline = [
            shapely.geometry.shape(each)
            for each, _ in shapes(piece.astype(np.uint8), piece, transform=Affine(*cut.transform()))
        ]
        values = difference[rows, columns]
        found.append(
            Patch(
                shapely.union_all(outline),
                float(sizes[number]),
                float(median(values, piece, True)),
                float(maximum(values, piece, True)),
            )
        )
    return found
