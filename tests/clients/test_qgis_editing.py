"""QGIS 3.40 edits the served town: the file holds exactly what was edited, and nothing else in it has moved."""

import contextlib
import json
import os
import sqlite3
import subprocess
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely

from tests.clients.conftest import served
from tests.stores import copy_twin, read_layer

pytestmark = pytest.mark.client
SCRIPT = Path(__file__).with_name("qgis_editing.py")
DEGREE_M = 111_320.0


def rows(folder, layer):
    """Id -> its row as a dict, the geometry as the file's bytes."""
    with contextlib.closing(sqlite3.connect(folder / "city.gpkg")) as db:
        db.row_factory = sqlite3.Row
        return {row["id"]: dict(row) for row in db.execute(f'SELECT * FROM "{layer}" WHERE valid_to IS NULL')}


def vertices(folder, layer, name):
    """(n, 3) as GDAL reads them."""
    frame = read_layer(folder, layer, where=f"id = '{name}'")
    return shapely.get_coordinates(frame.geometry.to_numpy(), include_z=True)


def wkt_there(shape, crs):
    """A geometry in EPSG:4549 as WKT in `crs`, east first, as QGIS has it."""
    across = pyproj.Transformer.from_crs("EPSG:4549", crs, always_xy=True)
    return shapely.transform(shape, lambda xy: np.column_stack(across.transform(xy[:, 0], xy[:, 1]))).wkt


def in_qgis(python, address, asked, home):
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA"):
        environment.pop(name, None)
    command = [python, str(SCRIPT), address, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[-1])


@pytest.fixture
def copy(town_twin, tmp_path):
    folder = tmp_path / "twin"
    return copy_twin(town_twin, folder)


def plan(layer, crs, ids, new):
    """What QGIS is to do with four features of a layer."""
    step = 2.0 if crs == "EPSG:4549" else 2.0 / DEGREE_M
    values = {"dn_mm": 250.0} if layer == "pipe_water" else {"height_m": 41.5, "name": "改名"}
    return {
        "layer": layer, "crs": crs, "change": {"id": ids[0], "values": values},
        "move": {"id": ids[1], "vertex": 1, "by": [step, -step]}, "remove": ids[2],
        "add": {"values": values, "wkt": new},
    }  # fmt: skip


CASES = [("building", "OGC:CRS84"), ("building", "EPSG:4490"), ("building", "EPSG:4549"), ("pipe_water", "EPSG:4490")]


@pytest.mark.parametrize(("layer", "crs"), CASES)
def test_what_is_edited_in_qgis_is_stored_and_nothing_else_moves(qgis_python, copy, tmp_path, layer, crs):
    before = rows(copy, layer)
    ids = sorted(before)[10:13]
    shapes = {name: vertices(copy, layer, name) for name in ids}
    if layer == "building":
        place = shapely.box(*(shapes[ids[0]][0, :2] + 30), *(shapes[ids[0]][0, :2] + 42))
        place = shapely.MultiPolygon([place])
    else:
        a, b = shapes[ids[0]][0] + (5, 5, 0), shapes[ids[0]][0] + (25, 5, 0.5)
        place = shapely.LineString([a, b])
    asked = plan(layer, crs, ids, wkt_3d(place, crs) if layer == "pipe_water" else wkt_there(place, crs))
    with served(copy, tmp_path / "log.txt") as address:
        (told,) = in_qgis(qgis_python, address, [asked], tmp_path)
    assert told["errors"] == []
    assert (told["crs"], sorted(told["may"])) == (
        crs, ["AddFeatures", "ChangeAttributeValues", "ChangeGeometries", "DeleteFeatures"]
    )  # fmt: skip
    assert all(told[name] for name in ("changed", "moved", "removed", "added"))
    after = rows(copy, layer)
    (new,) = told["new"]
    assert set(after) == set(before) - {ids[2]} | {new}
    assert told["count"] == len(after)
    # all others: every byte of their rows
    assert {name: after[name] for name in before if name not in ids} == {
        name: before[name] for name in before if name not in ids
    }
    changed(before[ids[0]], after[ids[0]], asked["change"]["values"], layer)
    was, now = shapes[ids[1]], vertices(copy, layer, ids[1])
    np.testing.assert_array_equal(np.delete(now, 1, axis=0), np.delete(was, 1, axis=0))
    expected = moved_to(np.array(told["from"]), asked["move"]["by"], crs)
    np.testing.assert_allclose(now[1, :2], expected, rtol=0, atol=2e-4)
    assert np.hypot(*(now[1] - was[1])[:2]) > 2
    np.testing.assert_array_equal(now[1, 2], was[1, 2])
    # QGIS writes a new geometry with 6 decimals
    grain = 1e-5 if crs == "EPSG:4549" else 0.15
    found = vertices(copy, layer, new)
    np.testing.assert_allclose(found[:, :2], shapely.get_coordinates(place), rtol=0, atol=grain)
    for name, value in asked["add"]["values"].items():
        assert after[new][name] == value


def wkt_3d(shape, crs):
    across = pyproj.Transformer.from_crs("EPSG:4549", crs, always_xy=True)

    def there(xyz):
        return np.column_stack([*across.transform(xyz[:, 0], xyz[:, 1]), xyz[:, 2]])

    return shapely.transform(shape, there, include_z=True).wkt


def moved_to(point, by, crs):
    back = pyproj.Transformer.from_crs(crs, "EPSG:4549", always_xy=True)
    return np.array(back.transform(point[0] + by[0], point[1] + by[1]))


def changed(was, now, values, layer):
    """Of an edited row only the values, the version and its beginning differ, and where what follows from them."""
    assert {name: now[name] for name in values} == values
    assert now["version"] == was["version"] + 1
    assert now["geom"] == was["geom"]
    follows = {"building": {"estimated", "height_source"}, "pipe_water": {"estimated", "od_mm", "wall_mm"}}[layer]
    same = was.keys() - values.keys() - {"fid", "version", "valid_from", *follows}
    assert {name: now[name] for name in same} == {name: was[name] for name in same}


def test_a_read_only_server_offers_nothing_to_edit_in_qgis(qgis_python, copy, tmp_path):
    asked = {"layer": "building", "crs": "EPSG:4549"}
    with served(copy, tmp_path / "log.txt", "--read-only") as address:
        (told,) = in_qgis(qgis_python, address, [asked], tmp_path)
    assert told["valid"]
    assert told["may"] == []
