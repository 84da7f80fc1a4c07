"""Colours of points by colour, class, height, intensity or return, the same in all tiles of a cloud.

COLOR_0 of glTF is linear, files and legends are sRGB (IEC 61966-2-1). In 8 linear bits the darkest sRGB values
are coarse: a colour comes back within 1 of 255 from sRGB 73 up, within 4 from 18, within 6 below.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tiles.points import classes
from tiles.points.copc import Records

FloatArray = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Colour = Literal["rgb", "class", "height", "intensity", "return"]
COLOURS: tuple[Colour, ...] = get_args(Colour)

UNCLASSIFIED = {0, 1}
_LOW, _HIGH = 1.0, 99.0
"""Percentiles between which a ramp runs: a few stray points must not stretch it."""


@dataclass(frozen=True)
class Facts:
    """What decides the colours of a cloud, from its uppermost nodes and the catalogue; fixed for all its tiles.

    `color_max` : largest red, green or blue seen (0: it has no colours; up to 255: they are in 8 bits)
    `height_m`, `intensity` : ends of the ramps; None where all values are one
    `classes` : points by class in the whole cloud, or among the points seen where the catalogue does not say
    """

    color_max: int
    height_m: tuple[float, float] | None
    intensity: tuple[float, float] | None
    classes: dict[int, int]

    @property
    def default(self) -> Colour:
        """Its own colours, else its classes, else heights."""
        if self.color_max:
            return "rgb"
        return "class" if set(self.classes) - UNCLASSIFIED else "height"

    def possible(self, asked: Colour | None) -> Colour:
        """What is asked for, or the default where the cloud has no such values."""
        missing = (asked == "rgb" and not self.color_max) or (asked == "intensity" and self.intensity is None)
        return self.default if asked is None or missing else asked


def facts(records: Records, normal_m: FloatArray, counted: dict[int, int] | None) -> Facts:
    """From some (n,) records of a cloud, spread over all of it, and their heights."""
    names = records.dtype.names or ()
    has_color = "red" in names and len(records) > 0
    color_max = max(int(records[band].max()) for band in ("red", "green", "blue")) if has_color else 0
    if counted is None:
        found, counts = np.unique(records["classification"], return_counts=True)
        counted = dict(zip(found.tolist(), counts.tolist(), strict=True))
    return Facts(color_max, _ends(normal_m), _ends(records["intensity"].astype(np.float64)), counted)


def _ends(values: FloatArray) -> tuple[float, float] | None:
    """Percentiles of the values, or their extremes where those coincide; None where all are one."""
    if not len(values) or values.min() == values.max():
        return None
    low, high = np.percentile(values, [_LOW, _HIGH])
    return (float(low), float(high)) if low < high else (float(values.min()), float(values.max()))


def linear(colour: Colour, records: Records, normal_m: FloatArray, known: Facts) -> Bytes:
    """(n, 3) linear RGB of n records; `colour` is one that is possible."""
    if colour == "rgb":
        table = _linear_of_16_bits() if known.color_max > 255 else _linear_of_8_bits()
        bands = [table[np.minimum(records[band], len(table) - 1)] for band in ("red", "green", "blue")]
        return np.stack(bands, axis=1)
    if colour == "class":
        return _linear_of_8_bits()[classes.class_colours()][records["classification"]]
    if colour == "return":
        return _linear_of_8_bits()[classes.return_colours()][records["returns"] & 15]
    table = _linear_of_8_bits()[classes.ramp(colour)]
    if colour == "height":
        return table[_steps(normal_m, known.height_m)]
    return table[_steps(records["intensity"].astype(np.float64), known.intensity)]


def _steps(values: FloatArray, ends: tuple[float, float] | None) -> Bytes:
    if ends is None:
        return np.full(len(values), 128, np.uint8)
    return np.clip((values - ends[0]) * (255 / (ends[1] - ends[0])) + 0.5, 0, 255).astype(np.uint8)


def to_linear(srgb: FloatArray) -> FloatArray:
    """From sRGB 0 … 1 to linear 0 … 1 (IEC 61966-2-1)."""
    return np.asarray(np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4))


@lru_cache(maxsize=1)
def _linear_of_8_bits() -> Bytes:
    return np.rint(255 * to_linear(np.arange(256) / 255)).astype(np.uint8)


@lru_cache(maxsize=1)
def _linear_of_16_bits() -> Bytes:
    return np.rint(255 * to_linear(np.arange(65536) / 65535)).astype(np.uint8)


def legend(colour: Colour, known: Facts) -> dict[str, Any]:
    """What the colours mean, in sRGB, for a viewer's legend."""
    if colour == "class":
        rows = [
            {
                "value": number,
                "title": classes.class_title(number).to_dict(),
                "color": _hex(classes.class_colours()[number]),
            }
            for number in sorted(known.classes)
        ]
        return {"color": colour, "classes": rows}
    if colour == "return":
        colours = classes.return_colours()
        return {"color": colour, "returns": [{"value": i, "color": _hex(colours[i])} for i in range(1, 7)]}
    if colour in {"height", "intensity"}:
        ends = known.height_m if colour == "height" else known.intensity
        stops = [_hex(classes.ramp(colour)[i]) for i in range(0, 256, 51)]
        return {"color": colour, "range": ends, "stops": stops} | ({"unit": "m"} if colour == "height" else {})
    return {"color": colour}


def _hex(rgb: Bytes) -> str:
    return "#" + bytes(rgb).hex()
