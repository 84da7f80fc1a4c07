"""OWSLib, which sends `Accept: */*`, reads every feature of every layer, page by page."""

import pytest

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def features(town_url):
    from owslib.ogcapi.features import Features

    return Features(town_url)


def test_the_api_description_and_conformance_are_found(features):
    assert features.api()["openapi"].startswith("3.0")
    assert "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core" in features.conformance()["conformsTo"]


def test_every_feature_of_every_layer_across_pages(features, town):
    stored = {info.id: info.count for info in town.layers if info.type.is_vector}
    assert set(features.feature_collections()) == set(stored)
    seen = {}
    for layer, count in stored.items():
        ids, offset, limit = set(), 0, max(1, min(2000, count // 2))
        while True:
            page = features.collection_items(layer, limit=limit, offset=offset)
            assert page["numberMatched"] == count
            ids |= {feature["id"] for feature in page["features"]}
            offset += page["numberReturned"]
            if not any(link["rel"] == "next" for link in page["links"]):
                break
        seen[layer] = len(ids)
    assert seen == stored


def test_a_cql2_filter(features, town):
    page = features.collection_items("building", filter="height_m > 30", limit=10)
    assert page["numberMatched"] == town["building"].count(filter="height_m > 30") > 0


def test_schema_and_queryables_name_the_attributes(features, town):
    names = {attribute.name for attribute in town["building"].info.type.attributes}
    assert names <= set(features.collection_queryables("building")["properties"])
    assert names <= set(features.collection_schema("building")["properties"])
