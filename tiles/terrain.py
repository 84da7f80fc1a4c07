"""The city's ground as quantized-mesh terrain: EPSG:4326, two tiles at level 0, y from the south (TMS).

Ellipsoidal height = ground (normal height) + height anomaly of the city's height model, sampled on a 65 x 65 grid
whose lines neighbours share. The whole Earth is covered, as viewers need:

- where the rasters have no value inside their bounds (a hole, a rotated edge): the nearest ground;
- outside the bounds: the ground at the nearest edge, faded to sea level (0 m) over FADE of the city's width;
- the height model fades into EGM96 over the same distance, so that sea level is right everywhere.

All of it depends on the place alone, never on the tile: edges of neighbours agree within the quantisation.
"""

import hashlib
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from layers.crs import Bounds
from layers.errors import NotFound
from layers.frame import enu_axes, geodetic_to_ecef
from layers.heights import Egm96
from tiles import quantized_mesh
from tiles.city import FloatArray, HeightField, TileCity
from twin.scope import EVERYTHING, Scope
from twin.store.interface import Store

GRID = 65
MAX_ZOOM = 20
FADE = 0.5
"""Width of the apron over that of the rasters."""
APRON_LINES, APRON_LINES_WIDE = 257, 65
"""Samples across the rasters from which holes and the apron are filled; fewer where the rasters are so wide (in
cells) that each sample reads a block of its own."""
WIDE_CELLS = 5000
METRES_PER_DEGREE = 111_320.0
ENCODING = 1

# by store and not by terrain: the city makes its terrain anew with every change of any layer
_aprons: WeakKeyDictionary[Store, tuple[str, "_Apron"]] = WeakKeyDictionary()


class TerrainTiles:
    """Terrain of one city. Cheap to make: what it prepares is kept with the city's terrain."""

    def __init__(self, city: TileCity, scope: Scope = EVERYTHING) -> None:
        self.city, self.scope = city, scope
        self._terrain = city.terrain

    @cached_property
    def version(self) -> str:
        """Changes with the rasters and the height model; 12 hexadecimal digits."""
        assets = [(asset.id, asset.path) for asset in self.city.store.assets(self.scope, layer="dem")]
        said = (ENCODING, sorted(assets), self.city.frame.height_model.describe())
        return hashlib.sha256(repr(said).encode()).hexdigest()[:12]

    @cached_property
    def max_zoom(self) -> int:
        """The first level whose grid is at least as fine as the rasters; 0 without rasters."""
        cell_m = self._terrain.cell_m
        if self._terrain.is_empty or not cell_m:
            return 0
        lines = 180 * METRES_PER_DEGREE / (GRID - 1) / cell_m
        return int(np.clip(np.ceil(np.log2(lines)), 0, MAX_ZOOM))

    def layer_json(self) -> dict[str, Any]:
        """`layer.json`: complete `available`, no `metadataAvailability` (QGIS and CesiumJS disagree about both)."""
        west, south, east, north = self._bounds
        return {
            "tilejson": "2.1.0",
            "name": self.city.config.name,
            "description": "Ellipsoidal heights. Outside the survey the ground fades to sea level (EGM96).",
            "attribution": self.city.config.title_in("en"),
            "version": self.version,
            "format": "quantized-mesh-1.0",
            "scheme": "tms",
            "projection": "EPSG:4326",
            "extensions": ["octvertexnormals"],
            "tiles": ["{z}/{x}/{y}.terrain?v={version}"],
            "bounds": [west, south, east, north],
            "minzoom": 0,
            "maxzoom": self.max_zoom,
            "available": [[self._range(z)] for z in range(self.max_zoom + 1)],
        }

    def tile(self, z: int, x: int, y: int, normals: bool = False) -> bytes:
        """One tile, not compressed. NotFound outside `available`."""
        if not 0 <= z <= self.max_zoom:
            raise NotFound(f"Terrain has levels 0 to {self.max_zoom}, not {z}.")
        there = self._range(z)
        if not (there["startX"] <= x <= there["endX"] and there["startY"] <= y <= there["endY"]):
            raise NotFound(f"Terrain has no tile {z}/{x}/{y}.", "See `available` in layer.json.")
        steps = quantized_mesh.grid_steps(GRID)
        # whole numbers until the division: the shared edge of two tiles is the same float64 in both
        unit = 180 / (quantized_mesh.STEPS << z)
        lon = np.clip(np.asarray((x * quantized_mesh.STEPS + steps) * unit - 180, np.float64), -180, 180)
        lat = np.clip(np.asarray((y * quantized_mesh.STEPS + steps) * unit - 90, np.float64), -90, 90)
        return quantized_mesh.encode(
            lon, lat, self._grid_heights(lon, lat), self._normals(lon, lat) if normals else None
        )

    def heights(self, lon_deg: FloatArray, lat_deg: FloatArray) -> FloatArray:
        """(n,) ellipsoidal heights anywhere on Earth, as the tiles have them."""
        apron = self._apron
        ground = np.full(len(lon_deg), np.nan)
        inside = apron.contains(lon_deg, lat_deg)
        if inside.any() and not self._terrain.is_empty:
            ground[inside] = self._terrain.heights_lonlat(lon_deg[inside], lat_deg[inside])
        missing = np.isnan(ground)
        ground[missing] = apron.ground(lon_deg[missing], lat_deg[missing])
        return ground + self._undulation(lon_deg, lat_deg)

    def _undulation(self, lon: FloatArray, lat: FloatArray) -> FloatArray:
        model, egm96 = self.city.frame.height_model, Egm96()
        weight = self._apron.weight(lon, lat)
        result = np.zeros(len(lon))
        if isinstance(model, Egm96) or (weight < 1).any():
            result = egm96.undulation_m(lon, lat)
        if not isinstance(model, Egm96):
            near = weight > 0
            # a grid need not reach beyond the city: outside, its value at the nearest edge is faded
            own = model.undulation_m(*self._apron.clamp(lon[near], lat[near]))
            result[near] = weight[near] * own + (1 - weight[near]) * result[near]
        return result

    def _grid_heights(self, lon: FloatArray, lat: FloatArray) -> FloatArray:
        lons, lats = np.meshgrid(lon, lat)
        return self.heights(lons.ravel(), lats.ravel()).reshape(lons.shape)

    def _normals(self, lon: FloatArray, lat: FloatArray) -> FloatArray:
        """(n, n, 3) by central differences, one line beyond each edge so that neighbours shade alike."""
        step_lon, step_lat = lon[1] - lon[0], lat[1] - lat[0]
        wide_lon = np.r_[lon[0] - step_lon, lon, lon[-1] + step_lon]
        wide_lat = np.clip(np.r_[lat[0] - step_lat, lat, lat[-1] + step_lat], -90, 90)
        heights = self._grid_heights((wide_lon + 180) % 360 - 180, wide_lat)
        points = geodetic_to_ecef(*np.broadcast_arrays(wide_lon[None, :], wide_lat[:, None], heights))
        normals = np.cross(points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1])
        lengths = np.linalg.norm(normals, axis=2, keepdims=True)
        up = np.array([enu_axes(0, each)[2] for each in lat])[:, None, :]  # at the poles east has no length
        return np.where(lengths > 0, normals / np.where(lengths > 0, lengths, 1), up)

    def _range(self, z: int) -> dict[str, int]:
        """Tiles of a level: the quarters of those above that touch the rasters, so that quarters come in fours."""
        if z == 0:
            return {"startX": 0, "startY": 0, "endX": 1, "endY": 0}
        west, south, east, north = self._bounds
        side = 180 / 2 ** (z - 1)
        x0, x1 = (int(np.clip((lon + 180) // side, 0, 2**z - 1)) for lon in (west, east))
        y0, y1 = (int(np.clip((lat + 90) // side, 0, 2 ** (z - 1) - 1)) for lat in (south, north))
        return {"startX": 2 * x0, "startY": 2 * y0, "endX": 2 * x1 + 1, "endY": 2 * y1 + 1}

    @property
    def _bounds(self) -> Bounds:
        frame = self.city.frame
        return self._terrain.lonlat_bounds or (frame.lon_deg, frame.lat_deg, frame.lon_deg, frame.lat_deg)

    @property
    def _apron(self) -> "_Apron":
        known = _aprons.get(self.city.store)
        if known is None or known[0] != self.version:
            known = _aprons[self.city.store] = (self.version, _Apron(self._terrain, self._bounds))
        return known[1]


class _Apron:
    """Ground where the rasters have none: a coarse copy of the terrain with its holes filled from the nearest value."""

    def __init__(self, terrain: HeightField, bounds: Bounds) -> None:
        self.bounds = bounds
        west, south, east, north = bounds
        self._across = METRES_PER_DEGREE * np.cos(np.radians((south + north) / 2))
        width = max((east - west) * self._across, (north - south) * METRES_PER_DEGREE)
        self._reach = max(FADE * width, 1000.0)
        wide = terrain.cell_m is not None and width / terrain.cell_m > WIDE_CELLS
        lines = APRON_LINES_WIDE if wide else APRON_LINES
        self._coarse = np.zeros((lines, lines))
        if not terrain.is_empty:
            lons, lats = np.meshgrid(np.linspace(west, east, lines), np.linspace(south, north, lines))
            self._coarse = _filled(terrain.heights_lonlat(lons.ravel(), lats.ravel()).reshape(lons.shape))

    def contains(self, lon: FloatArray, lat: FloatArray) -> NDArray[np.bool_]:
        west, south, east, north = self.bounds
        return (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)

    def clamp(self, lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
        west, south, east, north = self.bounds
        return np.clip(lon, west, east), np.clip(lat, south, north)

    def weight(self, lon: FloatArray, lat: FloatArray) -> FloatArray:
        """1 inside the bounds, falling smoothly to 0 at the end of the apron."""
        near_lon, near_lat = self.clamp(lon, lat)
        away = np.hypot((lon - near_lon) * self._across, (lat - near_lat) * METRES_PER_DEGREE)
        left = np.clip(1 - away / self._reach, 0, 1)
        return left * left * (3 - 2 * left)

    def ground(self, lon: FloatArray, lat: FloatArray) -> FloatArray:
        """Normal heights: bilinear in the coarse copy at the nearest place inside, faded."""
        west, south, east, north = self.bounds
        near_lon, near_lat = self.clamp(lon, lat)
        last = len(self._coarse) - 1
        column = (near_lon - west) / max(east - west, 1e-12) * last
        row = (near_lat - south) / max(north - south, 1e-12) * last
        left, low = (np.clip(values.astype(np.int64), 0, last - 1) for values in (column, row))
        fx, fy = column - left, row - low
        lower = self._coarse[low, left] * (1 - fx) + self._coarse[low, left + 1] * fx
        upper = self._coarse[low + 1, left] * (1 - fx) + self._coarse[low + 1, left + 1] * fx
        return (lower * (1 - fy) + upper * fy) * self.weight(lon, lat)


def _filled(heights: FloatArray) -> FloatArray:
    """NaN replaced by the nearest value; zeros if there is no value at all."""
    from scipy import ndimage

    missing = np.isnan(heights)
    if missing.all():
        return np.zeros_like(heights)
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    return np.asarray(heights[tuple(nearest)], np.float64)
