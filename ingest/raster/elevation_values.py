"""What the cells of an elevation raster say: undeclared nodata, holes, heights that no ground has.

Counted while every block is read once anyway; a thumbnail of at most 1,024 cells a side is kept for the holes.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput
from layers.issue import Issue

SENTINELS = (-32768.0, -32767.0, -9999.0, -99999.0, -999999.0)
"""Values that programs write for «no data»; ground is never so deep."""

ABSURD_M = 1e30
"""Beyond it a float32 is a filler (3.4e38 is usual)."""

LOWEST_M, HIGHEST_M = -500.0, 9000.0
"""Land surface of the Earth, with some room: the Dead Sea's shore is at -430 m, the summit of Everest at 8,849 m."""

THUMBNAIL = 1024
HOLE_CELLS = 4
ZEROS_SHARE = 0.05


@dataclass
class ElevationValues:
    """Grows block by block (`add`); `issues` then says what was found.

    Parameters
    ----------
    width, height : of the raster in cells
    nodata : the declared value, or None
    scale, offset : stored value -> metres
    """

    width: int
    height: int
    nodata: float | None
    scale: float = 1.0
    offset: float = 0.0
    n_void: int = 0
    n_zero: int = 0
    low_m: float = math.inf
    high_m: float = -math.inf
    sentinels: dict[float, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._step = max(1, math.ceil(max(self.width, self.height) / THUMBNAIL))
        shape = -(-self.height // self._step), -(-self.width // self._step)
        self._has = np.zeros(shape, bool)

    def add(self, block: NDArray[Any], top: int, left: int) -> None:
        """One (rows, columns) block of stored values and where it begins."""
        values = np.asarray(block)
        low, high = float(values.min()), float(values.max())
        if low > max(SENTINELS) and high < ABSURD_M and not (self.nodata is not None and low <= self.nodata <= high):
            self._known(values, low, high)  # most blocks: no filler is among them, nothing need be looked for
            step = self._step
            rows, columns = values.shape
            self._has[top // step : -(-(top + rows) // step), left // step : -(-(left + columns) // step)] = True
            return
        void = np.zeros(values.shape, bool)
        if values.dtype.kind == "f":
            void |= ~np.isfinite(values)
            self._sentinel(values, void, np.abs(values) >= ABSURD_M)
        if self.nodata is not None:
            void |= values == values.dtype.type(self.nodata)
        for sentinel in SENTINELS:
            if sentinel != self.nodata and _fits(values.dtype, sentinel):
                self._sentinel(values, void, values == values.dtype.type(sentinel))
        self.n_void += int(void.sum())
        good = values[~void]
        if good.size:
            self._known(good, float(good.min()), float(good.max()))
        rows_, columns_ = np.nonzero(~void)
        self._has[(rows_ + top) // self._step, (columns_ + left) // self._step] = True

    def _known(self, values: NDArray[Any], low: float, high: float) -> None:
        if low <= 0 <= high:
            self.n_zero += values.size - int(np.count_nonzero(values))
        ends = low * self.scale + self.offset, high * self.scale + self.offset
        self.low_m, self.high_m = min(self.low_m, *ends), max(self.high_m, *ends)

    def _sentinel(self, values: NDArray[Any], void: NDArray[np.bool_], found: NDArray[np.bool_]) -> None:
        found &= ~void
        if found.any():
            fillers, counts = np.unique(values[found], return_counts=True)
            for filler, count in zip(fillers.tolist(), counts.tolist(), strict=True):
                if float(filler) != self.nodata:
                    self.sentinels[float(filler)] = self.sentinels.get(float(filler), 0) + int(count)
            void |= found

    @property
    def undeclared(self) -> float | None:
        """The value that is to count as nodata although the file does not say so; None where there is none."""
        if self.nodata is not None or not self.sentinels:
            return None
        return max(self.sentinels, key=lambda value: self.sentinels[value])

    def check(self, name: str) -> None:
        """Raises InvalidInput where no cell has a height, or heights are not the ground's."""
        if self.low_m > self.high_m:
            raise InvalidInput(f"No cell of {name} has a height.", "Export it again.", code="DEM_EMPTY")
        rest = [value for value in self.sentinels if value not in {self.undeclared, self.nodata}]
        if rest:
            told = ", ".join(f"{value:g} ({self.sentinels[value]} cells)" for value in sorted(rest))
            problem = (
                f"{name} has several values for «no data»: besides {self.undeclared or self.nodata:g} also {told}."
            )
            raise InvalidInput(problem, "Give them one value: gdal_calc or «fill nodata» in QGIS.", code="DEM_NODATA")
        if self.low_m < LOWEST_M or self.high_m > HIGHEST_M:
            problem = f"Heights of {name} run from {self.low_m:.10g} to {self.high_m:.10g} m, which no ground has."
            hint = 'If they are in another unit, write units = {height = "cm"} into city.toml (mm, cm, dm, ft …);'
            hint += " if a value means «no data», values = {nodata = …}."
            raise InvalidInput(problem, hint, code="DEM_OUT_OF_RANGE")

    def issues(self, name: str) -> list[Issue]:
        """What the user should know."""
        found = []
        if self.undeclared is not None:
            n = self.sentinels[self.undeclared]
            message = (
                f"{n} cells hold {self.undeclared:g} without the file calling that «no data»; it is taken as such."
            )
            found.append(Issue("NODATA_UNDECLARED", name, message, "Declare it: gdal_edit -a_nodata.", "warning"))
        holes = self.holes()
        if holes:
            n, cells, row, column = holes
            message = (
                f"{n} holes without data inside the raster; the largest has about {cells} cells around row {row}, "
                f"column {column}. There the ground is unknown."
            )
            found.append(Issue("DEM_HOLES", name, message, "Fill them from another survey if ground is there.", "info"))
        n_known = self.width * self.height - self.n_void
        if self.n_zero > ZEROS_SHARE * n_known and self.high_m > 0 and self.nodata != 0:
            message = f"{100 * self.n_zero / n_known:.0f} % of the cells are exactly 0 m; that is taken for ground."
            hint = "If it means «no data», write values = {nodata = 0} into city.toml."
            found.append(Issue("DEM_ZEROS", name, message, hint, "info"))
        return found

    def holes(self) -> tuple[int, int, int, int] | None:
        """Number of voids that the outside does not reach, cells of the largest, its row and column; None if none.

        On the thumbnail: where the raster is larger than that, holes of less than a few of its cells are not seen.
        """
        if not self.n_void:
            return None
        from scipy import ndimage

        labels, n = ndimage.label(~self._has)
        edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        sizes = np.bincount(labels.ravel(), minlength=n + 1)
        sizes[edge] = 0
        sizes[0] = 0
        inner = np.flatnonzero(sizes * self._step**2 >= HOLE_CELLS)
        if not inner.size:
            return None
        largest = int(inner[np.argmax(sizes[inner])])
        rows, columns = np.nonzero(labels == largest)
        at = int(rows.mean()) * self._step, int(columns.mean()) * self._step
        return int(inner.size), int(sizes[largest]) * self._step**2, *at


def _fits(dtype: np.dtype[np.generic], value: float) -> bool:
    if dtype.kind == "f":
        return True
    if dtype.kind not in "iu":
        return False
    limits: Any = np.iinfo(dtype.name)
    return limits.min <= value <= limits.max
