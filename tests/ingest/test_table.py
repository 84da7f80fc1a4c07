"""CSV files: by hand, and real ones that must be refused in words."""

from datetime import UTC, datetime

import pytest
import shapely

from ingest.table import csv_reader as table
from layers.errors import CrsMissing, InvalidInput
from layers.source import Hints


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def only(path, hints=None):
    [layer] = table.read(path, hints or Hints()).layers
    return layer, list(layer.batches())


@pytest.mark.parametrize(
    ("encoding", "delimiter", "code"),
    [
        ("utf-8", ",", None),
        ("utf-8-sig", ",", None),
        ("gb18030", ",", "ENCODING_DETECTED"),
        ("utf-16", ",", None),
        ("utf-8", ";", None),
        ("utf-8", "\t", None),
        ("utf-8", "，", "DELIMITER_FULL_WIDTH"),
    ],
)
def test_points_in_any_dress(tmp_path, encoding, delimiter, code):
    lines = [
        ["名称", "X", "Y", "高程"],
        ["一号站", "597000.5", "3109000", "12.5"],
        ["二号站", "５９７０１０", "3109001", "—"],
    ]
    path = write(tmp_path / "气象站.csv", "\r\n".join(delimiter.join(line) for line in lines), encoding)
    reading = table.read(path, Hints(crs="EPSG:4549"))
    [layer] = reading.layers
    [batch] = layer.batches()
    assert layer.layer_type == "weather_station"
    assert shapely.get_coordinates(batch.geometry).tolist() == [[597000.5, 3109000], [597010, 3109001]]
    assert shapely.get_z(batch.geometry)[0] == 12.5
    assert not batch.geometry[1].has_z
    assert batch.attributes.column("name").to_pylist() == ["一号站", "二号站"]
    assert [issue.code for issue in reading.issues] == ([code] if code else [])


def test_lon_and_lat_are_never_taken_for_a_crs(tmp_path):
    path = write(tmp_path / "poi.csv", "name,lon,lat\na,121.0,28.1\n")
    with pytest.raises(CrsMissing, match=r'(?s)lon and lat.*\[\[source\]\]\npath = "poi.csv"\ncrs = '):
        table.read(path, Hints())
    layer, [batch] = only(path, Hints(crs="EPSG:4490"))
    assert layer.crs == "EPSG:4490"
    assert shapely.get_coordinates(batch.geometry).tolist() == [[121.0, 28.1]]


def test_columns_named_in_city_toml_hold_the_coordinates(tmp_path):
    path = write(tmp_path / "address.csv", "地址,甲,乙\n一号,597000,3109000\n")
    hints = Hints(crs="EPSG:4549", layer="address", columns={"x": "甲", "y": "乙"})
    layer, [batch] = only(path, hints)
    assert shapely.get_coordinates(batch.geometry).tolist() == [[597000, 3109000]]
    assert not [issue for issue in layer.issues if issue.code.startswith("HINT")]


def test_swapped_coordinates_are_refused(tmp_path):
    path = write(tmp_path / "poi.csv", "name,x,y\na,3109000,597000\n")
    with pytest.raises(InvalidInput, match="swapped"):
        table.read(path, Hints(crs="EPSG:4549"))


def test_rows_without_coordinates_or_too_wide_are_rejected_with_their_line(tmp_path):
    text = "name,x,y\na,597000,3109000\nb,,\n\nc,A,X\nd,597000,3109001,extra\n"
    layer, [batch] = only(write(tmp_path / "poi.csv", text), Hints(crs="EPSG:4549"))
    assert len(batch) == 1
    assert layer.n_read == 4
    assert [(reject.code, reject.where.split(", ")[1]) for reject in layer.rejects] == [
        ("COORDINATE_NOT_FINITE", "line 3"), ("COORDINATE_NOT_FINITE", "line 5"), ("ROW_WIDTH", "line 6"),
    ]  # fmt: skip
    assert layer.rejects[1].content["x"] == "A"


def test_observations_become_rows_without_geometry_and_repeats_are_rejected(tmp_path):
    row = "S1,2026-06-01T00:00:00+08:00,level,1.5,m\n"
    text = f"device_id,time,quantity,value,unit\n{row}{row}S1,2026-06-01 01:00:00,level,1.6,m\n"
    layer, [batch] = only(write(tmp_path / "sensor_obs.csv", text))
    assert (layer.layer_type, layer.geometry_type, layer.crs) == ("sensor_obs", "none", None)
    assert batch.attributes.column("time").to_pylist() == [datetime(2026, 5, 31, 16, tzinfo=UTC), None]
    assert batch.attributes.column("value").to_pylist() == [1.5, 1.6]
    assert [reject.code for reject in layer.rejects] == ["DUPLICATE_FEATURE"]
    assert "TIME_WITHOUT_ZONE" in [issue.code for issue in layer.issues]
    assert batch.extra[1] == '{"time":"2026-06-01 01:00:00"}'


def test_a_table_that_fits_nothing_names_its_columns_and_the_next_step(tmp_path):
    path = write(tmp_path / "x.csv", "foo,bar\n1,2\n")
    with pytest.raises(InvalidInput, match=r"(?s)foo, bar.*\[\[source\]\]") as caught:
        table.read(path, Hints())
    assert caught.value.code == "CSV_NOT_UNDERSTOOD"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "FILE_EMPTY"),
        ("name,x,y\n", "TABLE_EMPTY"),
        ("a\0b,c\n", "CSV_NOT_UNDERSTOOD"),
        ('name,x,y\n"a,1,2\n' + "x" * 1_100_000, "CSV_BROKEN"),
    ],
)
def test_files_that_are_no_table(tmp_path, text, code):
    with pytest.raises(InvalidInput) as caught:
        table.read(write(tmp_path / "poi.csv", text), Hints(crs="EPSG:4549"))
    assert caught.value.code == code


def test_many_rows_come_in_batches_and_all_of_them(tmp_path):
    rows = [f"S{i % 7},2026-06-01T00:00:{i % 60:02d}Z,level,{i},m" for i in range(25_000)]
    path = write(tmp_path / "sensor_obs.csv", "device_id,time,quantity,value,unit\n" + "\n".join(rows))
    _layer, batches = only(path)
    assert [len(batch) for batch in batches] == [10_000, 10_000, 5_000]
    assert sum(sum(batch.attributes.column("value").to_pylist()) for batch in batches) == sum(range(25_000))
    ids = [each for batch in batches for each in batch.ids]
    assert len(set(ids)) == 25_000


def test_a_real_series_is_read_once_its_columns_are_named(realdata):
    path = realdata / "sensor" / "traffic_speed_7578.csv"
    hints = Hints(
        layer="sensor_obs",
        columns={"time": "timestamp"},
        units={"time": "-06:00"},
        values={"device_id": "7578", "quantity": "speed"},
    )
    layer, [batch] = only(path, hints)
    assert layer.n_read == 1127  # MANIFEST: rows_after_header
    assert batch.attributes.column("time").to_pylist()[0] == datetime(2015, 9, 8, 17, 39, tzinfo=UTC)
    assert batch.attributes.column("value").to_pylist()[0] == 73
    assert set(batch.attributes.column("device_id").to_pylist()) == {"7578"}


def test_a_malformed_real_table_keeps_its_good_rows(realdata):
    layer, [batch] = only(realdata / "bad" / "csv_obs_malformatted.csv", Hints(crs="EPSG:4326"))
    assert layer.n_read == 5 == len(batch) + len(layer.rejects)
    assert any("'A'" in reject.message or "'X'" in reject.message for reject in layer.rejects)
