"""Analyses from their pages in Chromium: features chosen from a layer, verdicts coloured, rows to read, files as links.

Oracles: the same analysis asked for over the API; geopandas. `CITYTWIN_PAGES_SCREENSHOTS` keeps the pictures.
"""

import os

import pytest

from server.viewer import DIST

pytestmark = [pytest.mark.client, pytest.mark.slow]


@pytest.fixture
def opened(town_url, chromium):
    if not list(DIST.glob("maplibre-gl-*")):
        pytest.skip("the viewer is not built: python -m server.viewer")
    contexts = []

    def opened(path, language="en-GB", width=1280):
        context = chromium.new_context(viewport={"width": width, "height": 900}, locale=language)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.requested, page.complaints = [], []
        page.on("request", lambda request: page.requested.append(request.url))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(town_url.rstrip("/") + path)
        return page

    yield opened
    for context in contexts:
        context.close()


def ran(page, name):
    page.click("form[data-process] button[name='$async']")
    page.wait_for_selector("[data-result][data-ready]")
    folder = os.environ.get("CITYTWIN_PAGES_SCREENSHOTS")
    if folder:
        if page.query_selector("[data-result-map]:not([hidden])"):
            page.wait_for_selector("[data-result-map][data-ready]")
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_features_come_from_a_layer_with_filter_and_box_and_rows_have_verdicts(opened, town_url):
    page = opened("/processes/parcel-intensity")
    chosen = page.locator("[data-field=features][data-name=parcels]")
    assert chosen.locator("textarea").is_hidden()
    chosen.locator("[data-part=collection]").select_option("parcel")
    chosen.locator("[data-part=bbox]").fill("120.99，28.09, 121.02 28.12")
    page.fill("[name=far_max]", "2.5")
    with page.expect_request("**/execution") as asked:
        ran(page, "parcel-intensity")
    given = asked.value.post_data_json["inputs"]
    assert given["parcels"] == {"collection": "parcel", "bbox": [120.99, 28.09, 121.02, 28.12]}
    assert given["far_max"] == 2.5
    answer = page.request.post(f"{town_url}processes/parcel-intensity/execution", data={"inputs": given}).json()
    features = answer["parcels"]["features"]
    rows = page.locator("[data-tables] h3:has-text('arcel') ~ .wide, [data-tables] .wide").first.locator("tbody tr")
    assert rows.count() == min(len(features), 200) > 10
    drawn = page.evaluate("document.querySelector('.map').citytwin.getSource('shown') !== undefined")
    assert drawn
    chosen.locator("[data-part=filter]").fill("no such thing >")
    page.click("form[data-process] button:not([name])")
    page.wait_for_selector("[data-say].bad")
    assert page.complaints == []


def test_a_supervision_from_its_page_is_a_table_of_rules_and_a_map_by_verdict(opened, town_url):
    page = opened("/processes/supervise-one-map", "zh-CN")
    page.fill("[name=bbox]", "120.995, 28.095, 121.005, 28.105")
    ran(page, "supervise-zh")
    inputs = {"bbox": [120.995, 28.095, 121.005, 28.105]}
    answer = page.request.post(f"{town_url}processes/supervise-one-map/execution", data={"inputs": inputs}).json()
    told = [each["properties"] for each in answer["findings"]["features"]]
    table = page.locator("[data-tables] table.data:has(thead th:text-is('限值'))").last
    heads = table.locator("thead th").all_inner_texts()
    assert heads[:6] == ["结论", "标题", "规则", "实测值", "限值", "单位"]
    shown = table.locator("tbody tr").all()
    assert len(shown) == min(len(told), 200)
    words = {"fail": "不合格", "review": "待核查", "unknown": "无法判定", "pass": "合格"}
    for row, each in zip(shown[:10], told[:10], strict=True):
        cells = row.locator("td").all_inner_texts()
        assert cells[:3] == [words[each["verdict"]], each["title"]["zh"], each["rule_id"]]
        assert cells[4] == ("" if each["limit"] is None else f"{each['limit']:.8g}")
    colour = page.evaluate("document.querySelector('.map').citytwin.getPaintProperty('shown-point', 'circle-color')")
    assert colour[:4] == ["match", ["get", "verdict"], "fail", "#e53935"]
    assert page.complaints == []


def test_a_raster_is_a_link_with_how_to_keep_it(opened, town_url):
    page = opened("/processes/terrain")
    page.select_option("[name=measure]", "slope_deg")
    page.locator("[data-field=raster][data-name=dem] [data-part=collection]").select_option("dem")
    ran(page, "terrain")
    link = page.locator("[data-tables] a[type^='image/tiff']")
    assert link.count() == 1
    body = page.request.get(link.get_attribute("href")).body()
    assert body[:4] in {b"II*\0", b"MM\0*", b"II+\0"}
    assert "keep_as" in page.locator("[data-tables]").inner_text()


def test_wrong_entries_are_refused_at_their_field(opened):
    page = opened("/processes/supervise-water")
    page.fill("[name=bbox]", "1, 2, three")
    page.click("form[data-process] button:not([name])")
    assert "three" in page.evaluate("document.querySelector('[name=bbox]').validationMessage")
    assert not [url for url in page.requested if "/execution" in url]


def test_several_layers_are_added_one_by_one(opened, town_url):
    page = opened("/processes/pipe-clearance", width=390)
    pipes = page.locator("[data-field=features][data-name=pipes]")
    pipes.locator("[data-part=from]").first.select_option("layer")
    pipes.locator("[data-part=collection]").first.select_option("pipe_water")
    pipes.get_by_role("button", name="Another one").press("Enter")
    pipes.locator("[data-part=collection]").nth(1).select_option("pipe_gas")
    pipes.locator("[data-part=filter]").nth(1).fill("dn_mm > 0")
    with page.expect_request("**/execution") as asked:
        ran(page, "pipes-phone")
    assert asked.value.post_data_json["inputs"]["pipes"] == [
        {"collection": "pipe_water"}, {"collection": "pipe_gas", "filter": "dn_mm > 0"},
    ]  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") <= 391
