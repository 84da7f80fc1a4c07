"""Appearances of CityGML -> paint by ring and surface; images from beside the file, never from elsewhere.

OGC 12-019 clause 9 and OGC 20-010 clause 7.4. `X3DMaterial` gives its diffuse colour and transparency,
`ParameterizedTexture` its texture coordinates (`TexCoordList`). `TexCoordGen` and `GeoreferencedTexture` are named.
"""

from collections import Counter, OrderedDict
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import numpy as np

from ingest.citygml.store import SideStore
from ingest.citygml.stream import XLINK_HREF, Element, local
from layers.issue import Issue
from layers.mesh import Texture

MAX_IMAGE_BYTES = 32_000_000
CACHED_BYTES = 64_000_000

_MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
_WRAP: dict[str, Literal["repeat", "mirror", "clamp"]] = {"mirror": "mirror", "clamp": "clamp", "border": "clamp"}


def keep(appearance: Element, store: SideStore, skipped: Counter[str]) -> None:
    """Put what an `Appearance` says into the store; what is not applied is counted by name."""
    for each in appearance.iter():
        name = local(each)
        if name == "X3DMaterial":
            _material(each, store, skipped)
        elif name == "ParameterizedTexture":
            _texture(each, store, skipped)
        elif name == "GeoreferencedTexture":
            skipped[name] += 1


def _material(element: Element, store: SideStore, skipped: Counter[str]) -> None:
    colour = _numbers(_text(element, "diffuseColor") or "0.8 0.8 0.8", 3)
    through = _numbers(_text(element, "transparency") or "0", 1)
    if colour is None or through is None:
        skipped["X3DMaterial with bad numbers"] += 1
        return
    r, g, b, a = (round(255 * min(max(value, 0.0), 1.0)) for value in (*colour, 1 - through[0]))
    for target in element:
        if local(target) == "target" and (name := _target(target)):
            store.add_colour(name, (r, g, b, a))


def _texture(element: Element, store: SideStore, skipped: Counter[str]) -> None:
    uri = _text(element, "imageURI")
    if not uri:
        skipped["ParameterizedTexture without imageURI"] += 1
        return
    image = store.add_image(uri, _text(element, "wrapMode"))
    for each in element.iter():
        name = local(each)
        if name == "TexCoordGen":
            skipped[name] += 1
        elif name == "TexCoordList":
            _coordinates(each, image, store, skipped)


def _coordinates(parts: Element, image: int, store: SideStore, skipped: Counter[str]) -> None:
    lists = [each for each in parts if local(each) == "textureCoordinates"]
    rings = [_bare((each.text or "").strip()) for each in parts if local(each) == "ring"]  # CityGML 3.0
    for number, each in enumerate(lists):
        ring = _bare(each.get("ring", "")) or (rings[number] if number < len(rings) else "")
        values = _numbers(each.text or "", None)
        if not ring or values is None or len(values) % 2:
            skipped["textureCoordinates with bad numbers or no ring"] += 1
        else:
            store.add_ring(ring, image, np.array(values, np.float32).reshape(-1, 2))


def _target(element: Element) -> str:
    return _bare((element.text or "").strip() or element.get("uri", "") or element.get(XLINK_HREF, ""))


def _bare(uri: str) -> str:
    return uri.rsplit("#", 1)[-1].strip()


def _text(element: Element, name: str) -> str:
    return next(((each.text or "").strip() for each in element if local(each) == name), "")


def _numbers(text: str, n: int | None) -> list[float] | None:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        return None
    return values if (n is None or len(values) == n) and all(abs(value) < 1e6 for value in values) else None


class Images:
    """Image files that textures name; each problem is counted and told once."""

    def __init__(self, folder: Path, root: Path | None) -> None:
        self._folder = folder
        self._root = (root or folder).resolve()
        self._cache: OrderedDict[str, Texture | None] = OrderedDict()
        self._problems: dict[str, list[str]] = {}

    def texture(self, uri: str, wrap: str) -> Texture | None:
        """The image, or None when it cannot be used."""
        key = f"{wrap} {uri}"
        if key not in self._cache:
            self._cache[key] = self._load(uri, wrap)
            while len(self._cache) > 1 and sum(len(each.data) for each in self._cache.values() if each) > CACHED_BYTES:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    def _load(self, uri: str, wrap: str) -> Texture | None:
        if "://" in uri or "\0" in uri:
            return self._note("TEXTURE_REMOTE", uri)
        path = self._folder / unquote(uri.replace("\\", "/"))
        try:
            real = path.resolve()
            if not real.is_relative_to(self._root):
                return self._note("TEXTURE_OUTSIDE", uri)
            if not real.is_file():
                return self._note("TEXTURE_MISSING", uri)
            if real.stat().st_size > MAX_IMAGE_BYTES:
                return self._note("TEXTURE_TOO_LARGE", uri)
            data = real.read_bytes()
        except (OSError, ValueError, RuntimeError):
            return self._note("TEXTURE_MISSING", uri)
        media = next((media for magic, media in _MAGIC.items() if data.startswith(magic)), "")
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            media = "image/webp"
        return Texture(media, data, _WRAP.get(wrap, "repeat")) if media else self._note("TEXTURE_FORMAT", uri)

    def _note(self, code: str, uri: str) -> Texture | None:
        names = self._problems.setdefault(code, [])
        if uri not in names and len(names) < 10_000:
            names.append(uri)
        return None

    def issues(self, where: str) -> list[Issue]:
        """One for each kind of problem, with the count and the first names."""
        words = {
            "TEXTURE_REMOTE": "are addresses in the network, which are not fetched",
            "TEXTURE_OUTSIDE": "lie outside the source folder and are not read",
            "TEXTURE_MISSING": "are not there",
            "TEXTURE_TOO_LARGE": f"have more than {MAX_IMAGE_BYTES:,} bytes",
            "TEXTURE_FORMAT": "are neither JPEG nor PNG nor WebP",
        }
        return [
            Issue(code, where, f"{len(names)} texture images {words[code]}: {', '.join(names[:3])[:300]}.",
                  "Put the images beside the file; the surfaces are drawn in plain colours.", "warning")
            for code, names in self._problems.items()
        ]  # fmt: skip
