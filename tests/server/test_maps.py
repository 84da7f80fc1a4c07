"""OGC API Maps over HTTP: place, size, scale, background, formats, time, styles, tiles, refusals."""

import io
from urllib.parse import quote

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from PIL import Image

from tests.server.conftest import ORIGIN
from tiles.drawing import fonts

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
COLOUR = (0xC0, 0x80, 0x40)
GEOD = pyproj.Geod(ellps="GRS80")
BOX = (ORIGIN[0] - 20, ORIGIN[1] - 20, ORIGIN[0] + 480, ORIGIN[1] + 330)  # EPSG:4549, east first
REL = "http://www.opengis.net/def/rel/ogc/1.0/"


def in_crs(target, box=BOX):
    return pyproj.Transformer.from_crs("EPSG:4549", target, always_xy=True).transform_bounds(*box)


def degrees():
    return ",".join(f"{value:.9f}" for value in in_crs("OGC:CRS84"))


def picture(response):
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGBA"))


def box_of(response):
    return [float(value) for value in response.headers["content-bbox"].split(",")]


def buildings_within(pixels, outlines, target, box):
    """What is drawn agrees with point in polygon, edges left aside."""
    shapes = shapely.union_all(list(outlines.values()))
    placed = shapely.transform(
        shapes, pyproj.Transformer.from_crs("EPSG:4549", target, always_xy=True).transform, interleaved=False
    )
    west, south, east, north = box
    high, wide = pixels.shape[:2]
    cell = max((east - west) / wide, (north - south) / high)
    x, y = np.meshgrid(
        west + (np.arange(wide) + 0.5) * (east - west) / wide, north - (np.arange(high) + 0.5) * (north - south) / high
    )
    inside = shapely.contains_xy(placed.buffer(-1.5 * cell), x, y)
    outside = ~shapely.contains_xy(placed.buffer(1.5 * cell), x, y)
    assert inside.sum() > 1000
    assert (pixels[inside] == (*COLOUR, 255)).all()
    assert (pixels[outside][:, 3] == 0).all()


def test_a_map_is_in_the_storage_crs_and_says_where(get, outlines):
    response = get("/collections/building/map")
    assert response.headers["content-type"] == "image/png"
    assert response.headers["content-crs"] == f"{EPSG}4549"
    south, west, north, east = box_of(response)  # north first
    bounds = shapely.total_bounds(list(outlines.values()))
    np.testing.assert_allclose([west, south, east, north], bounds, atol=0.01)
    pixels = picture(response)
    assert max(pixels.shape[:2]) == 1024
    assert pixels.shape[0] / pixels.shape[1] == pytest.approx((north - south) / (east - west), rel=0.01)
    buildings_within(pixels, outlines, "EPSG:4549", (west, south, east, north))


@pytest.mark.parametrize("code", ["EPSG:4549", "EPSG:3857", "EPSG:4326", "EPSG:4490", "OGC:CRS84"])
def test_a_map_in_each_crs_has_the_buildings_in_their_place(get, outlines, code):
    uri = CRS84 if code == "OGC:CRS84" else EPSG + code.split(":")[1]
    north_first = code in {"EPSG:4549", "EPSG:4326", "EPSG:4490"}
    west, south, east, north = in_crs(code)
    wire = (south, west, north, east) if north_first else (west, south, east, north)
    asked = {"bbox": ",".join(map(repr, wire)), "bbox-crs": uri, "crs": uri, "width": "500", "height": "350"}
    response = get("/collections/building/map", params=asked)
    assert response.headers["content-crs"] == uri
    np.testing.assert_allclose(box_of(response), wire, rtol=1e-10)
    pixels = picture(response)
    assert pixels.shape[:2] == (350, 500)
    buildings_within(pixels, outlines, code, (west, south, east, north))


@pytest.mark.parametrize("code", ["4549", "3857"])
def test_a_box_of_the_world_is_cut_to_where_the_crs_is_defined(get, code):
    response = get(f"/collections/building/map?bbox=-180,-90,180,90&crs={EPSG}{code}&width=64&height=64")
    a, b, c, d = box_of(response)
    lon, lat = pyproj.Transformer.from_crs(f"EPSG:{code}", "EPSG:4326").transform([a, c], [b, d])[::-1]
    assert np.isfinite([lon, lat]).all()
    if code == "3857":
        np.testing.assert_allclose([a, b, c, d], [-20037508.34, -20037508.34, 20037508.34, 20037508.34], atol=0.01)


def test_a_box_over_the_antimeridian(get):
    asked = f"/collections/building/map?width=360&height=100&crs={quote(CRS84)}"
    for query in ("bbox=121.0,28,120.9,28.2", "subset=Lat(28:28.2),Lon(121.0:120.9)"):  # the long way round
        response = get(f"{asked}&{query}")
        np.testing.assert_allclose(box_of(response), [121.0, 28, 120.9, 28.2], atol=1e-9)
        assert picture(response).shape[:2] == (100, 360)
    refused = get("/collections/building/map?bbox=170,0,-170,10&crs=EPSG:3857", 400).json()["detail"]
    assert "antimeridian" in refused


def test_a_box_in_degrees_is_the_outline_of_that_box_in_the_crs_of_the_map(get):
    response = get(f"/collections/building/map?bbox={degrees()}&width=100&height=70")
    south, west, north, east = box_of(response)
    assert west < BOX[0]
    assert south < BOX[1]  # the outline of a box that was turned
    assert (east - west, north - south) == pytest.approx((500, 350), rel=0.05)
    same = get(f"/collections/building/map?subset=Lon({degrees().split(',')[0]}:{degrees().split(',')[2]})"
               f"&subset=Lat({degrees().split(',')[1]}:{degrees().split(',')[3]})&width=100&height=70")  # fmt: skip
    assert same.content == response.content


@pytest.mark.parametrize("code", ["4549", "3857", "4326"])
def test_a_scale_is_true_on_the_ground(get, code):
    asked = f"crs={EPSG}{code}&scale-denominator=2000&width=400&height=300"
    response = get(f"/collections/building/map?{asked}")
    a, b, c, d = box_of(response)
    west, south, east, north = (a, b, c, d) if code == "3857" else (b, a, d, c)
    lon, lat = pyproj.Transformer.from_crs(f"EPSG:{code}", "EPSG:4326", always_xy=True).transform(
        [west, east, (west + east) / 2, (west + east) / 2], [(south + north) / 2, (south + north) / 2, south, north]
    )
    across = GEOD.line_length(lon[:2], lat[:2])
    down = GEOD.line_length(lon[2:], lat[2:])
    assert across == pytest.approx(400 * 0.00028 * 2000, rel=2e-4)
    assert down == pytest.approx(300 * 0.00028 * 2000, rel=2e-4)
    half = box_of(get(f"/collections/building/map?{asked}&mm-per-pixel=0.14"))
    np.testing.assert_allclose(half[2] - half[0], (c - a) / 2, rtol=1e-6)


def test_a_scale_and_a_box_give_the_pixels(get):
    uri = f"{EPSG}4549"
    box = f"{BOX[1]},{BOX[0]},{BOX[3]},{BOX[2]}"
    response = get(f"/collections/building/map?bbox={box}&bbox-crs={uri}&scale-denominator=5000")
    assert picture(response).shape[:2] == (round(350 / 1.4), round(500 / 1.4))


def test_a_centre_is_in_the_middle(get):
    lon, lat = pyproj.Transformer.from_crs("EPSG:4549", "EPSG:4326", always_xy=True).transform(*ORIGIN)
    response = get(f"/collections/building/map?center={lon},{lat}&scale-denominator=1000&width=200&height=100")
    south, west, north, east = box_of(response)
    assert ((west + east) / 2, (south + north) / 2) == pytest.approx(ORIGIN, abs=0.01)
    other = get(f"/collections/building/map?center={lat},{lon}&center-crs={EPSG}4326&scale-denominator=1000"
                "&width=200&height=100")  # fmt: skip
    assert other.content == response.content


def test_one_side_keeps_the_proportions_and_two_squeeze_nothing(get):
    whole = box_of(get("/collections/building/map"))
    shape = (whole[3] - whole[1]) / (whole[2] - whole[0])
    assert picture(get("/collections/building/map?width=300")).shape[:2] == (round(300 / shape), 300)
    assert picture(get("/collections/building/map?height=300")).shape[:2] == (300, round(300 * shape))
    framed = get("/collections/building/map?width=300&height=300")
    assert picture(framed).shape[:2] == (300, 300)
    south, west, north, east = box_of(framed)
    assert north - south == pytest.approx(east - west)
    assert south <= whole[0] + 1e-3
    assert west <= whole[1] + 1e-3


def corner(get, query):
    """The colour of the ground: nothing lies in the corner."""
    return tuple(
        picture(get(f"/collections/building/map?bbox={degrees()}&width=80&height=56&{query}"))[-1, -1].tolist()
    )


@pytest.mark.parametrize(
    ("query", "colour"),
    [
        ("", (0, 0, 0, 0)),
        ("transparent=true", (0, 0, 0, 0)),
        ("transparent=false", (246, 245, 241, 255)),
        ("bgcolor=0x102030", (16, 32, 48, 255)),
        ("bgcolor=FFD700", (255, 215, 0, 255)),
        ("bgcolor=Teal", (0, 128, 128, 255)),
        ("bgcolor=0x102030&transparent=false", (16, 32, 48, 255)),
    ],
)
def test_the_background_is_exactly_what_is_asked(get, query, colour):
    assert corner(get, query) == colour


def test_a_background_under_transparent_is_not_seen(get):
    assert corner(get, "bgcolor=red&transparent=true")[3] == 0
    found = get(f"/collections/building/map?bbox={degrees()}&width=80&height=56&bgcolor=red&f=jpeg")
    red, green, blue, _ = picture(found)[-1, -1].tolist()
    assert red > 240
    assert max(green, blue) < 40


def test_beyond_the_crs_the_void_is_shown(get):
    asked = f"bbox=100,-100,260,100&crs={quote(CRS84)}&width=160&height=200&void-color=0x0000FF&void-transparent=false"
    pixels = picture(get(f"/collections/building/map?{asked}"))
    assert tuple(pixels[5, 40]) == (0, 0, 255, 255)  # beyond the pole
    assert tuple(pixels[100, 120]) == (0, 0, 255, 255)  # beyond 180 degrees
    assert pixels[100, 40, 3] == 0


@pytest.mark.parametrize(("name", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF")])
def test_formats_by_f_and_by_accept(get, name, kind):
    address = f"/collections/building/map?bbox={degrees()}&width=60&height=40"
    by_name = get(f"{address}&f={name}")
    by_accept = get(address, headers={"accept": f"image/{name}"})
    for response in (by_name, by_accept):
        assert response.headers["content-type"] == f"image/{name}"
        assert Image.open(io.BytesIO(response.content)).format == kind
        assert "Accept" in response.headers["vary"]
    assert get(address, headers={"accept": "*/*"}).headers["content-type"] == "image/png"


def test_a_tiff_knows_its_place(get, outlines):
    response = get(f"/collections/building/map?bbox={degrees()}&width=500&height=350&f=tiff")
    south, west, north, east = box_of(response)
    with rasterio.MemoryFile(response.content) as memory, memory.open() as file:
        assert file.crs.to_epsg() == 4549
        np.testing.assert_allclose(file.bounds, (west, south, east, north), rtol=1e-9)
        buildings_within(np.moveaxis(file.read(), 0, -1), outlines, "EPSG:4549", (west, south, east, north))


def test_the_city_shows_all_layers_and_collections_chooses(get):
    asked = f"bbox={degrees()}&width=200&height=140"
    everything = picture(get(f"/map?{asked}"))
    buildings = picture(get(f"/map?{asked}&collections=building"))
    pipes = picture(get(f"/map?{asked}&collections=pipe_water"))
    assert (picture(get(f"/collections/building/map?{asked}")) == buildings).all()
    seen = [(each[..., 3] > 0) for each in (everything, buildings, pipes)]
    assert (seen[0] >= (seen[1] | seen[2])).all()
    assert seen[2].any()
    assert not (seen[1] == seen[2]).all()
    by_address = picture(get(f"/map?{asked}&collections=http://city.test/collections/building"))
    assert (by_address == buildings).all()
    over = picture(get(f"/map?{asked}&collections=pipe_water,building"))
    under = picture(get(f"/map?{asked}&collections=building,pipe_water"))
    assert (over != under).any()


def test_a_filter_leaves_out(get, outlines):
    asked = f"bbox={degrees()}&width=500&height=350&crs={quote(CRS84)}"
    pixels = picture(get(f"/collections/building/map?{asked}&filter=floors=3"))
    chosen = {key: shape for i, (key, shape) in enumerate(outlines.items()) if i % 11 == 3}
    buildings_within_some(pixels, chosen, outlines)


def buildings_within_some(pixels, chosen, outlines):
    placed = pyproj.Transformer.from_crs("EPSG:4549", "OGC:CRS84", always_xy=True)
    west, south, east, north = in_crs("OGC:CRS84")
    for key, shape in outlines.items():
        lon, lat = placed.transform(shape.centroid.x, shape.centroid.y)
        row, column = int((north - lat) / (north - south) * 350), int((lon - west) / (east - west) * 500)
        assert (pixels[row, column, 3] == 255) == (key in chosen), key


def test_before_there_was_anything_the_map_is_empty(get):
    asked = f"/collections/building/map?bbox={degrees()}&width=50&height=35"
    for query in ("datetime=2001-01-01T00:00:00Z", 'subset=time("2001")', "datetime=../2001-01-01"):
        response = get(f"{asked}&{query}")
        assert response.headers["content-datetime"].startswith("2001-01-01")
        assert not picture(response)[..., 3].any()
    assert picture(get(f'{asked}&subset=time("2001":*)'))[..., 3].any()
    assert picture(get(f"{asked}&subset=time(*)"))[..., 3].any()


@pytest.mark.skipif(fonts.path() is None, reason="no font with Chinese glyphs here")
def test_styles_with_names_differ(get):
    asked = f"bbox={degrees()}&width=900&height=630"
    for plain, named in (
        ("/map", "/styles/city-labelled/map"),
        ("/collections/building/map", "/collections/building/styles/default-labelled/map"),
    ):
        assert (picture(get(f"{plain}?{asked}")) != picture(get(f"{named}?{asked}"))).any()
    assert get(f"/styles/city/map?{asked}").content == get(f"/map?{asked}").content


def test_without_a_font_the_answer_says_that_names_are_left_out(get, monkeypatch):
    monkeypatch.setattr(fonts, "path", lambda: None)
    monkeypatch.setattr(fonts, "of_size", lambda _: None)
    asked = f"bbox={degrees()}&width=300&height=200"
    named = get(f"/collections/building/styles/default-labelled/map?{asked}")
    assert "no font" in named.headers["citytwin-note"]
    assert "citytwin-note" not in get(f"/collections/building/map?{asked}").headers


def test_validators(get, client):
    address = f"/collections/building/map?bbox={degrees()}&width=60&height=40"
    first = get(address)
    tag = first.headers["etag"]
    assert get(address, 304, headers={"if-none-match": tag}).content == b""
    assert get(f"{address}&f=webp").headers["etag"] != tag
    assert get(f"{address}&bgcolor=red").headers["etag"] != tag
    head = client.head(address)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)


REFUSED = [
    ("bbox=1,2,3", "bbox"), ("bbox=1,2,3,x", "bbox"), ("bbox=1,2,3,nan", "bbox"), ("bbox=1,3,2,2", "bbox"),
    ("bbox=121,28,121,28", "bbox"), ("bbox=-80,-9,-70,9", "bbox"),
    ("bbox=1,1,2,2&bbox-crs=EPSG:9999999", "bbox-crs"),
    ("crs=EPSG:2154", "crs"), ("crs=nonsense", "crs"), ("width=0", "width"), ("width=-5", "width"),
    ("width=1.5", "width"), ("width=5000", "width"), ("height=1e9", "height"), ("height=99999999999", "height"),
    ("scale-denominator=0", "scale-denominator"), ("scale-denominator=x", "scale-denominator"),
    ("scale-denominator=100&bbox=121,28,121.1,28.1&width=10", "scale-denominator"),
    ("scale-denominator=1&bbox=120.9,28,121.1,28.1", "width"), ("mm-per-pixel=0", "mm-per-pixel"),
    ("mm-per-pixel=-1", "mm-per-pixel"), ("mm-per-pixel=1e9", "mm-per-pixel"), ("center=1", "center"),
    ("center=1,2&bbox=1,2,3,4", "center"), ("center=1,2&subset=Lat(1:2)", "center"),
    ("subset=Lat(1:2)&bbox=1,2,3,4", "subset"),
    ("subset=h(1:2)", "subset"), ("subset=Lat(1)", "subset"), ("subset=Lat(1:2),Lat(1:2)", "subset"),
    ("subset=Lat1:2", "subset"), ("subset=time(2)", "subset"), ("datetime=x", "RFC 3339"),
    ('subset=time("2001")&datetime=2001-01-01', "datetime"), ("bgcolor=12", "bgcolor"), ("bgcolor=nocolour", "bgcolor"),
    ("transparent=maybe", "transparent"), ("void-color=zzzzzz", "void-color"), ("f=gif", "f="), ("f=html", "f="),
    ("filter=nix=1", "nix"), ("filter-lang=cql2-text", "filter"), ("width=1&width=2", "width"), ("foo=1", "foo"),
    ("collections=building", "collections"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "named"), REFUSED)
def test_a_wrong_parameter_is_named(get, query, named):
    response = get(f"/collections/building/map?{query}", 400)
    assert response.headers["content-type"] == "application/problem+json"
    assert named in response.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/collections/nix/map", "/collections/meter_record/map", "/collections/building/styles/nix/map",
        "/styles/nix/map", "/map?collections=nix", "/collections/building/map?subset=Lat(100:110)",
        "/collections/building/map/tiles/nix", "/collections/building/map/tiles/WebMercatorQuad/3/99/0",
        "/styles/nix/map/tiles", "/collections/nix/legend",
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_404(get, path):
    assert get(path, 404).json()["detail"]


def tile_at(z):
    """The tile of WebMercatorQuad that holds the first building."""
    x, y = pyproj.Transformer.from_crs("EPSG:4549", "EPSG:3857", always_xy=True).transform(*ORIGIN)
    half = 20037508.342789244
    return z, int((x + half) / (2 * half) * 2**z), int((half - y) / (2 * half) * 2**z)


def test_map_tiles_are_pieces_of_the_map(get):
    z, x, y = tile_at(18)
    side = 2 * 20037508.342789244 / 2**z
    west, north = x * side - 20037508.342789244, 20037508.342789244 - y * side
    uri = f"{EPSG}3857"
    for root in ("/collections/building", ""):
        tile = get(f"{root}/map/tiles/WebMercatorQuad/{z}/{y}/{x}")
        asked = (
            f"bbox={west!r},{north - side!r},{west + side!r},{north!r}&bbox-crs={uri}&crs={uri}&width=256&height=256"
        )
        same = get(f"{root}/map?{asked}")
        assert picture(tile).shape[:2] == (256, 256)
        assert np.abs(picture(tile).astype(int) - picture(same)).max() <= 2
        assert picture(get(f"{root}/map/tiles/WebMercatorQuad/{z}/{y}/{x}@2x.webp")).shape[:2] == (512, 512)
        assert get(
            f"{root}/map/tiles/WebMercatorQuad/{z}/{y}/{x}", 304, headers={"if-none-match": tile.headers["etag"]}
        )
    assert picture(tile)[..., 3].any()


def test_map_tiles_take_the_parameters_of_maps(get):
    z, x, y = tile_at(17)
    for root in ("/collections/building", ""):
        tile = f"{root}/map/tiles/WebMercatorQuad/{z}/{y}/{x}"
        assert picture(get(f"{tile}?width=100&height=50")).shape[:2] == (50, 100)
        assert (picture(get(f"{tile}?bgcolor=0x102030"))[..., 3] == 255).all()
        ground = 2 * np.pi * 6378137 / 2**z * np.cos(np.radians(28.1))
        assert picture(get(f"{tile}?scale-denominator=5000")).shape[0] == pytest.approx(ground / 1.4, abs=2)
        assert (picture(get(f"{tile}?mm-per-pixel=0.1")) != picture(get(tile))).any()
    assert "scale-denominator" in get(f"{tile}?scale-denominator=1", 400).json()["detail"]
    assert "width" in get(f"{tile}?width=9999", 400).json()["detail"]


def test_lists_of_styles_link_to_styled_maps(get):
    for root in ("/styles", "/collections/building/styles"):
        for style in get(root).json()["styles"]:
            (href,) = [link["href"] for link in style["links"] if link["rel"] == f"{REL}map"]
            assert get(f"{href.removeprefix('http://city.test')}?width=40").headers["content-type"] == "image/png"


def test_neighbouring_map_tiles_meet_without_a_seam(get):
    z, x, y = tile_at(19)
    side = 2 * 20037508.342789244 / 2**z
    west, north = x * side - 20037508.342789244, 20037508.342789244 - y * side
    tiles = [[picture(get(f"/map/tiles/WebMercatorQuad/{z}/{y + r}/{x + c}")) for c in (0, 1)] for r in (0, 1)]
    joined = np.vstack([np.hstack(row) for row in tiles]).astype(int)
    uri = f"{EPSG}3857"
    box = f"{west!r},{north - 2 * side!r},{west + 2 * side!r},{north!r}"
    whole = picture(get(f"/map?bbox={box}&bbox-crs={uri}&crs={uri}&width=512&height=512")).astype(int)
    assert whole[..., 3].any()
    assert (np.abs(joined - whole).max(axis=2) > 8).mean() < 0.002


def test_map_tilesets_list_every_grid_and_their_links_work(get):
    for root in ("/map/tiles", "/collections/building/map/tiles", "/collections/building/styles/default/map/tiles"):
        found = get(root).json()["tilesets"]
        assert len(found) == 4
        for each in found:
            assert each["dataType"] == "map"
            address = next(link["href"] for link in each["links"] if link["rel"] == "self")
            one = get(address.removeprefix("http://city.test")).json()
            limit = one["tileMatrixSetLimits"][-1]
            template = next(link["href"] for link in one["links"] if link["rel"] == "item")
            place = {
                "{tileMatrix}": limit["tileMatrix"],
                "{tileRow}": limit["minTileRow"],
                "{tileCol}": limit["minTileCol"],
            }
            for name, value in place.items():
                template = template.replace(name, str(value))
            assert get(template.removeprefix("http://city.test")).headers["content-type"] == "image/png"


def test_legends(get):
    response = get("/collections/building/legend?lang=en")
    assert response.headers["content-type"] == "image/png"
    pixels = picture(response).reshape(-1, 4)
    assert (pixels == (*COLOUR, 255)).all(axis=1).sum() > 100
    assert get("/collections/building/styles/default/legend?lang=en").content == response.content


def test_landing_page_and_collections_link_to_their_maps(get, outlines):
    landing = get("/").json()
    links = landing["links"]
    assert landing["storageCrs"] == get("/map?width=50").headers["content-crs"] in landing["crs"]
    west, south, east, north = landing["extent"]["spatial"]["bbox"][0]
    assert (120.9 < west < east < 121.1, 28.0 < south < north < 28.2) == (True, True)
    maps = [link for link in links if link["rel"] == f"{REL}map"]
    assert maps[0]["href"] == "http://city.test/map"
    for link in links:
        if link["rel"] in {f"{REL}map", f"{REL}tilesets-map"}:
            get(link["href"].removeprefix("http://city.test"))
    collection = get("/collections/building").json()
    south, west, north, east = collection["extent"]["spatial"]["storageCrsBbox"][0]
    assert (west, south, east, north) == pytest.approx(shapely.total_bounds(list(outlines.values())), abs=0.5)
    for uri in collection["crs"]:  # whatever is listed is offered
        assert get("/collections/building/map", params={"crs": uri, "width": "30"}).headers["content-bbox"]
    own = [link for link in collection["links"] if link["rel"] == f"{REL}map"]
    # the first is in the storage CRS, as the standard has it; the last in degrees, as GDAL's driver reads it
    assert (own[0]["type"], own[-1]["type"]) == ("image/png", "image/png")
    first, last = (get(link["href"].removeprefix("http://city.test")) for link in (own[0], own[-1]))
    assert first.headers["content-crs"] == collection["storageCrs"]
    assert last.headers["content-crs"] == CRS84
    assert not [link for link in get("/collections/meter_record").json()["links"] if link["rel"] == f"{REL}map"]


def test_conformance_and_api_name_the_maps(get):
    said = get("/conformance").json()["conformsTo"]
    for name in ("core", "scaling", "spatial-subsetting", "datetime", "background", "crs", "collection-map",
                 "dataset-map", "styled-map", "png", "jpeg", "tiff", "display-resolution"):  # fmt: skip
        assert f"http://www.opengis.net/spec/ogcapi-maps-1/1.0/conf/{name}" in said
    api = get("/api").json()
    paths, shared = api["paths"], api["components"]["parameters"]
    for path in ("/map", "/styles/{styleId}/map", "/collections/{collectionId}/map",
                 "/collections/{collectionId}/styles/{styleId}/map"):  # fmt: skip
        listed = paths[path]["get"]["parameters"]
        names = {(shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each)["name"] for each in listed}
        assert {"bbox", "bbox-crs", "crs", "width", "height", "scale-denominator", "bgcolor", "transparent"} <= names
