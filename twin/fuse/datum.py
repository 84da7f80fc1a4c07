"""Heights of a source -> normal heights of the city. What cannot be converted with certainty is refused.

PROJ without grids returns z unchanged and silent (a "ballpark" vertical operation), so PROJ is not asked: equal
datums pass, ellipsoidal heights lose the height model's N, EGM96 heights gain EGM96's N first.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.errors import InvalidInput, Unplaceable
from layers.heights import Egm96, HeightModel

FloatArray = NDArray[np.float64]

EGM96_HEIGHT = "EPSG:5773"

_MODERN_ELLIPSOIDS = ((6378137.0, 298.257223563), (6378137.0, 298.257222101))
"""WGS 84, and CGCS2000 = GRS 80: datums on them differ by some decimetres, older ones by up to hundreds of metres."""


@dataclass(frozen=True)
class VerticalStep:
    """How z of a source becomes the city's normal height; `words` go into the certificate.

    `metres_per_unit` is that of the stated vertical axis, negative where it points down (depths).
    """

    kind: Literal["same", "assumed", "ellipsoidal", "egm96", "unit"]
    words: str
    model: HeightModel
    metres_per_unit: float = 1.0

    @property
    def is_identity(self) -> bool:
        """True if z stays as it is."""
        return self.kind in {"same", "assumed"}

    def normal_m(self, lon_deg: FloatArray, lat_deg: FloatArray, z_m: FloatArray) -> FloatArray:
        """(n,) heights of the source -> (n,) normal heights of the city, metres."""
        if self.is_identity:
            return z_m
        z_m = z_m * self.metres_per_unit
        if self.kind == "unit":
            return z_m
        ellipsoidal = z_m + Egm96().undulation_m(lon_deg, lat_deg) if self.kind == "egm96" else z_m
        return ellipsoidal - self.model.undulation_m(lon_deg, lat_deg)


def vertical_step(
    source_crs: str | None, source_vertical: str | None, city_vertical: str, model: HeightModel
) -> VerticalStep:
    """Choose the step from what the source states. Raises Unplaceable for a datum that cannot be converted."""
    stated = source_vertical or (crs.vertical(source_crs) if source_crs else None)
    if stated is None and source_crs and _is_ellipsoidal(source_crs):
        stated = source_crs
    if stated is None:
        return VerticalStep("assumed", f"height datum not stated: taken as {city_vertical}", model)
    if crs_name_or_none(stated) == crs.name(city_vertical):
        return VerticalStep("same", f"heights are {city_vertical} already", model)
    described = model.describe()
    factor = 1.0 if crs_name_or_none(stated) is None else crs.metres_per_height(stated)
    if factor != 1 and _datum(stated) is not None and _datum(stated) == _datum(city_vertical):
        return VerticalStep("unit", f"H = {factor:.10g} times the number, in {_title(city_vertical)}", model, factor)
    if stated.strip().lower() in {"ellipsoidal", "ellipsoid"} or _is_ellipsoidal(stated):
        return VerticalStep("ellipsoidal", f"H = h - N, N from height model {described}", model, factor)
    if crs_name_or_none(stated) == EGM96_HEIGHT:
        return VerticalStep("egm96", f"h = H + N of EGM96, then H = h - N of height model {described}", model)
    raise Unplaceable(
        f"Heights in {_title(stated)} cannot be converted to {_title(city_vertical)}: no grid between them is at hand.",
        f"Convert the file's heights first, or tell the difference: write vertical_offset_m into its [[source]] of "
        f"city.toml, the metres to add to reach {crs.name(city_vertical)}.",
        code="VERTICAL_DATUM",
    )


def crs_name_or_none(text: str) -> str | None:
    """`crs.name`, or None for what is not a CRS (`ellipsoidal` for example)."""
    try:
        return crs.name(text)
    except InvalidInput:
        return None


def _is_ellipsoidal(text: str) -> bool:
    return crs_name_or_none(text) is not None and crs.is_ellipsoidal(text)


def _datum(text: str) -> str | None:
    """Name of the vertical datum; None where it has none or is not named."""
    datum = crs.parse(text).datum if crs_name_or_none(text) is not None else None
    return None if datum is None or datum.name.lower().startswith("unknown") else datum.name


def _title(text: str) -> str:
    name = crs_name_or_none(text)
    return text if name is None else f"{name if name.startswith('EPSG') else 'CRS'} ({crs.parse(text).name})"


def is_modern(text: str) -> bool:
    """True for a CRS on the ellipsoid of WGS 84 or of CGCS2000: its datum differs from theirs by decimetres at most."""
    ellipsoid = crs.parse(crs.horizontal(text)).ellipsoid
    if ellipsoid is None:
        return False
    return any(
        abs(ellipsoid.semi_major_metre - a) < 0.01 and abs(ellipsoid.inverse_flattening - rf) < 1e-6
        for a, rf in _MODERN_ELLIPSOIDS
    )
