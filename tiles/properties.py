"""Attributes and colours of features, as every tile format wants them."""

import re

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layers.catalogue import LayerType
from twin.store.interface import Features

DEFAULT_RGB = (136, 136, 136)


def feature_colours(layer_type: LayerType, features: Features) -> NDArray[np.uint8]:
    """(n, 4) RGBA by the layer's style: `color` and `opacity`, or `colors` by the value of the attribute `by`."""
    style = layer_type.style
    alpha = round(255 * min(max(float(style.get("opacity", 1)), 0), 1))
    plain = (*_rgb(style.get("color")), alpha)
    colours = np.full((len(features), 4), plain, np.uint8)
    by, named = style.get("by"), style.get("colors") or {}
    if by in features.attributes.column_names:
        values = features.attributes.column(by).cast(pa.string()).to_numpy(zero_copy_only=False)
        for value, colour in named.items():
            colours[values == str(value), :3] = _rgb(colour)
    return colours


def _rgb(text: object) -> tuple[int, int, int]:
    digits = str(text).removeprefix("#")
    if re.fullmatch("[0-9a-fA-F]{6}", digits) is None:
        return DEFAULT_RGB
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue
