"""Features with stored meshes -> the content of a tile: one binary glTF 2.0, in one of two encodings.

`compat` is what QGIS and every glTF reader draws; `compact` is for web viewers. See docs/tiles/gltf.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from layers.catalogue import LayerType
from layers.errors import InvalidInput, NotFound
from layers.mesh import Texture
from layers.mesh_copy import expanded, is_copy, read_copies
from tiles.gltf import compact, compat, instances, table
from tiles.gltf.container import Container
from tiles.gltf.layer_class import schema
from tiles.gltf.materials import Materials, joined, resolved
from tiles.gltf.soup import Soup, read
from tiles.gltf.surface import surface
from tiles.gltf.textures import Picture, picture
from tiles.properties import feature_colours
from twin.store.interface import Features

Form = Literal["compat", "compact"]
FORMS: tuple[Form, ...] = ("compat", "compact")
MAX_FEATURES = 2**24
"""Feature ids are float32 in compat, exact below this."""
MAX_TEXTURE_PX = 2048

__all__ = ["FORMS", "MAX_FEATURES", "MAX_TEXTURE_PX", "Content", "Form", "encode", "schema"]


@dataclass(frozen=True)
class Content:
    """What a tile shows.

    Attributes
    ----------
    layer : the layer's type; its attributes make the metadata class, its style the colours
    features : n rows, without geometry
    blobs : n stored meshes in the city's ENU frame: whole ones, or copies of `shapes` (`layers.mesh_copy`)
    shapes : blob of each shape that a copy names, by key
    texture : gives the image of a key
    """

    layer: LayerType
    features: Features
    blobs: list[bytes]
    shapes: dict[str, bytes]
    texture: Callable[[str], Texture]


def encode(
    content: Content, form: Form, *, max_texture_px: int = MAX_TEXTURE_PX, schema_uri: str | None = None
) -> bytes:
    """Make the glb of a tile; equal contents give equal bytes.

    Parameters
    ----------
    form : `compat`: float32, copies as meshes of their own; `compact`: quantized and packed, copies as instances
    max_texture_px : no side of an image is longer
    schema_uri : where `schema(layer)` is served, relative to the tile; without it every tile holds it (about 4 KB)

    Raises
    ------
    InvalidInput : the numbers of meshes and rows differ, a blob is damaged, or there is no such form.
    """
    n = len(content.features)
    if form not in FORMS:
        raise InvalidInput(f"There is no form {form!r}.", f"Known: {', '.join(FORMS)}.")
    if len(content.blobs) != n or n >= MAX_FEATURES:
        raise InvalidInput(f"{len(content.blobs)} meshes do not fit {n} rows of attributes.")
    out = Container()
    nodes = _Scene(content, form, max_texture_px, out).nodes() if n else []
    if n:
        table.add(content.layer, content.features, out, pack=form == "compact", schema_uri=schema_uri)
    out.document |= {"scene": 0, "scenes": [{"nodes": nodes} if nodes else {}]}
    return out.glb()


class _Scene:
    """The nodes of a content."""

    def __init__(self, content: Content, form: Form, max_texture_px: int, out: Container) -> None:
        self._content, self._form, self._max_px, self._out = content, form, max_texture_px, out
        self._colours = feature_colours(content.layer, content.features)
        self._materials = Materials(out)

    def nodes(self) -> list[int]:
        groups = []
        if self._form == "compact":
            groups = instances.groups(self._content.blobs, self._content.shapes, self._colours)
        drawn = np.concatenate([np.zeros(0, np.int64), *(group.rows for group in groups)])
        rest = np.setdiff1d(np.arange(len(self._content.blobs)), drawn)
        nodes = self._own_meshes(rest) if len(rest) else []
        if groups:
            nodes += instances.add(groups, self._colours, self._prepared, self._materials, self._out)
        return nodes

    def _own_meshes(self, rows: NDArray[np.int64]) -> list[int]:
        soup = self._prepared(read(self._whole(rows), rows, self._colours[rows]))
        made = surface(soup, np.array([is_copy(blob) for blob in self._content.blobs]))
        if not len(made):
            return []
        writer = compat.add if self._form == "compat" else compact.add
        return [writer(soup, made, self._materials, self._out)]

    def _prepared(self, soup: Soup) -> Soup:
        """With images that can be shown, and few colours."""
        return joined(resolved(soup, self._materials.pictures, self._picture))

    def _picture(self, key: str) -> Picture | None:
        try:
            texture = self._content.texture(key)
        except NotFound:
            return None
        return picture(texture, self._max_px, allow_webp=self._form == "compact")

    def _whole(self, rows: NDArray[np.int64]) -> list[bytes]:
        """The blobs of rows, copies expanded."""
        blobs = [self._content.blobs[row] for row in rows]
        copies = [at for at, blob in enumerate(blobs) if is_copy(blob)]
        if copies:
            keys, matrices = read_copies([blobs[at] for at in copies])
            members: dict[str, list[int]] = {}
            for place, key in enumerate(keys):
                members.setdefault(key, []).append(place)
            for key, places in members.items():
                made = expanded(instances.shape(self._content.shapes, key), matrices[places])
                for place, blob in zip(places, made, strict=True):
                    blobs[copies[place]] = blob
        return blobs
