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

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers import crs
from twin.fuse.columns import numbers
from twin.store.interface import Query, Store
from twin.terrain_survey import lattice_unit

if TYPE_CHECKING:
    from twin.scope import Scope
    from twin.terrain import Terrain, TerrainFacts

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

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

    @property
    def extents(self) -> list[tuple[crs.Bounds, float]]:
        """As the terrain's."""
        return self.terrain.extents

    @cached_property
    def facts(self) -> TerrainFacts:
        """As the terrain's, with the range that the levels need."""
        facts, levels = self.terrain.facts, self.levelled.levels_m
        low, high = (levels.min(), levels.max()) if len(levels) else (facts.low_m, facts.high_m)
        return replace(facts, low_m=min(facts.low_m, float(low)), high_m=max(facts.high_m, float(high)))

    @cached_property
    def digest(self) -> str:
        """Changes with the areas and their levels; 12 hexadecimal digits."""
        said = hashlib.sha256(self.levelled.levels_m.tobytes())
        for area in shapely.to_wkb(self.levelled.areas):
            said.update(area)
        return said.hexdigest()[:12]

    def heights_lonlat(self, lon_deg: FloatArray, lat_deg: FloatArray, cell_m: float | None = None) -> FloatArray:
        """Like `height`, for points in degrees (EPSG:4490, east first); `cell_m` as in the terrain's."""
        return self._cut_lonlat(self.terrain.heights_lonlat(lon_deg, lat_deg, cell_m), lon_deg, lat_deg)

    def filled_lonlat(self, lon_deg: FloatArray, lat_deg: FloatArray, cell_m: float | None = None) -> FloatArray:
        """Like `heights_lonlat`, with holes filled; NaN only outside every raster's box and every area."""
        return self._cut_lonlat(self.terrain.filled_lonlat(lon_deg, lat_deg, cell_m), lon_deg, lat_deg)

    def lattice(self, level: int, columns: IntArray, rows: IntArray) -> FloatArray:
        """(m, n) filled heights at the lattice points of a level, as the terrain's."""
        unit = lattice_unit(level)
        lon, lat = np.meshgrid(columns * unit - 180, rows * unit - 90)
        return self._cut_lonlat(self.terrain.lattice(level, columns, rows), lon, lat)

    @cached_property
    def _reach(self) -> crs.Bounds | None:
        """Box around all areas in degrees, a little wider; None without areas."""
        if not len(self.levelled.areas):
            return None
        west, south, east, north = (float(value) for value in shapely.total_bounds(self.levelled.areas))
        wide = (west - 1.0, south - 1.0, east + 1.0, north + 1.0)
        return crs.transform_bounds(self.terrain.city_crs, crs.WGS84, wide)

    def _cut_lonlat(self, ground: FloatArray, lon_deg: FloatArray, lat_deg: FloatArray) -> FloatArray:
        lon, lat = np.broadcast_arrays(np.asarray(lon_deg, np.float64), np.asarray(lat_deg, np.float64))
        if self._reach is None:
            return ground
        west, south, east, north = self._reach
        near = (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)
        if not near.any():
            return ground
        out = np.array(ground, np.float64)
        e, n = crs.transform(crs.WGS84, self.terrain.city_crs, lon[near], lat[near])
        out[near] = self._cut(out[near], e, n)
        return out

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
