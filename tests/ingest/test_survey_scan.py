"""Names of files that hold the points of a line table."""

from pathlib import Path

import pytest

from ingest import scan
from ingest.table import survey_scan


@pytest.mark.parametrize(
    ("line", "names", "wanted"),
    [
        ("给水管线.csv", ["给水管点.csv", "污水管点.csv", "给水管线.csv"], ["给水管点.csv"]),
        ("JS_LINE.csv", ["JS_POINT.xlsx", "WS_POINT.csv"], ["JS_POINT.xlsx"]),
        ("JSL.csv", ["JSP.csv", "WSP.csv", "JSL.csv"], ["JSP.csv"]),
        ("管线成果表.csv", ["管点成果表.csv", "readme.md"], ["管点成果表.csv"]),
        ("lines.csv", ["nodes.csv", "pois.gpkg"], ["nodes.csv"]),
        ("雨水管线.csv", ["a点.csv", "b点.csv"], ["a点.csv", "b点.csv"]),
        ("管点.csv", ["给水管点.csv"], []),
        ("buildings.csv", ["points.csv"], []),
        ("管线.shp", ["管点.csv"], []),
    ],
)
def test_points_are_found_by_name(line, names, wanted):
    folder = Path("/data")
    found = survey_scan.points_beside(folder / line, [folder / name for name in names])
    assert [path.name for path in found] == wanted


def test_points_are_parts_of_their_lines_and_sources_of_their_own(tmp_path):
    for name in ("给水管点.csv", "给水管线.csv"):
        (tmp_path / name).write_text("a,b\n1,2\n", "utf-8")
    files = {each.name: each for each in scan.sources(tmp_path)}
    assert [part.name for part in files["给水管线.csv"].parts] == ["给水管线.csv", "给水管点.csv"]
    assert [part.name for part in files["给水管点.csv"].parts] == ["给水管点.csv"]
    before = files["给水管线.csv"].sha256
    (tmp_path / "给水管点.csv").write_text("a,b\n1,3\n", "utf-8")
    assert {each.name: each for each in scan.sources(tmp_path)}["给水管线.csv"].sha256 != before
