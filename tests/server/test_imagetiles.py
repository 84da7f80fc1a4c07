"""Image tiles over HTTP: grids, formats, styles, mosaics of epochs, validators, descriptions, refusals."""

import io
from urllib.parse import urlsplit

import morecantile
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from starlette.testclient import TestClient

import twin
from layers import crs
from layers.report import Report
from server.app import create_app
from server.settings import Settings
from server.weights import preferred
from tiles import matrix_set
from tiles.imagery import MEDIA_TYPES
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, SourceRecord

CITY = "EPSG:4549"
EAST, NORTH, SIDE = 598_000.0, 3_112_000.0, 512
SETS = matrix_set.ids(CITY)
KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def write(path, data, shift=0.0, nodata=None):
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=len(data), dtype=data.dtype, crs=CITY,
        transform=from_origin(EAST + shift, NORTH, 1, 1), nodata=nodata, tiled=True, blockxsize=256, blockysize=256,
    ) as out:  # fmt: skip
        out.write(data)
        out.build_overviews([2], Resampling.average)
    return EAST + shift, NORTH - SIDE, EAST + shift + SIDE, NORTH


def photo(grey):
    return np.full((3, SIDE, SIDE), grey, np.uint8) + np.array([0, 10, 20], np.uint8)[:, None, None]


def rasters(folder):
    """Two epochs of images that overlap by half, an elevation model that rises to the east, codes, a broken file."""
    rise = np.tile(np.arange(SIDE, dtype=np.float32) * 0.5, (SIDE, 1))[None]
    codes = np.repeat((np.arange(SIDE) // 128).astype(np.uint8)[None], SIDE, 0)[None]
    for name, layer, epoch, data, shift, nodata in (
        ("new", "dom", "2026", photo(200), 0, None),
        ("old", "dom", "2019", photo(90), -256, None),
        ("ground", "dem", None, rise, 0, -9999.0),
        ("zones", "risk_zone", None, codes, 0, None),
        ("torn", "noise_map", None, photo(1), 0, None),
    ):
        path = f"rasters/{name}.tif"
        box = write(folder / path, data, shift, nodata)
        yield Asset(name, layer, "raster", path, CITY, box, box, "a.tif", "", epoch)
    (folder / "rasters/torn.tif").write_bytes(b"II*\0nothing more")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    config.save(config.TwinConfig("images", CITY, 121.0, 28.1), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs=CITY)
    record = SourceRecord("a.tif", "0" * 64, 1, 1, "{}")
    with store.writing() as batch:
        batch.begin_source(record)
        for asset in rasters(folder):
            batch.put_asset(asset)
        cloud = folder / "points/c.copc.laz"
        cloud.parent.mkdir()
        cloud.write_bytes(b"LASF")
        box = (EAST, NORTH - 9, EAST + 9, NORTH)
        batch.put_asset(Asset("c", "point_cloud", "points", "points/c.copc.laz", CITY, box, box, "a.tif"))
        batch.finish_source(record, Report("a.tif", "test", "0" * 64, "stored"))
    store.close()
    settings = Settings(access_log=False, warm_up=False)
    with twin.open(folder) as city, TestClient(create_app(city, settings), base_url="http://city.test") as session:
        yield session


def zrc(z, east=EAST + 300, north=NORTH - 200, set_id="WebMercatorQuad"):
    """Level, row, column of the tile with a place, by morecantile."""
    grid = morecantile.TileMatrixSet.model_validate(matrix_set.get(set_id, CITY).document())
    x, y = crs.transform(CITY, matrix_set.get(set_id, CITY).crs, np.array([east]), np.array([north]))
    tile = grid._tile(float(x[0]), float(y[0]), z)
    return f"{z}/{tile.y}/{tile.x}"


def picture(response):
    found = Image.open(io.BytesIO(response.content))
    assert response.headers["content-type"] == KINDS[found.format]
    return found


@pytest.mark.parametrize("set_id", SETS)
def test_the_same_place_is_shown_on_every_grid(get, set_id):
    level = {"WebMercatorQuad": 18, "EPSG4549Quad": 18}.get(set_id, 17)
    got = picture(get(f"/collections/dom/tiles/{set_id}/{zrc(level, set_id=set_id)}"))
    colours = np.asarray(got.convert("RGB"), int)
    assert got.size == (256, 256)
    assert np.abs(colours - [200, 210, 220]).max() <= 2


def test_newest_on_top_and_older_below_unless_one_is_named(get):
    both = zrc(18, EAST + 60), zrc(18, EAST - 180)
    grey = [np.asarray(picture(get(f"/collections/dom/tiles/WebMercatorQuad/{each}")))[..., 0].mean() for each in both]
    assert grey == pytest.approx([200, 90], abs=2)
    for how in ("epoch=2019", "asset=old"):
        old = picture(get(f"/collections/dom/tiles/WebMercatorQuad/{both[0]}?{how}"))
        assert np.asarray(old)[..., 0].mean() == pytest.approx(90, abs=2)
    assert "2019, 2026" in get(f"/collections/dom/tiles/WebMercatorQuad/{both[0]}?epoch=1999", 404).json()["detail"]
    assert "new, old" in get(f"/collections/dom/tiles/WebMercatorQuad/{both[0]}?asset=x", 404).json()["detail"]


@pytest.mark.parametrize(
    ("ending", "accept", "kind"),
    [
        ("", "*/*", "JPEG"),
        (".png", "*/*", "PNG"),
        (".webp", "image/png", "WEBP"),
        (".jpg", "*/*", "JPEG"),
        ("?f=png", "*/*", "PNG"),
        ("?f=jpeg", "image/webp", "JPEG"),
        ("", "image/webp", "WEBP"),
        ("", "image/png", "PNG"),
        ("", "image/webp,*/*", "JPEG"),
        ("", "text/html,application/xhtml+xml,image/avif,image/webp,image/png,*/*;q=0.8", "JPEG"),
        ("", "image/png,*/*;q=0.5", "PNG"),
        ("", "application/json", "JPEG"),
    ],
)
def test_the_format_is_asked_for_by_extension_parameter_or_header(get, ending, accept, kind):
    answer = get(f"/collections/dom/tiles/WebMercatorQuad/{zrc(18)}{ending}", headers={"Accept": accept})
    if accept.startswith("text/html"):
        assert picture(answer).format in {"JPEG", "PNG", "WEBP"}
    else:
        assert picture(answer).format == kind
    assert "Accept" in answer.headers["vary"]


def test_twice_the_pixels_show_the_same(get):
    plain = picture(get(f"/collections/dom/tiles/WebMercatorQuad/{zrc(17)}.png"))
    for address in (f"{zrc(17)}@2x.png", f"{zrc(17)}?scale=2&f=png"):
        double = picture(get(f"/collections/dom/tiles/WebMercatorQuad/{address}"))
        assert double.size == (512, 512)
        small = np.asarray(double.convert("RGBA").resize((256, 256), Image.Resampling.BOX), int)
        assert np.abs(small - np.asarray(plain.convert("RGBA"), int))[5:-5, 5:-5].mean() < 2


def test_heights_have_styles_in_the_path_and_as_a_parameter(get):
    """The ground rises to the east with 0.5: the light from north-west at 45 degrees falls on it with 0.857."""
    tile = f"WebMercatorQuad/{zrc(17)}.png"
    by_path = get(f"/collections/dem/styles/hillshade/map/tiles/{tile}")
    assert by_path.content == get(f"/collections/dem/tiles/{tile}?style=hillshade").content
    shade = np.asarray(picture(by_path).convert("LA"))
    inner = shade[..., 0][shade[..., 1] == 255]
    east, north = np.sin(np.radians(315)), np.cos(np.radians(45))
    light = (north - north * east * 0.5) / np.sqrt(1.25)
    assert np.median(inner) == pytest.approx(light * 255, abs=2)
    relief = get(f"/collections/dem/map/tiles/{tile}")
    assert relief.content == get(f"/collections/dem/tiles/{tile}").content != by_path.content
    assert "hillshade" in get(f"/collections/dem/styles/contour/map/tiles/{tile}", 404).json()["detail"]


def test_an_analysis_raster_in_colours_of_the_reader(get):
    colours = set()
    for east in (64, 192, 320):
        tile = f"/collections/risk_zone/tiles/WebMercatorQuad/{zrc(18, EAST + east)}.png"
        got = np.asarray(picture(get(f"{tile}?palette=0:%23ff0000,1:00ff00,2:0000ff80")).convert("RGBA"))
        colours |= {tuple(each) for each in got.reshape(-1, 4).tolist() if each[3]}
    assert colours == {(255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 128)}
    shown = np.asarray(picture(get(f"{tile}?colormap=viridis&rescale=0,2")).convert("RGBA"))
    assert (253, 231, 36, 255) in {tuple(each) for each in shown.reshape(-1, 4).tolist()}  # viridis ends in this yellow


def test_a_tile_has_a_strong_tag_and_is_not_sent_twice(get):
    address = f"/collections/dom/tiles/WebMercatorQuad/{zrc(18)}"
    tile = get(address)
    tag = tile.headers["etag"]
    assert tag.startswith('"')
    assert tile.headers["cache-control"] == "no-cache"
    assert get(address, 304, headers={"If-None-Match": tag}).content == b""
    others = {get(f"{address}{more}").headers["etag"] for more in ("@2x", "?f=png", "?epoch=2019", "?bands=1")}
    assert len(others | {tag}) == 5
    description = get("/collections/dom/tilejson.json").json()
    z, row, col = zrc(18).split("/")
    forever = get(urlsplit(description["tiles"][0].format(z=z, y=row, x=col))._replace(scheme="", netloc="").geturl())
    assert "immutable" in forever.headers["cache-control"]
    assert forever.content == tile.content
    assert get(f"{address}?v=old").headers["cache-control"] == "no-cache"


def test_a_tile_that_nothing_touches_is_transparent(get):
    for address in (f"WebMercatorQuad/{zrc(16, EAST + 9000)}", "WebMercatorQuad/3/0/0@2x.webp", "CGCS2000Quad/0/0/0"):
        got = np.asarray(picture(get(f"/collections/dom/tiles/{address}")).convert("RGBA"))
        assert (got[..., 3] == 0).all()


@pytest.mark.parametrize("set_id", SETS)
def test_tilejson_says_where_the_tiles_are(get, set_id):
    document = get(f"/collections/dom/tilejson.json?tms={set_id}&epoch=2026").json()
    west, south, east, north = document["bounds"]
    corners = crs.transform(CITY, "OGC:CRS84", np.array([EAST, EAST + SIDE]), np.array([NORTH - SIDE, NORTH]))
    np.testing.assert_allclose([west, east], corners[0], atol=5e-5)
    np.testing.assert_allclose([south, north], corners[1], atol=5e-5)
    grid = morecantile.TileMatrixSet.model_validate(matrix_set.get(set_id, CITY).document())
    low, high = document["minzoom"], document["maxzoom"]
    assert len(list(grid.tiles(west, south, east, north, [low]))) <= 4
    resolution = grid.matrix(high).cellSize * (111_320 if set_id in {"WorldCRS84Quad", "CGCS2000Quad"} else 1)
    assert resolution <= 1.2  # the file has 1 m; mercator stretches by 1.13
    z, row, col = zrc(high, set_id=set_id).split("/")
    assert document["tiles"][0].startswith("http://city.test/collections/dom/tiles/")
    picture(get(urlsplit(document["tiles"][0].format(z=z, y=row, x=col))._replace(scheme="", netloc="").geturl()))
    double = get(f"/collections/dom/tilejson.json?tms={set_id}&epoch=2026&scale=2").json()
    assert (double["maxzoom"], double["tileSize"]) == (high - 1, 512)


@pytest.mark.parametrize("root", ["/collections/dem/map/tiles", "/collections/dem/styles/hillshade/map/tiles"])
def test_tilesets_are_listed_and_described(get, root):
    listed = get(root).json()["tilesets"]
    assert len(listed) == len(SETS)
    for each, set_id in zip(listed, SETS, strict=True):
        document = get(urlsplit(each["links"][0]["href"]).path).json()
        assert document["dataType"] == "map"
        assert document["crs"] == crs.uri(matrix_set.get(set_id, CITY).crs)
        last = document["tileMatrixSetLimits"][-1]
        assert (
            last["minTileRow"] <= int(zrc(int(last["tileMatrix"]), set_id=set_id).split("/")[1]) <= last["maxTileRow"]
        )
        link = next(link for link in document["links"] if link["rel"] == "item")
        address = link["href"].format(
            tileMatrix=last["tileMatrix"], tileRow=last["minTileRow"], tileCol=last["minTileCol"]
        )
        picture(get(urlsplit(address).path))
        scheme = next(link for link in document["links"] if link["rel"].endswith("tiling-scheme"))
        assert get(urlsplit(scheme["href"]).path).json()["id"] == set_id


def test_tile_matrix_sets_are_listed(get):
    listed = get("/tileMatrixSets").json()["tileMatrixSets"]
    assert [each["id"] for each in listed] == SETS
    for each in listed:
        document = get(urlsplit(each["links"][0]["href"]).path)
        assert document.json()["crs"] == each["crs"]
        get(urlsplit(each["links"][0]["href"]).path, 304, headers={"If-None-Match": document.headers["etag"]})
    assert "EPSG4549Quad" in get("/tileMatrixSets/EPSG4550Quad", 404).json()["detail"]


TILE = "/collections/dom/tiles/WebMercatorQuad"
HERE = "18/109538/219178"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        (f"{TILE}/25/0/0", 404, "level 25"),
        (f"{TILE}/-1/0/0", 404, "level -1"),
        (f"{TILE}/3/0/-1", 404, "column -1"),
        (f"{TILE}/3/8/0", 404, "row 8"),
        (f"{TILE}/3/0/8.png", 404, "column 8"),
        (f"{TILE}/3/x/0", 400, "row='x'"),
        (f"{TILE}/1e3/0/0", 400, "z='1e3'"),
        (f"{TILE}/3/0/0.5.png", 400, "column='0.5.png'"),
        (f"{TILE}/{'9' * 400}/0/0", 400, "z="),
        ("/collections/dom/tiles/WorldMercator/0/0/0", 404, "WorldMercator"),
        ("/collections/nothing/tiles/WebMercatorQuad/0/0/0", 404, "nothing"),
        ("/collections/nothing/map/tiles/WebMercatorQuad/0/0/0", 404, "nothing"),
        ("/collections/point_cloud/map/tiles/WebMercatorQuad/0/0/0", 404, "point cloud"),
        (f"{TILE}/{HERE}.gif", 400, "extension='gif'"),
        (f"{TILE}/{HERE}.mvt", 400, "extension='mvt'"),
        (f"{TILE}/{HERE}?f=tiff", 400, "f='tiff'"),
        (f"{TILE}/{HERE}.png?f=webp", 400, "differ"),
        (f"{TILE}/{HERE}?scale=3", 400, "scale='3'"),
        (f"{TILE}/{HERE}?style=hillshade", 404, "hillshade"),
        (f"{TILE}/{HERE}?bands=1,9,2", 400, "bands=1,9,2"),
        (f"{TILE}/{HERE}?bands=a", 400, "bands='a'"),
        (f"{TILE}/{HERE}?rescale=3,1", 400, "rescale='3,1'"),
        (f"{TILE}/{HERE}?rescale=nan,1", 400, "rescale"),
        (f"{TILE}/{HERE}?rescale=1", 400, "rescale"),
        (f"{TILE}/{HERE}?colormap=purple", 400, "colormap='purple'"),
        (f"{TILE}/{HERE}?palette=1-red", 400, "palette='1-red'"),
        (f"{TILE}/{HERE}?palette={'1:ff0000,' * 300}", 400, "palette"),
        (f"{TILE}/{HERE}?zoom=3", 400, "zoom"),
        (f"{TILE}/{HERE}?asset=old&epoch=2026", 404, "dom"),
        (f"/collections/noise_map/tiles/WebMercatorQuad/{HERE}", 400, "'torn' of noise_map"),
        ("/collections/noise_map/tilejson.json", 400, "'torn' of noise_map"),
        ("/collections/dom/tilejson.json?tms=Nope", 404, "Nope"),
        ("/collections/dom/tilejson.json?colormap=purple&bands=1", 400, "purple"),
        ("/collections/dom/map/tiles?f=html", 400, "json"),
    ],
)
def test_what_is_wrong_is_named(get, path, status, said):
    assert said in get(path, status).json()["detail"]


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        ("image/png", "png"),
        ("image/webp;q=0.9, image/jpeg", "jpeg"),
        ("image/*", None),
        ("*/*;q=0.1, image/webp;q=0.2", "webp"),
        ("image/webp;q=x", None),
        ("text/plain", None),
        ("", None),
        (",;,", None),
    ],
)
def test_what_a_reader_likes_best(accept, best):
    assert preferred(accept, MEDIA_TYPES) == best


def test_terrain_rgb_states_the_heights_of_the_elevation_model(get):
    """The ground rises to the east by 0.5 m a metre from 0."""
    document = get("/terrain-rgb/tilejson.json").json()
    assert document["encoding"] == "mapbox"
    z, row, col = zrc(17).split("/")
    address = urlsplit(document["tiles"][0].format(z=z, x=col, y=row))._replace(scheme="", netloc="").geturl()
    tile = get(address)
    assert "immutable" in tile.headers["cache-control"]
    assert tile.headers["content-type"] == "image/png"
    got = np.asarray(Image.open(io.BytesIO(tile.content)), float)
    heights = -10000 + 0.1 * (got[..., 0] * 65536 + got[..., 1] * 256 + got[..., 2])
    grid = matrix_set.get("WebMercatorQuad", CITY)
    west, _, east, north = grid.bounds(int(z), int(col), int(row))
    step = (east - west) / 256
    x, y = np.meshgrid(west + (np.arange(256) + 0.5) * step, north - (np.arange(256) + 0.5) * step)
    e, n = crs.transform("EPSG:3857", CITY, x, y)
    inside = (e > EAST + 2) & (e < EAST + SIDE - 2) & (n < NORTH - 2) & (n > NORTH - SIDE + 2)
    assert inside.sum() > 10_000
    assert np.abs(heights - ((e - EAST) * 0.5 - 0.25))[inside].max() < 0.06
    plain = f"/terrain-rgb/{z}/{col}/{row}"
    tag = get(f"{plain}.png").headers["etag"]
    assert get(f"{plain}.png", 304, headers={"If-None-Match": tag}).content == b""
    tags = {get(f"{plain}{more}").headers["etag"] for more in (".webp", "@2x.png", ".png?encoding=terrarium")}
    assert len(tags | {tag}) == 4
    webp = np.asarray(Image.open(io.BytesIO(get(f"{plain}.webp").content)))
    np.testing.assert_array_equal(webp, got.astype(np.uint8))


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/terrain-rgb/25/0/0.png", 404, "level 25"),
        ("/terrain-rgb/3/-1/0.png", 404, "column -1"),
        ("/terrain-rgb/3/0/8.png", 404, "row 8"),
        ("/terrain-rgb/3/x/8.png", 400, "x='x'"),
        ("/terrain-rgb/3/0/a.png", 400, "y='a.png'"),
        ("/terrain-rgb/3/0/0.jpg", 400, "jpg"),
        ("/terrain-rgb/3/0/0.png?f=webp", 400, "differ"),
        ("/terrain-rgb/3/0/0.png?heights=deep", 400, "heights='deep'"),
        ("/terrain-rgb/3/0/0.png?encoding=rgb", 400, "encoding='rgb'"),
        ("/terrain-rgb/tilejson.json?scale=4", 400, "scale='4'"),
        ("/terrain-rgb/tilejson.json?surface=moon", 404, "moon"),
    ],
)
def test_what_is_wrong_with_terrain_rgb_is_named(get, path, status, said):
    assert said in get(path, status).json()["detail"]
