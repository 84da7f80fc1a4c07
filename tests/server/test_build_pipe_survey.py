"""A small survey of pipes (CJJ 61) from two tables to the city: the height of both ends, by hand."""

import pytest
import shapely

import twin
from server.build import build
from twin.scope import EVERYTHING
from twin.store.interface import Query

TOML = 'name = "survey"\ncrs = "EPSG:4549"\nvertical_crs = "EPSG:5737"\n[[source]]\npath = "*.csv"\ncrs = "EPSG:4549"\n'
POINTS = """管线点号,X(m),Y(m),地面高程(m),附属物,井深(m)
WS1,3109000.0,597000.0,6.5,检查井,2.5
WS2,3109000.0,597040.0,6.4,检查井,2.6
"""


def lines(word, *rows):
    head = f"起点点号,终点点号,起点{word}高程(m),终点{word}高程(m),外径(mm),壁厚(mm),材质"
    return "\n".join([head, *rows]) + "\n"


def write(folder, word, *rows, points=POINTS):
    folder.mkdir(exist_ok=True)
    (folder / "city.toml").write_text(TOML, "utf-8")
    (folder / "污水管点.csv").write_text(points, "utf-8")
    (folder / "污水管线.csv").write_text(lines(word, *rows), "utf-8")


def features(folder, layer):
    with twin.open(folder) as city:
        return [
            (name, shape, row)
            for batch in city.store.query(layer, Query(), EVERYTHING)
            for name, shape, row in zip(batch.ids, batch.geometry, batch.attributes.to_pylist(), strict=True)
        ]


@pytest.mark.parametrize(
    ("word", "start", "end"),
    [
        ("管顶", 4.0 - 0.2, 3.88 - 0.2),  # outer top: minus half the outer diameter of 400 mm
        ("管中心", 4.0, 3.88),
        ("管内底", 4.0 + 0.18, 3.88 + 0.18),  # inner bottom: plus half of 400 - 2 x 20 mm
    ],
)
def test_the_axis_lies_where_the_table_says(tmp_path, word, start, end):
    write(tmp_path / "in", word, "WS1,WS2,4.0,3.88,400,20,混凝土", "WS2,WS7,3.88,3.7,400,20,混凝土")
    result = build(tmp_path / "in", tmp_path / "out")
    assert {report.source: report.status for report in result.reports} == {
        "污水管点.csv": "stored", "污水管线.csv": "partly",
    }  # fmt: skip
    [(_, line, row)] = features(tmp_path / "out", "pipe_sewage")
    assert shapely.get_coordinates(line, include_z=True).ravel().tolist() == pytest.approx(
        [597000, 3109000, start, 597040, 3109000, end], abs=1e-9
    )
    assert (row["start_elev_m"], row["end_elev_m"]) == (4.0, 3.88)
    [report] = [each for each in result.reports if each.source == "污水管线.csv"]
    [reject] = report.rejects
    assert reject.code == "PIPE_NODE_MISSING"
    assert reject.content["终点点号"] == "WS7"
    [count] = report.layers
    assert (count.n_read, count.n_stored, count.n_rejected) == (2, 1, 1)


def test_moved_points_move_their_pipes_and_nothing_else_is_read_again(tmp_path):
    rows = ("WS1,WS2,4.0,3.88,400,20,混凝土",)
    write(tmp_path / "in", "管顶", *rows)
    build(tmp_path / "in", tmp_path / "out")
    write(tmp_path / "in", "管顶", *rows, points=POINTS.replace("597040.0", "597041.5"))
    result = build(tmp_path / "in", tmp_path / "out")
    assert sorted(report.source for report in result.reports) == ["污水管点.csv", "污水管线.csv"]
    [(_, line, _)] = features(tmp_path / "out", "pipe_sewage")
    assert shapely.get_coordinates(line).tolist() == [[597000, 3109000], [597041.5, 3109000]]
    assert build(tmp_path / "in", tmp_path / "out").reports == []
