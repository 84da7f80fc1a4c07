"""CityGML that a stranger sent: bombs, depth, lengths, references in circles, mutated bytes."""

import os
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.citygml import attributes as citygml_attributes
from ingest.citygml import reader as citygml
from ingest.citygml import stream as citygml_stream
from layers.errors import CityTwinError, InvalidInput
from layers.source import Hints
from tests.ingest.test_citygml import document, house, only, rows, save

HEAD = '<CityModel xmlns="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml">'


def consumed(path, hints=None):
    reading = citygml.read(path, hints or Hints())
    for layer in reading.layers:
        n = sum(len(batch) for batch in layer.batches())
        assert layer.n_read == n + len(layer.rejects)
    return reading


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/a.dtd"> %x;]>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_entities_are_refused(tmp_path, prolog, encoding):
    path = tmp_path / "a.gml"
    text = (
        f"<?xml version='1.0' encoding='{encoding}'?>{prolog}{HEAD}<cityObjectMember>&y;</cityObjectMember></CityModel>"
    )
    path.write_bytes(text.encode(encoding))
    with pytest.raises(InvalidInput):
        consumed(path)


def test_an_external_document_type_is_not_fetched(tmp_path):
    path = save(
        tmp_path,
        document([house()]).replace(
            "<CityModel", '<!DOCTYPE CityModel SYSTEM "http://127.0.0.1:9/a.dtd"><CityModel', 1
        ),
    )
    start = time.perf_counter()
    assert consumed(path).layers[0].n_read == 1
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    "body",
    [
        "<a>" * 1_000_000,
        "<cityObjectMember>" + "<a>" * 1_000_000 + "</a>" * 1_000_000 + "</cityObjectMember></CityModel>",
        "<cityObjectMember><gml:posList>" + "1 " * 6_000_000 + "</gml:posList></cityObjectMember></CityModel>",
        "<cityObjectMember></CityModel>",
        "<cityObjectMember/>",
    ],
    ids=["deep", "deep and closed", "long text", "not nested", "cut off"],
)
def test_depth_length_and_truncation_are_refused(tmp_path, body):
    path = save(tmp_path, HEAD + body)
    with pytest.raises(InvalidInput) as caught:
        consumed(path)
    assert caught.value.code == "XML_BROKEN"
    assert "line" in caught.value.problem


def test_a_member_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(citygml_stream, "MEMBER_BYTES", 1_000_000)
    path = save(tmp_path, HEAD + "<cityObjectMember>" + "<a/>" * 1_000_000 + "</cityObjectMember></CityModel>")
    with pytest.raises(InvalidInput) as caught:
        consumed(path)
    assert caught.value.code == "MEMBER_TOO_LARGE"


def test_too_many_values_cost_the_object_only(tmp_path, monkeypatch):
    monkeypatch.setattr(citygml_attributes, "MAX_VALUES", 50)
    inner = "".join(
        f'<generics:stringAttribute name="a{i}"><generics:value>1</generics:value></generics:stringAttribute>'
        for i in range(60)
    )
    _, layer, _ = only(tmp_path, [house("a", inner=inner), house("b")])
    assert [key for key, *_ in rows(layer)] == ["b"]
    assert [each.code for each in layer.rejects] == ["CG_TOO_MANY_VALUES"]


def test_references_in_circles_and_doublings_end(tmp_path):
    def surface(name, targets):
        inner = "".join(f'<gml:surfaceMember xlink:href="#{each}"/>' for each in targets)
        return f"<gml:MultiSurface gml:id='{name}'>{inner}</gml:MultiSurface>"

    chain = [surface(f"s{i}", [f"s{i + 1}"] * 2) for i in range(40)] + [surface("s40", ["s0"])]
    geometry = f"<gml:MultiSurface>{''.join(f'<gml:surfaceMember>{each}</gml:surfaceMember>' for each in chain)}</gml:MultiSurface>"  # noqa: E501
    member = f"<building:Building gml:id='a'><building:lod1MultiSurface>{geometry}</building:lod1MultiSurface></building:Building>"  # noqa: E501
    _, layer, _ = only(tmp_path, [member, house("b")])
    assert [key for key, *_ in rows(layer)] == ["b"]


def test_objects_in_objects_without_end(tmp_path):
    inner = "<building:consistsOfBuildingPart><building:BuildingPart>" * 100
    close = "</building:BuildingPart></building:consistsOfBuildingPart>" * 100
    _, layer, _ = only(tmp_path, [house("a", inner=inner + close)])
    assert [key for key, *_ in rows(layer)] == ["a"]


SEED = document([house("a", inner="<gml:name>x</gml:name>"), house("b", lod=3)]).encode()
SPLICES = [
    b"<", b">", b"&amp;", b"&x;", b"NaN", b"1e400", b"-", b"\x00", b"\xff", b"]]>", b"<![CDATA[", b"#h1", b"xlink:href='#a'",  # noqa: E501
    b"srsDimension='7'", b"srsName='EPSG:4326'", b"<gml:posList>", b"</gml:posList>", b"<!-- ", b"lod9Solid", b"9" * 400,  # noqa: E501
]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(SEED)), st.integers(0, 60), st.one_of(st.sampled_from(SPLICES), st.binary(max_size=8))
        ),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_mutated_bytes_give_a_reading_or_a_refusal(tmp_path, changes):
    data = SEED
    for at, length, splice in changes:
        data = data[:at] + splice + data[at + length :]
    path = tmp_path / f"m{os.getpid()}.gml"
    path.write_bytes(data)
    with suppress(CityTwinError):
        consumed(path, Hints(crs="EPSG:4549"))


NUMBERS = st.one_of(st.floats(), st.sampled_from(["", "x", "1_0", "inf", "1e308", "-1e308", "0"]))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NUMBERS, max_size=30), st.sampled_from(["Polygon", "Solid", "MultiSurface", "Tin"]))
def test_any_numbers_as_coordinates(tmp_path, numbers, kind):
    text = " ".join(str(each) for each in numbers)
    ring = f"<gml:exterior><gml:LinearRing><gml:posList>{text}</gml:posList></gml:LinearRing></gml:exterior>"
    member = (
        f"<building:Building gml:id='z'><building:lod2Solid><gml:{kind}><gml:a><gml:Polygon>{ring}</gml:Polygon></gml:a>"  # noqa: E501
        f"</gml:{kind}></building:lod2Solid></building:Building>"
    )
    consumed(save(tmp_path, document([member, house("b"), house("c"), house("d")])))
