"""Surveys of pipes as point and line tables (CJJ 61), made by hand: places, heights, kinds, and every refusal."""

import random

import pytest
import shapely

from ingest.table import csv_reader as table
from ingest.table import pipe_survey, pipe_types, xlsx
from layers import catalogue
from layers.errors import CityTwinError, CrsMissing, InvalidInput
from layers.source import Hints, Match
from tests.ingest.workbook import write

POINTS = [
    ["管线点号", "X(m)", "Y(m)", "地面高程(m)", "特征", "附属物", "井深(m)"],
    ["WS1", 3109000.0, 597000.0, 6.5, "", "检查井", 2.5],
    ["WS2", 3109000.0, 597040.0, 6.4, "", "检查井", 2.6],
    ["WS3", 3109030.0, 597040.0, 6.3, "转折点", "", 0.0],
]
LINES = [
    ["起点点号", "终点点号", "起点管内底高程(m)", "终点管内底高程(m)", "管径(mm)", "材质", "埋设方式", "建设年代"],
    ["WS1", "WS2", 4.0, 3.88, "DN400", "混凝土", "直埋", "2015"],
    ["WS2", "WS3", 3.88, 3.79, "600×400", "混凝土", "直埋", "2015"],
    ["WS3", "WS9", 3.79, 3.7, "400", "混凝土", "直埋", "2015"],
]
HINTS = Hints(crs="EPSG:4549")


def csv(path, rows):
    path.write_text("\n".join(",".join(str(cell) for cell in row) for row in rows), "utf-8")
    return path


def survey(folder, points=POINTS, lines=LINES, kind="污水"):
    folder.mkdir(exist_ok=True, parents=True)
    return csv(folder / f"{kind}管点.csv", points), csv(folder / f"{kind}管线.csv", lines)


def read(path, hints=HINTS, reader=table):
    reading = reader.read(path, hints)
    return reading, {layer.layer_type: (layer, list(layer.batches())) for layer in reading.layers}


def test_x_is_north_in_a_point_table_and_said_so(tmp_path):
    points, _ = survey(tmp_path)
    reading, found = read(points)
    layer, [batch] = found["pipe_node"]
    assert batch.ids == ["WS1", "WS2", "WS3"]
    assert shapely.get_coordinates(batch.geometry, include_z=True).tolist() == [
        [597000, 3109000, 6.5], [597040, 3109000, 6.4], [597040, 3109030, 6.3],
    ]  # fmt: skip
    assert batch.attributes.column("ground_elev_m").to_pylist() == [6.5, 6.4, 6.3]
    assert batch.attributes.column("depth_m").to_pylist() == [2.5, 2.6, 0.0]
    assert set(batch.attributes.column("network").to_pylist()) == {"WS"}
    assert "SURVEY_AXES" in [issue.code for issue in reading.issues]
    assert not layer.rejects


def test_pipes_lie_between_their_points(tmp_path):
    _, lines = survey(tmp_path)
    reading, found = read(lines)
    layer, [batch] = found["pipe_sewage"]
    assert [shapely.get_coordinates(line).tolist() for line in batch.geometry] == [
        [[597000, 3109000], [597040, 3109000]], [[597040, 3109000], [597040, 3109030]],
    ]  # fmt: skip
    row = batch.attributes.to_pylist()[0]
    assert (row["start_node"], row["end_node"], row["start_elev_m"], row["end_elev_m"]) == ("WS1", "WS2", 4.0, 3.88)
    assert (row["dn_mm"], row["z_ref"], row["type_code"], row["burial"], row["year"]) == (
        400, "invert", "WS", "direct", 2015,
    )  # fmt: skip
    assert batch.attributes.column("section").to_pylist() == [None, "600×400"]
    assert [issue.code for issue in reading.issues] == ["PIPE_POINTS"]
    [reject] = layer.rejects
    assert (reject.code, reject.content["终点点号"]) == ("PIPE_NODE_MISSING", "WS9")
    assert layer.n_read == 3 == len(batch) + len(layer.rejects)


def test_two_sheets_of_a_workbook_give_what_two_files_give(tmp_path):
    _, lines = survey(tmp_path)
    (tmp_path / "book").mkdir()
    book = write(tmp_path / "book" / "污水.xlsx", {"管点": POINTS, "管线": LINES})
    _, wanted = read(lines)
    _, found = read(book, reader=xlsx)
    assert set(found) == {"pipe_node", "pipe_sewage"}
    [mine], [other] = found["pipe_sewage"][1], wanted["pipe_sewage"][1]
    assert mine.geometry.tolist() == other.geometry.tolist()
    assert mine.attributes.drop_columns(["source"]) == other.attributes.drop_columns(["source"])


def test_a_table_of_several_kinds_becomes_several_layers_and_unknown_kinds_are_kept(tmp_path):
    head = ["起点点号", "连接点号", "管线类型", "管径"]
    rows = [["WS1", "WS2", "JS", "100"], ["WS2", "WS3", "雨水", "300"], ["WS1", "WS3", "不明", "1"],
            ["WS3", "WS1", "HS", "500"], ["WS2", "WS1", "龙", "5"]]  # fmt: skip
    _, lines = survey(tmp_path, lines=[head, *rows], kind="")
    _, found = read(lines)
    assert {kind: len(batches[0]) for kind, (_, batches) in found.items()} == {
        "pipe_rain": 1, "pipe_sewage": 1, "pipe_water": 1, "pipe_other": 1,
    }  # fmt: skip
    assert found["pipe_sewage"][1][0].attributes.column("type_code").to_pylist() == ["HS"]
    assert found["pipe_rain"][1][0].attributes.column("type_code").to_pylist() == ["YS"]
    assert [reject.code for layer, _ in found.values() for reject in layer.rejects] == ["PIPE_TYPE_UNKNOWN"]
    assert sum(layer.n_read for layer, _ in found.values()) == len(rows)


@pytest.mark.parametrize(
    ("header", "z_ref"),
    [("管顶", "crown"), ("管内底", "invert"), ("管底", "invert"), ("管中心", "centre"), ("", None), ("管线", None)],
)
def test_what_heights_refer_to_is_what_the_header_says(tmp_path, header, z_ref):
    head = ["起点点号", "终点点号", f"起点{header}高程", f"终点{header}高程", "管径"]
    _, lines = survey(tmp_path, lines=[head, ["WS1", "WS2", 4.0, 3.9, 300]])
    _, found = read(lines)
    [batch] = found["pipe_sewage"][1]
    assert batch.attributes.column("z_ref").to_pylist() == [z_ref]
    assert batch.attributes.column("start_elev_m").to_pylist() == [4.0]


def test_depths_without_elevations_hang_from_the_ground_of_their_points(tmp_path):
    head = ["起点点号", "终点点号", "起点管顶埋深(cm)", "终点管顶埋深(cm)", "管径"]
    _, lines = survey(tmp_path, lines=[head, ["WS1", "WS2", 150, 160, 300]])
    _, found = read(lines)
    [batch] = found["pipe_sewage"][1]
    assert shapely.get_coordinates(batch.geometry, include_z=True)[:, 2].tolist() == pytest.approx([5.0, 4.8])
    assert batch.attributes.column("start_depth_m").to_pylist() == [1.5]
    assert batch.attributes.column("z_ref").to_pylist() == ["crown"]


def test_depths_that_cannot_be_metres_are_not_used_until_their_unit_is_given(tmp_path):
    head = ["起点点号", "终点点号", "起点埋深", "终点埋深", "管径"]
    _, lines = survey(tmp_path, lines=[head, ["WS1", "WS2", 150, 160, 300]])
    reading, found = read(lines)
    [batch] = found["pipe_sewage"][1]
    assert batch.attributes.column("start_depth_m").to_pylist() == [None]
    assert '"150"' in batch.extra[0]
    assert [issue.code for issue in reading.issues] == ["PIPE_POINTS", "PIPE_DEPTH_UNIT", "PIPE_DEPTH_UNIT"]
    _, found = read(lines, Hints(crs="EPSG:4549", units={"start_depth_m": "cm", "end_depth_m": "cm"}))
    assert found["pipe_sewage"][1][0].attributes.column("end_depth_m").to_pylist() == [1.6]


@pytest.mark.parametrize(
    ("x", "y"),
    [("北坐标", "东坐标"), ("纵坐标X", "横坐标Y"), ("X(北)", "Y(东)"), ("N", "E")],
)
def test_headers_that_say_north_and_east_need_no_values(tmp_path, x, y):
    points = [["管线点号", x, y, "地面高程"], ["JS1", 100.0, 200.0, 5.0]]
    path, _ = survey(tmp_path, points=points)
    sheet = table.csv_sheet.opened(path, HINTS)
    hints, issues = pipe_survey.placed(sheet, HINTS)
    assert (hints.columns["x"], hints.columns["y"], issues) == (y, x, [])


def test_x_that_is_east_is_taken_for_east(tmp_path):
    points = [["管线点号", "X", "Y", "地面高程"], ["WS1", 597000.0, 3109000.0, 5.0]]
    path, _ = survey(tmp_path, points=points)
    _, found = read(path)
    assert shapely.get_coordinates(found["pipe_node"][1][0].geometry).tolist() == [[597000, 3109000]]


def test_values_that_allow_both_are_refused_naming_both(tmp_path):
    points = [["管线点号", "X", "Y", "地面高程"], ["WS1", 30.2, 31.1, 5.0]]
    path, _ = survey(tmp_path, points=points)
    with pytest.raises(
        InvalidInput, match=r"(?s)X may be north and Y east.*or X east and Y north.*columns = "
    ) as caught:
        table.read(path, Hints(crs="EPSG:4490"))
    assert caught.value.code == "SURVEY_AXES_AMBIGUOUS"
    _, found = read(path, Hints(crs="EPSG:4490", columns={"x": "Y", "y": "X"}))
    assert shapely.get_coordinates(found["pipe_node"][1][0].geometry).tolist() == [[31.1, 30.2]]


def test_values_that_fit_neither_way_are_refused(tmp_path):
    points = [["管线点号", "X", "Y", "地面高程"], ["WS1", 12.0, 14.0, 5.0]]
    path, _ = survey(tmp_path, points=points)
    with pytest.raises(InvalidInput) as caught:
        table.read(path, HINTS)
    assert caught.value.code == "COORDINATES_OUTSIDE_CRS"


def test_without_crs_or_points_or_kind_the_lines_are_refused(tmp_path):
    _, lines = survey(tmp_path / "a")
    with pytest.raises(CrsMissing):
        table.read(lines, Hints())
    alone = csv(tmp_path / "污水管线.csv", LINES)
    with pytest.raises(InvalidInput) as caught:
        table.read(alone, HINTS)
    assert caught.value.code == "PIPE_POINTS_MISSING"
    _, lines = survey(tmp_path / "b", kind="某")
    with pytest.raises(InvalidInput) as caught:
        table.read(lines, HINTS)
    assert caught.value.code == "PIPE_TYPE_UNKNOWN"
    _, found = read(lines, Hints(crs="EPSG:4549", layer="pipe_rain"))
    assert found["pipe_rain"][1][0].attributes.column("type_code").to_pylist() == ["YS", "YS"]


def test_doubtful_points_and_pipes_without_length_are_kept_as_rejects(tmp_path):
    points = [*POINTS, ["WS3", 3109031.0, 597040.0, 6.3, "", "", 0], ["WS4", 3109000.0, 597000.0, 6.5, "", "", 0]]
    lines = [LINES[0][:2], ["WS1", "WS3"], ["WS1", "WS4"], ["", "WS1"], ["WS1", "WS2"], ["WS1", "WS2"]]
    points, lines = survey(tmp_path, points, lines)
    _, found = read(lines)
    layer, [batch] = found["pipe_sewage"]
    assert [reject.code for reject in layer.rejects] == [
        "PIPE_NODE_AMBIGUOUS", "PIPE_NO_LENGTH", "PIPE_NODE_MISSING", "DUPLICATE_FEATURE",
    ]  # fmt: skip
    assert len(batch) == 1
    _, found = read(points)
    assert [reject.code for reject in found["pipe_node"][0].rejects] == ["DUPLICATE_ID"]


def test_a_name_that_speaks_for_another_layer_is_believed(tmp_path):
    rows = [["点号", "东坐标", "北坐标", "地面高程"], ["Q1", 597000, 3109000, 5.0]]
    _, found = read(csv(tmp_path / "气象站.csv", rows))
    assert set(found) == {"weather_station"}


def test_points_may_be_those_of_the_city(tmp_path):
    """`join` names the layer; what the city holds is played by hand here (`test_build_join` has the real one)."""
    asked = []

    def lookup(layer, attribute, keys):
        asked.append((layer, attribute))
        places = {"ws1": shapely.Point(1, 2, 6.5), "ws2": shapely.Point(5, 2, 6.4)}
        return {key: [Match(key, places[key])] for key in keys if key in places}

    lines = csv(tmp_path / "污水管线.csv", LINES)
    join = {"layer": "pipe_node", "attribute": "node_code", "column": "起点点号"}
    _, found = read(lines, Hints(city_crs="EPSG:4549", join=join, lookup=lookup))
    layer, [batch] = found["pipe_sewage"]
    assert shapely.get_coordinates(batch.geometry).tolist() == [[1, 2], [5, 2]]
    assert [reject.code for reject in layer.rejects] == ["PIPE_NODE_MISSING"] * 2
    assert set(asked) == {("pipe_node", "node_code")}
    with pytest.raises(InvalidInput) as caught:
        table.read(lines, Hints(join=join))
    assert caught.value.code == "JOIN_NEEDS_CITY"


def test_connections_in_a_point_table_are_told(tmp_path):
    rows = [[*POINTS[0], "连接点号"], [*POINTS[1], "WS2"]]
    points, _ = survey(tmp_path, points=rows)
    reading, _ = read(points)
    assert "PIPE_LINES_NOT_READ" in [issue.code for issue in reading.issues]


def test_ids_follow_the_points_not_their_places(tmp_path):
    _, lines = survey(tmp_path)
    _, before = read(lines)
    survey(tmp_path, points=[[*POINTS[0]], *([*row[:1], row[1] + 0.25, *row[2:]] for row in POINTS[1:])])
    _, after = read(lines)
    assert before["pipe_sewage"][1][0].ids == after["pipe_sewage"][1][0].ids
    assert before["pipe_sewage"][1][0].ids[0].endswith("WS1-WS2")


def test_pairs_of_one_name_go_before_other_points(tmp_path):
    survey(tmp_path, kind="雨水", points=[POINTS[0], ["WS1", 3109500.0, 597000.0, 6.5, "", "", 0]])
    _, lines = survey(tmp_path)
    reading, _ = read(lines)
    assert "3 points are from 污水管点.csv" in reading.issues[0].message


@pytest.mark.parametrize(
    ("text", "code"),
    [("JS", "JS"), ("给水", "JS"), ("给水管线", "JS"), ("污水 WS", "WS"), ("ｙｓ", "YS"), ("热水瓶", None), ("", None)],
)
def test_kinds_by_code_and_name(text, code):
    assert pipe_types.code_of(text) == code


@pytest.mark.parametrize(
    ("name", "code"),
    [("JS_LINE", "JS"), ("jsline", "JS"), ("给水管线表", "JS"), ("天然气管线", "TR"), ("WS1", "WS"), ("管线", None)],
)
def test_kinds_by_the_name_of_a_table(name, code):
    assert pipe_types.code_in(name) == code


def test_every_layer_of_the_code_list_is_in_the_catalogue():
    for about in pipe_types.data()["types"].values():
        assert about["layer"] is None or catalogue.layer_type(about["layer"]).id == about["layer"]


def test_mutated_surveys_are_read_to_the_end_or_refused(tmp_path):
    """120 pairs of tables with bytes changed, cut and moved."""
    chance = random.Random(11)
    points, lines = survey(tmp_path)
    originals = {path: path.read_bytes() for path in (points, lines)}
    pieces = ["，".encode(), b",", b"\n", b'"', b"\xff", b"1e400", b"nan", "×".encode(), b"-", "埋深".encode(), b"WS1"]
    for _ in range(120):
        for path, data in originals.items():
            changed = bytearray(data)
            for _ in range(chance.randint(1, 8)):
                at = chance.randrange(len(changed) + 1)
                changed[at : at + chance.randint(0, 6)] = chance.choice(pieces)
            path.write_bytes(bytes(changed[: chance.randint(0, len(changed))] if chance.random() < 0.1 else changed))
        for path in (points, lines):
            try:
                for layer in table.read(path, HINTS).layers:
                    kept = sum(len(batch) for batch in layer.batches())
                    assert layer.n_read == kept + len(layer.rejects)
            except CityTwinError:
                continue
