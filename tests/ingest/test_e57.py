"""E57: scans written by pye57's own writer or libE57's nodes, read back against arithmetic and pye57's own reader."""

import hashlib
import math
import sys
import time
from contextlib import suppress

import laspy
import numpy as np
import pye57
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pye57 import libe57

from ingest.points import e57
from layers.errors import CrsMissing, InvalidInput
from layers.source import Hints

HINTS = Hints(crs="EPSG:4549")
AT_ORIGIN = Hints(crs="+proj=tmerc +ellps=GRS80 +units=m")
QUARTER = np.array([math.sqrt(0.5), 0, 0, math.sqrt(0.5)])
"""Quaternion w x y z of a quarter turn to the left about z."""


def columns(n=50, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "cartesianX": rng.uniform(-5, 5, n), "cartesianY": rng.uniform(-5, 5, n), "cartesianZ": rng.uniform(0, 3, n),
        "intensity": rng.uniform(0, 1, n).astype("f"), "colorRed": rng.integers(0, 256, n).astype("B"),
        "colorGreen": rng.integers(0, 256, n).astype("B"), "colorBlue": rng.integers(0, 256, n).astype("B"),
        "cartesianInvalidState": (np.arange(n) % 5 == 0).astype("b"),
    }  # fmt: skip


def written(path, *scans):
    """Scans as (columns, rotation, translation)."""
    with pye57.E57(str(path), mode="w") as file:
        for data, rotation, translation in scans:
            file.write_scan_raw(data, rotation=rotation, translation=np.array(translation, float))
    return path


def cloud(path, tmp_path, hints=HINTS):
    reading = e57.read(path, hints)
    [layer] = reading.layers
    layer.write(tmp_path / "a.copc.laz")
    return reading, laspy.read(tmp_path / "a.copc.laz")


def in_order(xyz):
    xyz = np.asarray(xyz)
    return xyz[np.lexsort(np.round(xyz, 3)[:, ::-1].T)]


def test_scans_are_placed_by_their_poses_and_invalid_points_counted(tmp_path):
    first, second = columns(), columns(seed=1)
    still, turned = np.array([1.0, 0, 0, 0]), QUARTER
    path = written(tmp_path / "a.e57", (first, still, (597000, 3109000, 5)), (second, turned, (597100, 3109000, 5)))
    reading, points = cloud(path, tmp_path)
    x, y, z = (first[f"cartesian{axis}"] for axis in "XYZ")
    u, v, w = (second[f"cartesian{axis}"] for axis in "XYZ")
    valid = np.arange(50) % 5 != 0
    true = np.concatenate(
        [np.stack([x + 597000, y + 3109000, z + 5], 1)[valid], np.stack([597100 - v, 3109000 + u, w + 5], 1)[valid]]
    )
    np.testing.assert_allclose(in_order(points.xyz), in_order(true), atol=2e-4)
    assert sorted(points.red) == sorted(np.concatenate([d["colorRed"][valid] for d in (first, second)]) * 257.0)
    assert sorted(points.point_source_id) == [1] * 40 + [2] * 40
    low, high = first["intensity"].min(), first["intensity"].max()
    stretched = (first["intensity"][valid].astype(float) - low) / (high - low) * 65535
    assert np.abs(np.sort(points.intensity[points.point_source_id == 1]) - np.sort(stretched)).max() <= 1
    meta = reading.layers[0].meta
    assert (meta["scans"], meta["points"], meta["points_invalid"]) == (2, 80, 20)
    assert "POINTS_INVALID" in {issue.code for issue in reading.issues}


def test_spherical_coordinates(tmp_path):
    """Range 2 at azimuth 90°, elevation 0 is (0, 2, 0); at elevation 90° it is (0, 0, 2)."""
    path = tmp_path / "a.e57"
    with pye57.E57(str(path), mode="w") as file:
        image = file.image_file
        scan, kind = libe57.StructureNode(image), libe57.StructureNode(image)
        names = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
        for name in names:
            kind.set(name, libe57.FloatNode(image, 0.0, libe57.E57_DOUBLE, -10.0, 10.0))
        node = libe57.CompressedVectorNode(image, kind, libe57.VectorNode(image, True))
        scan.set("guid", libe57.StringNode(image, "{1}"))
        scan.set("points", node)
        file.data3d.append(scan)
        given = {
            "sphericalRange": [2.0, 2.0, 1.0],
            "sphericalAzimuth": [math.pi / 2, 0.3, 0.0],
            "sphericalElevation": [0.0, math.pi / 2, 0.0],
        }
        arrays, buffers = file.make_buffers(names, 3)
        for name in names:
            arrays[name][:] = given[name]
        writer = node.writer(buffers)
        writer.write(3)
        writer.close()
    _, points = cloud(path, tmp_path, AT_ORIGIN)
    np.testing.assert_allclose(in_order(points.xyz), in_order([[0, 2, 0], [0, 0, 2], [1, 0, 0]]), atol=1e-4)


def test_the_crs_is_asked_for(tmp_path):
    path = written(tmp_path / "a.e57", (columns(), np.array([1.0, 0, 0, 0]), (0, 0, 0)))
    with pytest.raises(CrsMissing):
        e57.read(path, Hints())


def test_a_crs_in_the_coordinate_metadata_is_used():
    from layers import crs

    stated, issues = e57._crs(crs.parse("EPSG:4549").to_wkt(), "a.e57")
    assert crs.name(stated) == "EPSG:4549"
    assert not issues
    assert e57._crs("site grid", "a.e57")[1][0].code == "CRS_UNREADABLE"


@pytest.mark.parametrize(("file", "n"), [("bunny_int32.e57", 30571), ("coloured_cube_float.e57", 7680)])
def test_real_scans_against_pye57(realdata, tmp_path, file, n):
    path = realdata / "pointcloud" / file
    reading, points = cloud(path, tmp_path, AT_ORIGIN)
    assert reading.layers[0].meta["points"] == len(points) == n
    with pye57.E57(str(path)) as read:
        data = read.read_scan(0, ignore_missing_fields=True, colors=True)
    true = np.stack([data[f"cartesian{axis}"] for axis in "XYZ"], 1)
    for axis in range(3):
        np.testing.assert_allclose(np.sort(np.array(points.xyz)[:, axis]), np.sort(true[:, axis]), atol=6e-5)
    if "colorRed" in data:
        assert sorted(points.green) == sorted(data["colorGreen"] * 257.0)


@pytest.mark.parametrize(
    ("file", "code"), [("e57_bad_crc.e57", "FILE_UNREADABLE"), ("e57_zero_points_invalid.e57", "FILE_EMPTY")]
)
def test_bad_files_are_refused(realdata, file, code):
    with pytest.raises(InvalidInput) as caught:
        e57.read(realdata / "bad" / file, HINTS)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "program", ["import os; os.abort()", "import sys; sys.stdout.buffer.write(b'B' * 9)", "import time; time.sleep(60)"]
)
def test_a_reading_process_that_crashes_lies_or_hangs_costs_only_the_file(tmp_path, monkeypatch, program):
    path = written(tmp_path / "a.e57", (columns(), np.array([1.0, 0, 0, 0]), (0, 0, 0)))
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setattr(e57.sys, "executable", str(script))
    monkeypatch.setattr(e57, "SILENCE_S", 0.5)
    start = time.monotonic()
    with pytest.raises(InvalidInput):
        e57.read(path, HINTS)
    assert time.monotonic() - start < 30


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_give_the_points_or_a_refusal(tmp_path, changes):
    whole = written(tmp_path / "a.e57", (columns(), np.array([1.0, 0, 0, 0]), (10, 0, 0)))
    data = bytearray(whole.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    path = tmp_path / f"{hashlib.sha256(data).hexdigest()}.e57"
    path.write_bytes(data)
    with suppress(InvalidInput):
        assert e57.read(path, AT_ORIGIN).layers[0].meta["points"] > 0
