"""What the tiles need of a city, and no more: any object of this shape will do (`twin.city.City` has it)."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from layers.crs import Bounds
from layers.frame import CityFrame
from twin.config import TwinConfig
from twin.store.interface import Store

FloatArray = NDArray[np.float64]


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
    def cell_m(self) -> float | None:
        """Cell size of the finest raster in metres."""
        ...

    def heights_lonlat(self, lon_deg: FloatArray, lat_deg: FloatArray) -> FloatArray:
        """(n,) normal heights in metres, NaN where there is none."""
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
