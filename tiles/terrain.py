"""The city's ground as quantized-mesh terrain: EPSG:4326, two tiles at level 0, y from the south (TMS).

A tile is a lattice of 65 x 65 ellipsoidal heights (ground + height anomaly), of which as few are kept as the level's
error allows (`tiles.rtin`), all of them on its edges. The lattice of a level is every other line of the next, a height
depends on its place alone, and edges are rounded to one step in the whole terrain: so tiles of one level, and of any
two levels, have the same heights, bit by bit, where they share a vertex of an edge.

Heights for others: `TerrainTiles.heights(lon_deg, lat_deg, cell_m=None)`; with `cell_m` the rasters' overviews are read
whose cells are no wider.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import orjson

from layers.crs import Bounds
from layers.errors import NotFound
from layers.frame import E2, SEMI_MAJOR_M
from tiles import quantized_mesh, rtin
from tiles.city import FloatArray, HeightField, IntArray, TileCity
from tiles.terrain_apron import Apron
from tiles.terrain_available import Available
from twin.scope import EVERYTHING, Scope
from twin.store.interface import Store
from twin.terrain_survey import INTERVALS, lattice_unit

GRID = INTERVALS + 1
FINEST_ERROR_M = 0.1
LEVEL_0_ERROR_M = 65536.0
"""No level's error is above 65,536 m / 2^level: viewers take 77,067 m / 2^level for granted (CesiumJS, 65 lines)."""
NORMALS, METADATA = "octvertexnormals", "metadata"
EXTENSIONS = (NORMALS, METADATA)
"""What can be asked for; the first also stands in layer.json. The other must not: see docs/tiles/terrain.md."""
ENCODING = 2
VERSIONS_KEPT = 8
"""Of what tiles share: a version for each surface and scope in use."""

# by store and not by terrain: the city makes its terrain anew with every change of any layer
_prepared: WeakKeyDictionary[Store, dict[str, "_Prepared"]] = WeakKeyDictionary()


@dataclass(frozen=True)
class _Prepared:
    """What all tiles of one version share."""

    apron: Apron
    low_m: float
    high_m: float

    @property
    def edge_step_m(self) -> float:
        return quantized_mesh.power_of_two_step(self.high_m - self.low_m)


class TerrainTiles:
    """Terrain of one city. Cheap to make: what it prepares is kept with the city's store.

    Parameters
    ----------
    surface : `terrain` (as surveyed) or another name that `city.surface` knows (`derived`); NotFound for others
    """

    def __init__(self, city: TileCity, scope: Scope = EVERYTHING, surface: str = "terrain") -> None:
        self.city, self.scope, self.surface = city, scope, surface
        self._terrain: HeightField = city.terrain if surface == "terrain" else city.surface(surface)

    @cached_property
    def version(self) -> str:
        """Changes with the rasters, the height model and what cuts the surface; 12 hexadecimal digits."""
        assets = [
            (asset.id, asset.path, asset.crs, asset.vertical_crs, asset.height_offset_m)
            for asset in self.city.store.assets(self.scope, layer="dem")
        ]
        said = (ENCODING, assets, self.city.frame.height_model.describe(), getattr(self._terrain, "digest", ""))
        return hashlib.sha256(repr(said).encode()).hexdigest()[:12]

    @cached_property
    def available(self) -> Available:
        """Which tiles there are."""
        return Available.of(self._terrain.extents)

    @property
    def extents(self) -> list[tuple[Bounds, float]]:
        """Bounds in degrees and cell size in metres of every raster."""
        return self._terrain.extents

    @property
    def max_zoom(self) -> int:
        """The first level whose lattice is at least as fine as the finest raster; 0 without rasters."""
        return self.available.max_zoom

    def error_m(self, z: int) -> float:
        """No lattice point of a tile of this level is farther than that from its surface; halves per level.

        Rounding is in it. Tiles without quarters have the error of the deepest level, wherever they are.
        """
        finest = min(FINEST_ERROR_M, LEVEL_0_ERROR_M / 2**self.max_zoom)
        return max(finest, self._shared.edge_step_m / 2 * (1 + 1e-9)) * float(2 ** (self.max_zoom - z))

    def layer_json(self) -> dict[str, Any]:
        """`layer.json`: complete `available`, no `metadataAvailability` (QGIS and CesiumJS disagree about both)."""
        west, south, east, north = self._bounds
        facts = self._terrain.facts
        return {
            "tilejson": "2.1.0",
            "name": self.city.config.name,
            "description": "Ellipsoidal heights. Outside the survey the ground fades to sea level (EGM96).",
            "attribution": self.city.config.title_in("en"),
            "version": self.version,
            "format": "quantized-mesh-1.0",
            "scheme": "tms",
            "projection": "EPSG:4326",
            "extensions": [NORMALS],
            "tiles": ["{z}/{x}/{y}.terrain?v={version}"],
            "bounds": [west, south, east, north],
            "minzoom": 0,
            "maxzoom": self.max_zoom,
            "available": self.available.json(),
            "extras": {
                "surface": self.surface,
                "geometric_error_m": [self.error_m(z) for z in range(self.max_zoom + 1)],
                "edge_step_m": self._shared.edge_step_m,
                "rasters": facts.rasters,
                "void_cells": facts.void_cells,
                "filled_cells": facts.filled_cells,
                "filled_share": facts.filled_cells / facts.cells if facts.cells else 0.0,
                "filled_m2": round(facts.filled_m2, 1),
            },
        }

    def require(self, z: int, x: int, y: int) -> None:
        """NotFound for a tile that is not available."""
        if not 0 <= z <= self.max_zoom:
            raise NotFound(f"Terrain has levels 0 to {self.max_zoom}, not {str(z)[:20]}.")
        if not self.available.has(z, x, y):
            address = f"{z}/{x}/{y}"
            raise NotFound(f"Terrain has no tile {address[:60]}.", "See `available` in layer.json.")

    def tile(self, z: int, x: int, y: int, extensions: Collection[str] = ()) -> bytes:
        """One tile, not compressed, with those of `EXTENSIONS` that are asked for. NotFound outside `available`."""
        self.require(z, x, y)
        columns, rows = (np.arange(-1, GRID + 1) + first * INTERVALS for first in (x, y))
        wide = self._lattice(z, columns, rows)
        heights = wide[1:-1, 1:-1]
        quantised = quantized_mesh.quantise(heights, self._shared.edge_step_m)
        error = self.error_m(z if self.available.has_children(z, x, y) else self.max_zoom)
        triangles = rtin.triangulate(heights, error, quantised.heights_m)
        side = 180 / 2**z
        bounds = (x * side - 180, y * side - 90, (x + 1) * side - 180, (y + 1) * side - 90)
        more = {}
        if METADATA in extensions:
            said = orjson.dumps({"available": self.available.below(z, x, y)})
            more[quantized_mesh.METADATA] = quantized_mesh.metadata_body(said)
        normals = _normals(wide, z, columns, rows) if NORMALS in extensions else None
        return quantized_mesh.encode(bounds, quantised, triangles, normals, more)

    def heights(self, lon_deg: FloatArray, lat_deg: FloatArray, cell_m: float | None = None) -> FloatArray:
        """(n,) ellipsoidal heights anywhere on Earth.

        Parameters
        ----------
        lon_deg, lat_deg : (n,) each
        cell_m : read the overviews whose cells are no wider than that; the rasters themselves when absent, as tiles do
        """
        return self._with_apron(self._terrain.filled_lonlat(lon_deg, lat_deg, cell_m), lon_deg, lat_deg)

    def ground(self, lon_deg: FloatArray, lat_deg: FloatArray, cell_m: float | None = None) -> FloatArray:
        """(n,) normal heights anywhere on Earth: those of `heights` without the height model; 0 beyond `reach`."""
        return self._on_land(self._terrain.filled_lonlat(lon_deg, lat_deg, cell_m), lon_deg, lat_deg)

    @property
    def reach(self) -> Bounds:
        """Box in degrees outside which the ground is at sea level."""
        return self._shared.apron.reach

    def _lattice(self, z: int, columns: IntArray, rows: IntArray) -> FloatArray:
        """(m, n) ellipsoidal heights of lattice lines; those beyond the date line are its other side's."""
        unit = lattice_unit(z)
        rows = np.clip(rows, 0, INTERVALS << z)
        lap = 2 * INTERVALS << z
        columns = np.where((columns < 0) | (columns > lap), columns % lap, columns)
        lon, lat = np.meshgrid(columns * unit - 180, rows * unit - 90)
        ground = self._terrain.lattice(z, columns, rows)
        return self._with_apron(ground.ravel(), lon.ravel(), lat.ravel()).reshape(lon.shape)

    def _on_land(self, ground: FloatArray, lon: FloatArray, lat: FloatArray) -> FloatArray:
        missing = np.isnan(ground)
        if missing.any():
            ground = ground.copy()
            ground[missing] = self._shared.apron.ground(lon[missing], lat[missing])
        return ground

    def _with_apron(self, ground: FloatArray, lon: FloatArray, lat: FloatArray) -> FloatArray:
        shared = self._shared
        ground = self._on_land(ground, lon, lat)
        return np.clip(ground + shared.apron.undulation(lon, lat), shared.low_m, shared.high_m)

    @property
    def _bounds(self) -> Bounds:
        frame = self.city.frame
        return self._terrain.lonlat_bounds or (frame.lon_deg, frame.lat_deg, frame.lon_deg, frame.lat_deg)

    @cached_property
    def _shared(self) -> _Prepared:
        versions = _prepared.setdefault(self.city.store, {})
        known = versions.get(self.version)
        if known is None:
            apron = Apron(self._terrain, self._bounds, self.city.frame.height_model)
            facts = self._terrain.facts
            low, high = apron.range_m(facts.low_m, facts.high_m)
            known = versions[self.version] = _Prepared(apron, low, high)
            for old in list(versions)[:-VERSIONS_KEPT]:
                versions.pop(old, None)
        return known


def _normals(wide: FloatArray, z: int, columns: IntArray, rows: IntArray) -> FloatArray:
    """(n, n, 3) unit vectors in geocentric axes from (n + 2, n + 2) heights, by central differences.

    One line beyond each edge is used, so that neighbours shade alike.
    """
    unit = lattice_unit(z)
    lat_all = np.radians(np.clip(rows * unit - 90, -90, 90))
    lat, lon = lat_all[1:-1], np.radians(columns[1:-1] * unit - 180)
    sin_lat, cos_lat, sin_lon, cos_lon = np.sin(lat), np.cos(lat), np.sin(lon), np.cos(lon)
    curved = 1 - E2 * sin_lat**2
    east_m = SEMI_MAJOR_M / np.sqrt(curved) * cos_lat * np.radians(2 * unit)
    north_m = SEMI_MAJOR_M * (1 - E2) / curved**1.5 * (lat_all[2:] - lat_all[:-2])
    is_pole = np.abs(cos_lat) < 1e-12
    to_east = (wide[1:-1, 2:] - wide[1:-1, :-2]) / np.where(is_pole, np.inf, east_m)[:, None]
    to_north = (wide[2:, 1:-1] - wide[:-2, 1:-1]) / north_m[:, None]
    scale = 1 / np.sqrt(1 + to_east**2 + to_north**2)
    # up - to_east * east - to_north * north, each axis by its components
    level = cos_lat[:, None] + to_north * sin_lat[:, None]
    return np.stack(
        [
            (level * cos_lon + to_east * sin_lon) * scale,
            (level * sin_lon - to_east * cos_lon) * scale,
            (sin_lat[:, None] - to_north * cos_lat[:, None]) * scale,
        ],
        axis=-1,
    )
