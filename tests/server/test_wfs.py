"""WFS against what the other face says: features of `/items` and boxes by shapely, GML read by lxml."""

import re

import numpy as np
import pytest
import shapely
import shapely.geometry
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from layers import crs
from server.wfs.versions import from_ncname, ncname

NS = {
    "wfs": "http://www.opengis.net/wfs/2.0", "gml": "http://www.opengis.net/gml/3.2", "city": "urn:citytwin:features",
    "ows": "http://www.opengis.net/ows/1.1", "gml31": "http://www.opengis.net/gml", "xsd": "http://www.w3.org/2001/XMLSchema",
}  # fmt: skip
FES = 'xmlns:fes="http://www.opengis.net/fes/2.0" xmlns:gml="http://www.opengis.net/gml/3.2"'


def ask(client, **kvp):
    return client.get("/wfs", params={"service": "WFS", "version": "2.0.0", "request": "GetFeature"} | kvp)


def read(answer):
    """Public id -> bounds as written, of a 2.0.0 answer."""
    assert answer.status_code == 200, answer.text
    root = etree.fromstring(answer.content)
    found = {}
    for member in root.findall("wfs:member/*", NS):
        numbers = [float(v) for each in member.iter("{*}posList", "{*}pos") for v in each.text.split()]
        size = 3 if member.find(".//*[@srsDimension='3']") is not None else 2
        xy = np.array(numbers).reshape(-1, size)[:, :2] if numbers else np.zeros((0, 2))
        bounds = [*xy.min(axis=0), *xy.max(axis=0)] if len(xy) else None
        found[member.findtext("city:id", namespaces=NS)] = bounds
    return root, found


def items(client, **params):
    answer = client.get("/collections/building/items", params={"crs": crs.uri("EPSG:4549"), "limit": 1000} | params)
    assert answer.status_code == 200, answer.text
    return {
        f["id"]: shapely.from_geojson(str(f["geometry"]).replace("'", '"')).bounds for f in answer.json()["features"]
    }


def test_every_feature_is_where_items_says_north_first(client):
    root, found = read(ask(client, typeNames="city:building"))
    expected = items(client)
    assert set(found) == set(expected)
    for key, bounds in expected.items():
        np.testing.assert_allclose(found[key], bounds, rtol=0, atol=1e-4)
    assert found[next(iter(found))][0] > 3_000_000  # EPSG:4549 by URN: north comes first
    assert root.get("numberMatched") == root.get("numberReturned") == str(len(expected))


def test_the_short_name_of_a_crs_means_east_first(client):
    _, north_first = read(ask(client, typeNames="building", srsName="urn:ogc:def:crs:EPSG::4490"))
    _, east_first = read(ask(client, typeNames="building", srsName="EPSG:4490"))
    for key, (a, b, c, d) in north_first.items():
        assert east_first[key] == [b, a, d, c]
    assert next(iter(east_first.values()))[0] > 120


def test_lines_have_their_heights(client):
    root, found = read(ask(client, typeNames="pipe_water"))
    assert len(found) == 5
    (line, *_) = root.iter("{http://www.opengis.net/gml/3.2}posList")
    first = client.get("/collections/pipe_water/items", params={"limit": 1, "crs": crs.uri("EPSG:4549")}).json()
    written = np.array(first["features"][0]["geometry"]["coordinates"]).ravel()
    np.testing.assert_allclose([float(v) for v in line.text.split()], written, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("text", "cql"), [
    ("<fes:PropertyIsGreaterThan><fes:ValueReference>height_m</fes:ValueReference><fes:Literal>20</fes:Literal>"
     "</fes:PropertyIsGreaterThan>", "height_m > 20"),
    ("<fes:And><fes:PropertyIsLessThanOrEqualTo><fes:ValueReference>city:floors</fes:ValueReference><fes:Literal>5"
     "</fes:Literal></fes:PropertyIsLessThanOrEqualTo><fes:Not><fes:PropertyIsNull><fes:ValueReference>name"
     "</fes:ValueReference></fes:PropertyIsNull></fes:Not></fes:And>", "floors <= 5 AND name IS NOT NULL"),
    ("<fes:PropertyIsBetween><fes:ValueReference>height_m</fes:ValueReference><fes:LowerBoundary><fes:Literal>10"
     "</fes:Literal></fes:LowerBoundary><fes:UpperBoundary><fes:Literal>30</fes:Literal></fes:UpperBoundary>"
     "</fes:PropertyIsBetween>", "height_m BETWEEN 10 AND 30"),
    ('<fes:PropertyIsLike wildCard="*" singleChar="." escapeChar="!"><fes:ValueReference>name</fes:ValueReference>'
     "<fes:Literal>*1*</fes:Literal></fes:PropertyIsLike>", "name LIKE '%1%'"),
    ("<fes:PropertyIsEqualTo><fes:ValueReference>heated</fes:ValueReference><fes:Literal>true</fes:Literal>"
     "</fes:PropertyIsEqualTo>", "heated = TRUE"),
    ("<fes:Or><fes:PropertyIsNotEqualTo><fes:ValueReference>floors</fes:ValueReference><fes:Literal>3</fes:Literal>"
     "</fes:PropertyIsNotEqualTo><fes:PropertyIsLessThan><fes:ValueReference>height_m</fes:ValueReference><fes:Literal>"
     "9</fes:Literal></fes:PropertyIsLessThan></fes:Or>", "floors <> 3 OR height_m < 9"),
])  # fmt: skip
def test_a_filter_is_answered_like_its_cql2(client, text, cql):
    _, found = read(ask(client, typeNames="building", filter=f"<fes:Filter {FES}>{text}</fes:Filter>"))
    assert set(found) == set(items(client, filter=cql))


def test_boxes_in_every_spelling_are_the_same_box(client):
    west, south, east, north = 598_000.0, 3_110_000.0, 598_130.0, 3_110_100.0
    inside = {key for key, b in items(client).items() if shapely.box(b[1], b[0], b[3], b[2]).intersects(
        shapely.box(west, south, east, north))}  # fmt: skip
    assert 0 < len(inside) < 37
    envelope = f"<gml:lowerCorner>{south} {west}</gml:lowerCorner><gml:upperCorner>{north} {east}</gml:upperCorner>"
    envelope = f'<gml:Envelope srsName="urn:ogc:def:crs:EPSG::4549">{envelope}</gml:Envelope>'
    ring = f"{south} {west} {south} {east} {north} {east} {north} {west} {south} {west}"
    ring = f"<gml:exterior><gml:LinearRing><gml:posList>{ring}</gml:posList></gml:LinearRing></gml:exterior>"
    inside_of = f"<gml:Polygon>{ring}</gml:Polygon>"
    reference = "<fes:ValueReference>geometry</fes:ValueReference>"
    for kvp in (
        {"bbox": f"{south},{west},{north},{east}"},
        {"bbox": f"{south},{west},{north},{east},urn:ogc:def:crs:EPSG::4549"},
        {"bbox": f"{west},{south},{east},{north},EPSG:4549"},
        {"filter": f"<fes:Filter {FES}><fes:BBOX>{reference}{envelope}</fes:BBOX></fes:Filter>"},
        {"filter": f"<fes:Filter {FES}><fes:Intersects>{reference}{inside_of}</fes:Intersects></fes:Filter>"},
    ):
        _, found = read(ask(client, typeNames="building", **kvp))
        assert set(found) == inside, kvp


def test_paging_hits_and_order(client):
    everything = items(client)
    root, found = read(ask(client, typeNames="building", resultType="hits"))
    assert (root.get("numberMatched"), root.get("numberReturned"), found) == ("37", "0", {})
    seen = []
    for start in range(0, 40, 10):
        root, page = read(ask(client, typeNames="building", count=10, startIndex=start))
        assert root.get("numberReturned") == str(len(page))
        seen += page
    assert len(seen) == 37
    assert set(seen) == set(everything)
    _, high = read(ask(client, typeNames="building", sortBy="height_m DESC", count=5))
    rows = client.get("/collections/building/items?limit=1000").json()["features"]
    heights = {row["id"]: row["properties"]["height_m"] for row in rows}
    expected = sorted((h for h in heights.values() if h is not None), reverse=True)[:5]
    assert [heights[key] for key in high] == expected


def test_ids_and_chosen_properties(client):
    wanted = next(iter(items(client)))
    root, found = read(ask(client, resourceId=f"building.{wanted}", propertyName="name"))
    assert list(found) == [wanted]
    assert found[wanted] is None  # the geometry was not asked for
    (member,) = root.findall("wfs:member/*", NS)
    assert {etree.QName(child).localname for child in member} <= {"id", "name"}


def test_version_1_1(client):
    answer = ask(client, version="1.1.0", typeName="building", maxFeatures=3)
    root = etree.fromstring(answer.content)
    assert answer.headers["content-type"] == "text/xml; subtype=gml/3.1.1"
    assert root.get("numberOfFeatures") == "3"
    assert len(root.findall("gml31:featureMembers/city:building", NS)) == 3


def test_geojson_is_in_degrees_east_first(client):
    answer = ask(client, typeNames="building", outputFormat="application/json", count=2).json()
    assert (answer["numberMatched"], answer["numberReturned"], len(answer["features"])) == (37, 2, 2)
    same = client.get("/collections/building/items?limit=2").json()["features"]
    assert [each["geometry"] for each in answer["features"]] == [each["geometry"] for each in same]
    assert ask(client, typeNames="building", outputFormat="json", srsName="EPSG:4549").status_code == 400


def test_the_schema_names_every_attribute(client):
    answer = ask(client, request="DescribeFeatureType", typeNames="city:building")
    root = etree.fromstring(answer.content)
    names = [each.get("name") for each in root.findall(".//xsd:sequence/xsd:element", NS)]
    kinds = {each.get("name"): each.get("type") for each in root.findall(".//xsd:sequence/xsd:element", NS)}
    assert names == ["geometry", "id", "name", "height_m", "floors", "heated", "built"]
    assert kinds["geometry"] == "gml:MultiSurfacePropertyType"
    assert (kinds["height_m"], kinds["floors"], kinds["built"]) == ("xsd:double", "xsd:long", "xsd:date")


@pytest.mark.parametrize("version", ["2.0.0", "1.1.0"])
def test_capabilities_list_every_layer_and_where_it_is(client, version):
    root = etree.fromstring(ask(client, request="GetCapabilities", version=version).content)
    wfs = etree.QName(root).namespace
    types = {each.findtext(f"{{{wfs}}}Name"): each for each in root.iter(f"{{{wfs}}}FeatureType")}
    assert root.get("version") == version
    listed = client.get("/collections").json()["collections"]
    assert set(types) == {f"city:{each['id']}" for each in listed if each.get("itemType") == "feature"}
    ows = root.nsmap["ows"]
    west, south = map(float, types["city:building"].findtext(f".//{{{ows}}}LowerCorner").split())
    assert (round(west), round(south)) == (121, 28)


@pytest.mark.parametrize(("kvp", "code", "word"), [
    ({}, "MissingParameterValue", "TYPENAMES"),
    ({"typeNames": "nothing"}, "InvalidParameterValue", "nothing"),
    ({"typeNames": "building,pipe_water"}, "InvalidParameterValue", "one at a time"),
    ({"typeNames": "building", "request": "Transaction"}, "OperationNotSupported", "transaction"),
    ({"typeNames": "building", "count": "-1"}, "InvalidParameterValue", "COUNT"),
    ({"typeNames": "building", "bbox": "1,2,3"}, "InvalidParameterValue", "BBOX"),
    ({"typeNames": "building", "bbox": "nan,0,1,1"}, "InvalidParameterValue", "bbox"),
    ({"typeNames": "building", "bbox": "1,2,3,4,EPSG:27700"}, "InvalidParameterValue", "BBOX"),
    ({"typeNames": "building", "srsName": "EPSG:27700"}, "InvalidParameterValue", "SRSNAME"),
    ({"typeNames": "building", "srsName": "nonsense"}, "InvalidParameterValue", "nonsense"),
    ({"typeNames": "building", "propertyName": "colour"}, "InvalidParameterValue", "colour"),
    ({"typeNames": "building", "sortBy": "colour"}, "InvalidParameterValue", "colour"),
    ({"typeNames": "building", "resultType": "some"}, "InvalidParameterValue", "RESULTTYPE"),
    ({"typeNames": "building", "outputFormat": "shape-zip"}, "InvalidParameterValue", "OUTPUTFORMAT"),
    ({"typeNames": "building", "filter": "<Filter"}, "InvalidParameterValue", "FILTER"),
    ({"typeNames": "building", "filter": "<Filter/>"}, "InvalidParameterValue", "FILTER"),
    ({"typeNames": "building", "filter": "<Filter><DWithin/></Filter>"}, "InvalidParameterValue", "DWithin"),
    ({"typeNames": "building", "filter": "<Filter>" + "<Not>" * 200 + "</Not>" * 200 + "</Filter>"},
     "InvalidParameterValue", "deep"),
    ({"typeNames": "building",
      "filter": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Filter><PropertyIsEqualTo><ValueReference>name'
                "</ValueReference><Literal>&x;</Literal></PropertyIsEqualTo></Filter>"},
     "InvalidParameterValue", "document type"),
    ({"typeNames": "building", "filter": "<Filter><PropertyIsEqualTo><ValueReference>height_m</ValueReference><Literal>"
      "tall</Literal></PropertyIsEqualTo></Filter>"}, "InvalidParameterValue", "height_m"),
])  # fmt: skip
def test_what_is_wrong_is_an_exception_report(client, kvp, code, word):
    answer = ask(client, **kvp)
    assert answer.status_code == 400
    found = etree.fromstring(answer.content).find("ows:Exception", NS)
    assert found.get("exceptionCode") == code
    assert word in found.findtext("ows:ExceptionText", namespaces=NS)


@given(st.text(min_size=1, max_size=30))
def test_any_text_becomes_a_name_of_xml_and_back(text):
    name = ncname(text)
    assert from_ncname(name) == text
    clean = not re.search("[\x00-\x1f\ud800-\udfff\ufffe\uffff]", text)
    if clean:
        assert etree.fromstring(f"<{name}/>".encode()).tag == name


def test_a_copy_that_is_fresh_is_not_sent_again(client):
    first = ask(client, typeNames="building")
    again = client.get(str(first.request.url), headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
