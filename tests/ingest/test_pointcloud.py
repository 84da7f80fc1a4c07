"""Point clouds: every point of the COPC, read by laspy's own COPC reader, against laspy on the source."""

import re
import struct
import tempfile
from collections import Counter
from pathlib import Path

import copclib
import laspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.points import copc, octree
from ingest.points import las as pointcloud
from ingest.points import records as point_records
from layers.errors import CrsMissing, InvalidInput
from layers.source import Hints
from tests.ingest.conftest import manifest


def cloud(path, n=5000, *, format_id=3, crs=True, scales=(0.01, 0.01, 0.01)):
    rng = np.random.default_rng(0)
    header = laspy.LasHeader(point_format=format_id, version="1.4" if format_id >= 6 else "1.2")
    header.scales, header.offsets = np.array(scales), np.array([597000.0, 3109000.0, 0.0])
    if crs:
        from pyproj import CRS

        header.add_crs(CRS.from_epsg(4549))
    las = laspy.LasData(header)
    las.x, las.y = 597000 + rng.random(n) * 200, 3109000 + rng.random(n) * 100
    las.z = rng.random(n) * 30
    las.classification = rng.choice([2, 5, 6], n).astype(np.uint8)
    las.intensity = rng.integers(0, 65535, n).astype(np.uint16)
    las.return_number = np.ones(n, np.uint8)
    las.number_of_returns = np.ones(n, np.uint8)
    las.gps_time = np.arange(n, dtype=float)
    if format_id in {3, 7}:
        las.red = rng.integers(0, 65535, n).astype(np.uint16)
    if format_id == 3:
        las.scan_angle_rank = rng.integers(-20, 20, n).astype(np.int8)
    las.write(path)
    return path


def made(path, tmp_path, hints=None):
    [layer] = pointcloud.read(path, hints or Hints()).layers
    target = tmp_path / "out.copc.laz"
    layer.write(target)
    return layer, target


def rows(points, names=("X", "Y", "Z", "classification", "intensity", "gps_time")):
    return Counter(zip(*(np.asarray(points[name]).tolist() for name in names), strict=True))


def check_tree(target):
    """Parents exist, points lie in their nodes, no node is overfull beyond what one grid can hold."""
    reader = copclib.FileReader(str(target))
    nodes = reader.GetAllNodes()
    keys = {(node.key.d, node.key.x, node.key.y, node.key.z) for node in nodes}
    for d, x, y, z in keys:
        assert d == 0 or (d - 1, x // 2, y // 2, z // 2) in keys
    info, low = reader.copc_config.copc_info, np.array([0.0, 0, 0])
    low = np.array([info.center_x, info.center_y, info.center_z]) - info.halfsize
    for node in nodes:
        side = 2 * info.halfsize / 2**node.key.d
        points = reader.GetPoints(node)
        xyz = np.array([points.x, points.y, points.z]).T
        corner = low + side * np.array([node.key.x, node.key.y, node.key.z])
        assert (xyz >= corner - 0.011).all()
        assert (xyz <= corner + side + 0.011).all()
    return nodes


@pytest.mark.parametrize("tile_points", [octree.TILE_POINTS, 700])
@pytest.mark.parametrize("format_id", [3, 6, 7])
def test_every_point_comes_out_once_with_all_it_carries(tmp_path, monkeypatch, format_id, tile_points):
    monkeypatch.setattr(octree, "TILE_POINTS", tile_points)
    monkeypatch.setattr(octree, "LEAF_POINTS", 200)
    monkeypatch.setattr(pointcloud, "CHUNK_POINTS", 1100)
    path = cloud(tmp_path / "a.las", format_id=format_id)
    layer, target = made(path, tmp_path)
    source = laspy.read(path)
    with laspy.CopcReader.open(str(target)) as reader:
        points = reader.query()
        assert rows(points) == rows(source.points)
        assert reader.header.point_format.id == {3: 7, 6: 6, 7: 7}[format_id]
        if format_id == 3:
            assert sorted(points["red"]) == sorted(source["red"])
            angles = np.rint(np.asarray(points["scan_angle"]) * 0.006)
            assert sorted(angles) == sorted(np.asarray(source["scan_angle_rank"], float))
        assert reader.header.maxs == pytest.approx(source.header.maxs)
        assert list(reader.header.number_of_points_by_return[:2]) == [5000, 0]
    assert layer.meta["points"] == 5000
    nodes = check_tree(target)
    assert max(node.key.d for node in nodes) >= (1 if tile_points == 700 else 0)


def test_the_crs_is_in_the_copc_file(tmp_path):
    layer, target = made(cloud(tmp_path / "a.las"), tmp_path)
    assert layer.crs == "EPSG:4549"
    with laspy.open(target) as file:
        assert file.header.parse_crs().to_epsg(min_confidence=20) == 4549  # WKT 1 states no axes


def test_no_crs_is_asked_for(tmp_path):
    path = cloud(tmp_path / "a.las", crs=False)
    with pytest.raises(CrsMissing):
        pointcloud.read(path, Hints())
    layer, target = made(path, tmp_path, Hints(crs="EPSG:4549", vertical_crs="EPSG:5737"))
    assert (layer.crs, layer.vertical_crs) == ("EPSG:4549", "EPSG:5737")
    with laspy.open(target) as file:
        horizontal, vertical = file.header.parse_crs().sub_crs_list
        assert horizontal.to_epsg(min_confidence=20) == 4549  # WKT 1 states no axes
        assert vertical.to_epsg() == 5737


def test_unequal_steps_still_make_a_cube(tmp_path, monkeypatch):
    monkeypatch.setattr(octree, "LEAF_POINTS", 100)
    monkeypatch.setattr(octree, "TILE_POINTS", 300)
    _, target = made(cloud(tmp_path / "a.las", scales=(0.01, 0.01, 0.001)), tmp_path)
    check_tree(target)


EXTREME = st.one_of(
    st.integers(-1000, 1000), st.sampled_from([-(2**31), 2**31 - 1, 0]), st.integers(-(2**31), 2**31 - 1)
)
POINT_SETS = st.one_of(
    st.lists(st.tuples(EXTREME, EXTREME, EXTREME), min_size=1, max_size=300),
    st.builds(lambda point, n: [point] * n, st.tuples(EXTREME, EXTREME, EXTREME), st.integers(1, 300)),
    st.lists(st.tuples(EXTREME, st.just(5), st.just(-7)), min_size=1, max_size=300),
)


def steps(points, extra=0):
    records = np.zeros(len(points), point_records.record_dtype(6, extra))
    for i, axis in enumerate("XYZ"):
        records[axis] = [point[i] for point in points]
    records["gps_time"] = np.arange(len(points))
    return records


@settings(max_examples=60, deadline=None)
@given(POINT_SETS, st.integers(1, 100), st.integers(1, 50))
def test_any_points_come_back_as_they_were(points, tile_points, leaf_points):
    records = steps(points)
    source = copc.PointSource("a", 6, (0.01,) * 3, (0.0,) * 3, lambda: iter(np.array_split(records, 3)))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(octree, "TILE_POINTS", tile_points)
        patch.setattr(octree, "LEAF_POINTS", leaf_points)
        target = Path(folder) / "a.copc.laz"
        copc.write_copc(source, copc.survey(source), target, "EPSG:4549")
        with laspy.CopcReader.open(str(target)) as reader:
            assert rows(reader.query(), ("X", "Y", "Z", "gps_time")) == rows(records, ("X", "Y", "Z", "gps_time"))
        assert rows(laspy.read(target).points, ("X", "gps_time")) == rows(records, ("X", "gps_time"))
        assert sum(node.point_count for node in copclib.FileReader(str(target)).GetAllNodes()) == len(points)


@settings(max_examples=40, deadline=None)
@given(POINT_SETS, st.integers(1, 120))
def test_tiles_hold_every_point_once_and_no_more_than_they_may(points, limit):
    records = steps(points)
    low, high = (tuple(int(f(records[axis])) for axis in "XYZ") for f in (np.min, np.max))
    root, _ = octree.cube(low, high, (1.0, 1.0, 1.0))
    census = octree.Census(root)
    census.add(records)
    tiles = census.tiles(limit)
    seen = Counter()
    for key, share in tiles.split(records):
        seen.update(share["gps_time"].tolist())
        assert len(share) <= limit or key[0] == octree.GRID_LEVELS
        for axis, at, side, low_at in zip("XYZ", key[1:], root.sides, root.low, strict=True):
            cells = (share[axis].astype(float) - low_at) // (side / 2 ** key[0])
            assert set(cells.tolist()) <= {at, at + 1 if at + 1 == 2 ** key[0] else at}
    assert seen == Counter(range(len(points)))


def test_a_stray_point_far_away_does_not_make_one_tile_of_all(tmp_path, monkeypatch):
    monkeypatch.setattr(octree, "TILE_POINTS", 500)
    largest, distribute = [], octree.distribute
    monkeypatch.setattr(
        octree, "distribute", lambda records, *rest: (largest.append(len(records)), distribute(records, *rest))
    )
    rng = np.random.default_rng(0)
    points = [*rng.integers(0, 100_000, (4000, 3)).tolist(), [2_000_000_000, 0, 0]]
    records = steps(points)
    source = copc.PointSource("a", 6, (0.01,) * 3, (0.0,) * 3, lambda: iter([records]))
    copc.write_copc(source, copc.survey(source), tmp_path / "a.copc.laz", "EPSG:4549")
    assert max(largest) <= 500
    assert rows(laspy.read(tmp_path / "a.copc.laz").points, ("X", "Y", "Z")) == rows(records, ("X", "Y", "Z"))


@pytest.mark.parametrize(
    ("at", "kind", "value", "code"),
    [
        (0, "4s", b"LASX", "FILE_UNREADABLE"),
        (24, "B", 2, "LAS_VERSION"),
        (96, "I", 10, "LAS_HEADER"),
        (100, "I", 4_000_000_000, "LAS_HEADER"),
        (107, "I", 4_000_000, "TRUNCATED"),
    ],
)
def test_a_header_that_lies_is_refused_at_once(tmp_path, at, kind, value, code):
    path = cloud(tmp_path / "a.las", n=10)
    data = bytearray(path.read_bytes())
    data[at : at + struct.calcsize(kind)] = struct.pack("<" + kind, value)
    path.write_bytes(data)
    with pytest.raises(InvalidInput) as caught:
        pointcloud.read(path, Hints())
    assert caught.value.code == code


def test_a_cut_laz_leaves_no_file_behind(tmp_path):
    path = cloud(tmp_path / "a.laz", n=20_000)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(InvalidInput) as caught:
        made(path, tmp_path)
    assert caught.value.code in {"TRUNCATED", "FILE_UNREADABLE"}
    assert not list(tmp_path.glob("*.copc.laz"))


FACTS = {
    name: row["expected"]
    for name, row in manifest().items()
    if name.startswith("pointcloud/") and name.endswith((".las", ".laz"))
}


@pytest.mark.parametrize("name", sorted(FACTS) or ["none"])
def test_real_clouds_keep_their_points_by_class(realdata, name, tmp_path):
    if name == "none":
        pytest.skip("no MANIFEST.csv")
    facts = FACTS[name]
    hints = Hints(root=realdata, crs="+proj=tmerc +ellps=GRS80 +units=m" if "crs=none" in facts else None)
    n_points = int(re.search(r"read_points=(\d+)", facts)[1])
    if n_points == 0 or "EPSG:4978" in facts or name.endswith("color_1_2.copc.laz"):  # the last one states a wrong CRS
        with pytest.raises(InvalidInput):
            pointcloud.read(realdata / name, hints)
        return
    layer, target = made(realdata / name, tmp_path, hints)
    classes = dict(part.split(":") for part in re.search(r"classes=([\d: ]+)", facts)[1].split())
    with laspy.CopcReader.open(str(target)) as reader:
        values, counts = np.unique(np.asarray(reader.query().classification), return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {int(c): int(n) for c, n in classes.items()}
    assert layer.meta["points"] == n_points


def bounds_of(facts):
    return [float(value) for value in re.search(r"bbox=\[([^\]]+)\]", facts)[1].split(",")]


def test_extra_bytes_and_every_dimension_stay(realdata, tmp_path):
    name = "pointcloud/extra_bytes.las"
    layer, target = made(realdata / name, tmp_path, Hints(crs="EPSG:2992"))
    source, found = laspy.read(realdata / name), laspy.read(target)
    assert layer.meta["extra_dimensions"] == list(found.point_format.extra_dimension_names)
    for each in ("red", "green", "blue", "intensity", "gps_time", "Colors", "Reserved", "Flags", "Intensity", "Time"):
        a, b = (np.asarray(las[each]).reshape(1065, -1) for las in (source, found))
        of_source, of_found = (
            Counter(zip(las.X.tolist(), las.Y.tolist(), map(tuple, part.tolist()), strict=True))
            for las, part in ((source, a), (found, b))
        )
        assert of_source == of_found
    box = bounds_of(manifest()[name]["expected"])
    assert layer.bounds == pytest.approx((box[0], box[1], box[3], box[4]), abs=1e-6)
    assert "HEIGHT_UNIT_UNKNOWN" in {
        issue.code for issue in pointcloud.read(realdata / name, Hints(crs="EPSG:2992")).issues
    }


def test_bounds_that_lie_are_told_and_not_used(tmp_path):
    path = cloud(tmp_path / "a.las", n=10)
    data = bytearray(path.read_bytes())
    data[179:187] = struct.pack("<d", 597500.0)
    path.write_bytes(data)
    reading = pointcloud.read(path, Hints())
    assert "LAS_BOUNDS_DIFFER" in {issue.code for issue in reading.issues}
    assert reading.layers[0].bounds[2] == pytest.approx(laspy.read(path).x.max())


@pytest.mark.parametrize(
    "name", ["las_bad_vlr_count.las", "las_garbage_vlr_length.las", "las_truncated_60pct.laz", "las_truncated_half.las"]
)
def test_bad_files_are_refused(realdata, name):
    with pytest.raises(InvalidInput):
        pointcloud.read(realdata / "bad" / name, Hints(crs="+proj=tmerc +ellps=GRS80 +units=m"))


def test_a_user_defined_crs_in_geotiff_keys(tmp_path):
    """Transverse Mercator at 120° E, false easting 500 km, on WGS 84, without any code (OGC 19-008, 7.5)."""
    keys = [1, 1, 0, 8, 1024, 0, 1, 1, 2048, 0, 1, 4326, 3072, 0, 1, 32767, 3074, 0, 1, 32767, 3075, 0, 1, 1]
    keys += [3076, 0, 1, 9001, 3080, 34736, 1, 0, 3082, 34736, 1, 1]
    header = laspy.LasHeader(point_format=1, version="1.2")
    header.scales, header.offsets = np.full(3, 0.01), np.array([597000.0, 3109000.0, 0.0])
    for number, data in ((34735, struct.pack("<36H", *keys)), (34736, struct.pack("<2d", 120.0, 500000.0))):
        header.vlrs.append(laspy.VLR("LASF_Projection", number, "", data))
    las = laspy.LasData(header)
    las.x, las.y, las.z = [597000.0], [3109000.0], [1.0]
    las.write(tmp_path / "a.las")
    found = pointcloud.read(tmp_path / "a.las", Hints()).layers[0].crs
    from pyproj import CRS, Transformer

    east, north = Transformer.from_crs(4326, CRS(found), always_xy=True).transform(121.0, 28.1)
    like = Transformer.from_crs(4326, "+proj=tmerc +lon_0=120 +x_0=500000 +datum=WGS84", always_xy=True)
    assert (east, north) == pytest.approx(like.transform(121.0, 28.1), abs=1e-4)
