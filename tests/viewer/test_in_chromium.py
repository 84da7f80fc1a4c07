"""The viewer in a real Chromium, on a toy city whose answers are known by construction."""

import re

import numpy as np
import pytest

READY = "window.citytwin.ready.then(() => 'ready', error => String(error))"
TIMEOUT_MS = 180_000  # software rendering on a busy machine; only a hang reaches it

pytestmark = [pytest.mark.client, pytest.mark.slow]


@pytest.fixture(scope="module")
def toy(toy_city, built_viewer):
    with toy_city.running() as url:
        yield url


@pytest.fixture(scope="module")
def page(toy, chromium):
    """One page for all tests that only look; what it said and asked for is kept."""
    page = open_page(chromium, locale="en-GB")
    page.goto(f"{toy}/viewer/")
    page.wait_for_function("() => window.citytwin")
    assert page.evaluate(READY) == "ready"
    yield page
    page.context.close()


def open_page(chromium, **options):
    context = chromium.new_context(viewport={"width": 900, "height": 600}, reduced_motion="reduce", **options)
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.requested, page.complaints = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("console", lambda message: message.type in {"error", "warning"} and page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    return page


def overhead(page, lon, lat, height=500.0):
    """Look straight down; north is up. The point is then in the middle of the canvas."""
    page.evaluate("view => { citytwin.setView(view); return citytwin.settled() }",
                  {"lon": lon, "lat": lat, "height": height, "heading": 0, "pitch": -90})  # fmt: skip


def picture(page):
    from io import BytesIO

    from PIL import Image

    page.evaluate("citytwin.settled()")
    return np.asarray(Image.open(BytesIO(page.screenshot())).convert("RGB")).astype(int)


def test_it_loads_without_a_complaint_and_stays_at_home(page, toy):
    assert page.complaints == []
    assert page.evaluate("citytwin.problems") == []
    away = [url for url in page.requested if not url.startswith((toy + "/", "blob:", "data:"))]
    assert away == []
    assert page.get_attribute("#app", "aria-busy") == "false"


def test_the_ground_is_where_the_formula_says(page, toy_city):
    overhead(page, toy_city.LON, toy_city.LAT)
    for east, north in [(0, 0), (0.001, 0.0005), (-0.0013, 0.0007)]:
        lon, lat = toy_city.LON + east, toy_city.LAT + north
        assert page.evaluate("([x, y]) => citytwin.groundHeight(x, y)", [lon, lat]) == pytest.approx(
            float(toy_city.ground_m(lon, lat)), abs=0.1
        )


def test_a_click_shows_the_attributes_of_that_feature(page, toy, toy_city):
    overhead(page, toy_city.LON, toy_city.LAT)
    assert page.evaluate("citytwin.pick(450, 300)") == {
        "layer": "building",
        "id": "B12",
    }  # the middle of the 5 x 5 grid
    page.mouse.click(450, 300)
    details = page.locator(".details")
    details.locator("table").wait_for()
    served = page.request.get(f"{toy}/collections/building/items/B12").json()["properties"]
    assert details.locator("h2").inner_text() == "B12"
    assert details.locator("tr", has_text="Height").locator("td").inner_text() == f"{served['height_m']:g} m"
    assert details.locator("tr", has_text="note").locator("td").inner_text() == served["note"]  # text, not markup
    assert details.locator("tr", has_text="use").locator("td").inner_text() == "no value"
    assert details.locator("a").get_attribute("href") == f"{toy}/collections/building/items/B12"
    details.get_by_role("button", name="Close").press("Escape")
    assert details.is_hidden()


def test_a_link_opens_a_feature_and_flies_there(toy, toy_city, chromium):
    page = open_page(chromium, locale="en-GB")
    page.goto(f"{toy}/viewer/?feature=building/B24")  # the north-eastern corner, 200 m from the middle both ways
    page.locator(".details h2", has_text="B24").wait_for()
    page.locator(".details table").wait_for()
    page.evaluate("citytwin.ready.then(() => citytwin.settled())")
    assert page.evaluate("citytwin.pick(450, 300)") == {"layer": "building", "id": "B24"}
    page.locator(".details").get_by_role("button", name="Close").click()
    assert "feature=" not in page.url
    page.context.close()


def test_a_switch_hides_its_layer_and_only_that(page, toy_city):
    overhead(page, toy_city.LON, toy_city.LAT)
    before = picture(page)
    switch = page.get_by_role("switch", name="Buildings")
    switch.uncheck()
    hidden = picture(page)
    assert page.evaluate("citytwin.pick(450, 300)") is None
    assert np.abs(before[300, 450] - hidden[300, 450]).sum() > 60
    switch.check()
    assert np.abs(before - picture(page))[250:350, 400:500].max() <= 3
    assert page.evaluate("citytwin.pick(450, 300)") == {"layer": "building", "id": "B12"}


def test_opacity_lets_the_ground_through(page, toy_city):
    overhead(page, toy_city.LON, toy_city.LAT)
    solid = picture(page)[300, 450]
    opacity = page.get_by_role("slider", name="Opacity: Buildings")
    opacity.fill("0.2")
    half = picture(page)[300, 450]
    opacity.fill("1")
    assert np.abs(solid - half).sum() > 60
    assert np.abs(solid - picture(page)[300, 450]).max() <= 3


def test_pipes_below_the_ground_are_seen_and_picked_once_it_is_translucent(page, toy_city):
    spot = (
        toy_city.LON + 0.0005,
        toy_city.LAT + 50 / 110850,
    )  # 49 m east of the middle, over beam 2, beside the houses
    overhead(page, *spot)
    buried = picture(page)[300, 450]
    assert page.evaluate("citytwin.pick(450, 300)") is None
    page.get_by_role("switch", name="See underground").check()
    seen = picture(page)[300, 450]
    assert page.evaluate("citytwin.pick(450, 300)") == {"layer": "pipe", "id": "P$0_2"}
    page.get_by_role("switch", name="See underground").uncheck()
    assert np.abs(buried - seen).sum() > 60
    assert seen[2] > seen[0] + 30  # the beams are blue


def test_the_epoch_selector_changes_the_ground(page, toy_city):
    overhead(page, toy_city.LON + 0.0005, toy_city.LAT)
    select = page.get_by_role("combobox", name="Imagery")
    assert select.locator("option").all_inner_texts() == ["Orthophoto 2025", "Orthophoto 2023", "None"]
    green = picture(page)[300, 450]
    select.select_option("2023")
    brown = picture(page)[300, 450]
    select.select_option("2025")
    assert green[1] > green[0]
    assert brown[0] > brown[1]


def test_map_layers_are_loaded_when_they_are_asked_for(page, toy_city):
    overhead(page, toy_city.LON, toy_city.LAT + 0.0004)
    page.locator("summary", has_text="Map layers").click()
    find = page.get_by_role("searchbox", name="Find a layer")
    find.fill("路灯")
    assert page.locator("summary", has_text="of our own").is_hidden()
    find.fill("")
    page.locator("summary", has_text="Sensing").click()
    assert not [url for url in page.requested if "/collections/lamp/" in url]
    with page.expect_response(re.compile("/collections/lamp/items")):
        page.get_by_role("switch", name="Street lamps").check()
    page.wait_for_function("() => citytwin.viewer.dataSources.get(0).entities.values.length === 5")
    page.wait_for_function("() => (citytwin.viewer.scene.requestRender(), citytwin.pick(450, 300)?.id === 'L2')")
    assert page.evaluate("citytwin.pick(450, 300)") == {"layer": "lamp", "id": "L2"}
    page.get_by_role("switch", name="Street lamps").uncheck()


def test_the_address_keeps_the_view(page, toy, toy_city):
    overhead(page, toy_city.LON + 0.001, toy_city.LAT, 640.0)
    page.wait_for_function("() => location.hash.startsWith('#121.001')")
    shared = page.url
    overhead(page, toy_city.LON, toy_city.LAT)
    # the address follows half a second after the camera stops; setting the hash it still has would change nothing
    page.wait_for_function("() => !location.hash.startsWith('#121.001')")
    page.evaluate("url => { location.hash = new URL(url).hash }", shared)
    page.wait_for_function("() => citytwin.view().height > 639 && citytwin.view().height < 641")
    assert page.evaluate("citytwin.view().lon") == pytest.approx(toy_city.LON + 0.001, abs=1e-6)


def test_the_pointer_reads_ground_coordinates(page, toy_city):
    overhead(page, toy_city.LON + 0.0005, toy_city.LAT)
    page.mouse.move(450, 300)
    page.wait_for_function("() => document.querySelector('.position').textContent !== ''")
    lon, lat, height = (float(n) for n in re.findall(r"\d+\.\d+", page.locator(".position").inner_text()))
    assert (lon, lat) == pytest.approx((toy_city.LON + 0.0005, toy_city.LAT), abs=2e-5)
    assert height == pytest.approx(float(toy_city.ground_m(lon, lat)), abs=0.5)


def test_fly_to_a_layer_brings_it_into_the_middle(page, toy_city):
    overhead(page, toy_city.LON + 0.004, toy_city.LAT)
    page.get_by_role("button", name="Fly to Buildings").click()
    page.evaluate("citytwin.settled()")
    assert page.evaluate("citytwin.pick(450, 300)")["layer"] == "building"


def test_everything_can_be_reached_with_the_keyboard(page, toy_city):
    overhead(page, toy_city.LON, toy_city.LAT)
    page.locator("canvas").focus()
    before = page.evaluate("citytwin.view()")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("-")
    after = page.evaluate("citytwin.view()")
    assert after["lon"] > before["lon"]
    assert after["height"] > before["height"]
    overhead(page, toy_city.LON, toy_city.LAT)
    page.keyboard.press("Enter")
    page.locator(".details h2", has_text="B12").wait_for()
    nameless = page.evaluate(
        "[...document.querySelectorAll('button,input,select')].filter(e => !e.labels?.length && !e.ariaLabel"
        " && !e.textContent.trim()).map(e => e.outerHTML)"
    )
    assert nameless == []


def test_chinese_by_browser_by_address_and_by_button(toy, chromium):
    page = open_page(chromium, locale="zh-CN")
    page.goto(f"{toy}/viewer/")
    page.get_by_role("heading", name="玩具城").wait_for()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.get_by_role("switch", name="建筑").wait_for()
    page.get_by_role("button", name="English").click()
    page.get_by_role("heading", name="Toy city").wait_for()
    assert "lang=en" in page.url
    page.goto(f"{toy}/viewer/?lang=zh")
    page.get_by_role("heading", name="玩具城").wait_for()
    page.context.close()


def test_it_works_below_a_path_prefix(toy_city, built_viewer, chromium):
    with toy_city.running(prefix="/city/north") as url:
        page = open_page(chromium)
        page.goto(f"{url}/viewer")
        page.wait_for_function("() => window.citytwin")
        assert page.evaluate(READY) == "ready"
        assert (page.complaints, page.evaluate("citytwin.problems")) == ([], [])
        assert all(asked.startswith((url, "blob:", "data:")) for asked in page.requested)
        page.context.close()


@pytest.mark.parametrize(
    ("broken", "words"),
    [("config", ["The server did not describe the city", "The catalogue is locked.", "Try again"])],
)
def test_a_server_that_fails_is_named(toy_city, built_viewer, chromium, broken, words):
    with toy_city.running(frozenset({broken})) as url:
        page = open_page(chromium, locale="en-GB")
        page.goto(f"{url}/viewer/")
        message = page.get_by_role("alert")
        message.wait_for()
        text = message.inner_text()
        assert [word for word in words if word not in text] == []
        assert "Error" in page.evaluate(READY)
        page.context.close()


def test_a_layer_or_terrain_that_fails_does_not_stop_the_rest(toy_city, built_viewer, chromium):
    with toy_city.running(frozenset({"pipe", "terrain"})) as url:
        page = open_page(chromium, locale="en-GB")
        page.goto(f"{url}/viewer/")
        page.wait_for_function("() => window.citytwin")
        assert page.evaluate(READY) == "ready"
        problems = page.evaluate("citytwin.problems")
        assert sorted(problems) == [
            "Pipes: could not be loaded",
            "The terrain could not be loaded; the ground is drawn flat.",
        ]
        assert page.locator("li", has_text="Pipes").locator(".error").inner_text() == "could not be loaded"
        page.context.close()


def test_without_webgl_it_says_so(toy, chromium):
    page = open_page(chromium, locale="en-GB")
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(f"{toy}/viewer/")
    page.get_by_role("alert").wait_for()
    assert "WebGL 2 is missing" in page.get_by_role("alert").inner_text()
    page.context.close()
