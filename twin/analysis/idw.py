"""P32 idw: values of points on a grid, weighted by the inverse power of the distance (Shepard 1968).

value = sum(v / d^p) / sum(1 / d^p) over the points within the radius, the nearest so many of them; at a point (closer
than 1e-6 m) it is the point's own. Distances are plane, from the centres of cells.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.errors import InvalidInput
from twin.analysis import place, raster_out
from twin.analysis.elevation import MOST_CELLS, Grid
from twin.analysis.features_input import SCHEMA
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import SAME

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
MOST_POINTS = 20_000
MOST_VALUE = 1e38
MOST_PAIRS = 200_000_000_000
_PAIRS = 2_000_000
"""Pairs of cell and point looked at at once: some 50 MB."""


def idw(
    x: FloatArray, y: FloatArray, points: FloatArray, values: FloatArray, *, power: float = 2.0,
    radius_m: float | None = None, nearest: int | None = None,
) -> FloatArray:  # fmt: skip
    """(k,) x and y, (n, 2) points with (n,) values -> (k,) interpolated values; NaN where no point is within radius_m.

    A point at exactly the radius counts. Values lie between the least and the greatest of the points.

    Raises
    ------
    InvalidInput
        Two points at one place, or a value that is no number.
    """
    return Interpolation(points, values, power, radius_m, nearest)(x, y)


class Interpolation:
    """Points made ready for `idw`; called with (k,) x and y."""

    def __init__(
        self, points: FloatArray, values: FloatArray, power: float, radius_m: float | None, nearest: int | None
    ) -> None:
        from scipy.spatial import cKDTree

        if not len(points):
            raise InvalidInput("points has none with a value.")
        if not np.isfinite(values).all():
            raise InvalidInput(f"points/{int(np.flatnonzero(~np.isfinite(values))[0])}: the value is no number.")
        self._points, self._values, self._power, self._radius = points, values, power, radius_m
        self._k = min(nearest or len(points), len(points))
        self._tree = cKDTree(points)
        if len(points) > 1:
            gaps = self._tree.query(points, 2)[0][:, 1]
            if gaps.min() < SAME:
                at = points[int(gaps.argmin())]
                raise InvalidInput(f"points has two at one place: {at[0]:.3f}, {at[1]:.3f}.", "Keep one of them.")

    def __call__(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """(k,) values; NaN where no point is within the radius."""
        out = np.empty(len(x))
        step = max(_PAIRS // self._k, 1)
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            out[part] = self._some(np.stack([x[part], y[part]], axis=1))
        return out

    def _some(self, at: FloatArray) -> FloatArray:
        if self._k < len(self._points):
            distance, which = self._tree.query(at, self._k)
            distance, value = distance.reshape(len(at), -1), self._values[which].reshape(len(at), -1)
        else:
            distance = np.hypot(at[:, None, 0] - self._points[None, :, 0], at[:, None, 1] - self._points[None, :, 1])
            value = np.broadcast_to(self._values, distance.shape)
        least = distance.min(axis=1, keepdims=True)
        # relative to the nearest, so that no power overflows
        with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
            weight = (least / distance) ** self._power
        weight[distance < SAME] = 1.0
        weight[(least[:, 0] < SAME)[:, None] & (distance >= SAME)] = 0.0
        if self._radius is not None:
            weight[distance > self._radius + SAME] = 0.0
        total = weight.sum(axis=1)
        with np.errstate(invalid="ignore"):
            found: FloatArray = np.where(total > 0, (weight * value).sum(axis=1) / total, np.nan)
        return np.clip(found, self._values.min(), self._values.max())  # rounding leaves the range by an ulp


def idw_raster(
    city: "City", *, points: Mapping[str, Any], property: str, cell_m: float, power: float = 2.0,  # noqa: A002
    radius_m: float | None = None, nearest: int | None = None, region: Mapping[str, Any] | None = None,
    unit: str = "", keep_as: str | None = None, progress: Progress = SILENT,
) -> dict[str, Any]:  # fmt: skip
    """A raster of interpolated values over a region (the box of the points when absent); see `PROCESS`."""
    for name, number in (("cell_m", cell_m), ("power", power), ("radius_m", radius_m)):
        if number is not None and not np.isfinite(number):
            raise InvalidInput(f"{name} is no number.")
    found = place.features(city, "points", points, kinds=("Point",), most=MOST_POINTS)
    if property not in found.attributes.column_names:
        raise InvalidInput(f"property: points have no {property[:60]!r}.", "Name the attribute to interpolate.")
    values = place.numbers(found, property, "property")
    kept = np.flatnonzero(~np.isnan(values))
    far = kept[np.abs(values[kept]) > MOST_VALUE]
    if far.size:
        too_much = f"{found.ids[far[0]]!r} has {property} {values[far[0]]:g}"
        raise InvalidInput(f"points: {too_much}, more than a raster holds.")
    made = Interpolation(shapely.get_coordinates(found.geometry)[kept], values[kept], power, radius_m, nearest)
    within = None
    if region is not None:
        within = shapely.union_all(place.features(city, "region", region, kinds=place.AREAS, properties=()).geometry)
    grid = _grid(city, found.geometry[kept] if within is None else np.array([within], object), cell_m)
    n_pairs = grid.width * grid.height * min(nearest or len(kept), len(kept))
    if n_pairs > MOST_PAIRS:
        raise InvalidInput(f"cell_m {cell_m:g}: {n_pairs:.3g} pairs of cell and point are too many.", "Set nearest.")
    told = _Told()
    file = raster_out.cog(progress, "idw", grid, _blocks(grid, made, within, told, progress), unit=unit)
    raster_out.keep(city, file, keep_as, property, PROCESS.id)
    return {
        "raster": file, "minimum": told.low, "maximum": told.high, "n_cells": told.n,
        "n_void_cells": grid.width * grid.height - told.n, "n_points": len(kept),
        "left_out": [found.ids[k] for k in np.flatnonzero(np.isnan(values))], "cell_m": cell_m,
    }  # fmt: skip


class _Told:
    """Range of the values written."""

    def __init__(self) -> None:
        self.low: float | None = None
        self.high: float | None = None
        self.n = 0

    def see(self, values: FloatArray) -> None:
        known = values[~np.isnan(values)]
        if known.size:
            low, high = float(known.min()), float(known.max())
            self.low = low if self.low is None else min(low, self.low)
            self.high = high if self.high is None else max(high, self.high)
            self.n += known.size


def _grid(city: "City", shapes: NDArray[np.object_], cell_m: float) -> Grid:
    west, south, east, north = shapely.total_bounds(shapes).tolist()
    left, top = np.floor(west / cell_m) * cell_m, np.ceil(north / cell_m) * cell_m
    width = max(int(np.ceil((east - left) / cell_m - SAME)), 1)
    height = max(int(np.ceil((top - south) / cell_m - SAME)), 1)
    if width * height > MOST_CELLS:
        raise InvalidInput(f"cell_m {cell_m:g} makes {height} x {width} cells, more than {MOST_CELLS}.")
    return Grid(city.crs, float(left), float(top), cell_m, cell_m, width, height)


def _blocks(
    grid: Grid, values_at: Callable[[FloatArray, FloatArray], FloatArray], within: shapely.Geometry | None,
    told: _Told, progress: Progress,
) -> Iterator[tuple[int, FloatArray]]:  # fmt: skip
    """Rows of the grid some at a time, north to south; NaN where a centre lies outside `within`."""
    rows = max(1, 200_000 // grid.width)
    if within is not None:
        shapely.prepare(within)
    for top in range(0, grid.height, rows):
        x, y = np.meshgrid(grid.x(np.arange(grid.width)), grid.y(np.arange(top, min(top + rows, grid.height))))
        block = np.full(x.shape, np.nan)
        inside = np.ones(x.shape, bool) if within is None else shapely.intersects_xy(within, x, y)
        block[inside] = values_at(x[inside], y[inside])
        told.see(block)
        yield top, block
        progress(95.0 * (top + len(x)) / grid.height, "idw")


def _length(zh: str, en: str, **more: Any) -> Parameter:
    return Parameter(Title(zh, en), {"type": "number", "exclusiveMinimum": 0, "maximum": 1e6, "x-unit": "m"}, **more)


PROCESS = Process(
    id="idw",
    title=Title("反距离加权插值", "Inverse distance weighting"),
    description=Title(
        "把点上的数值按距离的反幂次加权内插到格网；在点上即为该点的值，半径内无点处为无数据。",
        "Values of points on a grid, weighted by the inverse power of distance; exact at the points, no value where no "
        "point is within the radius.",
    ),
    inputs={
        "points": Parameter(Title("点", "Points"), SCHEMA),
        "property": Parameter(Title("数值属性", "Attribute to interpolate"), {"type": "string", "minLength": 1}),
        "cell_m": _length("格网边长", "Side of a cell"),
        "power": Parameter(
            Title("幂次", "Power of the distance"),
            {"type": "number", "exclusiveMinimum": 0, "maximum": 20, "default": 2, "x-unit": "1"}, required=False,
        ),
        "radius_m": _length("搜索半径", "Only points within this distance; all when absent", required=False),
        "nearest": Parameter(
            Title("最近点数", "Only so many nearest points; all when absent"),
            {"type": "integer", "minimum": 1, "maximum": MOST_POINTS}, required=False,
        ),
        "region": Parameter(Title("范围（面）", "Where; the box of the points when absent"), SCHEMA, required=False),
        "unit": Parameter(
            Title("数值单位", "Unit of the values"), {"type": "string", "maxLength": 20, "default": ""}, required=False
        ),
        "keep_as": raster_out.KEEP_AS,
    },
    outputs={
        "raster": raster_out.raster_output("插值栅格", "Interpolated values", ""),
        "minimum": Parameter(Title("最小值", "Least value"), {"type": ["number", "null"]}),
        "maximum": Parameter(Title("最大值", "Greatest value"), {"type": ["number", "null"]}),
        "n_cells": Parameter(Title("有值格网数", "Cells with a value"), {"type": "integer"}),
        "n_void_cells": Parameter(Title("无值格网数", "Cells without"), {"type": "integer"}),
        "n_points": Parameter(Title("点数", "Points that were used"), {"type": "integer"}),
        "left_out": Parameter(Title("无值的点", "Points left out"), {"type": "array", "items": {"type": "string"}}),
        "cell_m": _length("格网边长", "Side of a cell"),
    },
    function=idw_raster,
    keywords=("interpolation", "Shepard"),
)  # fmt: skip
