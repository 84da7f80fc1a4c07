"""Colours and images of a soup -> glTF materials, textures and samplers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.gltf.container import Container
from tiles.gltf.soup import Soup
from tiles.gltf.textures import Picture

MAX_COLOURS = 64
"""Primitives in a tile without textures; beyond it similar colours are joined."""

WEBP = "EXT_texture_webp"
_WRAPS = {"repeat": 10497, "mirror": 33648, "clamp": 33071}
_LINEAR, _LINEAR_MIPMAP_LINEAR = 9729, 9987

Pictures = dict[str, Picture]


def resolved(soup: Soup, pictures: Pictures, load: Callable[[str], Picture | None]) -> Soup:
    """The soup with plain materials first and then those whose images can be shown.

    Images are loaded where `pictures` does not have them, and kept there. A triangle whose image is broken, or that
    lies nowhere on it (NaN), takes its material's colour.
    """
    keys = [key for key in soup.textures if key is not None]
    if soup.uv is None or not keys:
        return soup
    for key in sorted(set(keys) - set(pictures)):
        loaded = load(key)
        if loaded is not None:
            pictures[key] = loaded
    painted = np.array([key in pictures for key in soup.textures], bool)
    lies = painted[soup.materials] & np.isfinite(soup.uv[soup.triangles]).all(axis=(1, 2))
    # every material may be needed plain; the painted ones follow
    n = len(soup.colours)
    number = n + np.cumsum(painted) - 1
    textures: list[str | None] = [None] * n
    textures += [key for key in soup.textures if key in pictures]
    return replace(
        soup,
        materials=np.where(lies, number[soup.materials], soup.materials),
        colours=np.concatenate([soup.colours, soup.colours[painted]]),
        textures=textures,
    )


def joined(soup: Soup) -> Soup:
    """At most MAX_COLOURS colours of the materials that are used and have no image.

    Bits are dropped until few enough remain (opacity keeps its top bit); the first of each lot stands for all.
    """
    plain = np.array([key is None for key in soup.textures], bool)
    used = np.bincount(soup.materials, minlength=len(soup.colours)) > 0
    chosen = np.flatnonzero(plain & used)
    first, place = _fewer(soup.colours[chosen])
    if len(first) == len(chosen):
        return soup
    stands_for = np.arange(len(soup.colours))
    stands_for[chosen] = chosen[first][place]
    return replace(soup, materials=stands_for[soup.materials])


def _fewer(colours: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first = place = np.zeros(0, np.int64)
    for bits in range(8, 0, -1):
        rough = np.ascontiguousarray(colours & np.uint8(256 - (1 << (8 - bits)))).view("<u4").ravel()
        _, first, place = np.unique(rough, return_index=True, return_inverse=True)
        if len(first) <= MAX_COLOURS:
            break
    return first, place


class Materials:
    """The materials of a document; equal ones are written once. `pictures` are its images by key."""

    def __init__(self, out: Container) -> None:
        self.pictures: Pictures = {}
        self._out = out
        self._made: dict[tuple[bytes, str | None], int] = {}
        self._textures: dict[str, int] = {}

    def number(self, rgba: NDArray[np.uint8], key: str | None) -> int:
        """Place of the material of a colour, or of an image by its key."""
        known = (b"" if key else rgba.tobytes(), key)
        if known not in self._made:
            made = _plain(rgba) if key is None else self._painted(key)
            self._made[known] = self._out.member("materials", made)
        return self._made[known]

    def _painted(self, key: str) -> dict[str, Any]:
        if key not in self._textures:
            self._textures[key] = self._texture(self.pictures[key])
        made: dict[str, Any] = {
            "pbrMetallicRoughness": {
                "baseColorTexture": {"index": self._textures[key]},
                "metallicFactor": 0,
                "roughnessFactor": 0.9,
            },
            "doubleSided": True,
        }
        if self.pictures[key].is_cut_out:
            made["alphaMode"] = "MASK"
        return made

    def _texture(self, shown: Picture) -> int:
        out = self._out
        image = out.member("images", {"bufferView": out.view(shown.data), "mimeType": shown.media_type})
        wrap = _WRAPS[shown.wrap]
        sampler = {"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAP_LINEAR, "wrapS": wrap, "wrapT": wrap}
        samplers = out.document.setdefault("samplers", [])
        if sampler not in samplers:
            samplers.append(sampler)
        made: dict[str, Any] = {"sampler": samplers.index(sampler), "source": image}
        if shown.media_type == "image/webp":
            del made["source"]
            made["extensions"] = {WEBP: {"source": image}}
            for members in (out.extensions_used, out.extensions_required):
                members.add(WEBP)
        return out.member("textures", made)


def _plain(rgba: NDArray[np.uint8]) -> dict[str, Any]:
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
