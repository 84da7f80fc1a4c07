"""Pages for people, read by lxml: what they show against the store, where their links lead, what they may load."""

import re
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import shapely
from lxml import html as lxml_html
from starlette.testclient import TestClient

import twin
from server import pages
from server.app import create_app
from server.settings import Settings
from tests.server.conftest import ORIGIN, WELL, put, rows
from tests.stores import copy_twin
from twin import config
from twin.store.geopackage import GeoPackageStore

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PAGES = [
    "/", "/conformance", "/api", "/collections", "/collections/building", "/collections/meter_record",
    "/collections/building/schema", "/collections/building/queryables", "/collections/building/items",
    "/collections/building/items/b01", "/collections/meter_record/items", "/collections/pipe_water/items/p1",
    "/tiles", "/tiles/WebMercatorQuad", "/collections/building/tiles", "/collections/building/tiles/WebMercatorQuad",
    "/tileMatrixSets", "/tileMatrixSets/CGCS2000Quad", "/styles", "/collections/building/styles", "/processes",
    "/processes/buffer-query", "/jobs",
]  # fmt: skip


@pytest.fixture
def page(get):
    def page(path, language="zh", **headers):
        answered = get(path, headers=BROWSER | {"Accept-Language": language} | headers)
        assert answered.headers["content-type"] == "text/html; charset=utf-8"
        made = lxml_html.fromstring(answered.content.decode())
        made.answered = answered
        return made

    return page


def text_of(node):
    return re.sub(r"\s+", " ", node.text_content()).strip()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_from_its_own_origin_alone(page, path):
    made = page(path)
    policy = made.answered.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    loaded = made.xpath("//script/@src | //link/@href | //img/@src | //iframe/@src | //*[@data-map]/@data-map")
    assert loaded
    for text in loaded:
        for address in re.findall(r"https?://[^\"' ]+", text):
            assert urlsplit(address).netloc == "city.test", address
    # the policy forbids what stands inside the page
    assert made.xpath("//style | //script[not(@src)] | //@style | //@onclick | //@onload") == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_in_the_language_of_its_reader_and_switches_keeping_the_query(page, path):
    zh, en = page(f"{path}?f=html"), page(f"{path}?f=html", "en-GB,en;q=0.9")
    assert (zh.get("lang"), en.get("lang")) == ("zh-CN", "en")
    assert zh.answered.headers["content-language"] == "zh"
    assert "小城" in text_of(zh)
    assert "Tiny" in text_of(en)
    (switch,) = zh.xpath("//a[@hreflang='en']/@href")
    assert parse_qs(urlsplit(switch).query) == {"f": ["html"], "lang": ["en"]}
    switched = page(urljoin(f"http://city.test{path}", switch), "zh")
    assert switched.get("lang") == "en"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_can_be_used_without_eyes_and_without_mouse(page, path):
    made = page(path)
    assert len(made.xpath("//h1")) == 1
    assert made.xpath("//title")[0].text.strip()
    assert made.xpath("//a[@class='skip']/@href") == ["#content"]
    assert made.xpath("//main/@id") == ["content"]
    for field in made.xpath("//input[not(@type='hidden')] | //select | //textarea"):
        assert made.xpath("//label[@for=$id]", id=field.get("id")), field.get("name")
    for link in made.xpath("//a"):
        assert text_of(link) or link.get("aria-label"), link.get("href")
    ids = made.xpath("//@id")
    assert len(ids) == len(set(ids))
    for table in made.xpath("//table[not(ancestor::details)]"):
        assert table.xpath(".//th"), text_of(table)[:80]


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_a_page_leads_somewhere(page, client, path):
    made = page(path)
    for address in made.xpath("//a/@href"):
        full = urljoin(f"http://city.test{path}", address)
        # the viewer is built by its own command; geojson.org defines geometries; some links are to be POSTed to
        if urlsplit(full).netloc != "city.test" or "/viewer/" in full or full.endswith("/execution"):
            continue
        answer = client.head(full, headers=BROWSER)
        is_failed_job = full.endswith("/results") and client.get(full[: -len("/results")]).json()["status"] == "failed"
        assert answer.status_code in {200, 204, 303} or is_failed_job, full  # such a job answers with its error


@pytest.mark.parametrize("path", PAGES)
def test_pages_have_validators_too(page, get, path):
    tag = page(path).answered.headers["etag"]
    again = get(path, 304, headers=BROWSER | {"If-None-Match": tag, "Accept-Language": "zh"})
    assert again.content == b""
    assert page(path, "en").answered.headers["etag"] != tag
    assert get(path).headers["etag"] != tag  # JSON under the same address is another thing


def table(made):
    (found,) = made.xpath("//table[.//tr[@data-id]]")
    return found


def test_the_table_shows_the_features_of_the_page(page, get):
    made = page("/collections/building/items?limit=7&filter=floors>3&f=html", "en")
    features = get("/collections/building/items?limit=7&filter=floors>3").json()["features"]
    rows = table(made).xpath(".//tr[@data-id]")
    assert [row.get("data-id") for row in rows] == [each["id"] for each in features]
    titles = [text_of(each) for each in table(made).xpath(".//thead//th")]
    assert titles[0] == "Id"
    column = next(i for i, text in enumerate(titles) if text.startswith("height_m in English"))
    assert text_of(table(made).xpath(".//thead//th")[column].xpath("./small")[0]) == "m"
    shown = [float(text_of(row.xpath("./*")[column])) for row in rows]
    assert shown == [each["properties"]["height_m"] for each in features]


def test_the_pages_of_a_table_hold_every_feature_once(page):
    seen, address = [], "/collections/building/items?limit=10&f=html"
    for _ in range(10):
        made = page(address)
        seen += [row.get("data-id") for row in table(made).xpath(".//tr[@data-id]")]
        following = made.xpath("//a[@rel='next']/@href")
        if not following:
            break
        address = following[0]
    assert len(seen) == len(set(seen)) == 37


def test_nothing_found_is_said(page):
    made = page("/collections/building/items?filter=floors>99&f=html", "en")
    assert "No feature matches" in text_of(made)
    assert made.xpath("//tr[@data-id]") == []


def test_a_form_with_empty_fields_leads_to_the_address_without_them(client):
    asked = "/collections/building/items?filter=&bbox=&datetime=&limit=5&lang=en&f=html"
    answered = client.get(asked, headers=BROWSER, follow_redirects=False)
    assert answered.status_code == 303
    assert parse_qs(urlsplit(answered.headers["location"]).query) == {"limit": ["5"], "lang": ["en"], "f": ["html"]}
    assert client.get(answered.headers["location"], headers=BROWSER).status_code == 200


def test_the_form_keeps_what_it_has_no_field_for(page):
    made = page("/collections/building/items?floors=4&lang=en&filter=heated=true&f=html")
    hidden = {each.get("name"): each.get("value") for each in made.xpath("//form//input[@type='hidden']")}
    assert hidden == {"floors": "4", "lang": "en", "f": "html"}
    assert made.xpath("//input[@name='filter']/@value") == ["heated=true"]


def test_downloads_give_the_selection_that_is_shown(page, client):
    made = page("/collections/building/items?filter=floors>3&limit=2&f=html")
    links = {text_of(each): each.get("href") for each in made.xpath("//ul[@class='actions']/li/a[@rel='nofollow']")}
    assert {"json", "csv"} <= set(links)
    whole = client.get("/collections/building/items?filter=floors>3&limit=10000").json()["numberMatched"]
    assert whole > 2
    for name, href in links.items():
        address = urljoin("http://city.test/collections/building/items", href)
        answered = client.get(address)
        assert answered.status_code == 200, address
        if name == "json":
            assert len(answered.json()["features"]) == whole
        if name == "csv":
            assert len(answered.text.strip().splitlines()) == whole + 1


def test_clicking_a_column_sorts_and_clicking_on_turns_round_and_stops(page):
    made = page("/collections/building/items?f=html&lang=en")
    link = "//th[starts-with(normalize-space(.), 'height_m')]"
    assert made.xpath(f"{link}/@aria-sort") == ["none"]
    states = []
    address = "http://city.test/collections/building/items?f=html&lang=en"
    for _ in range(3):
        address = urljoin(address, page(address).xpath(f"{link}//a/@href")[0])
        made = page(address)
        states.append(made.xpath(f"{link}/@aria-sort")[0])
        titles = [text_of(each) for each in table(made).xpath(".//thead//th")]
        column = next(i for i, text in enumerate(titles) if text.startswith("height_m"))
        heights = [float(text_of(row.xpath("./*")[column])) for row in table(made).xpath(".//tr[@data-id]")]
        if states[-1] != "none":
            assert heights == sorted(heights, reverse=states[-1] == "descending")
    assert states == ["ascending", "descending", "none"]


def test_one_feature_shows_what_it_has(page, get):
    feature = get("/collections/building/items/b03").json()
    made = page("/collections/building/items/b03", "en")
    facts = {text_of(row.xpath("./th")[0]): text_of(row.xpath("./td")[0]) for row in made.xpath(
        "//table[@class='facts']//tr[th and td]")}  # fmt: skip
    assert facts["height_m in English"] == f"{feature['properties']['height_m']:g} m"
    assert facts["备注"] == "old"  # what no schema knows is kept and shown
    assert facts["Version"] == "1"
    assert "No value" not in facts.values()


def test_earlier_versions_of_a_feature_and_what_changed(folder, tmp_path):
    """Three states of a well: another name, then another place."""
    copy_twin(folder, tmp_path / "twin")
    with twin.open(tmp_path / "twin") as city:
        places = [shapely.Point(ORIGIN[0] + 7 * i, ORIGIN[1] - 3 * i) for i in range(3)]
        for name, moved in (("renamed", 0.0), ("renamed", 5.0)):
            now = [places[0], shapely.Point(places[1].x + moved, places[1].y), places[2]]
            put(city.store, "c.gpkg", WELL, rows(["w0", "w1", "w2"], now, {"name": ["<b>井</b>", name, None]},
                                                 WELL.arrow_schema()))  # fmt: skip
        app = create_app(city, Settings(access_log=False, warm_up=False))
        with TestClient(app, base_url="http://city.test") as client:
            address = "http://city.test/collections/well/items/w1?lang=en"
            made = lxml_html.fromstring(client.get(address, headers=BROWSER).text)
            past = made.xpath("//h3[starts-with(., 'Earlier')]/following-sibling::table[1]//tr[td]")
            assert [[text_of(each) for each in row.xpath("./td")][::2] for row in past] == [
                ["2", "geometry"], ["1", "name in English"],
            ]  # fmt: skip
            (first,) = past[1].xpath(".//a/@href")
            then = client.get(f"{first}&f=json").json()
            assert (then["properties"]["version"], then["properties"]["name"]) == (1, "B")
            other = client.get("http://city.test/collections/well/items/w0", headers=BROWSER).text
            assert "以前的版本" not in other


def test_an_id_may_hold_anything(page):
    made = page("/collections/building/items?ids=楼/7 a%26b&f=html")
    (href,) = made.xpath("//tr[@data-id]/th/a/@href")
    assert text_of(page(href).xpath("//table[@class='facts']//code")[0]) == "楼/7 a&b"


def test_values_are_text_and_never_markup(page):
    made = page("/collections/well/items?f=html")
    assert "<b>井</b>" in text_of(made)
    assert made.xpath("//b") == []


def test_queryables_as_a_table(page, get):
    names = set(get("/collections/building/queryables").json()["properties"])
    shown = {text_of(each).split()[0] for each in page("/collections/building/queryables").xpath("//tbody/tr/th")}
    assert shown == names


def test_counts_of_layers(page, get):
    made = page("/collections", "en")
    rows = {text_of(row.xpath(".//code")[0]): text_of(row.xpath("./td[@class='number']")[0]) for row in made.xpath(
        "//tbody/tr")}  # fmt: skip
    assert rows == {"building": "37", "pipe_water": "5", "well": "3", "meter_record": "2"}


def test_a_layer_without_geometry_has_no_map(page):
    assert page("/collections/building").xpath("//*[@data-map]")
    assert page("/collections/meter_record").xpath("//*[@data-map]") == []
    assert page("/collections/meter_record/items").xpath("//*[@data-map]") == []


def test_files_of_pages_are_kept_for_ever_under_their_version(get, page):
    (address,) = page("/").xpath("//link[@rel='stylesheet'][contains(@href, 'pages.css')]/@href")
    assert "immutable" in get(address).headers["cache-control"]
    assert get(address).headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" not in get(address.split("?")[0]).headers["cache-control"]
    for wrong in ("/pages/none.css", "/pages/..%2f_base.html", "/pages/.hidden"):
        get(wrong, 404)
    get("/pages/pages.css?x=1", 400)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "✓"), (False, "✗"), (0.1 + 0.2, "0.3"), (12, "12"), ("a" * 400, "a" * 299 + "…"),
     ("http://x.test/{z}", "<code>http://x.test/{z}</code>"),
     ('http://x.test/"><script>', '<a href="http://x.test/&#34;&gt;&lt;script&gt;">http://x.test/&#34;&gt;&lt;script&gt;</a>'),
     ("javascript:alert(1)", "javascript:alert(1)"),
     ("2026-11-29T18:58:30.268Z", '<time datetime="2026-11-29T18:58:30.268Z">2026-11-29 18:58:30Z</time>')],
)  # fmt: skip
def test_values_for_the_eye(value, text):
    assert str(pages.shown(value)) == text


def test_a_module_without_a_template_of_its_own_gets_a_page(client, city):
    from starlette.requests import Request

    from server.serving import Serving

    serving = client.app.app.state.serving if hasattr(client.app, "app") else None
    scope = {"type": "http", "method": "GET", "path": "/x", "query_string": b"lang=en", "scheme": "http",
             "headers": [(b"host", b"city.test")], "app": client.app.app}  # fmt: skip
    assert isinstance(serving, Serving)
    document = {"title": "T", "description": "D & d", "n": 3, "rows": [{"id": "a", "x": 1.5}, {"id": "b", "y": [1, 2]}],
                "by_name": {"p": {"k": 1}, "q": {"k": 2}, "r": {"k": 3}}, "nothing": [],
                "links": [{"href": "http://city.test/z", "rel": "item", "title": "Z"}]}  # fmt: skip
    made = lxml_html.fromstring(
        pages.render(Request(scope), serving.snapshot(), "generic.html", "Title", document).body.decode()
    )
    assert text_of(made.xpath("//h1")[0]) == "Title"
    assert "D & d" in text_of(made)
    tables = [[text_of(cell) for cell in each.xpath(".//th | .//td")] for each in made.xpath("//table")]
    assert ["Id", "x", "y", "a", "1.5", "", "b", "", "1, 2"] in tables
    assert ["", "k", "p", "1", "q", "2", "r", "3"] in tables
    assert made.xpath("//a[@href='http://city.test/z']/text()") == ["Z"]


def test_an_empty_city_has_pages_too(tmp_path):
    config.save(config.TwinConfig("empty", "EPSG:4549", 121.0, 28.1, title={"zh": "空城", "en": "Empty"}), tmp_path)
    store = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs="EPSG:4549")
    none = rows([], [], {"name": []}, WELL.arrow_schema())
    put(store, "c.gpkg", WELL, none)
    store.close()
    with twin.open(tmp_path) as city:
        app = create_app(city, Settings(access_log=False, warm_up=False))
        with TestClient(app, base_url="http://city.test") as client:
            for path in ("/", "/collections", "/collections/well", "/collections/well/items", "/styles", "/api"):
                answered = client.get(path, headers=BROWSER)
                assert answered.status_code == 200, path
                assert "空城" in answered.text
            # no link to what an empty layer has not
            assert "3dtiles" not in client.get("/").text
            assert client.get("/collections/well/tiles").status_code == 200
            for path in ("/styles", "/collections/well/styles"):
                links = [link for style in client.get(path).json()["styles"] for link in style["links"]]
                assert [client.get(link["href"]).status_code for link in links] == [200] * 2
