"""Classes of LAS points and colour ramps as data: `layers/codes/point_classes.yaml`."""

import colorsys
from functools import lru_cache
from importlib.resources import files
from typing import Any, cast

import numpy as np
import yaml
from numpy.typing import NDArray

from layers.catalogue import Title

Bytes = NDArray[np.uint8]

FIRST_OWN = 64
"""Classes from here on are the user's own, below it ASPRS's or reserved."""
_GOLDEN = 0.618034


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load((files("layers") / "codes" / "point_classes.yaml").read_text("utf8")))


def _rgb(text: str) -> tuple[int, int, int]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


@lru_cache(maxsize=1)
def class_colours() -> Bytes:
    """(256, 3) sRGB by class; those without a colour of their own get hues that lie far apart."""
    made = np.zeros((256, 3), np.uint8)
    for number in range(256):
        made[number] = [round(255 * each) for each in colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.55, 0.9)]
    for number, row in _document()["classes"].items():
        made[number] = _rgb(row["color"])
    return made


def class_title(number: int) -> Title:
    """Name of a class in both languages."""
    row = _document()["classes"].get(number)
    if row is not None:
        return Title(**row["title"])
    if number >= FIRST_OWN:
        return Title(f"用户定义 {number}", f"User defined {number}")
    return Title(f"保留 {number}", f"Reserved {number}")


@lru_cache(maxsize=8)
def ramp(name: str) -> Bytes:
    """(256, 3) sRGB from the lowest to the highest value, linear between the ramp's stops."""
    stops = np.array([_rgb(text) for text in _document()["ramps"][name]], np.float64)
    at = np.linspace(0, len(stops) - 1, 256)
    columns = [np.interp(at, np.arange(len(stops)), stops[:, i]) for i in range(3)]
    return np.rint(np.stack(columns, axis=1)).astype(np.uint8)


@lru_cache(maxsize=1)
def return_colours() -> Bytes:
    """(16, 3) sRGB by return number; 0, which LAS does not allow, counts as the first, the last colour as all later."""
    stops = [_rgb(text) for text in _document()["ramps"]["return"]]
    return np.array([stops[min(max(number - 1, 0), len(stops) - 1)] for number in range(16)], np.uint8)
