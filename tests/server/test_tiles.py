"""Routes of terrain, vector tiles and processes on the tiny city: addresses, types, validators, refusals."""

import gzip
import json
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


def place(zoom=14):
    """Row and column of the tile of the city in WebMercatorQuad."""
    from math import asinh, pi, radians, tan

    row = int((1 - asinh(tan(radians(28.1015))) / pi) / 2 * 2**zoom)
    return row, int((121.0 + 180) / 360 * 2**zoom)


def features(content, layer="building"):
    decoder = pytest.importorskip("mapbox_vector_tile", reason="pip install mapbox-vector-tile")
    return {each["properties"]["id"]: each["properties"] for each in decoder.decode(content)[layer]["features"]}


@pytest.mark.parametrize("grid", ["WebMercatorQuad", "WorldCRS84Quad", "CGCS2000Quad", "EPSG4549Quad"])
def test_each_grid_has_a_tileset_whose_tiles_hold_the_features(get, client, grid):
    for root, tilejson in (
        ("/collections/building/tiles", "/collections/building/tilejson.json"),
        ("/tiles", "/tiles/tilejson.json"),
    ):
        listed = get(root).json()["tilesets"]
        assert f"{grid}" in json.dumps(listed)
        tileset = get(f"{root}/{grid}").json()
        assert tileset["dataType"] == "vector"
        links = {link["rel"]: link["href"] for link in tileset["links"]}
        assert get(links["http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"]).json()["id"] == grid
        assert get(links["describedby"]).json()["tileMatrixSet"] == grid
        limits = {each["tileMatrix"]: each for each in tileset["tileMatrixSetLimits"]}
        document = get(f"{tilejson}?tms={grid}").json()
        level = document["center"][2]
        rows = range(limits[str(level)]["minTileRow"], limits[str(level)]["maxTileRow"] + 1)
        columns = range(limits[str(level)]["minTileCol"], limits[str(level)]["maxTileCol"] + 1)
        seen = set()
        for row in rows:
            for column in columns:
                tile = client.get(document["tiles"][0].format(z=level, y=row, x=column))
                assert tile.status_code in {200, 204}
                seen |= set(features(tile.content)) if tile.status_code == 200 else set()
        assert len(seen) == 37


def test_tiles_take_an_extension_and_validators_and_say_when_there_is_nothing(get):
    row, column = place()
    address = f"/collections/building/tiles/WebMercatorQuad/14/{row}/{column}"
    tile = get(address)
    assert get(f"{address}.mvt").content == tile.content
    get(address, 304, headers={"If-None-Match": tile.headers["etag"]})
    nothing = get("/collections/building/tiles/WebMercatorQuad/14/0/0", 204)
    assert nothing.content == b""
    assert nothing.headers["etag"] != tile.headers["etag"]


def test_a_tile_is_chosen_from_by_filter_properties_collections_and_moment(get):
    row, column = place()
    address = f"/collections/building/tiles/WebMercatorQuad/14/{row}/{column}"
    every = features(get(address).content)
    high = features(get(f"{address}?filter=height_m>20&properties=height_m").content)
    assert set(high) == {key for key, row_ in every.items() if row_.get("height_m", 0) > 20}
    assert 0 < len(high) < len(every)
    assert all(set(each) <= {"id", "layer", "height_m"} for each in high.values())
    get(f"{address}?datetime=2001-01-01T00:00:00Z", 204)
    city = get(f"/tiles/WebMercatorQuad/14/{row}/{column}?collections=well").content
    assert set(features(city, "well")) == {"w0", "w1", "w2"}
    passed = get("/collections/building/tilejson.json?filter=height_m>20").json()["tiles"][0]
    assert get(passed.format(z=14, y=row, x=column)).content == get(f"{address}?filter=height_m>20").content


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/collections/building/tiles/WebMercatorQuad/2/0/-1", 404),
        ("/collections/building/tiles/WebMercatorQuad/-1/0/0", 404),
        ("/collections/building/tiles/WebMercatorQuad/x/0/0", 400),
        ("/collections/building/tiles/WebMercatorQuad/2/0/0.png", 400),
        ("/collections/building/tiles/WebMercatorQuad/2/0/0@2x", 400),
        ("/collections/building/tiles/WebMercatorQuad/2/0/0?f=png", 400),
        ("/collections/nothing/tiles/WebMercatorQuad/2/0/0", 404),
        ("/collections/meter_record/tiles/WebMercatorQuad/2/0/0", 404),
        ("/collections/building/tiles/WebMercatorQuad/2/0/0?filter=" + "(" * 500, 400),
        ("/collections/building/tiles/WebMercatorQuad/2/0/0?filter=nothing=1", 400),
        ("/collections/building/tiles/WebMercatorQuad/14/6856/13700?filter=nothing=1", 400),
        ("/collections/building/tiles/WebMercatorQuad/2/0/0?filter-lang=cql2-text", 400),
        ("/collections/building/tiles/WebMercatorQuad/2/0/0?properties=nothing", 400),
        ("/collections/building/tiles/WebMercatorQuad/2/0/0?datetime=now", 400),
        ("/collections/building/tiles/WebMercatorQuad/2/0/0?frobnicate=1", 400),
        ("/tiles/WebMercatorQuad/2/0/0?collections=nothing", 404),
        ("/tiles/Nothing", 404),
        ("/collections/building/tiles/Nothing", 404),
        ("/collections/building/tilejson.json?tms=Nothing", 404),
        ("/collections/building/styles/nothing", 404),
        ("/collections/meter_record/styles", 404),
        ("/styles/nothing", 404),
        ("/styles?f=sld", 400),
    ],
)
def test_what_cannot_be_answered_is_a_problem(get, path, status):
    answer = get(path, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_styles_are_listed_and_point_to_our_own_tiles(get):
    row, column = place()
    for root, first in (("/styles", "city"), ("/collections/building/styles", "default")):
        listed = get(root).json()
        assert listed["default"] == first
        for each in listed["styles"]:
            answer = get(each["links"][0]["href"])
            assert answer.headers["content-type"] == "application/vnd.mapbox.style+json"
            document = answer.json()
            assert document["version"] == 8
            (source,) = document["sources"].values()
            assert source["tiles"][0].startswith("http://city.test/")
            tile = get(source["tiles"][0].format(z=14, y=row, x=column))
            assert features(tile.content)
            assert ("symbol" in {layer["type"] for layer in document["layers"]}) == each["id"].endswith("labelled")
    assert get("/styles/city?lang=en").json()["name"] == "Tiny"


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
    assert sorted(names) == sorted(["建筑物", "建筑物 3D", "给水管", "井", "抄表记录", "矢量瓦片（全市）"])
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
