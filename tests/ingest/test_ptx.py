"""PTX: numbers moved by hand, and the text itself as the oracle of the real file."""

import laspy
import numpy as np
import pytest

from ingest.points import ptx
from layers.errors import CrsMissing, InvalidInput
from layers.source import Hints

HINTS = Hints(crs="EPSG:4549")
HEADER = ["0 0 0", "1 0 0", "0 1 0", "0 0 1"]
STILL = ["1 0 0 0", "0 1 0 0", "0 0 1 0", "0 0 0 1"]
TURNED = ["0 1 0 0", "-1 0 0 0", "0 0 1 0", "597000 3109000 5 1"]
"""A quarter turn to the left, then a step: x y z -> -y + 597000, x + 3109000, z + 5."""


def scan(columns, rows, matrix, points):
    return [str(columns), str(rows), *HEADER, *matrix, *points]


def written(path, *scans):
    path.write_text("\n".join(line for each in scans for line in each) + "\n")
    return path


def cloud(path, tmp_path, hints=HINTS):
    reading = ptx.read(path, hints)
    [layer] = reading.layers
    layer.write(tmp_path / "a.copc.laz")
    return reading, laspy.read(tmp_path / "a.copc.laz")


def test_two_scans_each_by_its_own_matrix(tmp_path):
    first = scan(2, 2, TURNED, ["1 2 3 0.5 255 0 0", "0 0 0 0.5 0 0 0", "4 5 6 1 0 255 0", "7 8 9 0 0 0 51"])
    second = scan(1, 1, [*STILL[:3], "597010 3109010 0 1"], ["1 1 1 0.25 10 20 30"])
    reading, points = cloud(written(tmp_path / "a.ptx", first, second), tmp_path)
    found = {(round(x, 4), round(y, 4), round(z, 4)) for x, y, z in points.xyz}
    assert found == {(596998, 3109001, 8), (596995, 3109004, 11), (596992, 3109007, 14), (597011, 3109011, 1)}
    assert sorted(points.point_source_id) == [1, 1, 1, 2]
    assert sorted(points.intensity) == [0, 16384, 32768, 65535]
    assert sorted(points.blue) == [0, 0, 30 * 257, 51 * 257]
    assert reading.layers[0].meta["points_invalid"] == 1
    assert {issue.code for issue in reading.issues} == {"POINTS_INVALID", "POINTS_UNCLASSIFIED"}


def test_the_crs_is_asked_for(tmp_path):
    with pytest.raises(CrsMissing):
        ptx.read(written(tmp_path / "a.ptx", scan(1, 1, STILL, ["1 1 1 0"])), Hints())


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["x", "1"], "PTX_HEADER"),
        (["1", "99999999999"], "PTX_HEADER"),
        (scan(1, 1, STILL, ["1 1"]), "PTX_COLUMNS"),
        (scan(1, 2, STILL, ["1 1 1 0"]), "TRUNCATED"),
        (scan(1, 2, STILL, ["1 1 1 0", "1 1 x 0"]), "PTX_LINE"),
        (scan(1, 2, STILL, ["1 1 1 0", "1 1 1 0 1 1 1"]), "PTX_LINE"),
        (scan(1, 1, ["1 0 0"] * 4, ["1 1 1 0"]), "PTX_HEADER"),
        (scan(1, 1, STILL, ["0 0 0 0"]), "FILE_EMPTY"),
        (scan(1, 1, STILL, ["nan 0 0 0"]), "COORDINATES_NOT_FINITE"),
        ([*scan(1, 1, STILL, ["1 1 1 0"]), "end"], "PTX_HEADER"),
        (["7" * 100_000], "PTX_HEADER"),
    ],
)
def test_what_is_not_ptx_is_refused(tmp_path, lines, code):
    with pytest.raises(InvalidInput) as caught:
        ptx.read(written(tmp_path / "a.ptx", lines), HINTS)
    assert caught.value.code == code


def test_the_real_scan(realdata, tmp_path):
    path = realdata / "pointcloud" / "color_1_2.ptx"
    reading, points = cloud(path, tmp_path, Hints(crs="EPSG:2992"))
    rows = np.array([line.split() for line in path.read_text().splitlines() if len(line.split()) == 7], float)
    assert len(points) == len(rows) == 15 * 71
    order, true = (np.lexsort(each[:, ::-1].T) for each in (np.array(points.xyz), rows[:, :3]))
    np.testing.assert_allclose(np.array(points.xyz)[order], rows[true, :3], atol=1e-4)
    assert sorted(points.red) == sorted((rows[:, 4] * 257).astype(int))
    assert reading.layers[0].meta["scans"] == 1
