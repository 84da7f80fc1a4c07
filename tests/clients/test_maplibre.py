"""MapLibre GL JS in Chromium draws the vector tiles with the served styles, and the ground from Terrain-RGB.

Oracles: the sample's own files through geopandas and rasterio; the page comes from another origin than the server.
Set `CITYTWIN_MAP_SCREENSHOT` to a path to keep the picture.
"""

import functools
import http.server
import os
import threading
from io import BytesIO
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from PIL import Image

from tests import browser

HERE = Path(__file__).parent
LIBRARY = HERE / "node_modules" / "maplibre-gl" / "dist"
TOWN = Path(__file__).parents[2] / "sample_data" / "town"
SIZE = 600
CENTRE = (121.0, 28.0995)

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<link rel="stylesheet" href="maplibre-gl.css"><style>body{margin:0}#map{width:600px;height:600px}</style>
<div id="map"></div><script src="maplibre-gl.js"></script>"""

OPENED = """async ([style, centre, zoom]) => {
  window.errors = [];
  window.view?.remove();
  window.view = new maplibregl.Map({ container: 'map', style, center: centre, zoom, fadeDuration: 0,
    attributionControl: false, canvasContextAttributes: { preserveDrawingBuffer: true } });
  view.on('error', (event) => errors.push(String(event.error?.message ?? event)));
  await new Promise((done, fail) => { view.once('idle', done); setTimeout(fail, 120000, new Error('not idle')); });
  return errors;
}"""

pytestmark = [pytest.mark.client, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(town_url, chromium, tmp_path_factory):
    """An empty page with the library, from a server of its own."""
    if not LIBRARY.is_dir():
        pytest.skip("maplibre-gl is not installed; run `make clients`")
    folder = tmp_path_factory.mktemp("maplibre")
    (folder / "index.html").write_text(PAGE)
    for name in ("maplibre-gl.js", "maplibre-gl.css"):
        (folder / name).symlink_to(LIBRARY / name)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    own = f"http://127.0.0.1:{server.server_port}/"
    page = chromium.new_page(viewport={"width": SIZE, "height": SIZE})
    page.set_default_timeout(browser.TIMEOUT_MS)
    page.requested, page.complaints, page.own = [], [], own
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("console", lambda message: message.type == "error" and page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(own)
    yield page
    page.close()
    server.shutdown()
    server.server_close()


def opened(page, style, zoom=15.3):
    assert page.evaluate(OPENED, [style, CENTRE, zoom]) == []
    assert page.complaints == []


def picture(page):
    return np.asarray(Image.open(BytesIO(page.screenshot())).convert("RGB")).astype(int)


def seen_of(page, layer):
    """Id -> properties of what is drawn of a layer."""
    script = """(layer) => Object.fromEntries(view.queryRenderedFeatures().filter((f) => f.sourceLayer === layer)
      .map((f) => [f.properties.id, f.properties]))"""
    return page.evaluate(script, layer)


def in_view(page, frame):
    """Rows whose geometry lies well inside the map, and rows that touch it at all."""
    west, south, east, north = page.evaluate("view.getBounds().toArray().flat()")
    degrees = frame.to_crs(4326)
    margin = 0.02 * (east - west)
    inside = degrees.cx[west + margin : east - margin, south + margin : north - margin]
    whole = inside[inside.within(_box(west, south, east, north))]
    return whole, degrees.cx[west - margin : east + margin, south - margin : north + margin]


def _box(*bounds):
    import shapely

    return shapely.box(*bounds)


def test_the_citys_style_draws_every_building_in_view_with_its_attributes(page, town_url):
    opened(page, f"{town_url}styles/city")
    drawn = seen_of(page, "building")
    frame = geopandas.read_file(TOWN / "vector" / "buildings.gpkg", layer="building").set_index("建筑编号")
    whole, touching = in_view(page, frame)
    assert len(whole) > 50
    assert set(whole.index) <= set(drawn)
    assert {key for key, row in drawn.items() if row.get("source", "").endswith("buildings.gpkg")} <= set(
        touching.index
    )
    for key, row in whole.iterrows():
        if not np.isnan(row["建筑高度"]):
            assert drawn[key]["height_m"] == pytest.approx(row["建筑高度"]), key
    keep = os.environ.get("CITYTWIN_MAP_SCREENSHOT")
    if keep:
        page.screenshot(path=keep)


def test_nothing_is_asked_of_anybody_else(page, town_url):
    homes = (town_url, page.own, "blob:", "data:")
    assert [url for url in page.requested if not url.startswith(homes)] == []


def test_pipes_have_the_colours_of_their_kind(page, town_url):
    """The style's own colour stands on the map where the pipe lies, and nowhere else."""
    for kind, file in (("pipe_water", "给水管线.gpkg"), ("pipe_gas", "pipe_gas.shp")):
        style = page.request.get(f"{town_url}collections/{kind}/styles/default").json()
        (colour,) = [layer["paint"]["line-color"] for layer in style["layers"] if layer["type"] == "line"]
        colour = colour if isinstance(colour, str) else colour[-1]  # of the layer's own kind
        opened(page, style)
        red, green, blue = bytes.fromhex(colour.removeprefix("#"))
        shown = np.abs(picture(page) - [red, green, blue]).max(axis=2) < 24
        assert shown.sum() > 100, kind
        frame = geopandas.read_file(TOWN / "pipes" / file).to_crs(4326)
        corners = page.evaluate(
            "(lines) => lines.map((line) => line.map((p) => { const q = view.project(p); return [q.x, q.y]; }))",
            [list(map(list, line.coords)) for line in frame.geometry.force_2d().explode().to_list()],
        )
        import shapely

        lines = shapely.union_all([shapely.LineString(each) for each in corners])
        rows, columns = np.nonzero(shown)
        away = shapely.distance(shapely.points(columns + 0.5, rows + 0.5), lines)
        assert (away <= 4).mean() > 0.98, kind


def test_the_labelled_style_writes_without_fonts_from_a_server(page, town_url):
    opened(page, f"{town_url}styles/city-labelled")
    assert [url for url in page.requested if "glyphs" in url or url.endswith(".pbf")] == []
    plain_url = f"{town_url}styles/city"
    labelled = picture(page)
    opened(page, plain_url)
    assert (np.abs(labelled - picture(page)).max(axis=2) > 60).mean() > 0.001


def test_the_ground_is_the_dem(page, town_url):
    opened(page, f"{town_url}styles/city")
    points = [(120.9985, 28.0985), (121.002, 28.1005), (120.9965, 28.1015)]
    script = """async ([url, points]) => {
      view.addSource('dem', { type: 'raster-dem', url });
      view.setTerrain({ source: 'dem', exaggeration: 1 });
      await new Promise((done, fail) => { view.once('idle', done); setTimeout(fail, 120000, new Error('not idle')); });
      return points.map((p) => view.queryTerrainElevation(p));
    }"""
    drawn = page.evaluate(script, [f"{town_url}terrain-rgb/tilejson.json", points])
    with rasterio.open(TOWN / "terrain" / "dem.tif") as dem:
        from rasterio.warp import transform

        east, north = transform("EPSG:4490", dem.crs, *zip(*points, strict=True))
        heights = [float(value[0]) for value in dem.sample(zip(east, north, strict=True))]
    assert drawn == pytest.approx(heights, abs=1.5)
