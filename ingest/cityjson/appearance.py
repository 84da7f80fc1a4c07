"""Materials and textures of a city model: colours, and images from beside the file.

Spec: https://www.cityjson.org/specs/2.0.1/#appearance-object . An image is read only from the source's folder, and only
if it is a JPEG, PNG or WebP of reasonable size; for anything else there is an issue, and the surface keeps its colour.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ingest.cityjson.header import short
from layers.issue import Issue
from layers.mesh import Texture

MAX_IMAGE_BYTES = 32 << 20
MAX_IMAGE_PIXELS = 16384
"""Of one side, of a PNG (whose head says so in plain)."""
CACHE_BYTES = 128 << 20
SINGLY = 20
"""Images that are missing or refused and named one by one."""

Colour = tuple[int, int, int, int]
_WRAP: dict[Any, Literal["repeat", "mirror", "clamp"]] = {
    "wrap": "repeat", "mirror": "mirror", "clamp": "clamp", "border": "clamp", "none": "clamp",
}  # fmt: skip


class Images:
    """Images of one file, read when they are wanted; `issues` grows."""

    def __init__(self, path: Path, root: Path | None, issues: list[Issue]) -> None:
        self._folder = path.parent
        self._root = (root if root is not None and path.is_relative_to(root) else path.parent).resolve()
        self._issues = issues
        self._cache: OrderedDict[tuple[str, str], Texture] = OrderedDict()
        self._refused: set[str] = set()

    def texture(self, given: Any) -> Texture | None:
        """The texture that an appearance describes; None where there is no image to use."""
        name = given.get("image") if isinstance(given, dict) else None
        if not isinstance(name, str) or name in self._refused:
            return None
        wrap = _WRAP.get(given.get("wrapMode"), "repeat") if isinstance(given.get("wrapMode"), str) else "repeat"
        if (name, wrap) in self._cache:
            self._cache.move_to_end((name, wrap))
            return self._cache[name, wrap]
        found = self._read(name)
        if found is None:
            return None
        made = Texture(found[0], found[1], wrap)
        self._cache[name, wrap] = made
        while sum(len(each.data) for each in self._cache.values()) > CACHE_BYTES:
            self._cache.popitem(last=False)
        return made

    def _read(self, name: str) -> tuple[str, bytes] | None:
        if "://" in name:
            return self._refused_for(
                name, "CJ_TEXTURE_REFUSED", "is an address; images are read from beside the file only"
            )
        try:
            file = (self._folder / name.replace("\\", "/")).resolve()
            if not file.is_relative_to(self._root):
                return self._refused_for(name, "CJ_TEXTURE_REFUSED", "lies outside the source's folder")
            if not file.is_file():
                return self._refused_for(name, "CJ_TEXTURE_MISSING", "is not there")
            if file.stat().st_size > MAX_IMAGE_BYTES:
                return self._refused_for(name, "CJ_TEXTURE_REFUSED", f"has more than {MAX_IMAGE_BYTES >> 20} MiB")
            data = file.read_bytes()
        except (OSError, ValueError) as error:
            return self._refused_for(name, "CJ_TEXTURE_MISSING", f"could not be read ({type(error).__name__})")
        media_type = _media_type(data)
        if media_type is None:
            return self._refused_for(name, "CJ_TEXTURE_REFUSED", "is no JPEG, PNG or WebP of usual size")
        return media_type, data

    def _refused_for(self, name: str, code: str, why: str) -> tuple[str, bytes] | None:
        self._refused.add(name)
        if len(self._refused) <= SINGLY:
            message = f"The texture {short(name)} {why}; its surfaces keep their colour."
            self._issues.append(Issue(code, "/appearance/textures", message, "Put it beside the file.", "warning"))
        return None

    def closing_issues(self) -> list[Issue]:
        """How many more images were missing or refused than are named one by one."""
        if len(self._refused) <= SINGLY:
            return []
        message = (
            f"{len(self._refused) - SINGLY} more textures are missing or refused; their surfaces keep their colour."
        )
        return [Issue("CJ_TEXTURE_MISSING", "/appearance/textures", message, "Put them beside the file.", "warning")]


def _media_type(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) > 24:
        sides = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
        return "image/png" if max(sides) <= MAX_IMAGE_PIXELS else None
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def colours(appearance: dict[str, Any]) -> list[Colour | None]:
    """Diffuse colour and opacity of each material; None for one without colour."""
    given = appearance.get("materials")
    return [_colour(each) for each in given] if isinstance(given, list) else []


def _colour(material: Any) -> Colour | None:
    if not isinstance(material, dict):
        return None
    rgb, through = material.get("diffuseColor"), material.get("transparency", 0.0)
    try:
        values = np.array([*rgb, 1.0 - float(through)], np.float64)  # type: ignore[misc]
    except (TypeError, ValueError):
        return None
    if values.shape != (4,) or not np.isfinite(values).all():
        return None
    red, green, blue, alpha = (int(each) for each in np.rint(np.clip(values, 0, 1) * 255))
    return red, green, blue, alpha


def coordinates(appearance: dict[str, Any]) -> NDArray[np.float32]:
    """(n, 2) texture coordinates, origin at the lower left; empty where they are no list of pairs."""
    given = appearance.get("vertices-texture")
    try:
        array = np.asarray(given, np.float32) if given else np.zeros((0, 2), np.float32)
    except (TypeError, ValueError):
        return np.zeros((0, 2), np.float32)
    return array if array.ndim == 2 and array.shape[1] == 2 else np.zeros((0, 2), np.float32)


def themes(appearance: dict[str, Any]) -> tuple[str | None, str | None]:
    """Names of the default themes of materials and of textures."""
    material, texture = appearance.get("default-theme-material"), appearance.get("default-theme-texture")
    return (material if isinstance(material, str) else None), (texture if isinstance(texture, str) else None)
