"""The pages in Chromium: maps draw the features of the page, nothing leaves the origin, no complaint on the console.

Set `CITYTWIN_PAGES_SCREENSHOTS` to a folder to keep the pictures.
"""

import os
import re
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import geopandas
import numpy as np
import pytest
from PIL import Image

from server.viewer import DIST
from tests import browser

TOWN = Path(__file__).parents[2] / "sample_data" / "town"
pytestmark = [pytest.mark.client, pytest.mark.slow]
ACCENT = (224, 68, 44)
PAGES = [
    "/", "/conformance", "/api", "/collections", "/collections/building", "/collections/dom",
    "/collections/point_cloud", "/collections/building/schema", "/collections/building/queryables",
    "/collections/pipe_water/items?limit=25", "/collections/sensor_obs/items?limit=25",
    "/collections/building/items/B00001", "/tiles", "/collections/building/tiles/WebMercatorQuad",
    "/tileMatrixSets/WebMercatorQuad", "/styles", "/processes", "/processes/buffer-query", "/jobs",
]  # fmt: skip

NARROW = [
    "/", "/api", "/collections", "/collections/point_cloud", "/collections/pipe_water/items?limit=25",
    "/collections/building/items/B00001", "/tileMatrixSets/WebMercatorQuad", "/processes/buffer-query",
]  # fmt: skip


@pytest.fixture(scope="module")
def opened(town_url, chromium):
    """Opens a page; what it asked for and complained about is kept on the page object."""
    if not list(DIST.glob("maplibre-gl-*")):
        pytest.skip("the viewer is not built: python -m server.viewer")
    contexts = []

    def opened(path, language="en-GB", scheme="light", width=1280, **options):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, locale=language, color_scheme=scheme, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(browser.TIMEOUT_MS)
        page.requested, page.complaints = [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("response", lambda answer: answer.status >= 400 and page.complaints.append(answer.url))
        page.on("console", lambda said: said.type in {"error", "warning"} and page.complaints.append(said.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(town_url.rstrip("/") + path)
        if options.get("java_script_enabled", True):
            if page.query_selector("[data-map]"):
                page.wait_for_selector("[data-map][data-ready]")
            if page.query_selector("#swagger"):
                page.wait_for_selector("#swagger[data-ready]")
        return page

    yield opened
    for context in contexts:
        context.close()


def ours(page, url):
    return [each for each in page.requested if not each.startswith((url, "blob:", "data:"))]


@pytest.mark.parametrize(
    ("language", "scheme", "width", "pages"),
    [("zh-CN", "light", 1280, PAGES), ("en-GB", "dark", 390, NARROW)],
    ids=["zh-light-wide", "en-dark-narrow"],
)
def test_every_page_stays_at_home_and_nothing_is_complained_about(opened, town_url, language, scheme, width, pages):
    keep = os.environ.get("CITYTWIN_PAGES_SCREENSHOTS")
    wrong = []
    for path in pages:
        page = opened(path, language, scheme, width)
        wrong += [f"{path}: {each}" for each in [*ours(page, town_url), *page.complaints]]
        # nothing is wider than the window: tables scroll in a box of their own
        wrong += [path] if page.evaluate("document.documentElement.scrollWidth > innerWidth + 1") else []
        spoken = page.evaluate("document.documentElement.lang")
        wrong += [] if spoken == ("zh-CN" if language == "zh-CN" else "en") else [f"{path} is in {spoken!r}"]
        if keep:
            name = re.sub(r"\W+", "-", path).strip("-") or "landing"
            page.screenshot(path=f"{keep}/{name}-{language[:2]}-{scheme}-{width}.png", full_page=True)
        page.context.close()
    assert wrong == []


def test_text_can_be_read_in_both_schemes(opened):
    """WCAG 2.1, 1.4.3: 4.5 to 1, on what is shown over a plain background."""
    script = """() => {
      const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
      const behind = (node) => {
        for (; node; node = node.parentElement) {
          const colour = rgb(getComputedStyle(node).backgroundColor);
          if (colour.length < 4 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
      };
      const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const found = [];
      const kinds = "a, p, th, td, code, label, small, span, h1, h2, button, .tag, summary";
      for (const node of document.querySelectorAll(kinds)) {
        if (!node.innerText?.trim() || !node.checkVisibility() || node.closest(".map")) continue;
        const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) found.push(`${node.tagName} ${contrast.toFixed(2)} ${node.innerText.slice(0, 30)}`);
      }
      return found;
    }"""
    for scheme in ("light", "dark"):
        for path in ("/", "/collections/building", "/collections/building/items?limit=25", "/processes/buffer-query"):
            assert opened(path, scheme=scheme).evaluate(script) == [], (path, scheme)


def test_the_map_shows_the_features_of_the_page_where_they_are(opened):
    page = opened("/collections/building/items?limit=50&filter=height_m>30")
    rows = page.eval_on_selector_all("tr[data-id]", "(rows) => rows.map((row) => row.dataset.id)")
    frame = geopandas.read_file(TOWN / "vector" / "buildings.gpkg", layer="building").set_index("建筑编号")
    tall = set(frame.index[frame["建筑高度"] > 30])
    assert len(rows) == 50 or tall <= set(rows)
    drawn = page.evaluate(
        "() => [...new Set(document.querySelector('.map').citytwin.queryRenderedFeatures({ layers: ['shown-fill'] })"
        ".map((each) => each.properties.$id))]"
    )
    assert set(drawn) == set(rows)
    key = next(each for each in rows if each in frame.index)
    centre = frame.to_crs(4326).geometry[key].representative_point()
    script = """([lon, lat]) => {
      const box = document.querySelector('.map');
      const at = box.citytwin.project([lon, lat]), corner = box.querySelector('canvas').getBoundingClientRect();
      return [at.x + corner.x, at.y + corner.y];
    }"""
    place = page.evaluate(script, [centre.x, centre.y])
    page.mouse.click(*place)
    link = page.wait_for_selector(".maplibregl-popup a")
    assert link.inner_text() == key
    assert page.eval_on_selector("tr.is-marked", "(row) => row.dataset.id") == key
    link.click()
    page.wait_for_load_state()
    assert urlsplit(page.url).path == f"/collections/building/items/{key}"
    assert page.complaints == []


def test_imagery_can_be_put_under_the_map(opened):
    page = opened("/collections/building/items?limit=10")
    box = page.query_selector(".map")

    def picture():
        return np.asarray(Image.open(BytesIO(box.screenshot())).convert("RGB")).astype(int)

    before = picture()
    button = page.query_selector(".map-tools button:nth-child(2)")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    page.wait_for_function("() => document.querySelector('.map').citytwin.areTilesLoaded()")
    page.wait_for_timeout(500)
    assert any("asset=" in each for each in page.requested)
    assert (np.abs(picture() - before).max(axis=2) > 20).mean() > 0.2


def test_an_analysis_is_run_from_its_page(opened):
    page = opened("/processes/buffer-query")
    page.fill("[name=geometry]", '{"type":"Point","coordinates":[121.0,28.0995]}')
    page.fill("[name=distance_m]", "150")
    page.fill("[name=layer]", "building")
    frame = geopandas.read_file(TOWN / "vector" / "buildings.gpkg", layer="building").to_crs(4549)
    here = geopandas.GeoSeries.from_xy([121.0], [28.0995], crs="EPSG:4490").to_crs(4549)[0]
    near = int((frame.distance(here) <= 150).sum())
    for button in ("button:not([name])", "button[name='$async']"):
        page.click(f"form[data-process] {button}")
        page.wait_for_selector("[data-result][data-ready]")
        said = page.inner_text("[data-result]")
        assert int(re.search(r'"n_hits": (\d+)', said)[1]) >= near > 5  # the town has buildings of other sources too
        page.wait_for_selector("[data-result-map][data-ready=true]")
    assert "successful" in page.inner_text("[data-say]")
    page.fill("[name=layer]", "no_such_layer")
    page.click("form[data-process] button:not([name])")
    page.wait_for_selector("[data-say].bad")
    assert "no_such_layer" in page.inner_text("[data-say]")
    assert [
        each for each in page.complaints if "execution" not in each and "400" not in each and "404" not in each
    ] == []


def test_swagger_shows_every_operation(opened, town_url):
    page = opened("/api")
    document = page.request.get(f"{town_url}api?f=json").json()
    count = sum(len(methods) for methods in document["paths"].values())
    page.wait_for_function(f"() => document.querySelectorAll('.opblock').length === {count}")
    page.click("#operations-Common-getConformance .opblock-summary-control")
    page.click(".try-out__btn")
    page.click(".execute")
    page.wait_for_selector(".live-responses-table .response .microlight")
    assert "http://www.opengis.net/spec/" in page.inner_text(".live-responses-table")
    assert ours(page, town_url) == []
    assert page.complaints == []


def test_without_scripts_everything_but_the_map_is_there(opened):
    page = opened("/collections/building/items?limit=25", java_script_enabled=False)
    assert len(page.query_selector_all("tr[data-id]")) == 25
    page.fill("#filter", "height_m > 30")
    page.click("form.filter button[type=submit]")
    page.wait_for_load_state()
    assert "filter=height_m" in page.url
    assert "bbox=" not in page.url
    assert page.query_selector("tr[data-id]")
    page.click("a[lang='zh-CN']")
    assert "filter=height_m" in page.url
    assert page.query_selector("html[lang='zh-CN']")


def test_the_keyboard_reaches_content_and_filter(opened):
    page = opened("/collections/building/items?limit=25")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    seen = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.name || document.activeElement.className || ''"))
    assert {"filter", "limit"} <= seen
    assert "maplibregl-canvas" in " ".join(seen)


def test_a_printed_page_has_its_table_and_no_controls(opened):
    page = opened("/collections/building/items?limit=25")
    page.emulate_media(media="print")
    shown = "(selector) => [...document.querySelectorAll(selector)].some((each) => each.checkVisibility())"
    assert not page.evaluate(shown, "form, .switches, footer")
    assert page.evaluate(shown, "tr[data-id]")
