"""What every format's answer has: media type, name, validators, links, the whole selection or as much as was asked."""

import csv
import io
from dataclasses import replace
from threading import BoundedSemaphore

import pyogrio
import pytest
from starlette.testclient import TestClient

from layers.errors import InvalidInput
from server import formats
from server.app import create_app
from server.formats import geopackage
from server.formats.selection import ahead
from server.settings import Settings
from tests.server.formats.conftest import N_PLOTS

MEDIA = {
    "jsonfg": "application/fg+json", "fgb": "application/flatgeobuf", "parquet": "application/vnd.apache.parquet",
    "gpkg": "application/geopackage+sqlite3", "csv": "text/csv; charset=utf-8",
    "cityjson": "application/city+json", "cityjsonseq": "application/city+json-seq",
}  # fmt: skip


def ids_of(content):
    return [row["id"] for row in csv.DictReader(io.StringIO(content.decode("utf-8-sig")))]


def followed(client, path):
    """Ids of each page, by the next links in the header."""
    pages = []
    while path:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text[:300]
        pages.append(ids_of(answer.content))
        path = answer.links.get("next", {}).get("url")
        assert len(pages) < 20
    return pages


def test_every_format_is_tried_here():
    assert set(MEDIA) == set(formats.FORMS) == set(formats.FORMATS) - {"json", "html"}
    assert next(iter(formats.FORMATS)) == "json"


@pytest.mark.parametrize("name", MEDIA)
def test_by_f_and_by_accept(odd, name):
    by_f = odd(f"/collections/building/items?f={name}")
    by_accept = odd("/collections/building/items", headers={"Accept": MEDIA[name].split(";")[0]})
    assert by_f.headers["content-type"] == by_accept.headers["content-type"] == MEDIA[name]
    assert by_f.headers["OGC-NumberMatched"] == "6"
    suffix = formats.FORMS[name].suffix
    assert by_f.headers["content-disposition"] == f'attachment; filename="building.{suffix}"'
    assert by_f.links["self"]["url"] == f"http://odd.test/collections/building/items?f={name}"
    in_city_crs = name in {"jsonfg", "cityjson", "cityjsonseq"}
    crs = "EPSG/0/4549" if in_city_crs else "OGC/1.3/CRS84"
    assert by_f.headers["content-crs"] == f"<http://www.opengis.net/def/crs/{crs}>"
    asked = odd(f"/collections/building/items?f={name}&crs=EPSG:4490")
    assert asked.headers["content-crs"] == "<http://www.opengis.net/def/crs/EPSG/0/4490>"
    assert asked.headers["etag"] != by_f.headers["etag"]


@pytest.mark.parametrize("name", MEDIA)
def test_head_and_not_modified_write_nothing(odd, odd_client, name, monkeypatch):
    path = f"/collections/building/items?f={name}"
    full = odd(path)

    def never(_):
        raise AssertionError

    monkeypatch.setitem(formats.FORMS, name, replace(formats.FORMS[name], write=never))
    head = odd_client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for each in ("etag", "content-type", "content-crs", "ogc-numbermatched", "link", "content-disposition"):
        assert head.headers[each] == full.headers[each]
    names = [set(each.headers["vary"].split(", ")) for each in (head, full)]  # packing says it once more
    assert names[0] == names[1]
    fresh = odd_client.get(path, headers={"If-None-Match": full.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (304, b"")


@pytest.fixture(scope="module")
def small_pages(odd_city):
    settings = Settings(access_log=False, warm_up=False, default_limit=2, max_limit=2)
    with TestClient(create_app(odd_city, settings), base_url="http://odd.test") as client:
        yield client


def test_a_file_holds_all_unless_less_is_asked_for(small_pages):
    path = "/collections/plot/items"
    assert len(ids_of(small_pages.get(f"{path}?f=csv").content)) == N_PLOTS
    assert "next" not in small_pages.get(f"{path}?f=csv").links
    assert len(ids_of(small_pages.get(f"{path}?f=csv&limit=5").content)) == 5
    assert len(small_pages.get(f"{path}?f=jsonfg&limit=5").json()["features"]) == 2  # read like GeoJSON
    assert len(small_pages.get(f"{path}?f=json&limit=5").json()["features"]) == 2


@pytest.mark.parametrize("order", ["", "&sortby=-area", "&sortby=public,-big", "&filter=area%20%3C%200.55"])
def test_pages_by_their_links_are_the_whole(odd, odd_client, order):
    whole = ids_of(odd(f"/collections/plot/items?f=csv{order}").content)
    pages = followed(odd_client, f"/collections/plot/items?f=csv&limit=3{order}")
    assert [each for page in pages for each in page] == whole
    assert all(len(page) == 3 for page in pages[:-1])
    assert whole == [each["id"] for each in odd(f"/collections/plot/items?f=json{order}").json()["features"]]


def test_json_fg_pages_by_the_links_in_it(odd):
    found, path = [], "/collections/plot/items?f=jsonfg&limit=3"
    while path:
        page = odd(path).json()
        found += [each["id"] for each in page["features"]]
        assert page["numberReturned"] == len(page["features"])
        assert page["numberMatched"] == N_PLOTS
        path = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert found == [f"p{i}" for i in range(N_PLOTS)]


def test_flatgeobuf_pages_as_qgis_reads_them(odd):
    """QGIS goes on by the Link header and counts by OGC-NumberMatched."""
    found, path = [], "/collections/spot/items?f=fgb&limit=3&crs=http://www.opengis.net/def/crs/EPSG/0/4549"
    while path:
        answer = odd(path)
        frame = pyogrio.read_dataframe(io.BytesIO(answer.content))
        assert answer.headers["OGC-NumberMatched"] == "4"
        assert pyogrio.read_info(io.BytesIO(answer.content))["features"] == len(frame)
        found += frame["id"].tolist()
        path = answer.links.get("next", {}).get("url")
    assert found == list("abcd")


@pytest.mark.parametrize("name", ["cityjson", "cityjsonseq"])
def test_city_models_only_of_layers_that_have_models(odd, name):
    problem = odd(f"/collections/plot/items?f={name}", 400).json()
    assert "3D models" in problem["detail"] or "not offered" in problem["detail"]
    types = {link["type"] for link in odd("/collections/plot").json()["links"]}
    assert MEDIA[name] not in types


def test_bad_parameters_are_named(odd):
    for query, word in (("limit=0", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"), ("nonsense=1", "nonsense"),
                        ("crs=EPSG:2056", "crs"), ("offset=x", "offset")):  # fmt: skip
        for name in MEDIA:
            assert word in odd(f"/collections/building/items?f={name}&{query}", 400).json()["detail"]
    assert "f=" in odd("/collections/building/items?f=shp", 400).json()["detail"]


def test_the_collection_links_to_every_format(odd):
    links = odd("/collections/building").json()["links"]
    items = {link["type"] for link in links if link["rel"] == "items"}
    assert {"application/geo+json", "application/flatgeobuf", "application/fg+json", "text/csv"} <= items
    bulk = [link for link in links if link["rel"] == "enclosure" and link["type"] == "application/geopackage+sqlite3"]
    assert len(bulk) == 1
    assert odd(bulk[0]["href"]).content.startswith(b"SQLite format 3\0")
    classes = odd("/conformance?f=json").json()["conformsTo"]
    assert {f"http://www.opengis.net/spec/json-fg-1/1.0/conf/{each}" for each in ("core", "polyhedra")} <= set(classes)


def test_a_reader_that_goes_away_leaves_nothing_open():
    closed = []

    def batches():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    reading = ahead(batches())
    assert [next(reading), next(reading)] == [0, 1]
    reading.close()
    assert closed == [True]
    assert list(ahead(iter(range(5)))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", MEDIA)
def test_what_is_wrong_with_the_features_is_a_problem_not_half_a_file(odd, name, monkeypatch):
    def broken(*_):
        raise InvalidInput("A coordinate cannot be expressed in the CRS asked for.", "Ask for another crs.")

    monkeypatch.setattr("server.formats.table.in_crs", broken)
    monkeypatch.setattr("server.formats.models.read", broken)
    monkeypatch.setattr("server.geojson.geometries", broken)
    problem = odd(f"/collections/building/items?f={name}&offset=1", 400)
    assert problem.headers["content-type"] == "application/problem+json"
    assert "another crs" in problem.json()["detail"]


def test_geopackages_are_made_a_few_at_once_and_leave_nothing(odd, odd_client, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    places = BoundedSemaphore(1)
    monkeypatch.setattr(geopackage, "_PLACES", places)
    path = "/collections/plot/items?f=gpkg"
    for _ in range(3):  # each gives its place back
        odd(path)
    with places:
        busy = odd_client.get(path)
    assert busy.status_code == 503
    assert "f=fgb" in busy.json()["detail"]
    selection_fails = odd_client.get(f"{path}&filter=nobody%20%3D%201")
    assert selection_fails.status_code == 400
    odd(path)
    assert list(tmp_path.iterdir()) == []
