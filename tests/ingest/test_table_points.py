"""Geometry columns of tables: WKT with heights and faces, EWKT, degrees with minutes, titles above the header."""

import csv
import math
import struct

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest import wkb, wkt
from ingest.table import csv_reader as table
from ingest.table import points as table_points
from layers.errors import InvalidInput
from layers.source import Hints

CRS = Hints(crs="EPSG:4549")


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def read(path, hints=CRS):
    reading = table.read(path, hints)
    return reading, [(layer, list(layer.batches())) for layer in reading.layers]


@pytest.mark.parametrize("name", ["WKT", "geometry", "geom", "shape", "几何", "EWKT"])
def test_wkt_in_a_column_of_any_usual_name(tmp_path, name):
    text = f'名称,{name}\n甲,"LINESTRING Z (597000 3109000 1,597010 3109000 2)"\n'
    text += '乙,"LINESTRING (597000 3109001,597010 3109001)"\n'
    _, [(layer, [batch])] = read(write(tmp_path / "road.csv", text))
    assert layer.layer_type == "road"
    assert shapely.get_coordinates(batch.geometry[0], include_z=True).tolist() == [
        [[597000, 3109000, 1], [597010, 3109000, 2]],
    ][0]  # fmt: skip
    assert batch.attributes.column("name").to_pylist() == ["甲", "乙"]
    assert batch.extra == [None, None]


def test_ewkt_states_its_crs_and_two_of_them_are_refused(tmp_path):
    path = write(tmp_path / "poi.csv", 'name,geom\na,"SRID=4490;POINT(121 28.1)"\nb,"SRID=4490;POINT(121.1 28.2)"\n')
    reading, [(layer, [batch])] = read(path, Hints())
    assert layer.crs == "EPSG:4490"
    assert reading.certificate.method == "file-crs"
    assert shapely.get_coordinates(batch.geometry).tolist() == [[121, 28.1], [121.1, 28.2]]
    path = write(
        tmp_path / "poi.csv", 'name,geom\na,"SRID=4490;POINT(121 28.1)"\nb,"SRID=4549;POINT(597000 3109000)"\n'
    )
    with pytest.raises(InvalidInput) as caught:
        table.read(path, Hints())
    assert caught.value.code == "CRS_MIXED"


def test_hexadecimal_wkb_is_what_postgis_exports(tmp_path):
    shape = shapely.set_srid(shapely.Point(597000, 3109000, 4.5), 4549)
    path = write(tmp_path / "poi.csv", f"name,geom\na,{shapely.to_wkb(shape, hex=True, include_srid=True)}\n")
    _, [(layer, [batch])] = read(path, Hints())
    assert layer.crs == "EPSG:4549"
    assert shapely.get_coordinates(batch.geometry, include_z=True).tolist() == [[597000, 3109000, 4.5]]


def test_rows_without_readable_wkt_are_rejected_with_their_text(tmp_path):
    text = 'name,wkt\na,"POINT(597000 3109000)"\nb,"POINT(597000"\nc,\nd,"POINT(597001 3109000)"\n'
    _, [(layer, [batch])] = read(write(tmp_path / "poi.csv", text))
    assert len(batch) == 2
    assert [(reject.code, reject.content.get("wkt")) for reject in layer.rejects] == [
        ("GEOMETRY_UNREADABLE", "POINT(597000"), ("GEOMETRY_NULL", None),
    ]  # fmt: skip
    assert "line 3" in layer.rejects[0].where


def test_kinds_that_are_mixed_become_layers(tmp_path):
    text = 'name,wkt\na,"POINT(597000 3109000)"\nb,"LINESTRING(597000 3109000,597001 3109000)"\n'
    reading, found = read(write(tmp_path / "x.csv", text))
    assert {layer.name for layer, _ in found} == {"x", "x_points"}
    assert sum(layer.n_read for layer, _ in found) == 2
    assert "GEOMETRY_KINDS_SPLIT" in [issue.code for issue in reading.issues]


def test_a_real_table_of_tins_gives_meshes(realdata):
    _, [(layer, [batch])] = read(realdata / "vector" / "test_tin.csv", Hints(crs="EPSG:32631", control_points=()))
    assert layer.n_read == 3 == len(batch)  # MANIFEST: rows_after_header
    assert [len(mesh.triangles) for mesh in batch.meshes] == [2, 1, 3]
    one = batch.meshes[0]
    corners = one.vertices[one.triangles]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    assert areas.tolist() == pytest.approx([0.5, 0.5])


def test_polyhedral_surfaces_are_read_as_postgis_writes_them():
    data, srid = wkt.read("SRID=4549;POLYHEDRALSURFACE Z (((0 0 0,1 0 0,1 1 0,0 0 0)),((0 0 0,1 0 0,0 0 1,0 0 0)))")
    assert srid == 4549
    assert struct.unpack_from("<BII", data) == (1, 1015, 2)
    assert [len(face) for face in wkb.faces(data)] == [1, 1]


@pytest.mark.parametrize(
    ("lon", "lat", "wanted"),
    [
        ("121°12'30.5\"E", "28°06'00\"N", (121 + 12 / 60 + 30.5 / 3600, 28.1)),
        ("121°12′30.5″", "28°6′", (121 + 12 / 60 + 30.5 / 3600, 28.1)),
        ("东经121度12分30秒", "北纬28度6分0秒", (121 + 12 / 60 + 30 / 3600, 28.1)),
        ("E121°12.5'", "N28:06:00", (121 + 12.5 / 60, 28.1)),
        ("１２１°３０＇", "２８°", (121.5, 28.0)),
        ("-121°30'", "28.5S", (-121.5, -28.5)),
    ],
)
def test_degrees_with_minutes_and_seconds(tmp_path, lon, lat, wanted):
    quote = lambda cell: '"' + cell.replace('"', '""') + '"'  # noqa: E731
    path = write(tmp_path / "poi.csv", f"name,lon,lat\na,{quote(lon)},{quote(lat)}\n")
    _, [(_, [batch])] = read(path, Hints(crs="EPSG:4490"))
    assert shapely.get_coordinates(batch.geometry)[0].tolist() == pytest.approx(wanted, abs=1e-12)


def test_a_letter_that_contradicts_its_column_is_named_not_swapped(tmp_path):
    path = write(tmp_path / "poi.csv", "name,lon,lat\na,28°06'N,121°12'E\n")
    with pytest.raises(InvalidInput, match=r"'lon' should hold longitudes, but has .*swapped") as caught:
        table.read(path, Hints(crs="EPSG:4490"))
    assert caught.value.code == "COORDINATES_SWAPPED"


def test_minutes_beyond_sixty_are_no_coordinate(tmp_path):
    path = write(tmp_path / "poi.csv", "name,lon,lat\na,121°72',28°06'\nb,121°12',28°06'\n")
    _, [(layer, [batch])] = read(path, Hints(crs="EPSG:4490"))
    assert len(batch) == 1
    assert layer.rejects[0].code == "COORDINATE_NOT_FINITE"


@given(st.floats(0, 179.99), st.sampled_from(["E", "W"]))
@example(0.0, "E")
def test_degrees_survive_being_written_in_seconds(value, side):
    degrees = int(value)
    minutes = int((value - degrees) * 60)
    seconds = ((value - degrees) * 60 - minutes) * 60
    text = f"{degrees}°{minutes}'{min(seconds, 59.999999):.6f}\"{side}"
    found = table_points.degrees(text, "EW", "lon")
    assert math.isclose(abs(found), value, abs_tol=1e-9)
    assert math.copysign(1, found) == (1 if side == "E" else -1) or found == 0


def test_titles_above_the_header_are_told(tmp_path):
    text = "某市兴趣点统计表,,,\n单位：米,,,\n名称,X,Y,备注\n甲,597000,3109000,好\n"
    reading, [(layer, [batch])] = read(write(tmp_path / "poi.csv", text))
    assert layer.n_read == len(batch) == 1
    [issue] = reading.issues
    assert issue.code == "TABLE_TITLE_SKIPPED"
    assert "某市兴趣点统计表 | 单位:米" in issue.message or "某市兴趣点统计表 | 单位：米" in issue.message


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("a,b\n1,2\n", ["a", "b"]),
        (",RH\n2019-01-01,0.0\n2019-01-02,0.1\n", ["column_1", "RH"]),
        ("value\n1\n2\n", ["value"]),
        ("2020,2021,2022\n1,2,3\n", ["2020", "2021", "2022"]),
        ("站名,东坐标,北坐标\n甲,1,2\n", ["站名", "东坐标", "北坐标"]),
        ("a,a,a\n1,2,3\n", ["a", "a_2", "a_3"]),
        ("x,,\n1,2,3\n", ["x", "column_2", "column_3"]),
    ],
)
def test_the_first_row_stays_the_header_where_there_is_no_title(tmp_path, text, header):
    found = table.csv_sheet.opened(write(tmp_path / "t.csv", text), Hints())
    assert found.header == header
    assert len(list(found.rows())) == text.count("\n") - 1


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
@example(b"\xef\xbb\xbfname,x,y\na,597000,3109000\n")
@example("name，x，y\na，１，２\n".encode())
@example(b'name,wkt\na,"POINT(1 2"\n')
@example(b'lon,lat\n"1\xc2\xb0","2"\n')
@example(b"\xff\xfename,x,y\n")
@example(b"a,b,c\n\r\n")
def test_any_bytes_are_read_to_the_end_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "poi.csv"
    path.write_bytes(data)
    _reads_or_refuses(path)


CELL = st.one_of(
    st.text(max_size=8), st.floats().map(str), st.sampled_from(["597000", "3109000", "—", "121°", "POINT(1 2)", "起点"])
)
HEADER = st.sampled_from(
    ["name", "x", "y", "z", "wkt", "经度", "lat", "起点点号", "终点点号", "点号", "地面高程", "time"]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(HEADER, min_size=1, max_size=6), st.lists(st.lists(CELL, max_size=7), max_size=6))
def test_any_table_is_read_to_the_end_or_refused(tmp_path_factory, header, rows):
    path = tmp_path_factory.mktemp("fuzz") / "t.csv"
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    _reads_or_refuses(path)


def _reads_or_refuses(path):
    try:
        for layer in table.read(path, CRS).layers:
            kept = sum(len(batch) for batch in layer.batches())
            assert layer.n_read == kept + len(layer.rejects)
    except InvalidInput:
        return


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="TINRGLEPOYHDASUFCZM(),.- 019e;=8", max_size=60))
@example("TIN Z (((0 0 0,1 0 0,0 1 0,0 0 0)))")
@example("TRIANGLE EMPTY")
@example("GEOMETRYCOLLECTION(" * 40)
@example("TIN(((0 0,0 0)))")
def test_any_text_is_wkt_or_none(text):
    data, _ = wkt.read(text)
    assert data is None or isinstance(data, bytes)
