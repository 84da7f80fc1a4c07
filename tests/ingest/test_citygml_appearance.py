"""Colours and textures of CityGML: which face has which image, where its corners are in it, and what is not read."""

import io

import numpy as np
import pytest
from PIL import Image

from ingest.citygml import appearance as citygml_appearance
from ingest.citygml import reader as citygml
from layers.source import Hints
from tests.ingest.test_citygml import document, house, rows, save

ROOF, WALL = "h1_RoofSurface_0", "h1_WallSurface_0"


def picture(kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (255, 0, 0)).save(file, kind)
    return file.getvalue()


def appearance(version="2.0", uri="img/roof.png", ring=f"{ROOF}_ring"):
    uv = "0 0 1 0 1 1 0 1 0 0"
    colour = (
        "<app:X3DMaterial><app:diffuseColor>0 1 0</app:diffuseColor><app:transparency>0.2</app:transparency>"
        f"<app:target>#{WALL}</app:target></app:X3DMaterial>"
    )
    coordinates = f'<app:target uri="#{ROOF}"><app:TexCoordList><app:textureCoordinates ring="#{ring}">{uv}</app:textureCoordinates></app:TexCoordList></app:target>'  # noqa: E501
    if version == "3.0":
        coordinates = (
            f"<app:textureParameterization><app:TextureAssociation><app:target>#{ROOF}</app:target>"
            f"<app:textureParameterization><app:TexCoordList><app:textureCoordinates>{uv}</app:textureCoordinates>"
            f"<app:ring>#{ring}</app:ring></app:TexCoordList></app:textureParameterization></app:TextureAssociation>"
            "</app:textureParameterization>"
        )
    return (
        f'<app:appearanceMember xmlns:app="http://www.opengis.net/citygml/appearance/{version}"><app:Appearance>'
        f"<app:theme>a</app:theme><app:surfaceData>{colour}</app:surfaceData><app:surfaceData>"
        f"<app:ParameterizedTexture><app:imageURI>{uri}</app:imageURI><app:wrapMode>clamp</app:wrapMode>{coordinates}"
        "</app:ParameterizedTexture></app:surfaceData><app:surfaceData><app:GeoreferencedTexture/></app:surfaceData>"
        "</app:Appearance></app:appearanceMember>"
    )


def painted(tmp_path, version="2.0", hints=None, **kwargs):
    folder = tmp_path / "img"
    folder.mkdir(exist_ok=True)
    (folder / "roof.png").write_bytes(picture())
    path = save(tmp_path, document([house(version=version)], version=version, extra=appearance(version, **kwargs)))
    reading = citygml.read(path, hints or Hints())
    [layer] = reading.layers
    [(_, _, _, _, mesh)] = rows(layer)
    return reading, layer, mesh


@pytest.mark.parametrize("version", ["2.0", "3.0"])
def test_a_textured_roof_and_a_coloured_wall(tmp_path, version):
    reading, _, mesh = painted(tmp_path, version)
    [number] = [i for i, texture in enumerate(mesh.textures) if texture]
    assert (mesh.textures[number].media_type, mesh.textures[number].wrap) == ("image/png", "clamp")
    assert mesh.textures[number].data == picture()
    roof = mesh.triangles[mesh.material_ids == number]
    assert len(roof) == 2
    low = mesh.vertices[:, :2].min(axis=0)
    for vertex in np.unique(roof):  # u runs along x, v along y
        assert mesh.uv[vertex].tolist() == ((mesh.vertices[vertex, :2] - low) / (10, 8)).tolist()
        assert mesh.vertices[vertex, 2] == 25
    rest = np.setdiff1d(np.unique(mesh.triangles[mesh.material_ids != number]), np.unique(roof))
    assert np.isnan(mesh.uv[rest]).all()
    assert [0, 255, 0, 204] in mesh.materials[np.unique(mesh.material_ids)].tolist()
    assert mesh.volume_m3() == pytest.approx(400)
    assert "GeoreferencedTexture" in next(each.message for each in reading.issues if each.code == "CG_NOT_READ")


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("img/none.png", "TEXTURE_MISSING"), ("../secret.png", "TEXTURE_OUTSIDE"), ("/etc/passwd", "TEXTURE_OUTSIDE"),
        ("..%2Fsecret.png", "TEXTURE_OUTSIDE"), ("http://127.0.0.1:9/a.png", "TEXTURE_REMOTE"),
        ("img/link.png", "TEXTURE_OUTSIDE"), ("houses.gml", "TEXTURE_FORMAT"), ("img", "TEXTURE_MISSING"),
    ],
)  # fmt: skip
def test_images_that_are_not_read_are_named(tmp_path, uri, code):
    inside = tmp_path / "in"
    (inside / "img").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(picture())
    (inside / "img" / "link.png").symlink_to(tmp_path / "secret.png")
    _, layer, mesh = painted(inside, uri=uri)
    assert mesh.textures == ()
    assert mesh.uv is None
    assert [each.code for each in layer.issues if each.code.startswith("TEXTURE")] == [code]
    roof = mesh.vertices[mesh.triangles][:, :, 2].min(axis=1) == 25
    assert mesh.materials[mesh.material_ids[roof]].tolist() == [[170, 88, 70, 255]] * 2


def test_an_image_in_the_source_folder_may_lie_beside_the_files_folder(tmp_path):
    inside = tmp_path / "gml"
    (inside / "img").mkdir(parents=True)
    (tmp_path / "shared.jpg").write_bytes(picture("JPEG"))
    _, _, mesh = painted(inside, uri="../shared.jpg", hints=Hints(root=tmp_path))
    assert [each.media_type for each in mesh.textures if each] == ["image/jpeg"]


def test_too_large_an_image_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(citygml_appearance, "MAX_IMAGE_BYTES", 10)
    _, layer, mesh = painted(tmp_path)
    assert mesh.textures == ()
    assert "TEXTURE_TOO_LARGE" in {each.code for each in layer.issues}
