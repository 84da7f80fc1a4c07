"""Images in tiles: what is embedded, where it lies, and what becomes of broken ones."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from layers.errors import NotFound
from layers.mesh import Mesh, Texture, encode
from tests.tiles.gltf_reader import Glb
from tests.tiles.test_content import content, meshes_of
from tests.tiles.towns import boxes
from tiles.content import FORMS, Content
from tiles.content import encode as content_glb

QUAD = np.array([[0, 0, 0], [4, 0, 0], [4, 0, 3], [0, 0, 3]], float)
UV = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
RED = np.array([[200, 0, 0, 255]], np.uint8)


def image(kind="PNG", size=(64, 32), mode="RGB", seed=0):
    """Noise: it can be made no smaller without loss."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], len(Image.new(mode, (1, 1)).getbands())))
    shown = Image.fromarray(pixels.astype(np.uint8).squeeze(), mode if mode != "CMYK" else None)
    if mode == "CMYK":
        shown = Image.new("CMYK", size, (9, 99, 199, 0))
    out = io.BytesIO()
    shown.save(out, kind)
    return out.getvalue()


def photo(kind="PNG", size=(256, 256)):
    """A smooth picture: WebP is far smaller than PNG."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    pixels = np.stack([x % 256, y % 256, (x + y) // 2 % 256], axis=-1).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def quad(texture, uv=UV, at=0.0, materials=RED):
    textures = (texture,) * len(materials)
    shifted = QUAD + np.array([0, at, 0])
    return encode(Mesh(shifted, np.array([[0, 1, 2], [0, 2, 3]]), np.zeros(2, np.uint8), materials, uv, textures))


def tile(textures, form, meshes=None, **more):
    meshes = [quad(each, at=7.0 * i) for i, each in enumerate(textures)] if meshes is None else meshes
    return Glb(content_glb(content(meshes, textures=textures), form, **more))


def images(read):
    made = []
    for each in read.json.get("images", []):
        data = read.view(each["bufferView"])
        assert Image.open(io.BytesIO(data)).get_format_mimetype() == each["mimeType"]
        made.append((each["mimeType"], data))
    return made


@pytest.mark.parametrize("form", FORMS)
def test_the_image_lies_upright_on_its_quad(form):
    read = tile([Texture("image/png", image())], form)
    drawn = read.triangles()
    # the lower left corner of the quad has the lower left of the image, which glTF counts from the top
    for corner, uv in zip(drawn.corners.reshape(-1, 3), drawn.uv.reshape(-1, 2), strict=True):
        np.testing.assert_allclose(uv, [corner[0] / 4, 1 - corner[2] / 3], atol=2**-10)
    (material,) = read.json["materials"]
    assert "baseColorFactor" not in material["pbrMetallicRoughness"]  # white
    assert "alphaMode" not in material


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_compat_embeds_the_sources_own_bytes(kind):
    data = image(kind)
    read = tile([Texture(f"image/{kind.lower()}", data)], "compat")
    assert images(read) == [(f"image/{kind.lower()}", data)]
    assert read.json["textures"] == [{"sampler": 0, "source": 0}]


def test_webp_is_taken_in_compact_where_it_is_smaller(gltf_validator):
    smooth = Texture("image/png", photo())
    read = tile([smooth], "compact")
    assert [kind for kind, _ in images(read)] == ["image/webp"]
    assert read.json["textures"] == [{"sampler": 0, "extensions": {"EXT_texture_webp": {"source": 0}}}]
    assert "EXT_texture_webp" in read.json["extensionsRequired"]
    out = io.BytesIO()
    Image.open(io.BytesIO(image(size=(512, 512)))).save(out, "JPEG", quality=5)
    rough = Texture("image/jpeg", out.getvalue())
    assert images(tile([rough], "compact")) == [("image/jpeg", rough.data)]
    report = gltf_validator(content_glb(content([quad(smooth)], textures=[smooth]), "compact"))
    assert (report["issues"]["numErrors"], report["issues"]["numWarnings"]) == (0, 0)


def test_a_webp_of_the_source_is_kept_in_compact_and_written_anew_in_compat():
    data = photo("WEBP")
    assert images(tile([Texture("image/webp", data)], "compact")) == [("image/webp", data)]
    assert [kind for kind, _ in images(tile([Texture("image/webp", data)], "compat"))] == ["image/jpeg"]


@pytest.mark.parametrize("form", FORMS)
def test_large_images_are_made_smaller(form):
    read = tile([Texture("image/jpeg", photo("JPEG", (300, 100)))], form, max_texture_px=96)
    ((_, data),) = images(read)
    assert Image.open(io.BytesIO(data)).size == (96, 32)


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("L", "PNG"), ("LA", "PNG"), ("RGBA", "PNG")])
@pytest.mark.parametrize("form", FORMS)
def test_every_mode_becomes_one_that_readers_know(form, mode, kind, gltf_validator):
    texture = Texture(f"image/{kind.lower()}", image(kind, mode=mode))
    data = content_glb(content([quad(texture)], textures=[texture]), form)
    ((_, shown),) = images(Glb(data))
    assert Image.open(io.BytesIO(shown)).mode in {"RGB", "RGBA", "L", "LA", "P"}
    assert Glb(data).json["materials"][0].get("alphaMode") == ("MASK" if mode in {"LA", "RGBA"} else None)
    report = gltf_validator(data)
    assert (report["issues"]["numErrors"], report["issues"]["numWarnings"]) == (0, 0)


@pytest.mark.parametrize("form", FORMS)
def test_wraps_become_samplers(form):
    data = image()
    textures = [Texture("image/png", data, wrap) for wrap in ("repeat", "mirror", "clamp")]
    read = tile(textures, form)
    found = [read.json["samplers"][each["sampler"]]["wrapS"] for each in read.json["textures"]]
    assert sorted(found) == [10497, 33071, 33648]
    assert len(read.json["meshes"][0]["primitives"]) == 3


@pytest.mark.parametrize("form", FORMS)
def test_one_primitive_an_image_and_one_a_colour(form):
    shared, other = Texture("image/png", image()), Texture("image/png", image(seed=1))
    meshes = [quad(shared), quad(other, at=5.0), quad(shared, at=9.0), *meshes_of(boxes(3, 50.0))]
    read = tile([shared, other], form, meshes)
    drawn = read.triangles()
    assert len(read.json["images"]) == 2
    assert len(read.json["meshes"][0]["primitives"]) == 3
    assert np.bincount(drawn.features).tolist() == [2, 2, 2, 12, 12, 12]
    painted = np.isfinite(drawn.uv).all(axis=(1, 2))
    assert sorted(set(drawn.features[painted].tolist())) == [0, 1, 2]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("far", [3.0, -70.5, 1e6])
def test_coordinates_that_repeat_the_image_are_kept(form, far):
    texture = Texture("image/png", image())
    drawn = tile([texture], form, [quad(texture, UV * np.float32(far))]).triangles()
    for corner, uv in zip(drawn.corners.reshape(-1, 3), drawn.uv.reshape(-1, 2), strict=True):
        np.testing.assert_allclose(uv, [far * corner[0] / 4, 1 - far * corner[2] / 3], rtol=2e-3, atol=2**-8)


def said(found):
    """Colour factors of the materials, None for images."""
    return [m["pbrMetallicRoughness"].get("baseColorFactor") for m in found.json["materials"]]


def linear(srgb):
    return pytest.approx([((v / 255 + 0.055) / 1.055) ** 2.4 if v else 0 for v in srgb] + [1], abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "data", [b"", b"no image", image()[:200], image("JPEG")[:60], b"\x89PNG\r\n\x1a\n" + bytes(40)]
)
def test_a_broken_image_leaves_the_colour(form, data):
    read = tile([Texture("image/png", data)], form)
    assert "images" not in read.json
    assert said(read) == [linear([200, 0, 0])]
    assert len(read.triangles().features) == 2


def bomb():
    """A PNG that says it is 60,000 pixels wide and high."""
    head = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    end = b"\0\0\0\0IEND" + zlib.crc32(b"IEND").to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + head + zlib.crc32(head).to_bytes(4, "big") + end


@pytest.mark.parametrize("form", FORMS)
def test_an_image_that_claims_to_be_huge_is_not_opened(form):
    assert said(tile([Texture("image/png", bomb())], form)) == [linear([200, 0, 0])]


@pytest.mark.parametrize("form", FORMS)
def test_an_image_that_the_store_does_not_have_leaves_the_colour(form):
    texture = Texture("image/png", image())
    made = content([quad(texture)])

    def missing(key):
        raise NotFound(f"No texture {key}.")

    read = Glb(content_glb(Content(made.layer, made.features, made.blobs, {}, missing), form))
    assert said(read) == [linear([200, 0, 0])]


@pytest.mark.parametrize("form", FORMS)
def test_a_triangle_that_lies_nowhere_on_the_image_takes_the_colour(form):
    texture = Texture("image/png", image())
    uv = UV.copy()
    uv[3] = np.nan
    read = tile([texture], form, [quad(texture, uv)])
    assert sorted(each is None for each in said(read)) == [False, True]
    assert len(read.triangles().features) == 2


@pytest.mark.parametrize("form", FORMS)
def test_cesiums_validator_has_nothing_to_say(form, tiles_validator, tmp_path):
    textures = [Texture("image/png", photo()), Texture("image/jpeg", photo("JPEG"), "clamp")]
    meshes = [quad(textures[0]), *meshes_of(boxes(3, 50.0)), quad(textures[1], at=9.0)]
    (tmp_path / "tile.glb").write_bytes(content_glb(content(meshes, textures=textures), form))
    assert tiles_validator(tmp_path / "tile.glb") == []
