"""Items against brute force: the same questions answered by shapely and pyproj on the features as they were put."""

import json
from urllib.parse import quote

import numpy as np
import pytest
import shapely
from pyproj import Transformer
from shapely.geometry import shape

URI = "http://www.opengis.net/def/crs/EPSG/0/"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
ITEMS = "/collections/building/items"


def pages(get, url):
    """All pages by their next links."""
    found = []
    while url:
        page = get(url).json()
        assert page["numberReturned"] == len(page["features"])
        found.append(page)
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    return found


def ids_of(page):
    return [feature["id"] for feature in page["features"]]


@pytest.mark.parametrize("limit", [1, 5, 36, 37, 38, 10_000])
def test_pages_hold_every_feature_once_and_say_how_many(get, outlines, limit):
    found = pages(get, f"{ITEMS}?limit={limit}")
    assert [each for page in found for each in ids_of(page)] == list(outlines)
    assert {page["numberMatched"] for page in found} == {37}
    assert len(found) == -(-37 // limit)


def test_chunks_inside_a_page_lose_nothing(get, outlines, monkeypatch):
    monkeypatch.setattr("server.features.CHUNK", 4)
    for limit in (3, 4, 8, 37, 100):
        found = pages(get, f"{ITEMS}?limit={limit}")
        assert [each for page in found for each in ids_of(page)] == list(outlines)


def test_offset_skips_and_the_next_link_goes_on_from_there(get, outlines):
    found = pages(get, f"{ITEMS}?offset=30&limit=3")
    assert [each for page in found for each in ids_of(page)] == list(outlines)[30:]


@pytest.mark.parametrize("code", ["4549", "4490", "4326", "3857", "CRS84"])
def test_coordinates_follow_the_axis_order_of_the_crs(get, outlines, code):
    """pyproj without `always_xy` is the oracle: it gives coordinates in the order the CRS declares."""
    uri = CRS84 if code == "CRS84" else URI + code
    target = "OGC:CRS84" if code == "CRS84" else f"EPSG:{code}"
    oracle = Transformer.from_crs("EPSG:4549", target)
    response = get(f"{ITEMS}?limit=100&crs={quote(uri, safe='')}")
    assert response.headers["content-crs"] == f"<{uri}>"
    for feature in response.json()["features"]:
        east_north = shapely.get_coordinates(outlines[feature["id"]])
        first, second = oracle.transform(east_north[:, 1], east_north[:, 0])
        tolerance = 2e-4 if code in {"4549", "3857"} else 2e-9
        np.testing.assert_allclose(
            shapely.get_coordinates(shape(feature["geometry"])), np.stack([first, second], 1), rtol=0, atol=tolerance
        )


def test_4549_is_north_first_on_the_wire(get):
    x, y = get(f"/collections/well/items?crs={URI}4549&limit=1").json()["features"][0]["geometry"]["coordinates"]
    assert (x, y) == (3_110_000.0, 598_000.0)


def test_heights_are_kept_as_they_are(get):
    for crs in (CRS84, URI + "4549", URI + "3857"):
        features = get(f"/collections/pipe_water/items?crs={crs}").json()["features"]
        assert all([position[2] for position in f["geometry"]["coordinates"]] == [2.5, -1.25] for f in features)


@pytest.mark.parametrize("code", ["4549", "4490", "3857", "CRS84"])
@pytest.mark.parametrize("seed", range(6))
def test_a_box_finds_what_brute_force_finds(get, outlines, code, seed):
    """The box as a densely drawn outline in its own CRS, taken to 4549 point by point."""
    uri = CRS84 if code == "CRS84" else URI + code
    target = "OGC:CRS84" if code == "CRS84" else f"EPSG:{code}"
    random = np.random.default_rng(seed)
    low = np.array([598_000, 3_110_000]) + random.uniform(-50, 250, 2)
    corners = np.array([low, low + random.uniform(5, 200, 2)])
    first, second = Transformer.from_crs("EPSG:4549", target).transform(corners[:, 1], corners[:, 0])
    box = [min(first), min(second), max(first), max(second)]
    outline = shapely.get_coordinates(shapely.segmentize(shapely.box(*box), (box[2] - box[0]) / 1000))
    north, east = Transformer.from_crs(target, "EPSG:4549").transform(outline[:, 0], outline[:, 1])
    region = shapely.Polygon(np.stack([east, north], 1))
    expected = {key for key, polygon in outlines.items() if polygon.intersects(region)}
    found = get(f"{ITEMS}?bbox={','.join(repr(float(v)) for v in box)}&bbox-crs={uri}").json()
    assert set(ids_of(found)) == expected
    assert found["numberMatched"] == len(expected)


@pytest.mark.parametrize(
    ("bbox", "crs", "count"),
    [
        ("-180,-90,180,90", CRS84, 37),
        ("-90,-180,90,180", URI + "4326", 37),
        ("-20037508,-20037508,20037508,20037508", URI + "3857", 37),
        ("-80,-60,-70,-50", CRS84, 0),
        ("0,0,10000000,1000000", URI + "4549", 37),
        ("0,0,1,1", URI + "4549", 0),
    ],
)
def test_the_whole_world_and_the_other_side_of_it(get, bbox, crs, count):
    assert get(f"{ITEMS}?bbox={bbox}&bbox-crs={crs}").json()["numberMatched"] == count


def test_a_page_of_a_box_goes_on(get, outlines):
    found = pages(get, f"{ITEMS}?bbox=-180,-90,180,90&limit=7")
    assert [each for page in found for each in ids_of(page)] == list(outlines)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("floors=3", [3, 14, 25, 36]),
        ("floors=3&heated=false", [3, 25]),
        ("name=" + quote("楼 4"), [4]),
        ("height_m=6.5", [2, 13, 24, 35]),
        ("built=2020-01-10", [9]),
        ("ids=b05,b02,nothing", [2, 5]),
    ],
)
def test_property_filters(get, outlines, query, expected):
    found = get(f"{ITEMS}?{query}").json()
    assert ids_of(found) == [list(outlines)[i] for i in expected]
    assert found["numberMatched"] == len(expected)


@pytest.mark.parametrize(
    ("expression", "test"),
    [
        ("height_m > 30", lambda i: 3.0 * (i % 11) + 0.5 > 30),
        ("floors >= 4 AND heated = TRUE", lambda i: i % 11 >= 4 and i % 2 == 0),
        ("NOT (floors < 9) OR name = '楼 1'", lambda i: i % 11 >= 9 or i == 1),
        ("name IS NULL", lambda i: i % 5 == 0),
        ("floors IN (1, 2)", lambda i: i % 11 in {1, 2}),
        ("height_m BETWEEN 3 AND 7", lambda i: 3 <= 3.0 * (i % 11) + 0.5 <= 7),
        ("name LIKE '楼 1%'", lambda i: i % 5 and str(i).startswith("1")),
    ],
)
def test_cql2_text_filters(get, outlines, expression, test):
    found = get(f"{ITEMS}?filter={quote(expression)}&filter-lang=cql2-text").json()
    assert ids_of(found) == [key for i, key in enumerate(outlines) if test(i)]


def test_cql2_json_and_text_agree(get):
    document = {"op": ">", "args": [{"property": "height_m"}, 30]}
    asked = quote(json.dumps(document))
    as_json = get(f"{ITEMS}?filter-lang=cql2-json&filter={asked}").json()
    assert ids_of(as_json) == ids_of(get(f"{ITEMS}?filter=height_m%20%3E%2030").json())


@pytest.mark.parametrize("code", ["4549", "CRS84"])
def test_a_spatial_filter_honours_the_axis_order_of_filter_crs(get, outlines, code):
    region = shapely.box(598_050, 3_110_040, 598_200, 3_110_130)
    uri = CRS84 if code == "CRS84" else URI + code
    target = "OGC:CRS84" if code == "CRS84" else "EPSG:4549"
    corners = shapely.get_coordinates(shapely.segmentize(region, 10.0))
    first, second = Transformer.from_crs("EPSG:4549", target).transform(corners[:, 1], corners[:, 0])
    ring = ", ".join(f"{a!r} {b!r}" for a, b in zip(first.tolist(), second.tolist(), strict=True))
    expression = f"S_INTERSECTS(geometry, POLYGON(({ring})))"
    found = get(f"{ITEMS}?filter={quote(expression)}&filter-crs={uri}").json()
    assert ids_of(found) == [key for key, polygon in outlines.items() if polygon.intersects(region)]


def test_one_item_by_an_id_with_anything_in_it(get, outlines):
    feature = get(f"{ITEMS}/{quote('楼/7 a&b', safe='')}").json()
    assert feature["id"] == "楼/7 a&b"
    assert feature["properties"]["floors"] == 7
    own = next(link["href"] for link in feature["links"] if link["rel"] == "self")
    assert get(own).json()["id"] == "楼/7 a&b"


def test_attributes_come_with_their_types_and_what_no_schema_knows(get):
    properties = get(f"{ITEMS}/b03").json()["properties"]
    assert properties["built"] == "2020-01-04"
    assert properties["heated"] is False
    assert properties["extra"] == {"备注": "old"}
    assert properties["version"] == 1
    assert properties["valid_to"] is None


def test_a_layer_without_geometry_has_features_with_null_geometry(get):
    found = get("/collections/meter_record/items").json()
    assert [(f["geometry"], f["properties"]["value"]) for f in found["features"]] == [(None, 1.5), (None, None)]


def test_only_the_attributes_asked_for(get):
    properties = get(f"{ITEMS}?properties=name,floors&limit=1").json()["features"][0]["properties"]
    assert set(properties) == {"name", "floors", "version", "valid_from", "valid_to"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("colour=red", "no parameter 'colour'"),
        ("heigt_m=3", "Did you mean 'height_m'"),
        ("limit=0", "limit='0'"),
        ("limit=-1", "limit='-1'"),
        ("limit=1e9", "limit='1e9'"),
        ("limit=٣", "whole number"),
        ("limit=2&limit=3", "given twice"),
        ("offset=-5", "offset"),
        ("next=abc", "next is not a token"),
        ("bbox=1,2,3", "3 numbers"),
        ("bbox=1,2,3,x", "no finite number"),
        ("bbox=1,2,nan,4", "no finite number"),
        ("bbox=1,2,inf,4", "no finite number"),
        ("bbox=20,40,30,10", "lower bound above"),
        ("bbox=1,0,0,1&bbox-crs=" + URI + "4549", "lower bound above"),
        ("bbox=0,0,500,10", "beyond"),
        ("bbox=1,2,3,4&bbox-crs=EPSG:32650", "not offered"),
        ("bbox-crs=" + URI + "4549", "without bbox"),
        ("crs=nonsense", "not a coordinate reference system"),
        ("crs=EPSG:32650", "not offered"),
        ("floors=many", "not of type integer"),
        ("height_m=nan", "not of type number"),
        ("heated=perhaps", "not true or false"),
        ("built=yesterday", "not of type date"),
        ("datetime=never", "RFC 3339"),
        ("datetime=0001-01-01T00:00:00%2B14:00", "RFC 3339"),
        ("datetime=2026-02-01/2026-01-01", "ends before it starts"),
        ("properties=nothing", "no attribute"),
        ("filter-lang=cql2-text", "without filter"),
        ("filter=height_m%20%3E", ""),
        ("filter=nothing%20%3D%201", "nothing"),
        ("filter=" + "(" * 500 + "floors=1" + ")" * 500, "nested"),
        ("filter=" + "NOT%20" * 400 + "heated=true", "nested"),
        ("filter=%7B%22op%22&filter-lang=cql2-json", "not JSON"),
        ("filter=a=1&filter-lang=sql", "not offered"),
        ("f=pdf", "not offered"),
        ("lang=fr", "not offered"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(get, query, said):
    response = get(f"{ITEMS}?{query}", 400)
    assert response.headers["content-type"] == "application/problem+json"
    assert said in response.json()["detail"]
    assert response.json()["status"] == 400


def test_a_limit_beyond_the_maximum_means_the_maximum(get):
    assert get(f"{ITEMS}?limit=4000000000").json()["numberReturned"] == 37


@pytest.mark.parametrize(
    "path", ["/collections/bulding/items", "/collections/building/items/b99", "/nowhere", "/collections/bulding"]
)
def test_what_does_not_exist_is_a_404_problem(get, path):
    response = get(path, 404)
    assert response.headers["content-type"] == "application/problem+json"


def test_the_nearest_name_is_offered(get):
    assert "Did you mean 'building'?" in get("/collections/bulding/items", 404).json()["detail"]


def test_a_second_reading_costs_a_304(get):
    first = get(f"{ITEMS}?limit=3")
    again = get(f"{ITEMS}?limit=3", 304, headers={"If-None-Match": first.headers["etag"]})
    assert again.content == b""
    assert get(f"{ITEMS}?limit=4", headers={"If-None-Match": first.headers["etag"]}).json()["numberReturned"] == 4


def test_state_of_an_earlier_moment(get):
    assert get(f"{ITEMS}?datetime=2000-01-01T00:00:00Z").json()["numberMatched"] == 0
    assert get(f"{ITEMS}?datetime=2000-01-01/..").json()["numberMatched"] == 37
    assert get(f"{ITEMS}?datetime=2999-01-01").json()["numberMatched"] == 37
