"""CityJSON and CityJSONSeq: read back by our own reader and by cjio; volumes by trimesh from the meshes as made."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime

import numpy as np
import pytest
import trimesh
from starlette.testclient import TestClient

import twin
from ingest.cityjson import reader
from layers.source import Hints
from server.app import create_app
from server.settings import Settings
from tests.server.formats.conftest import MODELS
from tests.stores import copy_twin


@pytest.fixture(scope="module")
def document(odd):
    return odd("/collections/building/items?f=cityjson").json()


def true_volume(vertices, triangles):
    return trimesh.Trimesh(vertices - vertices[0], triangles).volume


def vertices_of(document):
    transform = document["transform"]
    return np.array(document["vertices"]) * transform["scale"] + transform["translate"]


def vector_area(ring):
    local = ring - ring[0]
    return np.cross(local, np.roll(local, -1, axis=0)).sum(axis=0) / 2


def volume(shells, points):
    """Of shells of polygons of rings of indices."""
    origin = points[shells[0][0][0][0]]
    return sum(
        (points[polygon[0][0]] - origin) @ sum(vector_area(points[ring]) for ring in polygon) / 3
        for shell in shells for polygon in shell
    )  # fmt: skip


def solids(geometry):
    return [geometry["boundaries"]] if geometry["type"] == "Solid" else geometry["boundaries"]


def test_the_document(document, odd):
    assert (document["type"], document["version"]) == ("CityJSON", "2.0")
    assert document["transform"]["scale"] == [0.001] * 3
    assert document["metadata"]["referenceSystem"] == "https://www.opengis.net/def/crs/EPSG/0/4549"
    plain = odd("/collections/building/items?f=json").json()["features"]
    assert list(document["CityObjects"]) == [each["id"] for each in plain]
    points = vertices_of(document)
    extent = [*points.min(axis=0), *points.max(axis=0)]
    assert document["metadata"]["geographicalExtent"] == pytest.approx(extent, abs=1e-6)
    used = json.dumps([each.get("geometry") for each in document["CityObjects"].values()])
    assert len(points) > 0
    assert f"{len(points) - 1}]" in used
    for each in plain:
        attributes = document["CityObjects"][each["id"]]["attributes"]
        assert attributes == {key: value for key, value in each["properties"].items() if value is not None}


def test_geometries_and_volumes(document, placed):
    points = vertices_of(document)
    types = {"house": "Solid", "hollow": "Solid", "twins": "CompositeSolid", "open": "MultiSurface", "tower": "Solid"}
    for key, (name, vertices, triangles) in placed.items():
        (geometry,) = document["CityObjects"][key]["geometry"]
        assert geometry["type"] == types[name]
        if name != "open":
            found = sum(volume(each, points) for each in solids(geometry))
            assert found == pytest.approx(true_volume(vertices, triangles), rel=5e-4)
    assert "geometry" not in document["CityObjects"]["h5"]
    lods = [document["CityObjects"][f"h{i}"]["geometry"][0]["lod"] for i in range(5)]
    assert lods == ["2.2", "1", "1", "1", "1"]  # 4 is no LoD of CityJSON
    assert {each["type"] for each in document["CityObjects"].values()} == {"Building"}


def test_faces_of_buildings_say_what_they_are(document):
    points = vertices_of(document)
    for key in ("h0", "h1", "h4"):
        (geometry,) = document["CityObjects"][key]["geometry"]
        names = [each["type"] for each in geometry["semantics"]["surfaces"]]
        for shell, values in zip(geometry["boundaries"], geometry["semantics"]["values"], strict=True):
            for polygon, number in zip(shell, values, strict=True):
                across = sum(vector_area(points[ring]) for ring in polygon)
                up = across[2] / np.linalg.norm(across)
                wanted = {-1: "Ground", 0: "Wall", 1: "Roof"}[round(up)]
                if shell is not geometry["boundaries"][0]:
                    wanted = {-1: "Ceiling", 0: "InteriorWall", 1: "Floor"}[round(up)]
                elif key == "h0" and round(up) == -1 and points[polygon[0][0], 2] > 18:
                    wanted = "OuterCeiling"  # over the window
                assert names[number] == f"{wanted}Surface"


def test_elements_stand_under_their_building(odd):
    document = odd("/collections/bim_element/items?f=cityjson").json()
    objects = document["CityObjects"]
    assert [objects[key]["type"] for key in "uvw"] == ["BuildingConstructiveElement"] * 3
    assert objects["u"]["parents"] == ["a.ifc"]
    assert objects["a.ifc"]["type"] == "Building"
    assert objects["a.ifc"]["children"] == ["u", "w"]
    assert objects["b.ifc"]["children"] == ["v"]
    assert objects["u"]["geometry"][0]["lod"] == "3"
    lines = odd("/collections/bim_element/items?f=cityjsonseq").text.splitlines()
    alone = json.loads(lines[1])["CityObjects"]["u"]
    assert alone["type"] == "OtherConstruction"
    assert "parents" not in alone


def test_a_sequence_holds_the_same(odd, document):
    head, *features = map(json.loads, odd("/collections/building/items?f=cityjsonseq").text.splitlines())
    assert head["type"] == "CityJSON"
    assert (head["CityObjects"], head["vertices"]) == ({}, [])
    assert head["transform"] == document["transform"]
    whole = vertices_of(document)
    for key, feature in zip(document["CityObjects"], features, strict=True):
        assert (feature["type"], feature["id"]) == ("CityJSONFeature", key)
        expected, found = document["CityObjects"][key], feature["CityObjects"][key]
        assert found["attributes"] == expected["attributes"]
        if "geometry" not in expected:
            assert feature["vertices"] == []
            continue
        own = vertices_of(head | {"vertices": feature["vertices"]})
        one, other = found["geometry"][0], expected["geometry"][0]
        assert one["type"] == other["type"]
        flat = [
            json.loads(f"[{json.dumps(each['boundaries']).replace('[', '').replace(']', '')}]") for each in (one, other)
        ]
        np.testing.assert_allclose(own[flat[0]], whole[flat[1]])


@pytest.mark.parametrize("name", ["cityjson", "cityjsonseq"])
def test_our_own_reader_reads_it_back(odd, placed, name, tmp_path):
    path = tmp_path / ("x.city.json" if name == "cityjson" else "x.city.jsonl")
    path.write_bytes(odd(f"/collections/building/items?f={name}").content)
    reading = reader.read(path, Hints())
    (layer,) = reading.layers
    assert layer.crs == "EPSG:4549"
    found = {}
    for batch in layer.batches():
        found |= dict(zip(batch.ids, batch.meshes or [], strict=False))
    assert len(found) == len(MODELS) - 1  # one has no geometry, which the reader names
    by_key = {key.split("#")[-1].split("/")[-1]: mesh for key, mesh in found.items()}
    for key, (model, vertices, triangles) in placed.items():
        mesh = by_key[key]
        assert mesh is not None
        if model != "open":
            got = trimesh.Trimesh(mesh.vertices - mesh.vertices[0], mesh.triangles).volume
            assert got == pytest.approx(true_volume(vertices, triangles), rel=5e-4)


def test_in_degrees_it_still_keeps_a_millimetre(odd, placed):
    document = odd("/collections/building/items?f=cityjson&crs=EPSG:4490&ids=h0").json()
    assert document["metadata"]["referenceSystem"] == "https://www.opengis.net/def/crs/EPSG/0/4490"
    import pyproj

    points = vertices_of(document)  # east first, whatever the CRS says
    east, north = pyproj.Transformer.from_crs("EPSG:4490", "EPSG:4549", always_xy=True).transform(*points[:, :2].T)
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(placed["h0"][1]).query(np.stack([east, north, points[:, 2]], axis=1))
    assert distance.max() < 0.0015


def test_nothing_and_a_selection(odd):
    empty = odd("/collections/building/items?f=cityjson&ids=nobody").json()
    assert (empty["CityObjects"], empty["vertices"]) == ({}, [])
    two = odd("/collections/building/items?f=cityjson&ids=h4,h1&properties=name").json()
    assert list(two["CityObjects"]) == ["h1", "h4"]
    assert two["CityObjects"]["h1"]["attributes"]["name"] == "hollow"
    assert "lod" not in two["CityObjects"]["h1"]["attributes"]
    turned = odd("/collections/building/items?f=cityjson&sortby=-id").json()
    assert list(turned["CityObjects"]) == [f"h{i}" for i in range(5, -1, -1)]
    assert len(odd("/collections/building/items?f=cityjsonseq&limit=2").text.splitlines()) == 3


def test_cjio_reads_it(odd, tmp_path):
    pytest.importorskip("cjio", reason="cjio is not installed")
    path = tmp_path / "x.city.json"
    path.write_bytes(odd("/collections/building/items?f=cityjson").content)
    # a process of its own: once cjio is imported, pyproj no longer finds EPSG codes
    command = [sys.executable, "-c", "from cjio.cjio import cli; cli()", str(path), "info"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "CityJSON version = 2.0" in said
    assert "EPSG = 4549" in said
    assert f"Building ({len(MODELS)})" in said


def test_a_model_that_is_gone_is_still_there_then(odd_folder, tmp_path):
    folder = tmp_path / "copy"
    copy_twin(odd_folder, folder)
    with twin.open(folder) as city:
        moment = datetime.now(UTC)
        time.sleep(0.01)
        with city.store.writing() as batch:
            assert batch.delete("building", ["h0"], "test") == 1
        with TestClient(
            create_app(city, Settings(access_log=False, warm_up=False)), base_url="http://odd.test"
        ) as client:
            path = "/collections/building/items?f=cityjson"
            now = client.get(path).json()["CityObjects"]
            then = client.get(path, params={"f": "cityjson", "datetime": moment.isoformat()[:26] + "Z"}).json()[
                "CityObjects"
            ]
    assert sorted(now) == ["h1", "h2", "h3", "h4", "h5"]
    assert sorted(then) == ["h0", "h1", "h2", "h3", "h4", "h5"]
    assert then["h0"]["geometry"][0]["type"] == "Solid"
