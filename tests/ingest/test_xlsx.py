"""Workbooks, written by hand, and the same tables as CSV: the reader must make the same of both."""

import io
import random
import zipfile
from datetime import UTC, date, datetime

import pytest
import shapely

from ingest import read
from ingest.table import csv_reader as table
from ingest.table import xlsx
from layers.errors import CityTwinError, InvalidInput
from layers.source import Hints
from tests.ingest.workbook import write

STATIONS = [["名称", "X", "Y", "高程"], ["一号站", 597000.5, 3109000, 12.5], ["二号站", 597010, 3109001, "—"]]
CRS = Hints(crs="EPSG:4549")


def batches(reading):
    return {layer.name: (layer, list(layer.batches())) for layer in reading.layers}


def test_a_sheet_is_read_as_the_same_csv_is(tmp_path):
    book = write(tmp_path / "气象站.xlsx", {"Sheet1": STATIONS, "Sheet2": []})
    plain = tmp_path / "csv" / "气象站.csv"
    plain.parent.mkdir()
    plain.write_text("\n".join(",".join(str(cell) for cell in row) for row in STATIONS))
    found, wanted = read(book, CRS), table.read(plain, CRS)
    [(layer, [mine])], [(_, [other])] = batches(found).values(), batches(wanted).values()
    assert layer.layer_type == "weather_station"
    assert mine.ids == other.ids
    assert mine.geometry.tolist() == other.geometry.tolist()
    assert mine.attributes.drop_columns(["source"]) == other.attributes.drop_columns(["source"])
    assert [issue.code for issue in found.issues] == ["SHEET_EMPTY"]
    assert "'Sheet2' is empty" in found.issues[0].message


def test_titles_two_row_headers_merged_cells_dates_and_formulas(tmp_path):
    rows = [
        ["某市气象站一览表", None, None, None, None],
        [],
        ["名称", "坐标", None, "建站", "启用"],
        [None, "X", "Y", None, None],
        ["甲", 597000.5, 3109000, date(2020, 1, 2), True],
        [None, 597011, ("B5+1", 3109002), date(2021, 1, 2), False],
    ]
    merged = ["A1:E1", "A3:A4", "B3:C3", "D3:D4", "E3:E4", "A5:A6"]
    path = write(tmp_path / "book.xlsx", {"气象站": rows, "x": STATIONS}, {"气象站": merged}, hidden=("x",))
    reading = xlsx.read(path, Hints(crs="EPSG:4549"))
    _, [batch] = batches(reading)["气象站"]
    assert shapely.get_coordinates(batch.geometry).tolist() == [[597000.5, 3109000], [597011, 3109002]]
    assert batch.attributes.column("name").to_pylist() == ["甲", "甲"]  # merged over both rows
    assert '"建站":"2021-01-02"' in batch.extra[1]
    assert '"启用":false' in batch.extra[1]
    codes = [issue.code for issue in reading.issues]
    assert codes == ["SHEET_HIDDEN", "TABLE_TITLE_SKIPPED"]
    assert "某市气象站一览表" in reading.issues[1].message
    assert all(each.startswith("book.气象站.") for each in batch.ids)


def test_times_of_a_workbook_have_no_zone_until_one_is_declared(tmp_path):
    rows = [["device_id", "time", "quantity", "value", "unit"], ["S1", datetime(2026, 6, 1, 8, 30), "level", 1.5, "m"]]
    path = write(tmp_path / "sensor_obs.xlsx", {"a": rows})
    reading = xlsx.read(path, Hints(units={"time": "+08:00"}))
    [(_, [batch])] = batches(reading).values()
    assert batch.attributes.column("time").to_pylist() == [datetime(2026, 6, 1, 0, 30, tzinfo=UTC)]


def test_a_sheet_that_cannot_be_used_is_named_and_the_others_are_read(tmp_path):
    path = write(tmp_path / "b.xlsx", {"气象站": STATIONS, "杂项": [["foo", "bar"], [1, 2]]})
    reading = xlsx.read(path, CRS)
    assert [layer.name for layer in reading.layers] == ["气象站"]
    [issue] = [issue for issue in reading.issues if issue.severity == "error"]
    assert issue.code == "CSV_NOT_UNDERSTOOD"
    assert 'table = "杂项"' in issue.hint


def test_rows_are_named_by_their_number_in_the_workbook(tmp_path):
    path = write(tmp_path / "poi.xlsx", {"s": [[], [], ["name", "x", "y"], ["a", 597000, 3109000], ["b", "?", None]]})
    reading = xlsx.read(path, CRS)
    [(layer, [batch])] = batches(reading).values()
    assert layer.n_read == 2 == len(batch) + len(layer.rejects)
    assert "row 5" in layer.rejects[0].where
    assert layer.rejects[0].content["name"] == "b"


def test_cells_without_a_header_are_kept(tmp_path):
    path = write(tmp_path / "poi.xlsx", {"s": [["name", "x", "y"], ["a", 597000, 3109000, "note", 7]]})
    [(layer, [batch])] = batches(xlsx.read(path, CRS)).values()
    assert not layer.rejects
    assert '"column_4":"note","column_5":7' in batch.extra[0]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "FILE_UNREADABLE"),
        (b"name,x,y\n1,2,3\n", "FILE_UNREADABLE"),
        (b"PK\3\4" + b"\0" * 500, "ARCHIVE_BROKEN"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 4096, "FILE_UNREADABLE"),
    ],
)
def test_files_that_are_no_workbook(tmp_path, data, code):
    path = tmp_path / "a.xlsx"
    path.write_bytes(data)
    with pytest.raises(InvalidInput) as caught:
        xlsx.read(path, CRS)
    assert caught.value.code == code


def test_a_cell_in_the_last_corner_costs_one_process_not_this_one(tmp_path):
    path = write(tmp_path / "poi.xlsx", {"s": STATIONS})
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = parts[sheet].replace(
        b"</sheetData>", b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    )
    with zipfile.ZipFile(path, "w") as file:
        for name, data in parts.items():
            file.writestr(name, data)
    with pytest.raises(InvalidInput, match=r"cannot be read") as caught:
        xlsx.read(path, CRS)
    assert caught.value.code == "FILE_UNREADABLE"


def test_bombs_are_refused_before_they_are_unpacked(tmp_path):
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("xl/worksheets/sheet1.xml", b"0" * 200_000_000)
    with pytest.raises(InvalidInput) as caught:
        xlsx.read(path, CRS)
    assert caught.value.code == "ARCHIVE_TOO_LARGE"


def test_mutated_workbooks_are_read_or_refused(tmp_path):
    """Bytes of the sheet, not of the archive: 12 mutants, each a process of its own."""
    source = write(tmp_path / "气象站.xlsx", {"s": STATIONS})
    with zipfile.ZipFile(source) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    chance = random.Random(7)
    for n in range(12):
        changed = dict(parts)
        name = chance.choice(["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml"])
        data = bytearray(changed[name])
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(data))
            data[at : at + chance.randint(0, 3)] = bytes(chance.choices(b'<>/"0189=rscvXEe-', k=chance.randint(0, 3)))
        changed[name] = bytes(data)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for key, value in changed.items():
                file.writestr(key, value)
        path = tmp_path / f"poi{n}.xlsx"
        path.write_bytes(buffer.getvalue())
        try:
            for layer in xlsx.read(path, CRS).layers:
                kept = sum(len(batch) for batch in layer.batches())
                assert layer.n_read == kept + len(layer.rejects)
        except CityTwinError:
            continue
