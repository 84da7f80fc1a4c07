"""One number for a layer: in the store, in all pages of Features, in the property tables of all 3D tiles.

The glb files are taken apart here with struct and json, not with our own writer's code.
"""

import json
import struct
from itertools import pairwise
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def http():
    with httpx.Client(timeout=60) as client:
        yield client


def contents(http, url):
    """Addresses of all glb files under a tileset, external tilesets followed."""
    tiles = [http.get(url).raise_for_status().json()["root"]]
    while tiles:
        tile = tiles.pop()
        tiles += tile.get("children", [])
        if "content" in tile:
            address = urljoin(url, tile["content"]["uri"])
            if address.split("?")[0].endswith(".json"):
                yield from contents(http, address)
            else:
                yield address


def property_table(glb):
    """Class name, columns `id` and `layer`, and the feature ids that vertices really use."""
    magic, version, length = struct.unpack_from("<4sII", glb)
    assert (magic, version, length) == (b"glTF", 2, len(glb))
    size, kind = struct.unpack_from("<I4s", glb, 12)
    assert kind == b"JSON"
    gltf = json.loads(glb[20 : 20 + size])
    binary = glb[20 + size + 8 :]

    def view(index, dtype):
        buffer_view = gltf["bufferViews"][index]
        start = buffer_view.get("byteOffset", 0)
        return np.frombuffer(binary[start : start + buffer_view["byteLength"]], dtype)

    extension = gltf["extensions"]["EXT_structural_metadata"]
    table = extension["propertyTables"][0]

    def strings(name):
        entry = table["properties"][name]
        offsets = view(entry["stringOffsets"], "<u4")
        body = view(entry["values"], "u1").tobytes()
        return [body[a:b].decode() for a, b in pairwise(offsets)]

    used = set()
    for mesh in gltf["meshes"]:
        for primitive in mesh["primitives"]:
            feature_ids = primitive["extensions"]["EXT_mesh_features"]["featureIds"][0]
            accessor = gltf["accessors"][primitive["attributes"][f"_FEATURE_ID_{feature_ids['attribute']}"]]
            dtype = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}[accessor["componentType"]]
            buffer_view = gltf["bufferViews"][accessor["bufferView"]]
            step = buffer_view.get("byteStride", np.dtype(dtype).itemsize)
            start = buffer_view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
            used |= {int(np.frombuffer(binary, dtype, 1, start + i * step)[0]) for i in range(accessor["count"])}
    return table["count"], strings("id"), used


def all_ids(http, url):
    found = []
    while url:
        page = http.get(url).raise_for_status().json()
        found += [feature["id"] for feature in page["features"]]
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    return found


def test_every_mesh_is_in_exactly_one_tile_and_its_id_is_a_feature(http, town, town_url):
    solid = [info for info in town.layers if info.mesh_count]
    assert {"building", "bim_element"} <= {info.id for info in solid}
    for info in solid:
        in_tiles = []
        for address in contents(http, f"{town_url}collections/{info.id}/3dtiles/explicit/tileset.json"):
            count, ids, used = property_table(http.get(address).raise_for_status().content)
            assert count == len(ids)
            assert used == set(range(count)), address
            in_tiles += ids
        in_pages = all_ids(http, f"{town_url}collections/{info.id}/items?limit=300&properties=name")
        assert len(in_pages) == len(set(in_pages)) == info.count
        assert len(in_tiles) == len(set(in_tiles)) == info.mesh_count
        assert set(in_tiles) <= set(in_pages)


def test_bim_elements_and_pipes_are_all_in_the_tiles(town):
    """Only what came without any height or depth has no mesh; IFC elements in the store all have one."""
    counts = {info.id: (info.count, info.mesh_count) for info in town.layers}
    assert counts["bim_element"][0] == counts["bim_element"][1] > 0


def test_the_whole_city_refers_to_every_layer(http, town, town_url):
    document = http.get(f"{town_url}3dtiles/tileset.json").raise_for_status().json()
    tilesets = {urljoin(f"{town_url}3dtiles/", child["content"]["uri"]) for child in document["root"]["children"]}
    assert len(tilesets) == sum(1 for info in town.layers if info.mesh_count)
    for url in tilesets:
        assert http.get(url).raise_for_status().json()["asset"]["version"] == "1.1"
