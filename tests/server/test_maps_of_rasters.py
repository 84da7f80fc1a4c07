"""Maps, WMS and WMTS of images: epochs, heights under a pixel, the same bytes as image tiles, a damaged file."""

import io
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from tests.server.test_imagetiles import CITY, EAST, NORTH, client  # noqa: F401 -- a fixture
from tiles import matrix_set

GRID = matrix_set.get("EPSG4549Quad", CITY)
BOX = (EAST + 50, NORTH - 250, EAST + 250, NORTH - 50)  # both epochs are there
WMS = "{http://www.opengis.net/wms}"


def picture(response):
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGBA"))


def wms(**more):
    west, south, east, north = BOX
    return {
        "SERVICE": "WMS", "VERSION": "1.3.0", "REQUEST": "GetMap", "LAYERS": "dom", "STYLES": "", "CRS": CITY,
        "BBOX": f"{south},{west},{north},{east}", "WIDTH": "100", "HEIGHT": "100", "FORMAT": "image/png",
    } | more  # fmt: skip


def test_the_newest_image_lies_on_top_and_time_goes_back(get):
    assert tuple(picture(get("/wms", params=wms()))[50, 50]) == (200, 210, 220, 255)
    assert tuple(picture(get("/wms", params=wms(TIME="2020")))[50, 50]) == (90, 100, 110, 255)
    assert not picture(get("/wms", params=wms(TIME="2001", TRANSPARENT="TRUE")))[..., 3].any()
    asked = f"/collections/dom/map?bbox-crs=http://www.opengis.net/def/crs/EPSG/0/4549&bbox={wms()['BBOX']}&width=100"
    now, then = get(asked), get(f"{asked}&datetime=2020-05-05")
    assert (tuple(picture(now)[50, 50]), now.headers["content-datetime"]) == ((200, 210, 220, 255), "2019/2026")
    assert tuple(picture(then)[50, 50]) == (90, 100, 110, 255)
    root = ET.fromstring(get("/wms?service=WMS&request=GetCapabilities").content)
    (time,) = root.iter(f"{WMS}Dimension")
    assert (time.text, time.get("default")) == ("2019,2026", "2026")


def test_the_height_under_a_pixel(get):
    """The ground rises half a metre with each metre to the east."""
    for column in (10, 77):
        asked = wms(REQUEST="GetFeatureInfo", QUERY_LAYERS="dem", LAYERS="dem", I=str(column), J="50",
                    INFO_FORMAT="application/json")  # fmt: skip
        (found,) = get("/wms", params=asked).json()["features"]
        east = BOX[0] + (column + 0.5) * 2 - EAST
        assert found["properties"]["band_1"] == pytest.approx(0.5 * np.floor(east), abs=0.5)


def test_styles_of_heights(get):
    pictures = [
        picture(get("/wms", params=wms(LAYERS="dem", STYLES=style))) for style in ("", "relief", "hillshade", "slope")
    ]
    assert (pictures[0] == pictures[1]).all()
    for each in pictures[1:]:
        assert (each[..., 3] == 255).all()
    assert (pictures[2][..., 0] == pictures[2][..., 1]).all()  # grey
    # a plane that rises by 0.5: brightness and slope are the same everywhere
    assert np.ptp(pictures[2][5:-5, 5:-5, 0]) <= 1
    light = (np.sin(np.radians(45)) + np.cos(np.radians(45)) * np.sin(np.radians(45)) * 0.5) / np.sqrt(1.25)
    assert abs(pictures[2][50, 50, 0] - 255 * light) <= 2


def test_wmts_tiles_are_the_image_tiles(get):
    z = 17
    side = GRID.cell_size(z) * 256
    column, row = int((EAST + 100 - GRID.west) / side), int((GRID.north - NORTH + 100) / side)
    for layer, style in (("dom", "default"), ("dem", "hillshade"), ("dem", "relief")):
        tile = get(f"/wmts/1.0.0/{layer}/{style}/EPSG4549Quad/{z}/{row}/{column}.png")
        same = get(f"/collections/{layer}/styles/{style}/map/tiles/EPSG4549Quad/{z}/{row}/{column}.png")
        assert tile.content == same.content
        assert picture(tile)[..., 3].any()
    coloured = get(f"/collections/dom/map/tiles/EPSG4549Quad/{z}/{row}/{column}?bgcolor=red&f=png")
    assert (picture(coloured)[..., 3] == 255).all()


def test_a_damaged_file_takes_no_other_layer_with_it(get):
    for path in ("/map?collections=dom", "/collections/dom/map", "/collections/dem/map/tiles"):
        get(path)
    for path in ("/wms?service=WMS&request=GetCapabilities", "/wmts?service=WMTS&request=GetCapabilities"):
        text = get(path).text
        assert ">dom<" in text
        assert ">noise_map<" not in text
    assert get("/collections/noise_map/map", 404).json()["detail"]
    assert "LayerNotDefined" in get("/wms", 404, params=wms(LAYERS="noise_map")).text


def test_a_city_of_images_alone_has_no_map_of_features(get):
    assert get("/map", 404).json()["detail"]
    assert get("/map/tiles", 404).json()["detail"]
    assert "LayerNotDefined" in get("/wms", 404, params=wms(LAYERS="city")).text
