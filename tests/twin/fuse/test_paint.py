"""Mean colours of textured materials, on images whose mean is known."""

import io

import numpy as np
from PIL import Image

from layers.mesh import Mesh, Texture
from twin.fuse.paint import mean_colours


def picture(kind):
    image = Image.new("RGB", (40, 20), (200, 100, 0))
    image.paste((100, 0, 100), (0, 0, 20, 20))
    out = io.BytesIO()
    image.save(out, kind, **({"quality": 100} if kind == "JPEG" else {}))
    return Texture(f"image/{kind.lower()}", out.getvalue())


def mesh(materials, textures):
    return Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]), None, np.array(materials, np.uint8), None, textures)


def test_the_mean_of_the_image_tints_the_material_and_plain_ones_stay():
    made = mean_colours(mesh([[255, 255, 255, 200], [10, 20, 30, 255]], (picture("PNG"), None)), {})
    assert made.tolist() == [[150, 50, 50, 200], [10, 20, 30, 255]]
    jpeg = mean_colours(mesh([[255, 255, 255, 255]], (picture("JPEG"),)), {})
    assert np.abs(jpeg[0, :3].astype(int) - [150, 50, 50]).max() <= 3


def test_what_is_no_image_leaves_the_colour():
    made = mean_colours(mesh([[255, 255, 255, 255]], (Texture("image/png", b"no image"),)), {})
    assert made.tolist() == [[255, 255, 255, 255]]
