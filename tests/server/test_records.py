"""The catalogue of records: one for each layer, source, analysis and style; search against plain Python; scopes."""

import re
from urllib.parse import urlsplit

import pytest
import shapely
from starlette.testclient import TestClient

import twin
from layers.catalogue import Attribute, LayerType, Title
from server.app import create_app
from server.settings import Settings
from tests.server import raster_town as town
from tests.server.test_edr import put
from twin import analysis
from twin.scope import EVERYTHING, Scope

ITEMS = "/collections/catalogue/items"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return town.build(tmp_path_factory.mktemp("recorded"), put)


@pytest.fixture(scope="module")
def client(folder):
    city, client = town.served(folder)
    with city, client:
        yield client


@pytest.fixture(scope="module")
def records(get):
    return {each["id"]: each for each in get(f"{ITEMS}?limit=1000&lang=en").json()["features"]}


def found(get, query):
    return {each["id"] for each in get(f"{ITEMS}?limit=1000&lang=en&{query}").json()["features"]}


def test_everything_has_one_record(records, folder):
    with twin.open(folder) as city:
        layers = {info.id for info in city.layers} | {asset.layer for asset in city.store.assets(EVERYTHING)}
        sources = {report["source"] for report in city.store.reports()}
    kinds = {}
    for each in records.values():
        kinds.setdefault(each["properties"]["type"], []).append(each)
    assert {each["id"].removeprefix("layer-") for each in kinds["dataset"]} == layers
    assert {each["properties"]["title"] for each in kinds["source"]} == sources == {"a.tif", "b.csv"}
    assert {each["id"].removeprefix("process-") for each in kinds["process"]} == set(analysis.registry())
    assert "style-city" in records
    assert "style-layer-sensor" in records


def test_a_record_is_a_feature_as_the_standard_says(records):
    for each in records.values():
        assert each["type"] == "Feature"
        assert each["conformsTo"] == ["http://www.opengis.net/spec/ogcapi-records-1/1.0/req/record-core"]
        assert {"time", "geometry", "links"} <= set(each)
        assert {"type", "title", "language"} <= set(each["properties"])
        rels = {link["rel"] for link in each["links"]}
        assert {"self", "collection", "profile"} <= rels
        assert all(link["href"].startswith("http") for link in each["links"])
        if each["time"]:
            text = each["time"].get("timestamp") or each["time"]["interval"][0]
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    dem = records["layer-dem"]
    assert dem["time"] == {"interval": ["2024-01-01T00:00:00Z", "2025-05-01T00:00:00Z"]}
    assert records["layer-sensor_obs"]["time"] == {"interval": ["2026-06-01T00:00:00Z", "2026-06-05T03:00:00Z"]}
    assert dem["properties"]["title_zh"] == "数字高程模型"
    assert dem["properties"]["externalIds"] == [{"scheme": "layer", "value": "dem"}]
    west, south, east, north = shapely.Polygon(dem["geometry"]["coordinates"][0]).bounds
    assert 120.9 < west < east < 121.1
    assert 28 < south < north < 28.2


def test_every_link_to_our_own_data_answers(records, client):
    for key in ("layer-dem", "layer-sensor", "layer-sensor_obs", "process-buffer-query", "style-city"):
        for link in records[key]["links"]:
            if (
                link.get("templated")
                or link["rel"].endswith("execute")
                or not link["href"].startswith("http://city.test")
            ):
                continue
            parts = urlsplit(link["href"])
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            status = client.get(path).status_code
            # a query of EDR wants its shape
            assert status == 200 or (link["rel"] == "data" and status == 400), (key, link)


def test_a_layer_leads_to_its_sources_and_back(records, get):
    via = [link for link in records["layer-sensor"]["links"] if link["rel"] == "via"]
    assert [link["title"] for link in via] == ["b.csv"]
    source = get(urlsplit(via[0]["href"]).path).json()
    assert source["properties"]["title"] == "b.csv"
    assert source["properties"]["status"] == "stored"
    assert records["layer-sensor"]["properties"]["numberOfFeatures"] == 3


def test_words(get, records):
    assert "layer-dem" in found(get, "q=elevation model")
    assert "layer-dem" not in found(get, "q=model elevation")
    assert {"layer-dem", "layer-dom"} <= found(get, "q=ELEVATION,orthophoto")
    assert "layer-dem" in found(get, "q=数字高程")
    assert found(get, "q=nothing of the kind") == set()
    folded = {
        key for key, each in records.items()
        if "sensor" in " ".join([key, each["properties"]["title"], each["properties"]["description"],
                                 *each["properties"].get("keywords", [])]).casefold()
    }  # fmt: skip
    assert found(get, "q=sensor") >= folded


def test_place_time_type_and_ids(get, records):
    placed = {
        key: shapely.Polygon(each["geometry"]["coordinates"][0]) for key, each in records.items() if each["geometry"]
    }
    west, south, east, north = placed["layer-sensor"].bounds
    box = shapely.box(west, south, (west + east) / 2, north)
    assert found(get, f"bbox={west},{south},{(west + east) / 2},{north}") == {
        k for k, v in placed.items() if v.intersects(box)
    }
    assert found(get, "bbox=10,10,11,11") == set()
    timeless = {key for key, each in records.items() if not each["time"]}
    assert found(get, "datetime=2024") - timeless == {"layer-dem", "layer-dom"}
    assert found(get, "datetime=2026-06-02") - timeless == {"layer-sensor_obs", "layer-sensor"}
    assert found(get, "datetime=../2019-06-01") - timeless == {"layer-dom"}
    assert found(get, "type=process,style") == {
        k for k, v in records.items() if v["properties"]["type"] in {"process", "style"}
    }
    assert found(get, "ids=layer-dem,layer-dsm,nobody") == {"layer-dem", "layer-dsm"}
    assert found(get, "externalIds=layer:dem,a.tif") == {"layer-dem"} | {
        key for key, each in records.items() if each["properties"]["title"] == "a.tif"
    }
    assert found(get, "externalIds=process:") == {key for key in records if key.startswith("process-")}


def test_pages_and_order(get, records):
    seen, path = [], f"{ITEMS}?limit=7&sortby=-title&lang=en"
    while path:
        page = get(path).json()
        assert page["numberMatched"] == len(records)
        seen += [each["properties"]["title"] for each in page["features"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        path = following[0].removeprefix("http://city.test") if following else None
    assert seen == sorted((each["properties"]["title"] for each in records.values()), reverse=True)
    by_type = [each["properties"]["type"] for each in get(f"{ITEMS}?limit=1000&sortby=type,-id").json()["features"]]
    assert by_type == sorted(by_type)


@pytest.mark.parametrize(
    ("query", "named"),
    [("q=", "q="), ("bbox=1,2,3", "bbox"), ("datetime=soon", "datetime"), ("limit=0", "limit"),
     ("sortby=colour", "sortby"), ("colour=red", "colour"), ("f=exe", "f="), ("ids=", "ids"),
     ("q=" + "a," * 200, "q="), ("offset=-1", "offset")],
)  # fmt: skip
def test_bad_searches_are_refused_by_name(client, query, named):
    response = client.get(f"{ITEMS}?{query}")
    assert response.status_code == 400
    assert named in response.json()["detail"]


def test_the_collection_and_its_descriptions(get, client):
    document = get("/collections/catalogue?lang=en").json()
    assert document["itemType"] == "record"
    assert document["title"] == "Catalogue"
    assert document == get("/catalogue?lang=en").json()
    listed = {each["id"]: each for each in get("/collections?lang=en").json()["collections"]}
    assert listed["catalogue"] == document
    assert set(get("/collections/catalogue/sortables").json()["properties"]) == {"id", "title", "type", "updated"}
    assert get("/collections/catalogue/queryables").headers["content-type"] == "application/schema+json"
    get(f"{ITEMS}/nobody", 404)
    links = {link["rel"]: link["href"] for link in get("/").json()["links"]}
    assert links["http://www.opengis.net/def/rel/ogc/1.0/ogc-catalog"].endswith("/catalogue")
    assert (
        "http://www.opengis.net/spec/ogcapi-records-1/1.0/conf/record-core" in get("/conformance").json()["conformsTo"]
    )
    tag = get(ITEMS).headers["etag"]
    assert client.get(ITEMS, headers={"If-None-Match": tag}).status_code == 304
    assert client.head(ITEMS).status_code == 200
    assert get(ITEMS, headers={"Accept": "text/html"}).headers["content-type"].startswith("text/html")


def test_a_scope_has_records_of_its_own_layers_alone(folder):
    city, client = town.served(folder, Scope("some", frozenset({"dem", "sensor"})))
    with city, client:
        every = client.get(f"{ITEMS}?limit=1000").json()["features"]
        assert {each["id"] for each in every if each["properties"]["type"] == "dataset"} == {
            "layer-dem",
            "layer-sensor",
        }
        assert not [each for each in every if each["properties"]["type"] == "source"]
        assert "sensor_obs" not in client.get(f"{ITEMS}?limit=1000").text


def test_a_layer_of_the_same_name_keeps_its_addresses(tmp_path):
    import numpy as np
    import pyarrow as pa

    from layers.report import Report
    from twin.store.interface import Rows, SourceRecord

    def more(store):
        kind = LayerType("catalogue", Title("名录", "Catalogue of trees"), "Point", "public", (1,),
                         (Attribute("name", "string", Title("名称", "Name")),))  # fmt: skip
        record = SourceRecord("c.gpkg", "0" * 64, 1, 1, "{}")
        table = pa.table({"name": ["oak"]}, schema=kind.arrow_schema())
        with store.writing() as batch:
            batch.begin_source(record)
            batch.ensure_layer(kind)
            batch.put(
                "catalogue", "c.gpkg", Rows(["t1"], np.array([shapely.Point(town.EAST, town.NORTH)]), table, [None])
            )
            batch.finish_source(record, Report("c.gpkg", "test", "0" * 64, "stored"))

    folder = town.build(tmp_path, more)
    with twin.open(folder) as city, TestClient(
        create_app(city, Settings(access_log=False, warm_up=False)), base_url="http://city.test"
    ) as client:  # fmt: skip
        assert [each["id"] for each in client.get("/collections/catalogue/items").json()["features"]] == ["t1"]
        assert client.get("/collections/catalogue/items/t1").json()["properties"]["name"] == "oak"
        assert client.get("/collections/catalogue?lang=en").json()["title"] == "Catalogue of trees"
        own = client.get("/catalogue").json()
        assert own["id"] == "catalogue-records"
        first = client.get("/collections/catalogue-records/items?limit=1").json()["features"][0]
        self_link = next(link["href"] for link in first["links"] if link["rel"] == "self")
        assert client.get(self_link.removeprefix("http://city.test")).json()["id"] == first["id"]
        assert client.get("/collections/catalogue-records/sortables").status_code == 200
        assert "Trees" not in client.get("/collections/catalogue-records/queryables").text
        assert "name" in client.get("/collections/catalogue/queryables").json()["properties"]
