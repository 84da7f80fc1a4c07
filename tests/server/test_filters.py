"""What a client may put into the query string of `/items`, over HTTP."""

import json
from urllib.parse import quote

import numpy as np
import pytest

ITEMS = "/collections/building/items"
URI = "http://www.opengis.net/def/crs/EPSG/0/"
CRS84, CRS84H = "http://www.opengis.net/def/crs/OGC/1.3/CRS84", "http://www.opengis.net/def/crs/OGC/0/CRS84h"


def ids_of(answer):
    return [feature["id"] for feature in answer["features"]]


def found(get, query):
    answer = get(f"{ITEMS}?{query}").json()
    assert answer["numberMatched"] == len(answer["features"])
    return ids_of(answer)


@pytest.mark.parametrize(
    ("q", "test"),
    [
        ("楼", lambda i, _: i % 5),
        ("楼 1", lambda i, _: i % 5 and str(i).startswith("1")),  # one term: text that holds both, one after the other
        ("楼   1", lambda i, _: i % 5 and str(i).startswith("1")),
        ("1,36", lambda i, key: (i % 5 and ("1" in str(i) or "36" in str(i))) or "1" in key or "36" in key),
        ("B36", lambda _, key: key == "b36"),
        ("b3", lambda _, key: key.startswith("b3")),
        ("a&B", lambda _, key: "a&b" in key),
        ("%", lambda *_: False),
        ("_", lambda *_: False),
        ("nowhere,", lambda *_: False),
    ],
)
def test_text_search(get, outlines, q, test):
    assert found(get, f"q={quote(q)}") == [key for i, key in enumerate(outlines) if test(i, key)]


def test_text_search_and_other_conditions_hold_together(get, outlines):
    both = found(get, f"q={quote('楼 1')}&floors=3&filter=height_m%20%3E%201")
    assert both == [key for i, key in enumerate(outlines) if i % 5 and str(i).startswith("1") and i % 11 == 3]


@pytest.mark.parametrize(
    ("q", "said"), [("", "q=''"), (",, ,", "0 terms"), ("a," * 30 + "b" * 3, "q="), ("x" * 201, "201")]
)
def test_a_text_search_without_a_term_or_with_too_much_is_refused(get, q, said):
    many = ",".join(f"t{i}" for i in range(21)) if q.startswith("a,") else q
    assert said in get(f"{ITEMS}?q={quote(many)}", 400).json()["detail"]


def test_features_without_geometries(get):
    answer = get(f"{ITEMS}?skipGeometry=true&bbox=-180,-90,180,90").json()
    assert {f["geometry"] for f in answer["features"]} == {None}
    assert answer["numberMatched"] == 37
    assert all(f["geometry"] for f in get(f"{ITEMS}?skipGeometry=false&limit=3").json()["features"])
    assert "skipGeometry" in get(f"{ITEMS}?skipGeometry=1", 400).json()["detail"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("id=b05", [5]), ("version=1&id=b06", [6]), ("version=2", []), ("valid_from=2001-01-01", []),
        ("floors=%2B3&heated=TRUE", [14, 36]),
    ],
)  # fmt: skip
def test_what_every_feature_has_is_asked_for_like_attributes(get, outlines, query, expected):
    assert found(get, query) == [list(outlines)[i] for i in expected]


@pytest.mark.parametrize(
    "query",
    [
        "floors=1_0",
        "floors=٣",
        "version=x",
        "valid_from=yesterday",
        "valid_from=..",
        "built=2020x",
        "floors=" + "9" * 200,
    ],
)
def test_values_of_another_type_are_refused_by_name(get, query):
    name = query.split("=", maxsplit=1)[0]
    assert name in get(f"{ITEMS}?{query}", 400).json()["detail"]


@pytest.mark.parametrize(
    ("expression", "test"),
    [
        ("id = 'b05'", lambda i: i == 5),
        ("id IN ('b05', 'b06', 'nothing')", lambda i: i in {5, 6}),
        ("id LIKE 'b0%'", lambda i: i < 10 and i != 7),
        ("version = 1 AND valid_to IS NULL AND floors = 3", lambda i: i % 11 == 3),
        ("T_INTERSECTS(INTERVAL(valid_from, valid_to), TIMESTAMP('2999-01-01T00:00:00Z'))", lambda _: True),
        ("T_BEFORE(valid_from, DATE('2001-01-01'))", lambda _: False),
        (
            r"CASEI(name) LIKE CASEI('楼 1_') AND heated",
            lambda i: i % 5 and len(str(i)) == 2 and i // 10 == 1 and i % 2 == 0,
        ),
        ("area_m2(geometry) > 700", lambda i: (10 + i) * (12 + i % 5) > 700),
        ("extra.备注 = 'old'", lambda i: i == 3),
        ("extra.备注 IS NOT NULL", lambda i: i == 3),
        ("extra.备注 > 3", lambda _: False),
        ("A_OVERLAPS(extra.nothing, ('a'))", lambda _: False),
        ("TRUE", lambda _: True),
        ("heated <> TRUE", lambda i: i % 2),
    ],
)
def test_filters(get, outlines, expression, test):
    got = found(get, f"filter={quote(expression)}")
    assert got == [key for i, key in enumerate(outlines) if test(i)]


def test_a_thousand_conditions(get, client, outlines):
    long = "+OR+".join(f"floors={3 + i * 11}" for i in range(1000))
    assert found(get, f"filter={long}") == [key for i, key in enumerate(outlines) if i % 11 == 3]
    parts = [{"op": "<>", "args": [{"property": "floors"}, i]} for i in range(5, 1005)]
    posted = client.post(ITEMS, json={"op": "and", "args": parts})
    assert posted.status_code in {200, 413}, "413 where its links would not fit into an address"
    if posted.status_code == 413:
        posted = client.post(ITEMS, json={"op": "and", "args": parts[:150]})
    assert ids_of(posted.json()) == [key for i, key in enumerate(outlines) if i % 11 < 5]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("avg(height_m) > 3", "'avg'"),
        ("area_m2(name) > 3", "area_m2"),
        ("area_m2(geometry, 3) > 3", "takes 1 arguments"),
        ("buffer(geometry, 3) = 3", "compares a geometry"),
        ("NOT " * 500 + "heated", "nested"),
        ("(" * 500 + "heated" + ")" * 500, "nested"),
        ("extra.备注 = extra.备注", "two members of extra"),
        ("A_EQUALS(name, ('a'))", "array is needed"),
        ("A_EQUALS(extra.a, (name, geometry))", "arrays"),
        ("name LIKE height_m", "pattern in quotes"),
        ("floors = 9007199254740993", "CQL2 JSON"),
        ("S_INTERSECTS(geometry, POINT(1))", "no geometry"),
        ("S_INTERSECTS(geometry, POINT(1 2)", "no CQL2 text"),
        ("S_INTERSECTS(geometry, POLYGON((0 0, 1 1)))", "no geometry"),
        ("S_INTERSECTS(geometry, BBOX(1,2,3))", "BBOX"),
        ("S_INTERSECTS(geometry, BBOX(500,0,-500,1))", "BBOX"),
        ("S_INTERSECTS(geometry, " + "GEOMETRYCOLLECTION(" * 40 + "POINT(1 1)" + ")" * 41, "nested"),
        ("T_AFTER(built, 'long ago')", "no date"),
        ("T_AFTER(name, DATE('2020-01-01'))", "string where a date"),
        ("T_AFTER(built, INTERVAL('2020-01-01'))", ""),
        ("built = DATE('0000-01-01')", "no date"),
        ("valid_from > TIMESTAMP('0001-01-01T00:00:00+14:00')", "no moment"),
    ],
)
def test_filters_that_make_no_sense_are_refused_with_a_reason(get, expression, said):
    problem = get(f"{ITEMS}?filter={quote(expression)}", 400).json()
    assert said in problem["detail"]
    assert "filter" in problem["detail"].lower() or "no date" in said


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"op": "and"}, "needs"),
        ({"op": "=", "args": [1]}, "2 arguments"),
        ({"op": "in", "args": [{"property": "floors"}, []]}, "IN needs"),
        ({"op": ["="], "args": []}, "filter"),
        ({"args": []}, "not read"),
        ([], "object"),
        (
            {"op": "s_intersects", "args": [{"property": "geometry"}, {"type": "Point", "coordinates": "x"}]},
            "no geometry",
        ),
        ({"op": "s_intersects", "args": [{"property": "geometry"}, {"bbox": [1, 2, "x", 4]}]}, "BBOX"),
        ({"op": "t_after", "args": [{"property": "built"}, {"date": 5}]}, "no date"),
        ({"op": "=", "args": [{"property": {"a": 1}}, 1]}, "no property"),
        ({"op": "like", "args": [{"property": "name"}, 5]}, "pattern"),
    ],
)
def test_json_filters_that_make_no_sense_are_refused_with_a_reason(get, document, said):
    problem = get(f"{ITEMS}?filter-lang=cql2-json&filter={quote(json.dumps(document))}", 400).json()
    assert said in problem["detail"]


def test_a_filter_of_a_megabyte_is_refused(client):
    big = "floors=1" + "+OR+floors=1" * 5000
    assert client.get(f"{ITEMS}?filter={big}").status_code == 414
    posted = client.post(ITEMS, json={"op": "or", "args": [{"op": "=", "args": [{"property": "floors"}, 1]}] * 25_000})
    assert posted.status_code in {400, 413}
    deep = '{"op":"not","args":[' * 500 + "true" + "]}" * 500
    response = client.post(ITEMS, content=deep, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert "filter is nested" in response.json()["detail"]


@pytest.mark.parametrize(
    ("bbox", "count"), [("170,-90,-170,90", 0), ("100,0,-170,80", 37), ("-170,0,100,80", 0), ("121.5,0,120.5,80", 0)]
)
def test_boxes_over_the_antimeridian(get, bbox, count):
    assert get(f"{ITEMS}?bbox={bbox}").json()["numberMatched"] == count
    expression = f"S_INTERSECTS(geometry, BBOX({bbox}))"
    assert get(f"{ITEMS}?filter={quote(expression)}").json()["numberMatched"] == count


def test_a_layer_without_geometry_lies_in_every_box(get):
    assert len(get("/collections/meter_record/items?bbox=1,2,3,4").json()["features"]) == 2
    assert get("/collections/meter_record/items?bbox=1,2,3", 400)


def test_heights_of_boxes_and_answers_are_of_their_crs(get):
    """The pipes lie between -1.25 m and 2.5 m of normal height; EGM96 says how much more above the ellipsoid."""
    from egm96 import undulation

    items = "/collections/pipe_water/items"
    flat = get(f"{items}?crs={CRS84}").json()["features"]
    high = get(f"{items}?crs={CRS84H}")
    assert high.headers["content-crs"] == f"<{CRS84H}>"
    for normal, ellipsoidal in zip(flat, high.json()["features"], strict=True):
        a, b = (np.array(f["geometry"]["coordinates"]) for f in (normal, ellipsoidal))
        assert (a[:, :2] == b[:, :2]).all()
        assert np.allclose(b[:, 2] - a[:, 2], undulation(a[:, 1], a[:, 0]), atol=2e-4)
        one = get(f"{items}/{normal['id']}?crs={CRS84H}").json()
        assert one["geometry"] == ellipsoidal["geometry"]
    n = float(undulation(28.1, 121.0))
    box, wide = "120.9,28,{},121.1,28.2,{}", "3000000,500000,{},3200000,700000,{}"
    assert abs(n) > 5, "else the two could not be told apart"
    for text, shift in ((box, n), (wide + f"&bbox-crs={URI}4549", 0.0)):
        inside = get(f"{items}?bbox={text.format(shift + 1, shift + 2)}").json()
        above = get(f"{items}?bbox={text.format(shift + 3, shift + 4)}").json()
        assert (inside["numberMatched"], above["numberMatched"]) == (5, 0)


def test_every_crs_of_the_collection_is_taken_everywhere(get):
    offered = get("/collections/pipe_water").json()["crs"]
    assert offered[:2] == [CRS84, URI + "4549"]
    assert {URI + code for code in ("4490", "4326", "3857", "4528")} | {CRS84H} < set(offered)
    for uri in offered:
        items = f"/collections/pipe_water/items?crs={uri}&limit=1"
        assert get(items).headers["content-crs"] == f"<{uri}>"
        first = get(items).json()["features"][0]["geometry"]["coordinates"][0]
        text = f"S_INTERSECTS(geometry, POINT({first[0]} {first[1]}))"
        around = 1e-6 if abs(first[0]) < 200 else 0.2
        box = f"{first[0] - around},{first[1] - around},{first[0] + around},{first[1] + around}"
        assert "p0" in ids_of(get(f"/collections/pipe_water/items?bbox={box}&bbox-crs={uri}").json())
        assert get(f"/collections/pipe_water/items?filter={quote(text)}&filter-crs={uri}")


def test_functions_are_told(get):
    document = get("/functions").json()
    names = {each["name"] for each in document["functions"]}
    assert {"area_m2", "length_m", "buffer", "contains_text"} <= names
    kinds = {"string", "number", "integer", "datetime", "geometry", "boolean"}
    for each in document["functions"]:
        assert each["description"]
        assert each["returns"]
        assert {kind for argument in each["args"] for kind in argument["type"]} | set(each["returns"]) <= kinds
    assert "limit" in get("/functions?limit=1", 400).json()["detail"]
    assert get("/functions", 304, headers={"If-None-Match": get("/functions").headers["etag"]})
    assert any(link["href"].endswith("/functions") for link in get("/").json()["links"])


def test_classes_are_declared_as_the_standard_spells_them(get):
    declared = set(get("/conformance").json()["conformsTo"])
    cql2 = (
        "cql2-text cql2-json basic-cql2 advanced-comparison-operators case-insensitive-comparison "
        "accent-insensitive-comparison basic-spatial-functions basic-spatial-functions-plus spatial-functions "
        "temporal-functions array-functions property-property functions arithmetic basic-spatial-operators"
    )
    assert {f"http://www.opengis.net/spec/cql2/1.0/conf/{name}" for name in cql2.split()} <= declared


@pytest.mark.parametrize(
    ("address", "name"),
    [("/collections/building/items?filter=POINT EMPTY", "filter"),
     ("/collections/building/items?filter=nope = 1", "filter"),
     ("/collections/building/items?filter=S_INTERSECTS(geometry,POINT EMPTY)", "filter"),
     ("/collections/building/items?filter=1 = (name divMULTIPOINT((1 1),(2 2)) AND 2)", "filter"),
     ("/collections/building/items?filter=1 = (name divPOINT(0 0) AND 2)", "filter"),
     ("/collections/building/items?properties=nope", "properties"), ("/collections/building/items?ids=", "ids"),
     ("/collections/catalogue/items?type=", "type"), ("/map?collections=", "collections"),
     ("/tiles/tilejson.json?collections=,", "collections"), ("/collections/building/map?filter=nope = 1", "filter")],
)  # fmt: skip
def test_what_is_wrong_is_told_with_the_name_of_its_parameter(client, address, name):
    answered = client.get(address)
    assert answered.status_code == 400
    assert name in answered.json()["detail"]


def test_a_filter_means_the_same_each_time_whatever_crs_it_was_sent_in_before(get):
    """Short filters are remembered as they were parsed: nobody may change what is remembered."""
    point = get("/collections/building/items?limit=1").json()["features"][0]["geometry"]["coordinates"][0][0][0]
    here = f"S_INTERSECTS(geometry,BBOX({point[0] - 1e-4},{point[1] - 1e-4},{point[0] + 1e-4},{point[1] + 1e-4}))"
    swapped = "http://www.opengis.net/def/crs/EPSG/0/4490"  # north first: nothing of the city is there

    def found(**more):
        answer = get("/collections/building/items", params={"filter": here, "limit": 1000} | more).json()
        return [each["id"] for each in answer["features"]]

    first = found()
    assert first
    for _ in range(2):
        assert found(**{"filter-crs": swapped}) == []
        assert found() == first
