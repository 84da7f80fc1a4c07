"""The ground as it is built on: cut in pits, levelled under dams. A surface of its own; the terrain stays as surveyed.

It is made of the terrain and the features that the store holds now, when a height is asked for: no raster is written,
edges are those of the polygons, and an edit of a pit shows at once.

| layer | surface inside the polygon |
|---|---|
| `excavation` | `bottom_elev_m`; else the lowest ground on the pit's edge less `depth_m` |
| `hydraulic_structure` | `base_elev_m`, which a model of the structure brings along |

A feature that has neither is left out and listed in `unknown`. Where several lie over each other, the lowest holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers import crs
from twin.fuse.columns import numbers
from twin.store.interface import Query, Store

if TYPE_CHECKING:
    from twin.scope import Scope
    from twin.terrain import Terrain

FloatArray = NDArray[np.float64]

EDGE_STEP_M = 2.0
"""The ground is asked so often along the edge of a pit."""


@dataclass(frozen=True)
class Levelled:
    """Areas with the level that holds inside.

    Attributes
    ----------
    areas : (n,) polygons in the city's CRS
    levels_m : (n,) normal heights
    ids : (n,) `layer/id` of the features
    unknown : `layer/id` of features that say neither depth nor elevation
    """

    areas: NDArray[np.object_]
    levels_m: FloatArray
    ids: list[str]
    unknown: list[str] = field(default_factory=list)


class DerivedSurface:
    """Ground heights with pits and dams. Thread-safe as the terrain is."""

    def __init__(self, terrain: Terrain, levelled: Levelled) -> None:
        self.terrain, self.levelled = terrain, levelled
        self._tree = shapely.STRtree(levelled.areas)
        shapely.prepare(levelled.areas)

    @property
    def is_empty(self) -> bool:
        """True if there is no terrain."""
        return self.terrain.is_empty

    @property
    def cell_m(self) -> float | None:
        """Cell size of the finest terrain raster in metres."""
        return self.terrain.cell_m

    @property
    def lonlat_bounds(self) -> crs.Bounds | None:
        """As the terrain's."""
        return self.terrain.lonlat_bounds

    def height(self, e: FloatArray, n: FloatArray) -> FloatArray:
        """(k,) east and north in the city's CRS -> (k,) normal heights in metres, NaN where there is none."""
        return self._cut(self.terrain.height(e, n), np.asarray(e, np.float64), np.asarray(n, np.float64))

    def heights_lonlat(self, lon_deg: FloatArray, lat_deg: FloatArray) -> FloatArray:
        """Like `height`, for points in degrees (EPSG:4490, east first)."""
        lon, lat = np.asarray(lon_deg, np.float64), np.asarray(lat_deg, np.float64)
        ground = self.terrain.heights_lonlat(lon, lat)
        e, n = crs.transform(crs.WGS84, self.terrain.city_crs, lon.ravel(), lat.ravel())
        return self._cut(ground, e.reshape(lon.shape), n.reshape(lat.shape))

    def _cut(self, ground: FloatArray, e: FloatArray, n: FloatArray) -> FloatArray:
        if not len(self.levelled.levels_m):
            return ground
        out = np.array(ground, np.float64)
        flat, x, y = out.reshape(-1), np.ravel(e), np.ravel(n)
        finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        points = shapely.points(x[finite], y[finite])
        point, area = self._tree.query(points, predicate="covered_by")
        level = np.full(flat.shape, np.inf)
        np.minimum.at(level, finite[point], self.levelled.levels_m[area])
        inside = np.isfinite(level)
        flat[inside] = level[inside]
        return out


def levelled(store: Store, scope: Scope, terrain: Terrain) -> Levelled:
    """Pits and dams of the scope as they are now."""
    there = {info.id for info in store.layers(scope)}
    areas: list[shapely.Geometry] = []
    levels: list[float] = []
    ids: list[str] = []
    unknown: list[str] = []
    for layer in sorted(there & {"excavation", "hydraulic_structure"}):
        for features in store.query(layer, Query(), scope):
            shapes = shapely.force_2d(features.geometry)
            is_area = np.isin(shapely.get_type_id(shapes), (3, 6)) & ~shapely.is_empty(shapes)
            if layer == "excavation":
                found = _pit_levels(shapes, features.attributes, terrain)
            else:
                found = numbers(features.attributes, "base_elev_m")
            for i in np.flatnonzero(is_area).tolist():
                name = f"{layer}/{features.ids[i]}"
                if np.isfinite(found[i]):
                    areas.append(shapes[i])
                    levels.append(float(found[i]))
                    ids.append(name)
                else:
                    unknown.append(name)
    return Levelled(np.array(areas, dtype=object), np.array(levels, np.float64), ids, unknown)


def _pit_levels(shapes: NDArray[np.object_], attributes: pa.Table, terrain: Terrain) -> FloatArray:
    levels, depth_m = np.array(numbers(attributes, "bottom_elev_m")), numbers(attributes, "depth_m")
    for i in np.flatnonzero(np.isnan(levels) & np.isfinite(depth_m) & ~shapely.is_missing(shapes)).tolist():
        along = shapely.get_coordinates(shapely.segmentize(shapes[i].boundary, EDGE_STEP_M))
        ground = terrain.height(along[:, 0], along[:, 1])
        if np.isfinite(ground).any():
            levels[i] = float(np.nanmin(ground)) - depth_m[i]
    return levels
