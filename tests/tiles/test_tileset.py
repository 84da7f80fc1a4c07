"""The tileset of a layer, walked as a viewer walks it; places checked with PROJ."""

import dataclasses
import json

import numpy as np
import pyproj
import pytest

from layers.errors import LayerNotFound, NotFound
from tests.tiles.test_glb import accessor, property_rows, split
from tests.tiles.towns import MemoryStore, boxes, city, layer_type
from tiles import tileset as module
from tiles.tileset import Tileset, city_tileset_json
from twin.scope import EVERYTHING, Scope


@pytest.fixture
def town(tmp_path):
    made = city(6000, 4000.0)
    made.folder = tmp_path
    return made


def corners(box):
    centre, axes = np.array(box[:3]), np.array(box[3:]).reshape(3, 3)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    return centre + signs @ axes


def walk(tileset):
    """(tile JSON, parent JSON, address of the glb or None) of every tile, through external tilesets."""

    def visit(node, parent, folder):
        uri = node.get("content", {}).get("uri")
        if uri and uri.endswith(".json"):
            path = folder + uri
            outer = json.loads(tileset.resource(path)[0])["root"]
            assert outer["boundingVolume"] == node["boundingVolume"]
            assert outer["geometricError"] == node["geometricError"]
            yield from visit(outer, parent, path.rsplit("/", 1)[0] + "/")
            return
        yield node, parent, folder + uri if uri else None
        for child in node.get("children", ()):
            yield from visit(child, node, folder)

    yield from visit(json.loads(tileset.resource("tileset.json")[0])["root"], None, "")


@pytest.mark.parametrize("limit", [2000, 5])
def test_every_feature_is_met_once_and_lies_in_its_boxes(town, monkeypatch, limit):
    monkeypatch.setattr(module, "MAX_TILES", limit)
    monkeypatch.setattr(module, "INLINE_TILES", 1)
    tileset = Tileset(town, "building", EVERYTHING)
    ids = []
    for node, parent, address in walk(tileset):
        low, high = (
            corners(node["boundingVolume"]["box"]).min(axis=0),
            corners(node["boundingVolume"]["box"]).max(axis=0),
        )
        if parent is not None:
            outer = corners(parent["boundingVolume"]["box"])
            assert (low >= outer.min(axis=0)).all()
            assert (high <= outer.max(axis=0)).all()
            assert node["geometricError"] == 0 or node["geometricError"] <= parent["geometricError"] / 2
        if address is None:
            assert node["children"]
            continue
        assert address.endswith(".glb")  # QGIS looks at the end of the address
        data, media_type = tileset.resource(address)
        assert media_type == "model/gltf-binary"
        document, body = split(data)
        ids += property_rows(document, body)["id"]
        position = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
        x, y, z = document["nodes"][0]["translation"]
        (x0, z0, y1), (x1, z1, y0) = position["min"], position["max"]
        assert (np.array([x + x0, -z - y0, y + z0]) >= low).all()
        assert (np.array([x + x1, -z - y1, y + z1]) <= high).all()
    assert sorted(ids) == sorted(f"B-{i}" for i in range(6000))


def test_leaf_boxes_are_tight(town):
    tileset = Tileset(town, "building", EVERYTHING)
    for node, _, address in walk(tileset):
        if "children" in node:
            continue
        document, _ = split(tileset.resource(address)[0])
        position = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
        box = np.array(node["boundingVolume"]["box"])
        size = np.array(position["max"]) - position["min"]
        np.testing.assert_allclose(2 * box[[3, 11, 7]], size, atol=2e-3)


def test_close_up_every_feature_is_asked_for(town):
    """A viewer refines while error * height / (distance * 2 tan(fov / 2)) > 16: at 50 m from everything, all of it."""
    for node, _, _ in walk(Tileset(town, "building", EVERYTHING)):
        if "children" in node:
            assert node["geometricError"] * 1000 / (50 * 1.15) > 16


def test_a_vertex_lands_where_proj_says():
    """glTF -> y up to z up -> root.transform must be the geocentric place of the ENU point."""
    town = city(1)
    town.store.bounds = np.array([[100.0, 200, 30, 110, 220, 40]])
    tileset = Tileset(town, "building", EVERYTHING)
    document, body = split(tileset.content("0-0-0"))
    transform = np.array(json.loads(tileset.tileset_json())["root"]["transform"]).reshape(4, 4).T
    points = accessor(document, body, 0).astype(float) + document["nodes"][0]["translation"]
    placed = np.column_stack([points[:, 0], -points[:, 2], points[:, 1]]) @ transform[:3, :3].T + transform[:3, 3]
    topocentric = pyproj.Transformer.from_pipeline(
        "+proj=pipeline +step +proj=topocentric +ellps=WGS84 +lon_0=121 +lat_0=28.1 +h_0=0"
    )
    enu = np.column_stack(topocentric.transform(*placed.T))
    np.testing.assert_allclose(enu.min(axis=0), [100, 200, 30], atol=1e-3)
    np.testing.assert_allclose(enu.max(axis=0), [110, 220, 40], atol=1e-3)


def test_the_document_says_crs_and_heights(town):
    document = json.loads(Tileset(town, "building", EVERYTHING).tileset_json())
    assert document["asset"]["version"] == "1.1"
    extras = document["asset"]["extras"]
    assert (extras["source_crs"], extras["source_vertical_crs"]) == ("EPSG:4549", "EPSG:5737")
    assert extras["height_model"] == {"kind": "constant", "constant_m": 12.5, "accuracy_m": None}
    assert document["root"]["refine"] == "ADD"
    assert document["geometricError"] >= document["root"]["geometricError"]


def test_a_change_of_the_layer_changes_every_address_and_the_old_ones_still_answer(town):
    tileset = Tileset(town, "building", EVERYTHING)
    before, old = tileset.etag, json.loads(tileset.tileset_json())["root"]["content"]["uri"]
    town.store.bounds = np.vstack([town.store.bounds, boxes(10, 100.0, seed=9)])
    town.store.layer_version += 1
    assert tileset.etag != before
    assert json.loads(tileset.tileset_json())["root"]["content"]["uri"] != old
    assert tileset.resource(old)[1] == "model/gltf-binary"
    assert sum(len(property_rows(*split(tileset.resource(a)[0]))["id"]) for _, _, a in walk(tileset) if a) == 6010


def test_a_write_between_tree_and_meshes_is_noticed(tmp_path):
    town = city(40)
    town.folder = tmp_path
    tileset = Tileset(town, "building", EVERYTHING)
    tileset.tileset_json()
    real = town.store.meshes

    def write_first(*args):
        town.store.meshes = real
        town.store.bounds = town.store.bounds[:30]
        town.store.layer_version += 1
        return real(*args)

    town.store.meshes = write_first
    assert len(property_rows(*split(tileset.content("0-0-0")))["id"]) == 30


def test_a_tile_is_kept_on_disk_and_read_from_there(town):
    tileset = Tileset(town, "building", EVERYTHING)
    first = tileset.content("0-0-0")
    town.store.meshes = None  # any further read of meshes would fail
    assert tileset.content("0-0-0") == first
    assert Tileset(town, "building", EVERYTHING).content("0-0-0") == first


def test_a_layer_outside_the_scope_does_not_exist(town):
    with pytest.raises(LayerNotFound):
        Tileset(town, "building", Scope("guest", frozenset({"road"})))


@pytest.mark.parametrize("path", ["x/9-9-9.glb", "x/0-0-0.b3dm", "../../etc/passwd", "0-0-0", "x/0-0-0-0.glb"])
def test_what_is_not_there_is_not_found(town, path):
    with pytest.raises(NotFound):
        Tileset(town, "building", EVERYTHING).resource(path)


def test_a_layer_without_meshes_says_so(tmp_path):
    town = city(1)
    real = town.store.layer
    town.store.layer = lambda *args: dataclasses.replace(real(*args), mesh_count=0)
    with pytest.raises(NotFound, match="no 3D shapes"):
        Tileset(town, "building", EVERYTHING)
    with pytest.raises(NotFound, match="no 3D shapes"):
        city_tileset_json(town, EVERYTHING, "{layer}/tileset.json")


def test_the_city_refers_to_each_layer_in_geocentric_boxes(town):
    document = json.loads(city_tileset_json(town, EVERYTHING, "../collections/{layer}/3dtiles/explicit/tileset.json"))
    (child,) = document["root"]["children"]
    assert child["content"]["uri"] == "../collections/building/3dtiles/explicit/tileset.json"
    assert "transform" not in document["root"]
    own = json.loads(Tileset(town, "building", EVERYTHING).tileset_json())["root"]
    to_geodetic = pyproj.Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True)
    lon, lat, h = to_geodetic.transform(*child["boundingVolume"]["box"][:3])
    assert (lon, lat) == pytest.approx((121.0, 28.1), abs=0.002)
    assert h == pytest.approx(own["boundingVolume"]["box"][2], abs=1)
    transform = np.array(own["transform"]).reshape(4, 4).T
    placed = corners(own["boundingVolume"]["box"]) @ transform[:3, :3].T + transform[:3, 3]
    np.testing.assert_allclose(corners(child["boundingVolume"]["box"]), placed, atol=1e-6)
    assert document["geometricError"] >= child["geometricError"]


def test_the_style_colours_features_by_an_attribute(tmp_path):
    town = city(4)
    town.folder = tmp_path
    town.store = MemoryStore(
        layer_type(color="#000000", by="floors", colors={"1": "#ff0000"}, opacity=0.5), boxes(4, 50.0)
    )
    document, _ = split(Tileset(town, "building", EVERYTHING).content("0-0-0"))
    found = sorted(m["pbrMetallicRoughness"]["baseColorFactor"][0] for m in document["materials"])
    assert found == [0.0, 1.0]
    assert {m["alphaMode"] for m in document["materials"]} == {"BLEND"}
