"""Colours of a soup -> glTF materials."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.gltf.soup import Soup

MAX_COLOURS = 64
"""Primitives in a tile without textures; beyond it similar colours are joined."""


def joined(soup: Soup) -> Soup:
    """At most MAX_COLOURS colours of the materials that are used and have no image.

    Bits are dropped until few enough remain (opacity keeps its top bit); the first of each lot stands for all.
    """
    plain = np.array([key is None for key in soup.textures], bool)
    used = np.bincount(soup.materials, minlength=len(soup.colours)) > 0
    chosen = np.flatnonzero(plain & used)
    if len(chosen) <= MAX_COLOURS:
        return soup
    first, place = _fewer(soup.colours[chosen])
    stands_for = np.arange(len(soup.colours))
    stands_for[chosen] = chosen[first][place]
    return replace(soup, materials=stands_for[soup.materials])


def _fewer(colours: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first = place = np.zeros(0, np.int64)
    for bits in range(7, 0, -1):
        rough = np.ascontiguousarray(colours & np.uint8(256 - (1 << (8 - bits)))).view("<u4").ravel()
        _, first, place = np.unique(rough, return_index=True, return_inverse=True)
        if len(first) <= MAX_COLOURS:
            break
    return first, place


def material(rgba: NDArray[np.uint8]) -> dict[str, Any]:
    """Base colours are linear in glTF, styles are sRGB (IEC 61966-2-1)."""
    srgb = rgba[:3] / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    made: dict[str, Any] = {
        "pbrMetallicRoughness": {
            "baseColorFactor": [*(round(float(v), 6) for v in linear), round(int(rgba[3]) / 255, 6)],
            "metallicFactor": 0,
            "roughnessFactor": 0.9,
        },
        # footprints of open surfaces and IFC shells are seen from both sides
        "doubleSided": True,
    }
    if rgba[3] < 255:
        made["alphaMode"] = "BLEND"
    return made
