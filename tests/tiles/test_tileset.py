"""The tilesets of a layer, walked as viewers walk them; places checked with PROJ, subtrees read by their own reader."""

import dataclasses
import json
import struct

import numpy as np
import pyproj
import pytest

from layers.errors import LayerNotFound, NotFound
from tests.tiles.gltf_reader import Glb
from tests.tiles.towns import MemoryStore, boxes, city, layer_type
from tiles import city_tileset, subtree
from tiles import tileset as module
from tiles.tileset import Tileset
from twin.scope import EVERYTHING, Scope


@pytest.fixture
def town(tmp_path):
    made = city(6000, 4000.0)
    made.folder = tmp_path
    return made


def read(tileset, form, path):
    return tileset.resource(form, path).make()


def document_of(tileset, form="explicit"):
    return json.loads(read(tileset, form, "tileset.json"))


def corners(box):
    centre, axes = np.array(box[:3]), np.array(box[3:]).reshape(3, 3)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    return centre + signs @ axes


def span(box):
    return corners(box).min(axis=0), corners(box).max(axis=0)


def walk(tileset):
    """(tile JSON, parent JSON, address of the glb or None) of every tile of the explicit form."""

    def visit(node, parent, folder):
        uri = node.get("content", {}).get("uri")
        if uri and uri.endswith(".json"):
            path = folder + uri
            outer = json.loads(read(tileset, "explicit", path))["root"]
            assert outer["boundingVolume"] == node["boundingVolume"]
            assert outer["geometricError"] == node["geometricError"]
            yield from visit(outer, parent, "")
            return
        yield node, parent, uri.removeprefix("../") if uri else None
        for child in node.get("children", ()):
            yield from visit(child, node, folder)

    yield from visit(document_of(tileset)["root"], None, "")


def bits(document, body, availability, n):
    """An availability as an array of n booleans, read by the words of the spec."""
    if "constant" in availability:
        return np.full(n, bool(availability["constant"]))
    view = document["bufferViews"][availability["bitstream"]]
    data = body[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    assert len(data) == -(-n // 8)
    flags = [bool(data[i // 8] >> (i % 8) & 1) for i in range(n)]
    assert sum(flags) == availability["availableCount"]
    return np.array(flags)


def opened(data):
    """JSON and binary chunk of a subtree."""
    magic, version, n_json, n_binary = struct.unpack("<4sIQQ", data[:24])
    assert (magic, version, n_json % 8, n_binary % 8, len(data)) == (b"subt", 1, 0, 0, 24 + n_json + n_binary)
    document = json.loads(data[24 : 24 + n_json])
    body = data[24 + n_json :]
    assert document["buffers"] == [{"byteLength": n_binary}]
    assert all(view["byteOffset"] % 8 == 0 for view in document["bufferViews"])
    return document, body


def boxes_of(document, body, table):
    entry = document["propertyTables"][table]
    view = document["bufferViews"][entry["properties"]["box"]["values"]]
    values = np.frombuffer(body, "<f8", entry["count"] * 12, view["byteOffset"])
    return values.reshape(-1, 12)


def implicit(tileset, form):
    """(level, x, y) -> (box of the tile, box of its content or None) of every tile, through all subtrees."""
    root = document_of(tileset, form)["root"]
    tiling = root["implicitTiling"]
    assert tiling["subdivisionScheme"] == "QUADTREE"
    depth, found, todo = tiling["subtreeLevels"], {}, [(0, 0, 0)]
    n = (4**depth - 1) // 3
    while todo:
        level, x, y = todo.pop()
        address = tiling["subtrees"]["uri"].format(level=level, x=x, y=y)
        document, body = opened(read(tileset, form, address))
        there = bits(document, body, document["tileAvailability"], n)
        filled = bits(document, body, document["contentAvailability"][0], n)
        below = bits(document, body, document["childSubtreeAvailability"], 4**depth)
        tile_boxes = boxes_of(document, body, document["tileMetadata"])
        content_boxes = boxes_of(document, body, document["contentMetadata"][0]) if filled.any() else np.zeros((0, 12))
        assert (len(tile_boxes), len(content_boxes)) == (there.sum(), filled.sum())
        tile_rows, content_rows = iter(tile_boxes), iter(content_boxes)
        for down in range(depth):
            for cell in range(4**down):
                at = (4**down - 1) // 3 + cell
                if not there[at]:
                    assert not filled[at]
                    continue
                own = place(level, x, y, down, cell)
                found[own] = (next(tile_rows), next(content_rows) if filled[at] else None)
        todo += [place(level, x, y, depth, cell) for cell in np.flatnonzero(below).tolist()]
    assert max(level for level, _, _ in found) + 1 == tiling["availableLevels"]
    return found


def place(level, x, y, down, cell):
    """Level, column and row of the cell with that Morton number, some levels below a tile."""
    column = sum((cell >> 2 * bit & 1) << bit for bit in range(down))
    row = sum((cell >> (2 * bit + 1) & 1) << bit for bit in range(down))
    return level + down, (x << down) + column, (y << down) + row


def placed_span(document):
    """Lowest and highest vertex of a glb in the ENU frame, from its accessors."""
    low, high = [], []
    shift = np.array(document["nodes"][0]["translation"])
    for primitive in document["meshes"][0]["primitives"]:
        position = document["accessors"][primitive["attributes"]["POSITION"]]
        low.append(np.array(position["min"]) + shift)
        high.append(np.array(position["max"]) + shift)
    (x0, z0, y1), (x1, z1, y0) = np.min(low, axis=0), np.max(high, axis=0)
    return np.array([x0, -y0, z0]), np.array([x1, -y1, z1])


@pytest.mark.parametrize("limit", [1000, 5])
def test_every_feature_is_met_once_and_lies_in_its_boxes(town, monkeypatch, limit):
    monkeypatch.setattr(module, "MAX_TILES", limit)
    monkeypatch.setattr(module, "INLINE_TILES", 1)
    tileset = Tileset(town, "building", EVERYTHING)
    ids = []
    for node, parent, address in walk(tileset):
        low, high = span(node["boundingVolume"]["box"])
        if parent is not None:
            outer_low, outer_high = span(parent["boundingVolume"]["box"])
            assert (low >= outer_low).all()
            assert (high <= outer_high).all()
            assert node["geometricError"] == 0 or node["geometricError"] <= parent["geometricError"] / 2
        if address is None:
            assert node["children"]
            continue
        assert address.endswith(".glb")  # QGIS looks at the end of the address
        found = tileset.resource("explicit", address)
        assert (found.media_type, found.immutable) == ("model/gltf-binary", True)
        read_back = Glb(found.make())
        ids += read_back.rows()["id"]
        inner_low, inner_high = placed_span(read_back.json)
        for volume in (node["boundingVolume"], node["content"]["boundingVolume"]):
            assert (inner_low >= span(volume["box"])[0]).all()
            assert (inner_high <= span(volume["box"])[1]).all()
        np.testing.assert_allclose(
            span(node["content"]["boundingVolume"]["box"]), [inner_low, inner_high], rtol=0, atol=0.01
        )
    assert sorted(ids) == sorted(f"B-{i}" for i in range(6000))


def test_the_implicit_forms_have_the_tiles_of_the_tree_with_the_same_content(town, monkeypatch):
    monkeypatch.setattr(subtree, "LEVELS", 2)  # so that there are subtrees below subtrees
    tileset = Tileset(town, "building", EVERYTHING)
    found = implicit(tileset, "compat")
    assert found.keys() == implicit(tileset, "compact").keys()
    explicit = {address.rpartition("/")[2]: address for _, _, address in walk(tileset) if address}
    ids = []
    for (level, x, y), (box, content) in found.items():
        if level:
            outer_low, outer_high = span(found[level - 1, x // 2, y // 2][0])
            assert (span(box)[0] >= outer_low).all()
            assert (span(box)[1] <= outer_high).all()
        if content is None:
            continue
        data = read(tileset, "compat", f"content/{level}/{x}/{y}.glb")
        assert data == read(tileset, "explicit", explicit.pop(f"{level}-{x}-{y}.glb"))
        read_back = Glb(data)
        ids += read_back.rows()["id"]
        np.testing.assert_allclose(span(content), placed_span(read_back.json), rtol=0, atol=0.01)
        assert (span(content)[0] >= span(box)[0]).all()
        assert (span(content)[1] <= span(box)[1]).all()
    assert not explicit
    assert sorted(ids) == sorted(f"B-{i}" for i in range(6000))


def test_the_schema_is_beside_the_tiles_of_a_large_layer_and_in_those_of_a_small_one(town):
    large = Tileset(town, "building", EVERYTHING)
    assert len(large.tree.tiles.keys) > module.SHARED_SCHEMA_TILES
    glb = Glb(read(large, "compact", "content/0/0/0.glb"))
    extension = glb.json["extensions"]["EXT_structural_metadata"]
    assert extension["schemaUri"] == "../../../schema.json"  # from content/0/0/ to the tileset.json's own folder
    shared = json.loads(read(large, "compact", "schema.json"))
    inside = Glb(read(large, "compat", "content/0/0/0.glb")).json["extensions"]["EXT_structural_metadata"]["schema"]
    assert shared == inside
    small = Tileset(city(30), "building", EVERYTHING)
    alone = Glb(read(small, "compact", "content/0/0/0.glb")).json["extensions"]["EXT_structural_metadata"]
    assert alone["schema"] == shared
    with pytest.raises(NotFound):
        large.resource("explicit", "schema.json")


def test_close_up_every_feature_is_asked_for(town):
    """A viewer refines while error * height / (distance * 2 tan(fov / 2)) > 16: at 10 m from everything, all of it."""
    for node, _, _ in walk(Tileset(town, "building", EVERYTHING)):
        if "children" in node:
            assert node["geometricError"] * 1000 / (10 * 1.15) > 16


def test_a_vertex_lands_where_proj_says():
    """glTF -> y up to z up -> root.transform must be the geocentric place of the ENU point."""
    town = city(1)
    town.store.bounds = np.array([[100.0, 200, 30, 110, 220, 40]])
    tileset = Tileset(town, "building", EVERYTHING)
    glb = Glb(read(tileset, "compat", "content/0/0/0.glb"))
    transform = np.array(document_of(tileset)["root"]["transform"]).reshape(4, 4).T
    position = glb.json["meshes"][0]["primitives"][0]["attributes"]["POSITION"]
    points = glb.accessor(position) + glb.json["nodes"][0]["translation"]
    placed = np.column_stack([points[:, 0], -points[:, 2], points[:, 1]]) @ transform[:3, :3].T + transform[:3, 3]
    topocentric = pyproj.Transformer.from_pipeline(
        "+proj=pipeline +step +proj=topocentric +ellps=WGS84 +lon_0=121 +lat_0=28.1 +h_0=0"
    )
    enu = np.column_stack(topocentric.transform(*placed.T))
    np.testing.assert_allclose(enu.min(axis=0), [100, 200, 30], atol=1e-3)
    np.testing.assert_allclose(enu.max(axis=0), [110, 220, 40], atol=1e-3)


@pytest.mark.parametrize("form", ["compact", "compat", "explicit"])
def test_the_document_says_crs_and_heights(town, form):
    document = document_of(Tileset(town, "building", EVERYTHING), form)
    assert document["asset"]["version"] == "1.1"
    assert "tilesetVersion" not in document["asset"]  # CesiumJS would add it to every address
    extras = document["asset"]["extras"]
    assert (extras["source_crs"], extras["source_vertical_crs"]) == ("EPSG:4549", "EPSG:5737")
    assert extras["height_model"] == {"kind": "constant", "constant_m": 12.5, "accuracy_m": None}
    assert document["root"]["refine"] == "ADD"
    assert document["geometricError"] >= document["root"]["geometricError"]


def test_an_edit_changes_the_tags_of_the_tiles_it_touches_and_no_others(town):
    before = Tileset(town, "building", EVERYTHING)
    keys = before.tree.tiles.keys.tolist()
    tags = {key: before._content("compat", key, None).tag for key in keys}
    compact = {key: before._content("compact", key, None).tag for key in keys}
    assert not set(tags.values()) & set(compact.values())
    old = next(address for _, _, address in walk(before) if address)
    town.store.bounds = np.vstack([town.store.bounds, [[5.0, 5, 0, 9, 9, 4]]])
    town.store.layer_version += 1
    after = Tileset(town, "building", EVERYTHING)
    now = {key: after._content("compat", key, None).tag for key in after.tree.tiles.keys.tolist()}
    assert len({key for key in now.keys() | tags.keys() if now.get(key) != tags.get(key)}) == 1
    assert after._tag("compact") != before._tag("compact")
    assert after.resource("explicit", old).media_type == "model/gltf-binary"
    stale = next(key for key in now if now[key] != tags.get(key))
    assert not after._content("explicit", stale, "0123456789abcdef").immutable
    assert sum(len(Glb(read(after, "explicit", a)).rows()["id"]) for _, _, a in walk(after) if a) == 6001


def test_tags_follow_what_tiles_show_of_the_layer(town):
    before = Tileset(town, "building", EVERYTHING)
    town.store.type = layer_type(color="#123456")
    after = Tileset(town, "building", EVERYTHING)
    assert before._content("compat", 0, None).tag != after._content("compat", 0, None).tag
    # an address that may be kept for ever must not show the old colours
    old, new = (document_of(each)["root"]["content"]["uri"] for each in (before, after))
    assert old != new
    assert not after.resource("explicit", old).immutable


def test_a_layer_outside_the_scope_does_not_exist(town):
    with pytest.raises(LayerNotFound):
        Tileset(town, "building", Scope("guest", frozenset({"road"})))


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("explicit", "x/9-9-9.glb"), ("explicit", "x/0-0-0.b3dm"), ("explicit", "../../etc/passwd"),
        ("explicit", "0-0-0"), ("explicit", "x/0-0-0-0.glb"), ("explicit", "content/0/0/0.glb"),
        ("compat", "content/9/9/9.glb"), ("compat", "content/0/0/1.glb"), ("compat", "content/0/-1/0.glb"),
        ("compact", "content/99/0/0.glb"), ("compact", "content/0/0/0.subtree"), ("compact", "subtrees/0/0/0.glb"),
        ("compact", "subtrees/1/0/0.subtree"), ("compact", "subtrees/5/0/0.subtree"), ("compact", "0/0/0.glb"),
        ("compact", "content/21/0/0.glb"), ("explicit", "x/9-9-9.json"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found(town, form, path):
    with pytest.raises(NotFound):
        Tileset(town, "building", EVERYTHING).resource(form, path)


def test_a_layer_without_meshes_says_so(tmp_path):
    town = city(1)
    real = town.store.layer
    town.store.layer = lambda *args: dataclasses.replace(real(*args), mesh_count=0)
    with pytest.raises(NotFound, match="no 3D shapes"):
        Tileset(town, "building", EVERYTHING)
    with pytest.raises(NotFound, match="no 3D shapes"):
        city_tileset.encode(town, [], "{layer}/tileset.json")


def test_the_city_refers_to_each_layer_in_geocentric_boxes(town):
    tileset = Tileset(town, "building", EVERYTHING)
    document = json.loads(city_tileset.encode(town, [tileset], "../collections/{layer}/3dtiles/tileset.json"))
    (layer,) = document["root"]["children"]
    (child,) = layer["children"]
    assert child["content"]["uri"] == "../collections/building/3dtiles/tileset.json"
    assert "content" not in layer
    assert document["geometricError"] >= layer["geometricError"] >= child["geometricError"]
    a, b, c = (town.store.bounds[:, 3:] - town.store.bounds[:, :3]).T
    largest = np.sqrt(max((a * b).max(), (b * c).max(), (a * c).max()))
    assert layer["geometricError"] == pytest.approx(max(largest, 2 * tileset.tree.error_m))
    assert "transform" not in document["root"]
    own = document_of(tileset)["root"]
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
    document = Glb(read(Tileset(town, "building", EVERYTHING), "compat", "content/0/0/0.glb")).json
    found = sorted(m["pbrMetallicRoughness"]["baseColorFactor"][0] for m in document["materials"])
    assert found == [0.0, 1.0]
    assert {m["alphaMode"] for m in document["materials"]} == {"BLEND"}
