"""QGIS 3.40 and GDAL on 10,000 and on a million parcels, against the real process: what a planner does all day.

Opens the layer, reads a box in three CRSs, filters, changes an attribute, moves a vertex, deletes. Prints how long each
took and what was asked of the server; what QGIS saw is compared with the parcels as they were made.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely

import twin
from tests.bench.test_mvt import EAST, NORTH, city  # noqa: F401
from tests.clients.conftest import qgis_python, served  # noqa: F401

pytestmark = [
    pytest.mark.bench,
    pytest.mark.filterwarnings("ignore:The 'generic' unit for NumPy timedelta:DeprecationWarning"),
]
HALF_M = 300.0


@pytest.fixture
def parcels(city):  # noqa: F811
    """Boxes and attributes as made, the box that is asked for, and who lies in it."""
    n, folder, (ids, shapes, table) = city
    box = shapely.box(EAST - HALF_M, NORTH - HALF_M, EAST + HALF_M, NORTH + HALF_M)
    inside = {ids[row] for row in np.flatnonzero(shapely.intersects(box, shapes))}
    return n, folder, dict(zip(ids, shapes, strict=True)), table, box, inside


def test_qgis(qgis_python, parcels, tmp_path):  # noqa: F811
    n, folder, shapes, table, box, inside = parcels
    copy = tmp_path / "twin"
    shutil.copytree(folder, copy)
    log = tmp_path / "log.txt"
    script = Path(__file__).with_name("qgis_million.py")
    with served(copy, log) as address:
        command = [qgis_python, str(script), address, "parcel", *map(str, shapely.bounds(box))]
        headless = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=560, check=False, env=headless)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    seconds = {key: round(value, 2) for key, value in told.items() if key.endswith("_s")}
    lines = [line for line in log.read_text().splitlines() if " 200 " in line or " 204 " in line]
    sent_mb = sum(int(line.split()[-2]) for line in lines if line.split()[-2].isdigit()) / 1e6
    print(f"\n{n:,} parcels in QGIS: {seconds}, {len(lines)} requests, {sent_mb:.1f} MB")  # noqa: T201

    assert told["valid"]
    assert told["count"] == n
    assert set(told["box"]) == inside
    for code in (4490, 3857):
        read, expected = told[f"box_{code}"], told[f"places_{code}"]
        assert set(expected) <= set(read)  # a box in degrees around a turned one holds a few more
        tolerance = 1e-8 if code == 4490 else 1e-2
        np.testing.assert_allclose([read[key] for key in expected], list(expected.values()), rtol=0, atol=tolerance)
    areas, rights = table["area_m2"].to_numpy(), np.array(table["right_type"].to_pylist())
    assert told["filtered"] == int(((areas > 499.9) & (rights == "宅基地使用权")).sum())
    assert "filter=" in log.read_text()
    assert sent_mb < 30  # nobody downloaded the layer

    renamed, moved, removed = told["ids"]
    with twin.open(copy) as opened:
        layer = opened["parcel"]
        assert layer.count() == n - 1
        assert layer.get(renamed)["name"] == "改名"
        now = layer.get(moved)["geometry"]
        assert layer.count(ids=[removed]) == 0
    before, after = shapely.get_coordinates(shapes[moved]), shapely.get_coordinates(now)
    was = np.abs(before - np.array(told["vertex"])).max(axis=1) < 1e-3
    assert was.sum() == 2  # first and last position of the ring
    np.testing.assert_allclose(after[was], before[was] + [0.25, 0], rtol=0, atol=1e-3)
    np.testing.assert_array_equal(after[~was], before[~was])


def test_gdal(parcels, tmp_path):
    n, folder, shapes, _, box, inside = parcels
    with served(folder, tmp_path / "log.txt") as address:
        info = pyogrio.read_info(f"OAPIF:{address}", layer="parcel", force_feature_count=True)
        assert info["features"] == n
        found = pyogrio.read_dataframe(f"OAPIF:{address}", layer="parcel", bbox=tuple(map(float, shapely.bounds(box))))
        some = pyogrio.read_dataframe(f"OAPIF:{address}", layer="parcel", where="name = '宗地 77'")
    assert set(found["id"]) == inside
    assert list(some["id"]) == ["parcel-77"]
    np.testing.assert_allclose(
        found.set_index("id").geometry.bounds.loc["parcel-" + str(min(int(i[7:]) for i in inside))],
        shapely.bounds(shapes["parcel-" + str(min(int(i[7:]) for i in inside))]), rtol=0, atol=1e-3,
    )  # fmt: skip
