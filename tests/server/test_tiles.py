"""Routes of terrain, vector tiles and processes on the tiny city: addresses, types, validators, refusals."""

import gzip
from xml.etree import ElementTree as ET

import pytest


@pytest.mark.parametrize(
    "path",
    [
        "/collections/building/tiles/WebMercatorQuad/2/4/0",
        "/collections/building/tiles/WebMercatorQuad/99/0/0",
        "/collections/building/tiles/WorldMercator/0/0/0",
        "/collections/building/points.copc.laz",
        "/collections/building/raster.tif",
        "/processes/nothing",
    ],
)
def test_what_there_is_not_is_a_404(get, path):
    assert get(path, 404).headers["content-type"] == "application/problem+json"


def test_vector_tiles_take_row_before_column(get):
    """The tile of zoom 14 with the city in it: column 13700 lies east, row 6856 north of the middle."""
    from math import asinh, pi, radians, tan

    column = int((121.0 + 180) / 360 * 2**14)
    row = int((1 - asinh(tan(radians(28.1015))) / pi) / 2 * 2**14)
    tile = get(f"/collections/building/tiles/WebMercatorQuad/14/{row}/{column}")
    assert tile.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    assert "楼".encode() in tile.content
    assert get(f"/collections/building/tiles/WebMercatorQuad/14/{column}/{row}", 204).content == b""
    assert len(get(f"/tiles/WebMercatorQuad/14/{row}/{column}").content) > len(tile.content)
    address = get("/collections/building/tilejson.json").json()["tiles"][0]
    assert get(address.format(z=14, y=row, x=column)).content == tile.content


def test_terrain_without_rasters_is_the_sea(get):
    layer = get("/terrain/layer.json").json()
    assert layer["format"] == "quantized-mesh-1.0"
    for x in (0, 1):
        packed = get(f"/terrain/0/{x}/0.terrain", headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        plain = get(f"/terrain/0/{x}/0.terrain", headers={"Accept-Encoding": "identity"})
        assert packed.content == plain.content
        assert plain.headers["content-type"] == "application/vnd.quantized-mesh"
        assert gzip.decompress(gzip.compress(plain.content)) == plain.content
    get("/terrain/0/2/0.terrain", 404)


def test_normals_only_for_those_who_ask(get):
    accept = "application/vnd.quantized-mesh;extensions=octvertexnormals-metadata,application/octet-stream;q=0.9"
    plain = get("/terrain/0/1/0.terrain")
    normals = get("/terrain/0/1/0.terrain", headers={"Accept": accept})
    assert len(normals.content) > len(plain.content)
    assert "Accept" in normals.headers["vary"]
    assert normals.headers["etag"] != plain.headers["etag"]


def test_the_viewer_configuration_names_the_layers(get):
    document = get("/viewer/config.json").json()
    assert document["categories"]["iot"] == {"zh": "物联感知数据", "en": "Sensing"}
    assert [each["id"] for each in document["layers3d"]] == ["building"]
    assert document["layers3d"][0]["count"] == 27
    assert get(document["layers3d"][0]["tileset"]).status_code == 200
    assert {each["id"] for each in document["layers2d"]} == {"building", "pipe_water", "well"}
    assert document["title"] == {"zh": "小城", "en": "Tiny"}
    west, south, east, north = document["extent"]
    assert west < 121.0 < east + 0.01
    assert south < 28.102 < north


def test_the_qgis_project_is_xml_with_every_layer_and_nothing_unescaped(get):
    root = ET.fromstring(get("/qgis/city.qgs").content)
    names = [each.findtext("layername") for each in root.iter("maplayer")]
    assert sorted(names) == sorted(["建筑物", "建筑物 3D", "给水管", "井", "抄表记录"])
    assert root.find("projectFlags").get("set") == "TrustStoredLayerStatistics"
    ids = [each.findtext("id") for each in root.iter("maplayer")]
    assert {each.get("id") for each in root.iter("layer-tree-layer")} == set(ids)
    assert all(len(each) > 10 for each in ids)


def test_a_process_runs_as_it_describes_itself(get, client):
    listed = get("/processes").json()["processes"]
    assert "buffer-query" in {each["id"] for each in listed}
    described = get("/processes/buffer-query?lang=en").json()
    assert {"geometry", "distance_m", "layer"} <= set(described["inputs"])
    point = {"type": "Point", "coordinates": [598_000, 3_110_000]}
    inputs = {"geometry": point, "distance_m": 8, "layer": "well", "crs": "EPSG:4549"}
    answer = client.post("/processes/buffer-query/execution", json={"inputs": inputs})
    assert answer.status_code == 200
    assert answer.json()["n_hits"] == 2  # wells at 0 m, 7.62 m and 15.2 m


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"inputs": 3}', b'{"inputs": {"distance_m": -1}}', b'{"inputs": {"nonsense": 1}}', b""]
)
def test_wrong_inputs_are_a_400(client, body):
    response = client.post("/processes/buffer-query/execution", content=body)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
