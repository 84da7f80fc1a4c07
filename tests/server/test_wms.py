"""WMS 1.3.0 and 1.1.1 over HTTP: axis order, capabilities, exact hits, legends, times, exceptions."""

import io
import time
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import pyproj
import pytest
import shapely
from PIL import Image
from starlette.testclient import TestClient

import twin
from layers.report import Report
from server.app import create_app
from server.settings import Settings
from tests.server.conftest import ORIGIN, WELL, put, rows
from twin import config
from twin.store import moments
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import SourceRecord

NS = {"w": "http://www.opengis.net/wms", "x": "http://www.w3.org/1999/xlink", "o": "http://www.opengis.net/ogc"}
BOX = (ORIGIN[0] - 20, ORIGIN[1] - 20, ORIGIN[0] + 480, ORIGIN[1] + 330)  # EPSG:4549, east first
COLOUR = (0xC0, 0x80, 0x40)
NORTH_FIRST = {"EPSG:4549", "EPSG:4326", "EPSG:4490", "EPSG:4528"}


def in_crs(code):
    name = "OGC:CRS84" if code == "CRS:84" else code
    return pyproj.Transformer.from_crs("EPSG:4549", name, always_xy=True).transform_bounds(*BOX)


def asked(version="1.3.0", code="EPSG:4549", **more):
    west, south, east, north = in_crs(code)
    swapped = version == "1.3.0" and code in NORTH_FIRST
    box = (south, west, north, east) if swapped else (west, south, east, north)
    return {
        "SERVICE": "WMS", "VERSION": version, "REQUEST": "GetMap", "LAYERS": "building", "STYLES": "",
        "CRS" if version == "1.3.0" else "SRS": code, "BBOX": ",".join(map(repr, box)), "WIDTH": "500", "HEIGHT": "350",
        "FORMAT": "image/png", "TRANSPARENT": "TRUE",
    } | more  # fmt: skip


def picture(response):
    assert response.headers["content-type"].startswith("image/"), response.text[:300]
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGBA"))


def inside(outlines, code, shrink=1.5):
    to = pyproj.Transformer.from_crs("EPSG:4549", "OGC:CRS84" if code == "CRS:84" else code, always_xy=True)
    placed = shapely.transform(shapely.union_all(list(outlines.values())), to.transform, interleaved=False)
    west, south, east, north = in_crs(code)
    x, y = np.meshgrid(
        west + (np.arange(500) + 0.5) * (east - west) / 500, north - (np.arange(350) + 0.5) * (north - south) / 350
    )
    cell = max((east - west) / 500, (north - south) / 350)
    return (
        shapely.contains_xy(placed.buffer(-shrink * cell), x, y),
        ~shapely.contains_xy(placed.buffer(shrink * cell), x, y),
    )


@pytest.mark.parametrize("version", ["1.3.0", "1.1.1"])
@pytest.mark.parametrize("code", ["EPSG:4549", "EPSG:3857", "EPSG:4326", "EPSG:4490", "CRS:84"])
def test_maps_have_the_buildings_in_their_place_in_either_axis_order(get, outlines, version, code):
    pixels = picture(get("/wms", params=asked(version, code)))
    assert pixels.shape == (350, 500, 4)
    within, without = inside(outlines, code)
    assert within.sum() > 1000
    assert (pixels[within] == (*COLOUR, 255)).all()
    assert (pixels[without][:, 3] == 0).all()


def test_names_of_parameters_have_any_case_and_strange_ones_are_left_to_lie(get):
    plain = get("/wms", params=asked())
    lower = {key.lower(): value for key, value in asked().items()} | {"tiled": "true", "map_resolution": "90.7142857"}
    assert get("/wms", params=lower).content == plain.content


def test_backgrounds_and_formats(get):
    white = picture(get("/wms", params=asked(TRANSPARENT="FALSE")))
    assert tuple(white[-1, -1]) == (255, 255, 255, 255)
    blue = picture(get("/wms", params=asked(TRANSPARENT="FALSE", BGCOLOR="0x0000FF")))
    assert tuple(blue[-1, -1]) == (0, 0, 255, 255)
    for kind, name in (("image/jpeg", "JPEG"), ("image/webp", "WEBP"), ("image/tiff", "TIFF")):
        response = get("/wms", params=asked(FORMAT=kind))
        assert response.headers["content-type"] == kind
        assert Image.open(io.BytesIO(response.content)).format == name


def test_a_finer_screen_has_larger_symbols(get):
    thin = picture(get("/wms", params=asked(LAYERS="pipe_water", DPI="90.7")))[..., 3].astype(int).sum()
    thick = picture(get("/wms", params=asked(LAYERS="pipe_water", DPI="272.1")))[..., 3].astype(int).sum()
    assert thick > 1.5 * thin
    by_option = picture(get("/wms", params=asked(LAYERS="pipe_water", FORMAT_OPTIONS="dpi:272.1")))
    assert by_option[..., 3].astype(int).sum() == thick


def test_layers_lie_in_the_order_of_their_names(get):
    over = picture(get("/wms", params=asked(LAYERS="pipe_water,building")))
    under = picture(get("/wms", params=asked(LAYERS="building,pipe_water")))
    assert (over != under).any()
    group = picture(get("/wms", params=asked(LAYERS="group.base")))
    everything = picture(get("/wms", params=asked(LAYERS="city", STYLES="")))
    assert (everything == picture(get("/map", params=ogc_map()))).all()
    assert group[..., 3].any()


def ogc_map():
    uri = "http://www.opengis.net/def/crs/EPSG/0/4549"
    west, south, east, north = BOX
    box = f"{south},{west},{north},{east}"
    return {"bbox": box, "bbox-crs": uri, "crs": uri, "width": "500", "height": "350"}


def test_a_filter_as_cql(get, outlines):
    pixels = picture(get("/wms", params=asked(CQL_FILTER="floors = 3")))
    chosen = {key: shape for i, (key, shape) in enumerate(outlines.items()) if i % 11 == 3}
    within, _ = inside(chosen, "EPSG:4549")
    _, without = inside(chosen, "EPSG:4549")
    assert (pixels[within][:, 3] == 255).all()
    assert (pixels[without][:, 3] == 0).all()


def tree(get, version):
    response = get("/wms", params={"service": "WMS", "request": "GetCapabilities", "version": version, "lang": "zh"})
    kind = "text/xml; charset=utf-8" if version == "1.3.0" else "application/vnd.ogc.wms_xml"
    assert response.headers["content-type"] == kind
    return ET.fromstring(response.content)  # our own answer


def layer_named(root, name, prefix):
    return next(each for each in root.iter(f"{prefix}Layer") if each.findtext(f"{prefix}Name") == name)


def test_capabilities_1_3_0(get, outlines):
    root = tree(get, "1.3.0")
    assert root.tag == "{http://www.opengis.net/wms}WMS_Capabilities"
    assert root.get("version") == "1.3.0"
    w = "{http://www.opengis.net/wms}"
    top = root.find("w:Capability/w:Layer", NS)
    offered = {each.text for each in top.findall("w:CRS", NS)}
    assert {"EPSG:4549", "EPSG:4490", "EPSG:4326", "EPSG:3857", "CRS:84"} <= offered
    building = layer_named(root, "building", w)
    assert building.findtext("w:Title", None, NS) == "建筑物"
    boxes = {each.get("CRS"): [float(each.get(k)) for k in ("minx", "miny", "maxx", "maxy")]
             for each in building.findall("w:BoundingBox", NS)}  # fmt: skip
    bounds = shapely.total_bounds(list(outlines.values()))
    for code, box in boxes.items():
        name = "OGC:CRS84" if code == "CRS:84" else code
        west, south, east, north = pyproj.Transformer.from_crs("EPSG:4549", name, always_xy=True).transform_bounds(
            *bounds
        )
        wanted = (south, west, north, east) if code in NORTH_FIRST else (west, south, east, north)
        np.testing.assert_allclose(box, wanted, rtol=0, atol=3e-6 if abs(west) < 180 else 0.3)
    geographic = building.find("w:EX_GeographicBoundingBox", NS)
    assert 120.9 < float(geographic.findtext("w:westBoundLongitude", None, NS)) < 121.1
    styles = [each.findtext("w:Name", None, NS) for each in building.findall("w:Style", NS)]
    assert styles == ["default", "default-labelled"]
    # layers lie under the Chinese titles of their categories
    groups = {each.findtext("w:Name", None, NS): each for each in top.findall("w:Layer", NS)}
    assert building in list(groups["group.base"])
    assert not any(each.findtext("w:Name", None, NS) == "meter_record" for each in root.iter(f"{w}Layer"))
    formats = {each.text for each in root.findall("w:Capability/w:Request/w:GetMap/w:Format", NS)}
    assert {"image/png", "image/jpeg"} <= formats
    assert root.find("w:Service/w:MaxWidth", NS).text == "4096"


def test_capabilities_1_1_1(get, outlines):
    root = tree(get, "1.1.1")
    assert (root.tag, root.get("version")) == ("WMT_MS_Capabilities", "1.1.1")
    building = layer_named(root, "building", "")
    bounds = shapely.total_bounds(list(outlines.values()))
    box = next(each for each in building.findall("BoundingBox") if each.get("SRS") == "EPSG:4549")
    found = [float(box.get(key)) for key in ("minx", "miny", "maxx", "maxy")]
    np.testing.assert_allclose(found, bounds, rtol=0, atol=0.3)  # east first, always
    assert building.find("LatLonBoundingBox") is not None


def test_every_address_in_the_capabilities_is_ours(get):
    for version in ("1.3.0", "1.1.1"):
        root = tree(get, version)
        addresses = [each.get("{http://www.w3.org/1999/xlink}href") for each in root.iter()]
        assert {address.split("/")[2] for address in addresses if address} == {"city.test"}
        legends = [address for address in addresses if address and "GetLegendGraphic" in address]
        assert picture(get(legends[0].removeprefix("http://city.test"))).size


def test_capabilities_have_a_validator(get):
    address = "/wms?service=WMS&request=GetCapabilities"
    tag = get(address).headers["etag"]
    assert get(address, 304, headers={"if-none-match": tag}).content == b""
    shown = get("/wms", params=asked())
    assert get("/wms", 304, params=asked(), headers={"if-none-match": shown.headers["etag"]}).content == b""


def at(outlines, key, version="1.3.0", code="EPSG:4549"):
    """The pixel of the middle of a building."""
    to = pyproj.Transformer.from_crs("EPSG:4549", "OGC:CRS84" if code == "CRS:84" else code, always_xy=True)
    x, y = to.transform(outlines[key].centroid.x, outlines[key].centroid.y)
    west, south, east, north = in_crs(code)
    column, row = int((x - west) / (east - west) * 500), int((north - y) / (north - south) * 350)
    names = ("I", "J") if version == "1.3.0" else ("X", "Y")
    return {names[0]: str(column), names[1]: str(row)}


def info(outlines, key, version="1.3.0", code="EPSG:4549", **more):
    what = {"REQUEST": "GetFeatureInfo", "QUERY_LAYERS": "building", "INFO_FORMAT": "application/json"}
    return asked(version, code) | what | at(outlines, key, version, code) | more


@pytest.mark.parametrize("version", ["1.3.0", "1.1.1"])
@pytest.mark.parametrize("code", ["EPSG:4549", "EPSG:3857", "EPSG:4326"])
def test_feature_info_finds_the_building_under_the_pixel(get, outlines, version, code):
    for key in ("b00", "b19", "楼/7 a&b"):
        found = get("/wms", params=info(outlines, key, version, code)).json()
        (feature,) = found["features"]
        assert feature["id"] == f"building.{key}"
        to = pyproj.Transformer.from_crs("EPSG:4549", code, always_xy=True)
        wanted = shapely.transform(outlines[key], to.transform, interleaved=False)
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.symmetric_difference(wanted).area < 1e-4 * wanted.area  # east first


def test_feature_info_is_exact_beside_a_building(get, outlines):
    """Three pixels reach, five do not."""
    west, south, _, _ = outlines["b19"].bounds
    for away, expected in ((2.0, 1), (5.0, 0)):
        column, row = west - away - BOX[0], BOX[3] - (south - away)
        pixel = {"I": str(int(column)), "J": str(int(row))}
        found = get("/wms", params=info(outlines, "b19", FEATURE_COUNT="10") | pixel).json()["features"]
        assert len(found) == expected


def test_feature_info_as_html_and_text(get, outlines):
    well = {"QUERY_LAYERS": "well", "LAYERS": "well", "I": "20", "J": "330"}
    page = get("/wms", params=info(outlines, "b00", INFO_FORMAT="text/html", lang="zh") | well)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "&lt;b&gt;井&lt;/b&gt;" in page.text
    assert "<b>井" not in page.text
    text = get("/wms", params=info(outlines, "b00", INFO_FORMAT="text/plain", lang="en"))
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert "[Buildings]" in text.text
    assert "id = b00" in text.text
    nothing = get("/wms", params=info(outlines, "b00", INFO_FORMAT="text/plain", lang="en") | {"I": "499", "J": "0"})
    assert nothing.text.strip() == "There is nothing here."


def refused(get, params, status=400, version="1.3.0"):
    response = get("/wms", status, params=params)
    kind = "text/xml; charset=utf-8" if version == "1.3.0" else "application/vnd.ogc.se_xml"
    assert response.headers["content-type"] == kind
    prefix = "o:" if version == "1.3.0" else ""
    found = ET.fromstring(response.content).find(f"{prefix}ServiceException", NS)
    return found.get("code"), found.text


@pytest.mark.parametrize(
    ("change", "code", "named", "status"),
    [
        ({"LAYERS": "nix"}, "LayerNotDefined", "nix", 404),
        ({"LAYERS": ""}, None, "LAYERS", 400),
        ({"STYLES": "nix"}, "StyleNotDefined", "nix", 404),
        ({"STYLES": "default,default"}, "StyleNotDefined", "STYLES", 400),
        ({"CRS": "EPSG:2154"}, "InvalidCRS", "EPSG:2154", 400),
        ({"CRS": "nonsense"}, "InvalidCRS", "nonsense", 400),
        ({"CRS": ""}, None, "CRS", 400),
        ({"FORMAT": "image/gif"}, "InvalidFormat", "image/gif", 400),
        ({"BBOX": "1,2,3"}, None, "BBOX", 400),
        ({"BBOX": "4,3,2,1"}, None, "BBOX", 400),
        ({"BBOX": "nan,0,1,1"}, None, "BBOX", 400),
        ({"BBOX": "0,0,inf,1"}, None, "box", 400),
        ({"WIDTH": "0"}, None, "WIDTH", 400),
        ({"WIDTH": "99999"}, None, "WIDTH", 400),
        ({"HEIGHT": "x"}, None, "HEIGHT", 400),
        ({"TRANSPARENT": "maybe"}, None, "TRANSPARENT", 400),
        ({"BGCOLOR": "0x12"}, None, "BGCOLOR", 400),
        ({"TIME": "yesterday"}, "InvalidDimensionValue", "TIME", 400),
        ({"CQL_FILTER": "nix = 1"}, None, "nix", 400),
        ({"FILTER": "<Filter/>"}, None, "CQL_FILTER", 400),
        ({"REQUEST": "GetNothing"}, "OperationNotSupported", "getnothing", 400),
        ({"REQUEST": ""}, None, "REQUEST", 400),
        ({"SERVICE": "WFS"}, None, "WFS", 400),
        ({"LAYERS": ",".join(["building"] * 300)}, None, "LAYERS", 400),
        ({"LAYERS": "<script>&\1"}, "LayerNotDefined", "<script>", 404),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_service_exception(get, change, code, named, status):
    found, message = refused(get, asked(**change), status)
    assert found == code
    assert named in message


def test_exceptions_of_1_1_1_and_of_feature_info(get, outlines):
    assert refused(get, asked("1.1.1", SRS="EPSG:2154"), version="1.1.1")[0] == "InvalidSRS"
    assert refused(get, info(outlines, "b00") | {"I": "500"})[0] == "InvalidPoint"
    assert refused(get, info(outlines, "b00") | {"J": "x"})[0] == "InvalidPoint"
    assert refused(get, info(outlines, "b00", INFO_FORMAT="application/gml"))[0] == "InvalidFormat"
    assert "FEATURE_COUNT" in refused(get, info(outlines, "b00", FEATURE_COUNT="1000000"))[1]
    assert refused(get, {"REQUEST": "GetLegendGraphic", "LAYER": "nix"}, 404)[0] == "LayerNotDefined"


def test_exceptions_as_pictures(get):
    told = picture(get("/wms", params=asked(LAYERS="nix", EXCEPTIONS="INIMAGE")))
    assert told.shape[:2] == (350, 500)
    assert (told[..., 0] != 255).any() or (told[..., 1] != 255).any()
    blank = picture(get("/wms", params=asked("1.1.1", LAYERS="nix", EXCEPTIONS="application/vnd.ogc.se_blank")))
    assert (blank[..., 3] == 0).all()
    assert picture(get("/wms", params=asked(WIDTH="1e9", EXCEPTIONS="INIMAGE"))).shape[:2] == (350, 256)


@pytest.fixture(scope="module")
def changing(tmp_path_factory):
    """A city whose only well has moved."""
    folder = tmp_path_factory.mktemp("changing")
    config.save(config.TwinConfig("changing", "EPSG:4549", 121.0, 28.1), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    schema = WELL.arrow_schema()
    times = []
    for east in (100.0, 300.0):
        point = shapely.Point(ORIGIN[0] + east, ORIGIN[1] + 150)
        put(store, "w.gpkg", WELL, rows(["w"], [point], {"name": ["井"]}, schema))
        times.append(datetime.now(UTC) + timedelta(seconds=1))
        time.sleep(1.1)  # moments are whole seconds in TIME
    record = SourceRecord("x", "0" * 64, 1, 1, "{}")
    with store.writing() as batch:
        batch.begin_source(record)
        batch.finish_source(record, Report("x", "test", "0" * 64, "stored"))
    store.close()
    with twin.open(folder) as city, TestClient(
        create_app(city, Settings(access_log=False, warm_up=False)), base_url="http://city.test"
    ) as session:  # fmt: skip
        yield city, session, times


def test_time_goes_back_where_there_is_a_history(changing):
    city, session, times = changing

    def middle(**more):
        alpha = picture(session.get("/wms", params=asked(LAYERS="well", **more)))[..., 3]
        return np.argwhere(alpha > 0).mean(axis=0)[1]

    assert middle() == pytest.approx(320, abs=1)
    assert middle(TIME=times[0].strftime("%Y-%m-%dT%H:%M:%SZ")) == pytest.approx(120, abs=1)
    assert middle(TIME="current") == pytest.approx(320, abs=1)
    root = ET.fromstring(session.get("/wms?service=WMS&request=GetCapabilities").content)
    (dimension,) = root.iter("{http://www.opengis.net/wms}Dimension")
    assert (dimension.get("name"), dimension.get("units"), dimension.get("default")) == ("time", "ISO8601", "current")
    first, last, _ = dimension.text.split("/")
    assert (first, last) == moments.span(city.store, "well", city.scope)
    assert first < times[0].isoformat()
    assert datetime.fromisoformat(first) < datetime.fromisoformat(last)


def test_without_a_history_there_is_no_time(get):
    assert not list(tree(get, "1.3.0").iter("{http://www.opengis.net/wms}Dimension"))
