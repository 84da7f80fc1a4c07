"""What the tiles need of a city, and no more: any object of this shape will do (`twin.city.City` has it)."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from layers.crs import Bounds
from layers.frame import CityFrame
from twin.config import TwinConfig
from twin.store.interface import Store
from twin.terrain import TerrainFacts

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class HeightField(Protocol):
    """Ground heights by longitude and latitude; `twin.terrain.Terrain` is one."""

    @property
    def is_empty(self) -> bool:
        """True where there is no elevation raster at all."""
        ...

    @property
    def lonlat_bounds(self) -> Bounds | None:
        """West, south, east, north in degrees of all rasters."""
        ...

    @property
    def extents(self) -> list[tuple[Bounds, float]]:
        """Bounds in degrees and cell size in metres of every raster."""
        ...

    @property
    def facts(self) -> TerrainFacts:
        """Range and holes of all rasters."""
        ...

    def filled_lonlat(self, lon_deg: FloatArray, lat_deg: FloatArray, cell_m: float | None = None) -> FloatArray:
        """(n,) normal heights in metres, holes filled; NaN outside every raster's box."""
        ...

    def lattice(self, level: int, columns: IntArray, rows: IntArray) -> FloatArray:
        """(m, n) the same at (n,) columns and (m,) rows of `twin.terrain_survey.lattice_unit(level)` degrees."""
        ...


class TileCity(Protocol):
    """Enough for every tile."""

    @property
    def folder(self) -> Path:
        """The twin's folder; paths of assets count from here."""
        ...

    @property
    def store(self) -> Store:
        """Features, meshes and assets."""
        ...

    @property
    def frame(self) -> CityFrame:
        """City CRS, height model and ENU origin."""
        ...

    @property
    def config(self) -> TwinConfig:
        """Name, titles, vertical CRS."""
        ...

    @property
    def terrain(self) -> HeightField:
        """The ground."""
        ...

    def surface(self, name: str) -> HeightField:
        """Another surface than the ground, by name; NotFound where there is none."""
        ...
