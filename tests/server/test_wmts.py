"""WMTS 1.0.0 over HTTP: KVP and RESTful tiles, capabilities, feature info, exception reports."""

import io
from xml.etree import ElementTree as ET

import numpy as np
import pyproj
import pytest
from PIL import Image

from tests.server.conftest import ORIGIN
from tiles import matrix_set

NS = {"w": "http://www.opengis.net/wmts/1.0", "o": "http://www.opengis.net/ows/1.1"}
SETS = matrix_set.ids("EPSG:4549")
COLOUR = (0xC0, 0x80, 0x40, 255)


def picture(response):
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGBA"))


def tile_of(set_id, metres=0.5):
    """Level, row and column of the tile with the middle of the first building; and the pixel there."""
    grid = matrix_set.get(set_id, "EPSG:4549")
    east, north = ORIGIN[0] + 5, ORIGIN[1] + 6
    x, y = pyproj.Transformer.from_crs("EPSG:4549", grid.crs, always_xy=True).transform(east, north)
    z = grid.level_of(metres / grid.metres_per_unit)
    side = grid.cell_size(z) * 256
    column, row = (x - grid.west) / side, (grid.north - y) / side
    pixel = int(column % 1 * 256), int(row % 1 * 256)
    return z, int(row), int(column), pixel


def kvp(set_id="WebMercatorQuad", **more):
    z, row, column, _ = tile_of(set_id)
    return {
        "SERVICE": "WMTS", "VERSION": "1.0.0", "REQUEST": "GetTile", "LAYER": "building", "STYLE": "default",
        "FORMAT": "image/png", "TILEMATRIXSET": set_id, "TILEMATRIX": str(z), "TILEROW": str(row),
        "TILECOL": str(column),
    } | more  # fmt: skip


def capabilities(get):
    response = get("/wmts?service=WMTS&request=GetCapabilities&lang=zh")
    assert response.headers["content-type"] == "text/xml; charset=utf-8"
    return ET.fromstring(response.content)  # our own answer


@pytest.mark.parametrize("set_id", SETS)
def test_tiles_show_the_building_in_its_pixel_on_every_grid(get, set_id):
    z, row, column, (i, j) = tile_of(set_id)
    by_kvp = get("/wmts", params=kvp(set_id))
    assert by_kvp.headers["content-type"] == "image/png"
    pixels = picture(by_kvp)
    assert pixels.shape == (256, 256, 4)
    assert tuple(pixels[j, i].tolist()) == COLOUR
    by_path = get(f"/wmts/1.0.0/building/default/{set_id}/{z}/{row}/{column}.png")
    as_map_tile = get(f"/collections/building/map/tiles/{set_id}/{z}/{row}/{column}")
    assert by_path.content == by_kvp.content
    assert (picture(as_map_tile) == pixels).all()
    assert get(f"/wmts/1.0.0/city/city/{set_id}/{z}/{row}/{column}.png").content
    for extension, kind in (("jpeg", "image/jpeg"), ("webp", "image/webp")):
        other = get(f"/wmts/1.0.0/building/default/{set_id}/{z}/{row}/{column}.{extension}")
        assert other.headers["content-type"] == kind


def test_tiles_have_validators_and_may_be_kept_for_minutes(get, client):
    first = get("/wmts", params=kvp())
    assert "max-age=300" in first.headers["cache-control"]
    assert get("/wmts", 304, params=kvp(), headers={"if-none-match": first.headers["etag"]}).content == b""
    head = client.head("/wmts", params=kvp())
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("set_id", SETS)
def test_capabilities_describe_each_grid_as_its_definition_does(get, set_id):
    root = capabilities(get)
    described = next(
        each
        for each in root.findall("w:Contents/w:TileMatrixSet", NS)
        if each.findtext("o:Identifier", None, NS) == set_id
    )
    definition = get(f"/tileMatrixSets/{set_id}").json()
    code = definition["crs"].rpartition("/")[2]
    assert described.findtext("o:SupportedCRS", None, NS).endswith(f":{code}")
    levels = described.findall("w:TileMatrix", NS)
    assert len(levels) == len(definition["tileMatrices"])
    for level, known in zip(levels, definition["tileMatrices"], strict=True):
        corner = [float(value) for value in level.findtext("w:TopLeftCorner", None, NS).split()]
        assert corner == known["pointOfOrigin"]
        assert float(level.findtext("w:ScaleDenominator", None, NS)) == known["scaleDenominator"]
        assert int(level.findtext("w:MatrixWidth", None, NS)) == known["matrixWidth"]
    # first axis first: north where the CRS says so
    north_first = pyproj.CRS(described.findtext("o:SupportedCRS", None, NS)).axis_info[0].direction == "north"
    grid = matrix_set.get(set_id, "EPSG:4549")
    corner = [float(value) for value in levels[0].findtext("w:TopLeftCorner", None, NS).split()]
    assert corner == ([grid.north, grid.west] if north_first else [grid.west, grid.north])


def test_capabilities_list_every_layer_with_its_styles_and_working_templates(get):
    root = capabilities(get)
    layers = {each.findtext("o:Identifier", None, NS): each for each in root.findall("w:Contents/w:Layer", NS)}
    assert {"city", "building", "pipe_water", "well"} <= set(layers)
    assert "meter_record" not in layers
    building = layers["building"]
    assert building.findtext("o:Title", None, NS) == "建筑物"
    styles = [
        (each.findtext("o:Identifier", None, NS), each.get("isDefault")) for each in building.findall("w:Style", NS)
    ]
    assert styles == [("default", "true"), ("default-labelled", "false")]
    assert [each.text for each in building.findall("w:TileMatrixSetLink/w:TileMatrixSet", NS)] == SETS
    west, south = (float(v) for v in building.findtext("o:WGS84BoundingBox/o:LowerCorner", None, NS).split())
    assert (120.9 < west < 121.1, 28.0 < south < 28.2) == (True, True)
    z, row, column, (i, j) = tile_of("WebMercatorQuad")
    values = {"Style": "default", "TileMatrixSet": "WebMercatorQuad", "TileMatrix": z}
    values |= {"TileRow": row, "TileCol": column, "I": i, "J": j}
    for each in building.findall("w:ResourceURL", NS):
        address = each.get("template").removeprefix("http://city.test")
        for name, value in values.items():
            address = address.replace(f"{{{name}}}", str(value))
        assert "{" not in address
        assert get(address).headers["content-type"].startswith(each.get("format"))
    for legend in building.findall("w:Style/w:LegendURL", NS):
        href = legend.get("{http://www.w3.org/1999/xlink}href").removeprefix("http://city.test")
        assert get(href).headers["content-type"] == "image/png"
    assert get("/wmts/1.0.0/WMTSCapabilities.xml?lang=zh").content == get(
        "/wmts?service=WMTS&request=GetCapabilities&lang=zh"
    ).content  # fmt: skip


@pytest.mark.parametrize("set_id", SETS)
def test_feature_info_by_kvp_and_by_path(get, set_id):
    z, row, column, (i, j) = tile_of(set_id)
    asked = kvp(set_id, REQUEST="GetFeatureInfo", INFOFORMAT="application/json", I=str(i), J=str(j))
    by_kvp = get("/wmts", params=asked).json()
    assert [each["id"] for each in by_kvp["features"]] == ["building.b00"]
    by_path = get(f"/wmts/1.0.0/building/default/{set_id}/{z}/{row}/{column}/{j}/{i}.json")
    assert by_path.json() == by_kvp


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"LAYER": "nix"}, "InvalidParameterValue", 404),
        ({"LAYER": ""}, "MissingParameterValue", 400),
        ({"STYLE": "nix"}, "InvalidParameterValue", 404),
        ({"FORMAT": "image/gif"}, "InvalidParameterValue", 400),
        ({"TILEMATRIXSET": "nix"}, "InvalidParameterValue", 404),
        ({"TILEMATRIX": "99"}, "TileOutOfRange", 404),
        ({"TILEMATRIX": "x"}, "InvalidParameterValue", 400),
        ({"TILEROW": "99999999"}, "TileOutOfRange", 404),
        ({"TILECOL": "-1"}, "InvalidParameterValue", 400),
        ({"TILEROW": "1" * 40}, "InvalidParameterValue", 400),
        ({"REQUEST": "GetNothing"}, "OperationNotSupported", 400),
        ({"SERVICE": "WMS"}, "InvalidParameterValue", 400),
        ({"REQUEST": "GetFeatureInfo", "I": "256", "J": "0"}, "PointIJOutOfRange", 400),
        ({"REQUEST": "GetFeatureInfo", "I": "1"}, "MissingParameterValue", 400),
        ({"REQUEST": "GetFeatureInfo", "I": "1", "J": "1", "INFOFORMAT": "a/b"}, "InvalidParameterValue", 400),
    ],
)
def test_what_is_wrong_is_an_exception_report(get, change, code, status):
    response = get("/wmts", status, params=kvp(**change))
    assert response.headers["content-type"] == "text/xml; charset=utf-8"
    found = ET.fromstring(response.content).find("o:Exception", NS)
    assert found.get("exceptionCode") == code
    assert found.findtext("o:ExceptionText", None, NS)


@pytest.mark.parametrize("file", ["1.gif", "x.png", "1", "1.png.png"])
def test_a_wrong_ending_is_refused(get, file):
    response = get(f"/wmts/1.0.0/building/default/WebMercatorQuad/1/1/{file}", 400)
    assert response.headers["content-type"] == "text/xml; charset=utf-8"
