"""Roof heights of footprints from a surface model or a point cloud, for buildings whose height nobody states.

The roof is taken at the 70 % quantile of the surface inside the footprint: above the eaves, below chimneys and antennas
(the quantile that 3DBAG recommends for block models: docs.3dbag.nl, attribute `b3_h_70p`). The outermost cells are left
out where the footprint has others, since they mix roof and ground.

Of a point cloud, points of class 6 (building, ASPRS LAS 1.4) count; where there are none in the footprint, all but
ground (2), low vegetation (3), water (9) and noise (7, 18).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.errors import InvalidInput
from twin.config import TwinConfig
from twin.fuse.datum import vertical_step
from twin.store.interface import Asset
from twin.terrain import Datum, Terrain

FloatArray = NDArray[np.float64]

QUANTILE = 0.7
MOST_SAMPLES = 400
"""Of the surface model under one footprint."""

FEWEST_POINTS = 5
POINT_SPACING_M = 0.5
"""A cloud is read to this density; more does not move the quantile."""

BLOCK_M = 250.0
MOST_POINTS = 4_000_000
"""Of one block; under larger footprints the cloud is read more thinly."""
BUILDING = 6
NO_ROOF = (2, 3, 7, 9, 18)
SAMPLES_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Cloud:
    """A COPC file, its CRS and the way of its heights to the city's (`offset_m` is added)."""

    path: Path
    crs: str
    datum: Datum | None = None
    offset_m: float = 0.0


def clouds(folder: Path, assets: Sequence[Asset], config: TwinConfig) -> list[Cloud]:
    """The point clouds of a twin, uppermost first."""
    model = config.frame(folder).height_model
    found = []
    for asset in assets:
        if asset.kind == "points":
            datum = None
            if asset.height_offset_m is None:
                datum = vertical_step(asset.crs, asset.vertical_crs, config.vertical_crs, model)
            found.append(Cloud(folder / asset.path, asset.crs, datum, asset.height_offset_m or 0.0))
    return found


@dataclass(frozen=True)
class Roofs:
    """What was found for n footprints.

    Attributes
    ----------
    elev_m : (n,) normal height of the roof, NaN where nothing says it
    source : (n,) `dsm p70`, `points p70`, or empty
    """

    elev_m: FloatArray
    source: NDArray[np.object_]


class RoofSampler:
    """Asks the surface model first, then the clouds.

    Parameters
    ----------
    surface : of all surface models; may be empty
    clouds : called when the first footprint needs them; they may still be in writing until then
    """

    def __init__(self, surface: Terrain, clouds: Callable[[], Sequence[Cloud]], city_crs: str) -> None:
        self._surface, self._clouds, self._crs = surface, clouds, city_crs

    def close(self) -> None:
        """Close the surface model's files."""
        self._surface.close()

    def roofs(self, footprints: NDArray[np.object_]) -> Roofs:
        """(n,) footprints in the city's CRS, or None -> their roofs."""
        elev, source = np.full(len(footprints), np.nan), np.full(len(footprints), "", object)
        usable = np.flatnonzero(~shapely.is_missing(footprints) & (shapely.area(footprints) > 0))
        if not usable.size:
            return Roofs(elev, source)
        if not self._surface.is_empty:
            elev[usable] = from_surface(footprints[usable], self._surface)
            source[np.isfinite(elev)] = f"dsm p{QUANTILE * 100:.0f}"
        rest = usable[np.isnan(elev[usable])]
        for cloud in self._clouds() if rest.size else ():
            elev[rest] = from_cloud(footprints[rest], cloud, self._crs)
            source[rest[np.isfinite(elev[rest])]] = f"points p{QUANTILE * 100:.0f}"
            rest = rest[np.isnan(elev[rest])]
            if not rest.size:
                break
        return Roofs(elev, source)


def quantiles(owner: NDArray[np.int64], values: FloatArray, n: int, fewest: int = 1) -> FloatArray:
    """(k,) owners 0 … n-1 and values -> (n,) the quantile of each owner's finite values, NaN with too few of them."""
    known = np.isfinite(values)
    owner, values = owner[known], values[known]
    order = np.lexsort((values, owner))
    owner, values = owner[order], values[order]
    counts = np.bincount(owner, minlength=n)
    first = np.cumsum(counts) - counts
    out = np.full(n, np.nan)
    enough = counts >= fewest
    position = QUANTILE * (counts[enough] - 1)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, counts[enough] - 1)
    a, b = values[first[enough] + low], values[first[enough] + high]
    out[enough] = a + (position - low) * (b - a)
    return out


def from_surface(footprints: NDArray[np.object_], surface: Terrain) -> FloatArray:
    """(n,) footprints -> (n,) roof heights from a surface model, NaN where it has none."""
    cell = surface.cell_m or 1.0
    out = np.full(len(footprints), np.nan)
    inner = shapely.buffer(footprints, -0.75 * cell, quad_segs=2, join_style="mitre")
    shapes = np.where(shapely.is_empty(inner), footprints, inner)
    for rows in _in_blocks(shapes, cell):
        owner, x, y = _lattice(shapes[rows], cell)
        out[rows] = quantiles(owner, surface.height(x, y), len(rows))
    return out


def _in_blocks(shapes: NDArray[np.object_], cell: float) -> Iterator[NDArray[np.int64]]:
    """Rows in groups whose lattices stay small enough for memory."""
    west, south, east, north = shapely.bounds(shapes).T
    n = np.minimum((east - west) * (north - south) / cell**2 + 4, 4 * MOST_SAMPLES)
    group = (np.cumsum(n) // SAMPLES_AT_ONCE).astype(np.int64)
    yield from np.split(np.arange(len(shapes)), np.flatnonzero(np.diff(group)) + 1)


def _lattice(shapes: NDArray[np.object_], cell: float) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Points a cell apart (more where a shape is large) inside each shape; a point on the surface where none is."""
    west, south, east, north = shapely.bounds(shapes).T
    step = np.maximum(cell, np.sqrt((east - west) * (north - south) / MOST_SAMPLES))
    columns = np.maximum(1, np.ceil((east - west) / step)).astype(np.int64)
    rows = np.maximum(1, np.ceil((north - south) / step)).astype(np.int64)
    count = columns * rows
    owner = np.repeat(np.arange(len(shapes)), count)
    k = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    x = west[owner] + (k % columns[owner] + 0.5) * step[owner]
    y = south[owner] + (k // columns[owner] + 0.5) * step[owner]
    shapely.prepare(shapes)
    inside = shapely.contains_xy(shapes[owner], x, y)
    bare = np.setdiff1d(np.arange(len(shapes)), owner[inside])
    within = shapely.get_coordinates(shapely.point_on_surface(shapes[bare]))
    return (
        np.concatenate([owner[inside], bare]),
        np.concatenate([x[inside], within[:, 0]]),
        np.concatenate([y[inside], within[:, 1]]),
    )


def from_cloud(footprints: NDArray[np.object_], cloud: Cloud, city_crs: str) -> FloatArray:
    """(n,) footprints in the city's CRS -> (n,) roof heights from a COPC file, read block by block."""
    import laspy

    def there(xy: FloatArray) -> FloatArray:
        return np.column_stack(crs.transform(city_crs, cloud.crs, xy[:, 0], xy[:, 1]))

    shapes = footprints
    if crs.horizontal(cloud.crs) != crs.horizontal(city_crs):
        shapes = shapely.transform(footprints, there)
    out = np.full(len(shapes), np.nan)
    unit = 1.0 if crs.is_geographic(cloud.crs) else crs.metres_per_unit(cloud.crs)
    block = BLOCK_M / (111_320.0 if crs.is_geographic(cloud.crs) else unit)
    spacing = block * POINT_SPACING_M / BLOCK_M
    centre = shapely.get_coordinates(shapely.centroid(shapes))
    key = np.floor(centre / block).astype(np.int64)
    _, group = np.unique(key, axis=0, return_inverse=True)
    try:
        with cloud.path.open("rb") as file, laspy.CopcReader(file, close_fd=False) as reader:
            for rows in np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1]):
                out[rows] = _in_box(shapes[rows], reader, cloud, spacing)
    except (OSError, laspy.LaspyException) as error:
        raise InvalidInput(
            f"The point cloud {cloud.path.name} cannot be read: {error}.",
            "Build the twin again.",
            code="FILE_UNREADABLE",
        ) from error
    return out


def _in_box(shapes: NDArray[np.object_], reader: Any, cloud: Cloud, spacing: float) -> FloatArray:
    from laspy.copc import Bounds

    bounds = shapely.bounds(shapes)
    low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    header = reader.header
    if (high < header.mins[:2]).any() or (low > header.maxs[:2]).any():
        return np.full(len(shapes), np.nan)
    area = float(np.prod(np.minimum(high, header.maxs[:2]) - np.maximum(low, header.mins[:2])))
    points = reader.query(Bounds(low, high), resolution=max(spacing, (area / MOST_POINTS) ** 0.5))
    xy = np.column_stack([points.x, points.y])
    classes = np.asarray(points.classification)
    counted = np.flatnonzero(~np.isin(classes, NO_ROOF))
    if not counted.size:
        return np.full(len(shapes), np.nan)
    point, owner = shapely.STRtree(shapes).query(shapely.points(xy[counted]), predicate="covered_by")
    chosen = counted[point]
    z = _city_height(np.asarray(points.z, np.float64)[chosen], xy[chosen], cloud)
    is_roof = classes[chosen] == BUILDING
    classed = quantiles(owner[is_roof], z[is_roof], len(shapes), FEWEST_POINTS)
    return np.where(np.isfinite(classed), classed, quantiles(owner, z, len(shapes), FEWEST_POINTS))


def _city_height(z: FloatArray, xy: FloatArray, cloud: Cloud) -> FloatArray:
    if cloud.datum is not None and not cloud.datum.is_identity and len(z):
        lon, lat = crs.transform(cloud.crs, crs.WGS84, xy[:, 0], xy[:, 1])
        z = cloud.datum.normal_m(lon, lat, z)
    return z + cloud.offset_m
