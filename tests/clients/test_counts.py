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
from pyproj import Transformer

from tests.stores import read_layer

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


class Glb:
    """A binary glTF taken apart."""

    def __init__(self, body):
        magic, version, length = struct.unpack_from("<4sII", body)
        assert (magic, version, length) == (b"glTF", 2, len(body))
        size, kind = struct.unpack_from("<I4s", body, 12)
        assert kind == b"JSON"
        self.json = json.loads(body[20 : 20 + size])
        self.binary = body[20 + size + 8 :]
        self.table = self.json["extensions"]["EXT_structural_metadata"]["propertyTables"][0]

    def view(self, index, dtype):
        view = self.json["bufferViews"][index]
        start = view.get("byteOffset", 0)
        return np.frombuffer(self.binary[start : start + view["byteLength"]], dtype)

    def accessor(self, index, width):
        accessor = self.json["accessors"][index]
        dtype = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}[accessor["componentType"]]
        view = self.json["bufferViews"][accessor["bufferView"]]
        step = view.get("byteStride", np.dtype(dtype).itemsize * width)
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        rows = [np.frombuffer(self.binary, dtype, width, start + i * step) for i in range(accessor["count"])]
        return np.array(rows)

    def ids(self):
        entry = self.table["properties"]["id"]
        width = {"UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4"}[entry.get("stringOffsetType", "UINT32")]
        offsets = self.view(entry["stringOffsets"], width)
        body = self.view(entry["values"], "u1").tobytes()
        return [body[a:b].decode() for a, b in pairwise(offsets)]

    def vertices(self):
        """(n,) feature ids and (n, 3) positions, z up, with the node's translation."""
        node = self.json["nodes"][0]
        features, positions = [], []
        for primitive in self.json["meshes"][node["mesh"]]["primitives"]:
            used = primitive["extensions"]["EXT_mesh_features"]["featureIds"][0]
            features.append(self.accessor(primitive["attributes"][f"_FEATURE_ID_{used['attribute']}"], 1)[:, 0])
            positions.append(self.accessor(primitive["attributes"]["POSITION"], 3).astype(float))
        x, y, z = (np.concatenate(positions) + node.get("translation", [0, 0, 0])).T
        return np.concatenate(features).astype(int), np.stack([x, -z, y], axis=1)


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
            glb = Glb(http.get(address).raise_for_status().content)
            ids = glb.ids()
            assert glb.table["count"] == len(ids)
            assert set(glb.vertices()[0]) == set(range(len(ids))), address
            in_tiles += ids
        in_pages = all_ids(http, f"{town_url}collections/{info.id}/items?limit=300&properties=name")
        assert len(in_pages) == len(set(in_pages)) == info.count
        assert len(in_tiles) == len(set(in_tiles)) == info.mesh_count
        assert set(in_tiles) <= set(in_pages)


def test_buildings_in_the_tiles_stand_on_their_footprints(http, town_url, town_twin):
    """glTF -> root transform -> PROJ to EPSG:4549, against the store's file as GDAL reads it; to 1 cm."""
    url = f"{town_url}collections/building/3dtiles/explicit/tileset.json"
    transform = np.array(http.get(url).json()["root"]["transform"]).reshape(4, 4).T
    to_degrees = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True)
    to_city = Transformer.from_crs("EPSG:4490", "EPSG:4549", always_xy=True)
    footprints = read_layer(town_twin, "building").set_index("id").geometry
    for address in contents(http, url):
        glb = Glb(http.get(address).raise_for_status().content)
        features, enu = glb.vertices()
        lon, lat, _ = to_degrees.transform(*(enu @ transform[:3, :3].T + transform[:3, 3]).T)
        east_north = np.stack(to_city.transform(lon, lat), axis=1)
        for number, feature_id in enumerate(glb.ids()):
            own = east_north[features == number]
            bounds = [*own.min(axis=0), *own.max(axis=0)]
            np.testing.assert_allclose(bounds, footprints[feature_id].bounds, rtol=0, atol=0.01, err_msg=feature_id)


def test_bim_elements_and_pipes_are_all_in_the_tiles(town):
    """Only what came without any height or depth has no mesh; IFC elements in the store all have one."""
    counts = {info.id: (info.count, info.mesh_count) for info in town.layers}
    assert counts["bim_element"][0] == counts["bim_element"][1] > 0


def test_the_whole_city_refers_to_every_layer(http, town, town_url):
    document = http.get(f"{town_url}3dtiles/tileset.json").raise_for_status().json()
    layers = [child["children"][0] for child in document["root"]["children"] if "children" in child]
    tilesets = {urljoin(f"{town_url}3dtiles/", child["content"]["uri"]) for child in layers}
    assert len(tilesets) == sum(1 for info in town.layers if info.mesh_count)
    for url in tilesets:
        assert http.get(url).raise_for_status().json()["asset"]["version"] == "1.1"
