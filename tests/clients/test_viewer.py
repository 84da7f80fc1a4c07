"""Chromium opens the viewer of the real server on the sample town: ground, picks, switches, and nothing from elsewhere.

Oracles: the DEM through rasterio, the undulation through `egm96`, footprints from the sample through geopandas.
Set `CITYTWIN_SCREENSHOT` to a path to keep the picture.
"""

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from tests import browser

TOWN = Path(__file__).parents[2] / "sample_data" / "town"
SIZE = {"width": 800, "height": 500}  # few pixels: the processor draws them
MIDDLE = (SIZE["width"] // 2, SIZE["height"] // 2)

pytestmark = [pytest.mark.client, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(town_url, chromium):
    """The viewer, loaded."""
    page = browser.opened_viewer(chromium, town_url, SIZE)
    yield page
    page.close()


@pytest.fixture(scope="module")
def expected():
    return json.loads((TOWN / "expected.json").read_text(encoding="utf-8"))


def look_at(page, lon, lat, *, h=0.0, above=250.0, pitch=-90, back=0.0):
    """Put the eye `above` metres over height `h`, `back` metres south of the point, and wait for the tiles."""
    view = {"lon": lon, "lat": lat - back / 110_850, "height": h + above, "heading": 0, "pitch": pitch}
    page.evaluate("view => { citytwin.setView(view); return citytwin.settled() }", view)


def pick(page, x=MIDDLE[0], y=MIDDLE[1]):
    return page.evaluate("([x, y]) => citytwin.pick(x, y)", [x, y])


def layers_near_the_middle(page):
    """What is drawn there, whatever its colour: a grey roof on a grey ground cannot be told from a picture."""
    hits = [pick(page, MIDDLE[0] + x, MIDDLE[1] + y) for x in (-8, -3, 0, 3, 8) for y in (-8, -3, 0, 3, 8)]
    return {hit["layer"] for hit in hits if hit}


def picture(page):
    from PIL import Image

    page.evaluate("citytwin.settled()")
    return np.asarray(Image.open(BytesIO(page.screenshot())).convert("RGB")).astype(int)


def dem_plus_undulation(points):
    """Ellipsoidal height: bilinear in the DEM's cell centres, plus EGM96."""
    import rasterio
    from egm96 import undulation

    with rasterio.open(TOWN / "terrain" / "dem.tif") as dem:
        values, inverse = dem.read(1).astype(float), ~dem.transform
    heights = []
    for point in points:
        column, row = inverse @ (point["e"], point["n"])
        c, r = int(column - 0.5), int(row - 0.5)
        fx, fy = column - 0.5 - c, row - 0.5 - r
        four = values[r : r + 2, c : c + 2]
        elevation = np.array([1 - fy, fy]) @ four @ np.array([1 - fx, fx])
        heights.append(float(elevation + undulation(point["lat"], point["lon"])))
    return heights


@pytest.fixture(scope="module")
def houses():
    """Footprints in the sample's file, largest first: (id, lon, lat of a point inside)."""
    import geopandas

    frame = geopandas.read_file(TOWN / "vector" / "buildings.gpkg", layer="building")
    frame = frame.assign(area=frame.geometry.area).sort_values("area", ascending=False)
    inside = frame.geometry.representative_point().to_crs(4326)
    return frame, inside


def test_it_loads_from_one_origin_without_a_complaint(page, town_url):
    away = [url for url in page.requested if not url.startswith((town_url.rstrip("/") + "/", "blob:", "data:"))]
    assert away == []
    assert page.complaints == []
    assert page.evaluate("citytwin.problems") == []
    for part in ("/viewer/config.json", "/terrain/layer.json", ".terrain", "/3dtiles/", "/collections/dom/tiles/"):
        assert [url for url in page.requested if part in url], f"nothing with {part} was asked for"


def test_the_ground_is_dem_plus_height_model(page, expected):
    points = [expected["ground_heights"][n] for n in (0, 3, 5)]  # plain, valley side, hill
    drawn = []
    for point, height in zip(points, dem_plus_undulation(points), strict=True):
        look_at(page, point["lon"], point["lat"], h=height)
        drawn.append(page.evaluate("([lon, lat]) => citytwin.groundHeight(lon, lat)", [point["lon"], point["lat"]]))
    assert drawn == pytest.approx(dem_plus_undulation(points), abs=1.0)


def test_a_picked_building_is_the_one_that_features_serves(page, town_url, houses):
    frame, inside = houses
    found = 0
    for row, spot in zip(frame.head(6).itertuples(), inside.head(6), strict=True):
        look_at(page, spot.x, spot.y)
        picked = pick(page)
        assert picked is not None, f"nothing is drawn on {row.Index}"
        answer = page.request.get(f"{town_url.rstrip('/')}/collections/{picked['layer']}/items/{picked['id']}")
        assert answer.ok, f"{picked} is drawn but not served: {answer.status}"
        feature = answer.json()
        assert feature["id"] == picked["id"]
        if picked["layer"] != "building":
            continue  # a BIM model stands there
        found += 1
        from shapely.geometry import Point, shape

        assert shape(feature["geometry"]).buffer(1e-6).contains(Point(spot.x, spot.y))
    assert found >= 2


def test_a_click_shows_what_features_serves(page, town_url, houses):
    _, inside = houses
    for spot in inside.head(12):
        look_at(page, spot.x, spot.y)
        picked = pick(page)
        if picked and picked["layer"] == "building":
            break
    page.mouse.click(*MIDDLE)
    details = page.locator(".details")
    details.locator("table").wait_for()
    assert details.locator("h2").inner_text() == picked["id"]
    served = page.request.get(f"{town_url.rstrip('/')}/collections/building/items/{picked['id']}").json()["properties"]
    assert details.locator("tr").count() == len(served)
    numbers = [f"{value:g}" for value in served.values() if isinstance(value, int) and abs(value) < 100_000]
    shown = details.locator("table").inner_text()
    assert [number for number in numbers if number not in shown] == []
    details.get_by_role("button", name="Close").click()


def test_every_switch_hides_its_layer(page, town_url):
    """For each 3D layer alone: look down on its first feature through the ground, with the layer and without it."""
    from shapely.geometry import shape

    everything = page.evaluate("citytwin.config.layers3d.map(layer => layer.id)")
    layers = page.evaluate("citytwin.config.layers3d.filter(layer => layer.items).map(layer => layer.id)")
    assert len(layers) >= 15
    assert len(everything) > len(layers)  # a point cloud has no features to look for
    switches = {layer: page.locator(f".side input[data-layer='{layer}']").first for layer in layers}
    for switch in switches.values():
        switch.uncheck()
    page.get_by_role("switch", name="See underground").check()
    not_seen = {}
    for layer, switch in switches.items():
        asked = (
            "&filter=appendage%20IN%20('检查井')" if layer == "pipe_node" else ""
        )  # of points only wells have a body
        items = f"{town_url.rstrip('/')}/collections/{layer}/items?limit=1{asked}"
        geometry = shape(page.request.get(items).json()["features"][0]["geometry"])
        spot = (
            geometry.interpolate(0.5, normalized=True) if geometry.length and not geometry.area else geometry.centroid
        )
        ground = page.evaluate("([lon, lat]) => citytwin.groundHeight(lon, lat)", [spot.x, spot.y])
        switch.check()
        above = 250 if geometry.area else 60 if geometry.length else 30  # posts are thin
        look_at(page, spot.x, spot.y, h=ground or 0.0, above=above)
        shown = layers_near_the_middle(page)
        switch.uncheck()
        page.evaluate("citytwin.settled()")
        hidden = layers_near_the_middle(page)
        if shown != {layer} or hidden:
            not_seen[layer] = (shown, hidden)
    for switch in switches.values():
        switch.check()
    page.get_by_role("switch", name="See underground").uncheck()
    assert not_seen == {}


def test_a_picture_is_kept(page, expected, houses, tmp_path):
    _, inside = houses
    west, south, east, north = page.evaluate("citytwin.config.extent")
    page.set_viewport_size({"width": 1440, "height": 810})
    spot = min(inside, key=lambda p: abs(p.x - (west + east) / 2) + abs(p.y - (south + north) / 2))
    look_at(page, spot.x, spot.y, above=420, pitch=-32, back=620)
    page.evaluate("citytwin.settled()")
    grid = [(720 + 40 * column, 405 + 30 * row) for column in range(-4, 5) for row in range(-3, 6)]
    grid.sort(key=lambda at: abs(at[0] - 720) + abs(at[1] - 405))
    page.mouse.click(*next(at for at in grid if (hit := pick(page, *at)) and hit["layer"] == "building"))
    page.locator(".details table").wait_for()
    page.mouse.move(700, 640)
    page.evaluate("citytwin.settled()")
    path = Path(os.environ.get("CITYTWIN_SCREENSHOT", tmp_path / "viewer.png"))
    page.screenshot(path=path)
    pixels = picture(page)
    assert path.stat().st_size > 100_000
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 2000
    assert page.complaints == []
    town = expected["town"]
    assert west < town["origin_lon_lat"][0] < east
    assert south < town["origin_lon_lat"][1] < north
