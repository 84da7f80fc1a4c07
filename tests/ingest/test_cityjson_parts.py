"""CityJSON beyond plain houses: templates, paint, kinds of geometry, header files, slicing; truths by hand."""

import json

import numpy as np
import orjson
import pytest
import shapely
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.cityjson import index as cityjson_index
from ingest.cityjson import reader as cityjson
from ingest.cityjson.mesh import MATERIALS
from layers.errors import CityTwinError, CrsMissing, InvalidInput
from layers.source import Hints
from tests.ingest.test_cityjson import CRS, EAST, NORTH, box_model, only, save

BOX = [[[0, 3, 2, 1]], [[4, 5, 6, 7]], [[0, 1, 5, 4]], [[1, 2, 6, 5]], [[2, 3, 7, 6]], [[3, 0, 4, 7]]]
CORNERS = [[x, y, z] for z in (0.0, 2.0) for x, y in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))]
IDENTITY = np.eye(4).ravel().tolist()
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (8).to_bytes(4) * 2 + b"rest"


def trees(*matrices, kind="SolitaryVegetationObject", shape=None):
    """One object an instance of a box of 1 × 1 × 2 m, each at (10 i, 0, 0) m."""
    template = shape or {"type": "Solid", "lod": "2", "boundaries": [BOX]}
    objects = {
        f"t{i}": {"type": kind, "geometry": [
            {"type": "GeometryInstance", "template": 0, "boundaries": [i], "transformationMatrix": matrix}]}
        for i, matrix in enumerate(matrices)
    }  # fmt: skip
    return box_model(
        CityObjects=objects,
        vertices=[[10_000 * i, 0, 0] for i in range(len(matrices))],
        **{"geometry-templates": {"templates": [template], "vertices-templates": CORNERS}},
    )


def layers_of(path, hints=None):
    reading = cityjson.read(path, hints or Hints())
    return {layer.layer_type: (layer, list(layer.batches())) for layer in reading.layers}, reading


def test_instances_share_their_template_and_stand_under_their_matrices(tmp_path):
    turned = trimesh.transformations.euler_matrix(0, 0, np.pi / 2)
    turned[:3, 3] = 1, 2, 3
    doubled = np.diag([2.0, 2, 2, 1])
    _, layer, [batch] = only(save(tmp_path, trees(IDENTITY, turned.ravel().tolist(), doubled.ravel().tolist())))
    assert layer.layer_type == "vegetation"
    plain, moved, large = batch.meshes
    assert {mesh.shared.key for mesh in batch.meshes} == {plain.shared.key}
    assert plain.shared.vertices is large.shared.vertices
    assert np.allclose(plain.vertices.min(axis=0), [EAST, NORTH, 20])
    assert moved.bounds() == pytest.approx((EAST + 10, NORTH + 2, 23, EAST + 11, NORTH + 3, 25))
    assert [mesh.volume_m3() for mesh in batch.meshes] == pytest.approx([2, 2, 16])
    assert [shapely.get_coordinates(each, include_z=True).tolist() for each in batch.geometry] == [
        [[EAST + 10 * i, NORTH, 20]] for i in range(3)
    ]
    assert batch.attributes.schema.get_field_index("height_m") >= 0


def test_a_mirrored_instance_faces_outwards_and_shares_nothing(tmp_path):
    mirrored = np.diag([-1.0, 1, 1, 1]).ravel().tolist()
    _, _, [batch] = only(save(tmp_path, trees(mirrored)))
    assert batch.meshes[0].volume_m3() == pytest.approx(2)
    assert batch.meshes[0].shared is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"template": 7}, "CJ_TEMPLATE_MISSING"),
        ({"template": "0"}, "CJ_TEMPLATE_MISSING"),
        ({"transformationMatrix": [1.0] * 15}, "CJ_INVALID"),
        ({"transformationMatrix": [1.0] * 16}, "CJ_INVALID"),
        ({"boundaries": [5]}, "CJ_VERTEX_OUT_OF_RANGE"),
        ({"boundaries": []}, "CJ_INVALID"),
    ],
)
def test_a_bad_instance_is_rejected_and_the_others_stay(tmp_path, change, code):
    model = trees(IDENTITY, IDENTITY)
    model["CityObjects"]["t0"]["geometry"][0] |= change
    _, layer, [batch] = only(save(tmp_path, model))
    assert (batch.ids, [each.code for each in layer.rejects]) == (["t1"], [code])


def test_lines_and_points_get_layers_of_their_own(tmp_path):
    line = {"type": "MultiLineString", "lod": "0", "boundaries": [[0, 1, 2], [2, 3]]}
    dots = {"type": "MultiPoint", "lod": "0", "boundaries": [4, 5]}
    model = box_model()
    model["CityObjects"] = {
        "r": {"type": "Road", "geometry": [line]},
        "g": {"type": "GenericCityObject", "geometry": [line]},
        "p": {"type": "+Sensor", "geometry": [dots]},
        "v": {"type": "SolitaryVegetationObject", "geometry": [{**dots, "boundaries": [4]}]},
        "n": {"type": "+NoiseWall", "geometry": [{"type": "MultiSurface", "lod": "1", "boundaries": [[[0, 1, 2, 3]]]}]},
    }
    layers, _ = layers_of(save(tmp_path, model))
    assert set(layers) == {"road", "city_object_line", "city_object_point", "vegetation", "city_object"}
    [road] = layers["road"][1]
    assert shapely.length(road.geometry[0]) == pytest.approx(10 + 8 + 10)
    [points] = layers["city_object_point"][1]
    assert points.geometry[0].geom_type == "MultiPoint"
    assert points.attributes.column("object_type").to_pylist() == ["+Sensor"]
    [other] = layers["city_object"][1]
    assert other.attributes.column("object_type").to_pylist() == ["+NoiseWall"]


def test_a_terrain_is_a_feature_of_relief_with_its_mesh_and_outline(tmp_path):
    n = 60
    xy = [[1000 * (i % n), 1000 * (i // n), (i * 37) % 500] for i in range(n * n)]
    cells = [i for i in range(n * (n - 1)) if i % n < n - 1]
    triangles = [[[a, a + 1, a + n]] for a in cells] + [[[a + 1, a + n + 1, a + n]] for a in cells]
    ground = {"type": "CompositeSurface", "lod": "1", "boundaries": triangles}
    model = box_model(CityObjects={"tin": {"type": "TINRelief", "geometry": [ground]}}, vertices=xy)
    _, layer, [batch] = only(save(tmp_path, model))
    assert layer.layer_type == "relief"
    assert len(batch.meshes[0].triangles) == 2 * (n - 1) ** 2
    assert batch.geometry[0].area == pytest.approx((n - 1) ** 2)
    assert batch.attributes.column("lod").to_pylist() == ["1"]


def test_rooms_are_features_and_installations_are_parts(tmp_path):
    model = box_model()
    shape = model["CityObjects"]["h1"]["geometry"]
    model["CityObjects"]["h1"]["children"] = ["room", "chimney"]
    model["CityObjects"] |= {
        "room": {"type": "BuildingRoom", "parents": ["h1"], "geometry": shape, "children": ["bed"]},
        "bed": {"type": "BuildingFurniture", "parents": ["room"], "geometry": shape},
        "chimney": {"type": "BuildingInstallation", "parents": ["h1"], "geometry": shape},
        "lost": {"type": "BuildingPart", "parents": ["gone"], "geometry": shape},
        "all": {"type": "CityObjectGroup", "children": ["h1", "bed"]},
    }
    layers, reading = layers_of(save(tmp_path, model))
    counts = {each: layer.n_read for each, (layer, _) in layers.items()}
    assert counts == {"building": 2, "city_object": 2, "city_object_group": 1}
    [issue] = [each for each in reading.issues if each.code == "CJ_PARTS_MERGED"]
    assert issue.message.startswith("1 of 6 objects")
    [others] = layers["city_object"][1]
    assert others.attributes.column("parent_id").to_pylist() == ["h1", "room"]
    [group] = layers["city_object_group"][1]
    assert json.loads(group.attributes.column("members").to_pylist()[0]) == ["h1", "bed"]


def painted(image="brick.png", **appearance):
    """The house with one textured wall, one wall with a material, and semantic colours elsewhere."""
    model = box_model()
    geometry = model["CityObjects"]["h1"]["geometry"][0]
    none = [[None]]
    geometry["texture"] = {"day": {"values": [[none, none, [[0, 0, 1, 2, 3]], none, none, none]]}}
    geometry["material"] = {"day": {"values": [[None, None, None, 0, None, None]]}}
    model["appearance"] = {
        "materials": [{"name": "glass", "diffuseColor": [0.2, 0.4, 1.0], "transparency": 0.5}],
        "textures": [{"type": "PNG", "image": image, "wrapMode": "mirror"}],
        "vertices-texture": [[0, 0], [1, 0], [1, 1], [0, 1]],
        **appearance,
    }
    return model


def test_a_wall_has_its_texture_and_another_its_glass(tmp_path):
    (tmp_path / "brick.png").write_bytes(PNG)
    _, layer, [batch] = only(save(tmp_path, painted()))
    [mesh] = batch.meshes
    [texture] = [each for each in mesh.textures if each is not None]
    assert (texture.media_type, texture.data, texture.wrap) == ("image/png", PNG, "mirror")
    is_brick = np.array([each is not None for each in mesh.textures])[mesh.material_ids]
    corners = mesh.vertices[mesh.triangles[is_brick]].reshape(-1, 3) - [EAST, NORTH, 20]
    uv = mesh.uv[mesh.triangles[is_brick]].reshape(-1, 2)
    assert is_brick.sum() == 2
    assert np.allclose(uv, corners[:, [0, 2]] / [10, 5])  # the wall at y = 0, u along x, v upwards
    assert np.isnan(mesh.uv[mesh.triangles[~is_brick]]).all()
    glass = (mesh.materials[mesh.material_ids] == [51, 102, 255, 128]).all(axis=1)
    assert np.allclose(mesh.vertices[mesh.triangles[glass]][:, :, 0], EAST + 10)
    assert mesh.volume_m3() == pytest.approx(400)
    assert not layer.issues or {each.code for each in layer.issues} == {"ID_MADE"}


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ("gone.png", "CJ_TEXTURE_MISSING"),
        ("../secret.png", "CJ_TEXTURE_REFUSED"),
        ("https://example.org/a.png", "CJ_TEXTURE_REFUSED"),
        ("text.png", "CJ_TEXTURE_REFUSED"),
        ("bomb.png", "CJ_TEXTURE_REFUSED"),
        ("a\0b", "CJ_TEXTURE_MISSING"),
    ],
)
def test_an_image_that_may_not_be_used_is_named_and_the_wall_keeps_its_colour(tmp_path, image, code):
    folder = tmp_path / "city"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(PNG)
    (folder / "text.png").write_text("no image")
    (folder / "bomb.png").write_bytes(PNG.replace((8).to_bytes(4), (60000).to_bytes(4)))
    _, layer, [batch] = only(save(folder, painted(image)))
    assert batch.meshes[0].textures == ()
    assert (batch.meshes[0].materials == MATERIALS["WallSurface"]).all(axis=1).any()
    assert code in {each.code for each in layer.issues}


def test_the_default_theme_goes_before_the_first(tmp_path):
    model = painted(**{"default-theme-material": "night"})
    shape = model["CityObjects"]["h1"]["geometry"][0]
    del shape["texture"]
    shape["material"]["night"] = {"value": 1}
    model["appearance"]["materials"].append({"name": "dark", "diffuseColor": [0, 0, 0]})
    _, _, [batch] = only(save(tmp_path, model))
    mesh = batch.meshes[0]
    assert (mesh.materials[mesh.material_ids] == [0, 0, 0, 255]).all()


def feature(key="h1"):
    model = box_model()
    return {"type": "CityJSONFeature", "id": key, "CityObjects": {key: model["CityObjects"]["h1"]},
            "vertices": model["vertices"]}  # fmt: skip


def test_features_without_header_take_the_one_header_file_beside_them(tmp_path):
    path = tmp_path / "tile.city.jsonl"
    path.write_text(json.dumps(feature()) + "\n" + json.dumps(feature("h2")))
    with pytest.raises(InvalidInput) as caught:
        cityjson.read(path, Hints())
    assert caught.value.code == "CJ_HEADER_MISSING"
    header = box_model(CityObjects={}, vertices=[])
    save(tmp_path, box_model(), "another.city.json")
    save(tmp_path, header, "metadata.json")
    reading, _, [batch] = only(path)
    assert [each.code for each in reading.issues] == ["CJ_HEADER_FILE"]
    assert [mesh.bounds()[0] for mesh in batch.meshes] == [EAST, EAST]
    [alone] = [cityjson.read(tmp_path / "metadata.json", Hints())]
    assert (alone.layers, [each.code for each in alone.issues]) == ([], ["CJ_HEADER_ONLY"])
    save(tmp_path, header, "header.json")
    with pytest.raises(InvalidInput, match="there are 2"):
        cityjson.read(path, Hints())


def test_a_sequence_under_the_name_of_a_document_is_read_as_one(tmp_path):
    path = tmp_path / "houses.city.json"
    lines = [box_model(CityObjects={}, vertices=[]), feature(), feature("h2")]
    path.write_text("\n".join(map(json.dumps, lines)))
    _, layer, _ = only(path)
    assert layer.n_read == 2


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        ("https://www.opengis.net/def/crs/EPSG/0/4549", 4549),
        ("http://www.opengis.net/def/crs/EPSG/6.12/4549/", 4549),
        ("urn:ogc:def:crs:EPSG::4549", 4549),
        ("urn:ogc:def:crs:EPSG:6.12:4549", 4549),
        ("EPSG:4549", 4549),
        ("epsg:4549", 4549),
    ],
)
def test_the_reference_system_is_read_in_every_form(tmp_path, stated, code):
    reading = cityjson.read(
        save(tmp_path, box_model(metadata={"referenceSystem": stated, "pointOfContact": {}})), Hints()
    )
    assert reading.certificate.source_crs == f"EPSG:{code}"


def test_an_unknown_reference_system_is_asked_for(tmp_path):
    path = save(tmp_path, box_model(metadata={"referenceSystem": "our own system"}))
    with pytest.raises(CrsMissing):
        cityjson.read(path, Hints())
    reading = cityjson.read(path, Hints(crs="EPSG:4549"))
    assert [each.code for each in reading.issues] == ["CRS_UNKNOWN"]


def test_old_versions_are_read(tmp_path):
    model = box_model(version="1.0")
    model["CityObjects"]["h1"]["geometry"][0]["lod"] = 2
    model["vertices"] = [[EAST + x / 1000, NORTH + y / 1000, z / 1000] for x, y, z in model["vertices"]]
    del model["transform"]
    _, _, [batch] = only(save(tmp_path, model))
    assert batch.meshes[0].bounds() == pytest.approx((EAST, NORTH, 0, EAST + 10, NORTH + 8, 5))
    assert batch.attributes.column("lod").to_pylist() == ["2"]
    assert only(save(tmp_path, box_model(version="1.1")))[1].n_read == 1


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.text('ab"\\{}[],:é', max_size=6),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('x"\\{:', max_size=3), inner, max_size=4),
        max_leaves=25,
    ).filter(lambda value: isinstance(value, dict)),
    st.sampled_from([1, 3, 7, 64]),
    st.sampled_from([None, 1]),
)
def test_every_member_of_a_document_is_found_whatever_its_strings_hold(tmp_path_factory, document, size, indent):
    path = tmp_path_factory.getbasetemp() / "index.json"
    path.write_text(json.dumps(document, indent=indent, ensure_ascii=False), "utf8")
    before, cityjson_index.CHUNK_BYTES = cityjson_index.CHUNK_BYTES, size
    try:
        with path.open("rb") as file:
            index = cityjson_index.index_of(file, "CityObjects")
            found = {
                key: orjson.loads(cityjson_index.read_range(file, each.start, each.end))
                for key, each in index.members.items()
            }
    finally:
        cityjson_index.CHUNK_BYTES = before
    assert found == document
    assert list(found) == list(document)


WHOLE = json.dumps({**painted(), "geometry-templates": trees(IDENTITY)["geometry-templates"]}).encode()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(WHOLE)), st.binary(max_size=6), st.integers(0, 40))
def test_damaged_documents_are_read_or_refused_never_worse(tmp_path_factory, at, new, n_cut):
    path = tmp_path_factory.getbasetemp() / "fuzz.city.json"
    path.write_bytes(WHOLE[:at] + new + WHOLE[at + n_cut :])
    try:
        reading = cityjson.read(path, Hints(crs=CRS))
        for layer in reading.layers:
            n = sum(len(batch) for batch in layer.batches())
            assert layer.n_read == n + len(layer.rejects)
    except CityTwinError:
        return


_VALUES = st.sampled_from([None, True, -1, 0, 3, 12, 1.5, float("inf"), "", "a", [], {}, [[0]], 10**30])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_value_in_any_place_is_read_or_refused(tmp_path_factory, data):
    model = json.loads(WHOLE)
    model["CityObjects"]["t"] = trees(IDENTITY)["CityObjects"]["t0"]
    node, key = model, data.draw(st.sampled_from(sorted(model)))
    while isinstance(node[key], dict | list) and node[key] and data.draw(st.integers(0, 5)):
        node = node[key]
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
    node[key] = data.draw(_VALUES)
    path = tmp_path_factory.getbasetemp() / "values.city.json"
    path.write_text(json.dumps(model))
    try:
        reading = cityjson.read(path, Hints(crs=CRS))
        for layer in reading.layers:
            n = sum(len(batch) for batch in layer.batches())
            assert layer.n_read == n + len(layer.rejects)
    except CityTwinError:
        return
