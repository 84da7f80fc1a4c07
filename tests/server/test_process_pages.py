"""The list of analyses by family, the form of every analysis, and the page of a finding."""

import json

import pytest
from lxml import html
from starlette.testclient import TestClient

import twin
from server import page_words, process_families, process_form, processes
from server.app import create_app
from server.build import build
from server.settings import Settings
from tests import findings
from twin import analysis
from twin.analysis import features_input


@pytest.fixture
def page(client):
    def page(path, **headers):
        answer = client.get(path, headers={"Accept": "text/html"} | headers)
        assert answer.status_code == 200, answer.text[:500]
        return html.fromstring(answer.text)

    return page


def test_every_analysis_is_listed_once_and_supervisions_come_first(page):
    made = page("/processes?lang=en")
    links = [each.rpartition("/")[2].partition("?")[0] for each in made.xpath("//main//section//a/@href")]
    assert sorted(links) == sorted(analysis.registry())
    assert links[:3] == ["supervise-construction", "supervise-water", "supervise-one-map"]
    assert made.xpath("//main//h2/text()")[0] == "Supervision"
    assert page("/processes?lang=zh").xpath("//main//h2/text()")[0] == "监管"


def test_an_analysis_of_no_family_is_listed_under_the_last():
    rows = [{"id": "of-a-stranger"}, {"id": "viewshed"}, {"id": "supervise-new"}]
    assert [(title, [each["id"] for each in found]) for title, found in process_families.grouped(rows, "en")] == [
        ("Supervision", ["supervise-new"]), ("Terrain, sight and sun", ["viewshed"]), ("Others", ["of-a-stranger"]),
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(analysis.registry()))
def test_every_input_of_every_analysis_has_its_field(page, name):
    made = page(f"/processes/{name}?lang=en")
    fields = [*made.xpath("//form[@data-process]//*[@data-kind]/@name"), *made.xpath("//fieldset/@data-name")]
    assert sorted(fields) == sorted(analysis.registry()[name].inputs)
    for each in made.xpath("//form[@data-process]//*[self::input or self::select or self::textarea]"):
        assert each.get("aria-label") or made.xpath(f"//label[@for='{each.get('id')}']"), each.attrib
    form = made.xpath("//form[@data-process]")[0]
    assert set(json.loads(form.get("data-outputs"))) == set(analysis.registry()[name].outputs)
    assert set(json.loads(form.get("data-files"))) <= set(analysis.registry()[name].outputs)


@pytest.mark.parametrize(
    ("schema", "many", "kind"),
    [
        (features_input.SCHEMA, False, "features"), (features_input.SCHEMA, True, "features"),
        (features_input.COLLECTION_SCHEMA, False, "features"), (features_input.RASTER_SCHEMA, False, "raster"),
        (features_input.GEOJSON_SCHEMA, False, "json"),
        ({"type": "array", "items": {"type": "number"}}, False, "numbers"),
        ({"type": "number"}, True, "numbers"), ({"type": "array", "items": {"type": "string"}}, False, "words"),
        ({"type": "array", "items": {"enum": ["a"]}}, False, "some"), ({"enum": ["a"]}, True, "some"),
        ({"type": "array", "items": {"type": "object"}}, False, "json"), ({"type": "array"}, False, "json"),
        ({"enum": [1, 2]}, False, "choice"), ({"type": "boolean"}, False, "switch"),
        ({"type": "integer"}, False, "number"), ({"type": "string"}, False, "text"),
        ({"oneOf": [{"type": "string"}, {"type": "object"}]}, False, "loose"), ({}, False, "json"),
    ],
    ids=[f"case{n}" for n in range(18)],
)  # fmt: skip
def test_the_kind_of_a_field_follows_from_its_schema(schema, many, kind):
    assert process_form.kind(processes.openapi_schema(schema), many=many) == kind


def test_objects_and_notes_of_findings_are_read_as_they_are_kept():
    assert page_words.objects('["parcel/330 1/2", "city"]') == [
        ("parcel/330 1/2", "/collections/parcel/items/330%201%2F2"), ("city", None),
    ]  # fmt: skip
    assert page_words.objects("no json") == [("no json", None)]
    assert page_words.note("缺数据 / No data", "en") == "No data"
    assert page_words.note("缺数据 / No data", "zh") == "缺数据"
    assert page_words.note("和/或 / 现场", "en") == "和/或 / 现场"


@pytest.fixture(scope="module")
def supervised(tmp_path_factory):
    """A city of one house and one finding: (client, id of the finding)."""
    folder = tmp_path_factory.mktemp("supervised")
    (folder / "in").mkdir()
    (folder / "in" / "city.toml").write_text('name = "tiny"\ncrs = "EPSG:4549"\norigin = [121.0, 28.1]\n')
    house = {"type": "Polygon", "coordinates": [[[121, 28.1], [121.001, 28.1], [121.001, 28.101], [121, 28.1]]]}
    feature = {"type": "Feature", "properties": {}, "geometry": house}
    (folder / "in" / "building.geojson").write_text(json.dumps(feature))
    assert build(folder / "in", folder / "twin").exit_code == 0
    with twin.open(folder / "twin") as city:
        objects = [("building/<b>/1", "building/B2")]
        (name,) = findings.keep(city, findings.made_up([(500_000.0, 3_110_000.0)], ["fail"], objects))
        yield TestClient(create_app(city, Settings(access_log=False, warm_up=False))), name


def test_the_viewer_is_told_what_can_be_supervised(supervised, client):
    told = supervised[0].get("/viewer/config.json").json()
    assert "finding" not in {each["id"] for each in told["layers2d"]}  # it has marks of its own
    found = told["supervision"]["findings"]
    assert (found["count"], found["items"]) == (1, "/collections/finding/items")
    assert found["verdicts"]["fail"] == {"zh": "不合格", "en": "fail", "color": "#e53935"}
    assert set(found["statuses"]) == {"opened", "confirmed", "closed"}
    for each in told["supervision"]["processes"]:
        assert each["execution"].split("/")[2] in analysis.registry()
    none = client.get("/viewer/config.json").json()["supervision"]
    assert (none["findings"]["count"], none["sites"]) == (0, None)


def test_the_page_of_a_finding_says_what_was_measured_against_what(supervised):
    client, name = supervised
    english = html.fromstring(client.get(f"/collections/finding/items/{name}?f=html&lang=en").text)
    chinese = html.fromstring(client.get(f"/collections/finding/items/{name}?f=html&lang=zh").text)
    against = " ".join(english.xpath("string(//p[@class='against'])").split())
    assert against.startswith("fail Measured: 5.25 m Limit: 6 m")
    assert "不合格" in chinese.xpath("string(//p[@class='against'])")
    assert (english.xpath("string(//h1)"), chinese.xpath("string(//h1)")) == ("Setback too small", "建筑退让不足")
    links = english.xpath("//main//p//a/@href")
    assert any(each.split("?")[0].endswith("/collections/building/items/%3Cb%3E%2F1") for each in links)
    assert len(links) == 3  # two objects, and the evidence
    assert "Measured from the road line" in english.xpath("string(//main)")
