"""Features with stored meshes -> the content of a tile: one binary glTF 2.0, in one of two encodings.

`compat` is what QGIS and every glTF reader draws; `compact` is for web viewers. See docs/tiles/gltf.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from layers.catalogue import LayerType
from layers.errors import InvalidInput
from layers.mesh import Texture
from layers.mesh_copy import expanded, is_copy, read_copies
from tiles.gltf import compact, compat, materials, table
from tiles.gltf.container import Container
from tiles.gltf.layer_class import schema
from tiles.gltf.soup import read
from tiles.gltf.surface import surface
from tiles.properties import feature_colours
from twin.store.interface import Features

Form = Literal["compat", "compact"]
FORMS: tuple[Form, ...] = ("compat", "compact")
MAX_FEATURES = 2**24
"""Feature ids are float32 in compat, exact below this."""

__all__ = ["FORMS", "MAX_FEATURES", "Content", "Form", "encode", "schema"]


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


def encode(content: Content, form: Form, *, max_texture_px: int = 1024) -> bytes:
    """Make the glb of a tile; equal contents give equal bytes.

    Raises
    ------
    InvalidInput : the numbers of meshes and rows differ, or a blob is damaged.
    """
    n = len(content.features)
    if len(content.blobs) != n or n >= MAX_FEATURES:
        raise InvalidInput(f"{len(content.blobs)} meshes do not fit {n} rows of attributes.")
    out = Container()
    node = None
    if n:
        soup = materials.joined(read(_whole(content), np.arange(n), feature_colours(content.layer, content.features)))
        made = surface(soup)
        node = (compat if form == "compat" else compact).add(soup, made, out)
        if len(made):
            out.document["materials"] = [materials.material(soup.colours[i]) for i in made.materials]
        table.add(content.layer, content.features, out, pack=form == "compact")
    out.document |= {"scene": 0, "scenes": [{"nodes": [node]} if node is not None else {}]}
    return out.glb()


def _whole(content: Content) -> list[bytes]:
    """The blobs with copies expanded."""
    copies = [row for row, blob in enumerate(content.blobs) if is_copy(blob)]
    if not copies:
        return content.blobs
    blobs = list(content.blobs)
    keys, matrices = read_copies([blobs[row] for row in copies])
    for row, key, matrix in zip(copies, keys, matrices, strict=True):
        if key not in content.shapes:
            raise InvalidInput(f"The shape {key} of a stored copy is missing.", "Build the twin again.")
        blobs[row] = expanded(content.shapes[key], matrix[None])[0]
    return blobs
