"""The colour of a textured material where the texture itself is not drawn: the mean of its image."""

import io

import numpy as np
from numpy.typing import NDArray

from layers.mesh import Mesh, Texture

_WHITE = (255, 255, 255)


Means = dict[int, NDArray[np.float64]]
"""`id` of a texture that is alive -> mean red, green, blue."""


def mean_colours(mesh: Mesh, means: Means) -> NDArray[np.uint8] | None:
    """(k, 4) materials in which the RGB of textured ones is tinted by the mean of the image; None for no materials.

    `means` remembers images that many meshes of a batch share.
    """
    if mesh.materials is None or not any(mesh.textures):
        return mesh.materials
    out = np.array(mesh.materials, np.uint8)
    for k, texture in enumerate(mesh.textures[: len(out)]):
        if texture is not None:
            if id(texture) not in means:
                means[id(texture)] = _mean(texture)
            out[k, :3] = np.round(out[k, :3].astype(float) * means[id(texture)] / 255).astype(np.uint8)
    return out


def _mean(texture: Texture) -> NDArray[np.float64]:
    """(3,) mean red, green, blue 0 … 255; white for an image that cannot be decoded, which is the tile's concern."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(texture.data)) as image:
            image.draft("RGB", (64, 64))  # JPEG is decoded at an eighth, which is as good for a mean
            return np.asarray(image.convert("RGB"), np.float64).reshape(-1, 3).mean(axis=0)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return np.array(_WHITE, np.float64)
