"""Heights: from normal heights (1985 datum, EPSG:5737) to ellipsoidal ones, explicitly and only here.

The city stores normal heights H. 3D Tiles, quantized mesh and glTF want ellipsoidal h = H + N. N comes from a
constant, a grid file or EGM96. PROJ without grids would return z unchanged and silent, so PROJ is not asked.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput

FloatArray = NDArray[np.float64]


class HeightModel(Protocol):
    """Gives the height anomaly N in metres."""

    def describe(self) -> dict[str, object]:
        """As written in `twin.toml`, in tileset metadata and in certificates, with the stated accuracy."""
        ...

    def undulation_m(self, lon_deg: FloatArray, lat_deg: FloatArray) -> FloatArray:
        """N at each point; raises InvalidInput outside the model."""
        ...


@dataclass(frozen=True)
class Constant:
    """One height anomaly for the whole city; good to decimetres for a town, stated by whoever gives it."""

    constant_m: float

    def describe(self) -> dict[str, object]:
        """The constant; its accuracy is whatever its giver knows."""
        return {"kind": "constant", "constant_m": self.constant_m, "accuracy_m": None}

    def undulation_m(self, lon_deg: FloatArray, lat_deg: FloatArray) -> FloatArray:
        """The same number everywhere."""
        return np.full(np.broadcast(lon_deg, lat_deg).shape, self.constant_m)


@dataclass(frozen=True)
class Egm96:
    """EGM96 from its 5' grid (bilinear, <= 0.05 m of interpolation). Against 1985 heights: about half a metre."""

    def describe(self) -> dict[str, object]:
        """EGM96 itself is good to 0.5-1 m; the 1985 datum lies some decimetres off the EGM96 geoid."""
        return {"kind": "egm96", "accuracy_m": 1.0}

    def undulation_m(self, lon_deg: FloatArray, lat_deg: FloatArray) -> FloatArray:
        """N from the grid that the `egm96` package carries."""
        from egm96 import undulation

        lat, lon = np.broadcast_arrays(np.asarray(lat_deg, np.float64), np.asarray(lon_deg, np.float64))
        if not (np.isfinite(lat).all() and np.isfinite(lon).all()):
            raise InvalidInput("A height was asked at a point without finite coordinates.")
        return np.asarray(undulation(lat, lon), np.float64)


class Grid:
    """A geoid grid in any raster format GDAL reads (GTX, GeoTIFF), in geographic coordinates; bilinear."""

    def __init__(self, path: Path) -> None:
        import rasterio

        self.path = path
        try:
            with rasterio.open(path) as grid:
                self._values = grid.read(1, masked=True).filled(np.nan).astype(np.float64)
                self._inverse = ~grid.transform
        except rasterio.errors.RasterioIOError as error:
            raise InvalidInput(f"The height grid {path} cannot be read.", "Give a GTX or GeoTIFF file.") from error

    def describe(self) -> dict[str, object]:
        """The grid's file name; its accuracy is stated by its publisher."""
        return {"kind": "grid", "grid": str(self.path), "accuracy_m": None}

    def undulation_m(self, lon_deg: FloatArray, lat_deg: FloatArray) -> FloatArray:
        """N by bilinear interpolation between cell centres; InvalidInput outside or over nodata."""
        column, row = self._inverse @ (np.asarray(lon_deg, np.float64), np.asarray(lat_deg, np.float64))
        column, row = np.asarray(column) - 0.5, np.asarray(row) - 0.5
        left, top = np.floor(column).astype(int), np.floor(row).astype(int)
        height, width = self._values.shape
        if ((left < 0) | (top < 0) | (left + 1 >= width) | (top + 1 >= height)).any():
            raise InvalidInput(f"A point lies outside the height grid {self.path.name}.", "Use a larger grid.")
        fx, fy = column - left, row - top
        upper = self._values[top, left] * (1 - fx) + self._values[top, left + 1] * fx
        lower = self._values[top + 1, left] * (1 - fx) + self._values[top + 1, left + 1] * fx
        result = upper * (1 - fy) + lower * fy
        if np.isnan(result).any():
            raise InvalidInput(f"A point lies on a hole of the height grid {self.path.name}.")
        return np.asarray(result, np.float64)


def from_setting(setting: object, folder: Path) -> HeightModel:
    """`"egm96"`, `{constant_m = 12.3}` or `{grid = "file.gtx"}` as a model; paths are relative to `folder`."""
    if setting == "egm96":
        return Egm96()
    if isinstance(setting, dict) and set(setting) == {"constant_m"} and isinstance(setting["constant_m"], int | float):
        if not abs(setting["constant_m"]) < 200:
            raise InvalidInput(
                f"height_model.constant_m is {setting['constant_m']}.", "It lies within ±200 m on Earth."
            )
        return Constant(float(setting["constant_m"]))
    if isinstance(setting, dict) and set(setting) == {"grid"}:
        return Grid((folder / str(setting["grid"])).resolve())
    raise InvalidInput(
        f"height_model = {setting!r} is not understood.", 'Use "egm96", {constant_m = 12.3} or {grid = "file.gtx"}.'
    )
