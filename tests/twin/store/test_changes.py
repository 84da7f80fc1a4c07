"""The log of changes and the extents: whatever is done, here or outside, equals reading all anew."""

import sqlite3
import subprocess
import sys
import time
import warnings
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layers.errors import NotFound
from layers.mesh import Mesh, encode
from twin.scope import EVERYTHING
from twin.store import blocks, change_log, geometry_blob
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import MeshTable, Query

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)


def solid(x, y, z=0.0):
    return encode(Mesh(CORNERS + np.array([x, y, z]), TETRAHEDRON))


def dot(rng):
    x, y, z = rng.integers(-4, 5, 3)
    return shapely.Point(500000 + x, 3108000 + y, z) if rng.random() < 0.7 else shapely.Point(500000 + x, 3108000 + y)


def put(store, make, rng, ids, path="a.gpkg"):
    """One reading of a source that then holds exactly `ids`."""
    shapes = [None if rng.random() < 0.1 else dot(rng) for _ in ids]
    meshes = [None if rng.random() < 0.3 else solid(*rng.integers(0, 9, 3)) for _ in ids]
    floors = rng.integers(0, 3, len(ids)).tolist()
    make.stored(store, make.layer_type(geometry="PointZ"), make.rows(ids, shapes, meshes=meshes, floors=floors), path)


def derive(store, rng):
    fids = store.mesh_table("house", EVERYTHING).fids
    if len(fids):
        chosen = rng.permutation(fids)[: rng.integers(1, len(fids) + 1)]
        with store.writing() as batch:
            batch.set_derived("house", np.sort(chosen), pa.table({"floors": rng.integers(3, 99, len(chosen))}))


def by_hand(store, make, rng, action):
    """Edits, deletions and their withdrawal, of features of files, of others and of rows without an id."""
    now = [name for part in store.query("house", Query(), EVERYTHING) for name in part.ids]
    chosen = rng.permutation(sorted({*now, "new", "n2"}))[: rng.integers(1, 4)].tolist()
    with store.writing() as batch:
        if action == "edit":
            shapes, meshes = [dot(rng) for _ in chosen], [solid(*rng.integers(0, 9, 3)) for _ in chosen]
            batch.edit("house", make.rows(chosen, shapes, meshes=meshes, floors=[5] * len(chosen)), "me")
        elif action == "erase":
            batch.delete("house", chosen, "me")
        else:
            batch.revert("house", [each.id for each in store.edits("house", EVERYTHING)][: len(chosen)])


def outside(store, rng, action):
    """As a program that knows nothing of the twin would do it, here with the functions that the triggers ask for."""
    db = sqlite3.connect(store.path)
    functions = {"ST_MinX": 0, "ST_MinY": 1, "ST_MaxX": 2, "ST_MaxY": 3}
    for name, at in functions.items():
        db.create_function(name, 1, lambda blob, at=at: shapely.bounds(geometry_blob.decode_one(blob))[at])
    db.create_function("ST_IsEmpty", 1, lambda blob: shapely.is_empty(geometry_blob.decode_one(blob)))
    with closing(db), db:
        fids = [row[0] for row in db.execute("SELECT fid FROM house")]
        fid = int(rng.choice(fids)) if fids else -1
        [blob] = geometry_blob.encode(np.array([dot(rng)]), 4549).blobs
        if action == "update":
            db.execute("UPDATE house SET floors = 7 WHERE fid = ?", (fid,))
        elif action == "update one":
            db.execute("UPDATE house SET floors = 7 WHERE fid = 2")
        elif action == "update all":
            db.execute("UPDATE house SET floors = 8 WHERE fid IN (SELECT fid FROM gpkg_citytwin_house_mesh)")
        elif action == "move":
            db.execute("UPDATE house SET geom = ? WHERE fid = ?", (blob, fid))
        elif action == "delete":
            db.execute("DELETE FROM house WHERE fid = ?", (fid,))
        elif action == "insert":
            db.execute("INSERT INTO house (geom) VALUES (?)", (blob,))
        elif action == "renumber" and fids:
            db.execute("UPDATE house SET fid = ? WHERE fid = ?", (max(fids) + 40, fid))
        elif action == "replace":
            db.execute("INSERT OR REPLACE INTO house (fid, geom) VALUES (?, ?)", (fid if fids else 1, blob))


def followed(table, changes):
    """An old table with the changes applied, as a tile tree would."""
    assert np.isin(changes.gone, table.fids).all(), "what goes was there"
    kept = ~np.isin(table.fids, changes.gone)
    assert not np.isin(changes.came.fids, table.fids[kept]).any(), "what comes was not there"
    parts = [(table.fids[kept], table.bounds[kept], table.sizes[kept], table.stamps[kept])]
    parts.append((changes.came.fids, changes.came.bounds, changes.came.sizes, changes.came.stamps))
    joined = [np.concatenate(pair) for pair in zip(*parts, strict=True)]
    order = np.argsort(joined[0])
    return MeshTable(*(each[order] for each in joined))


def assert_equal(found, wanted):
    for name in ("fids", "bounds", "sizes", "stamps"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name


def brute_table(store):
    with closing(sqlite3.connect(store.path)) as db:
        rows = db.execute(
            "SELECT m.fid, min_x, min_y, min_z, max_x, max_y, max_z, size, coalesce(s.version, 0) "
            "FROM gpkg_citytwin_house_mesh m JOIN house t USING (fid) "
            "LEFT JOIN gpkg_citytwin_stamp s ON s.fid = m.fid AND s.layer = 'house' ORDER BY m.fid"
        ).fetchall()
    rows = np.array(rows, float).reshape(-1, 9)
    return MeshTable(rows[:, 0].astype(int), rows[:, 1:7], rows[:, 7].astype(int), rows[:, 8].astype(int))


def assert_extent_is_measured(store):
    found = [part.geometry for part in store.query("house", Query(), EVERYTHING)]
    shapes = np.concatenate([*found, np.full(1, None)])
    info = store.layer("house", EVERYTHING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing but None
        box = shapely.total_bounds(shapes)
    z = shapely.get_coordinates(shapes, include_z=True)[:, 2]
    z = z[np.isfinite(z)]
    assert info.bounds == (None if np.isnan(box[0]) else tuple(box))
    assert info.z_bounds == ((z.min(), z.max()) if z.size else None)


OWN = ["put", "other", "derive", "remove", "edit", "erase", "revert"]
FOREIGN = ["update", "move", "delete", "insert", "renumber", "replace"]
ACTIONS = st.lists(st.sampled_from([*OWN, *FOREIGN]), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS, seed=st.integers(0, 2**32 - 1), block=st.sampled_from([1, 10]))
def test_changes_applied_to_an_old_table_give_the_new_one(make, tmp_path_factory, actions, seed, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SHIFT", block)
        patch.setattr(blocks, "_PACK_FROM", 3)
        store = GeoPackageStore(tmp_path_factory.mktemp("s") / "city.gpkg", create=True, city_crs="EPSG:4549")
        rng = np.random.default_rng(seed)
        put(store, make, rng, [f"h{i}" for i in range(12)])
        known = [(store.layer("house", EVERYTHING).version, store.mesh_table("house", EVERYTHING))]
        for action in actions:
            if action in {"put", "other"}:
                prefix = "h" if action == "put" else "o"
                ids = [f"{prefix}{i}" for i in rng.permutation(15)[: rng.integers(0, 15)]]
                put(store, make, rng, ids, "a.gpkg" if action == "put" else "b.gpkg")
            elif action == "derive":
                derive(store, rng)
            elif action in {"edit", "erase", "revert"}:
                by_hand(store, make, rng, action)
            elif action == "remove":
                with store.writing() as batch:
                    batch.remove_source("a.gpkg")
            else:
                outside(store, rng, action)
            version, table = store.layer("house", EVERYTHING).version, store.mesh_table("house", EVERYTHING)
            assert_equal(table, brute_table(store))
            for old_version, old in known:
                changes = store.mesh_changes("house", old_version, EVERYTHING)
                assert changes.version == version
                assert_equal(followed(old, changes), table)
            known.append((version, table))
            if action in {"put", "other", "edit"}:  # those from outside are measured by the next write
                assert_extent_is_measured(store)
        other = GeoPackageStore(store.path)
        assert_equal(other.mesh_table("house", EVERYTHING), known[-1][1])
        put(store, make, rng, ["last"], "c.gpkg")
        assert_extent_is_measured(store)
        other.close()
        store.close()


APPEND = """
import pyogrio, sys
frame = pyogrio.read_dataframe(sys.argv[1], layer="house").iloc[:1].drop(columns=["id", "version", "valid_from"])
pyogrio.write_dataframe(frame, sys.argv[1], layer="house", append=True)
"""


def test_an_edit_by_gdal_is_a_change_with_a_stamp(store, make):
    rng = np.random.default_rng(1)
    meshes = [solid(i, 0) for i in range(5)]
    shapes = [shapely.Point(i, i, i) for i in range(5)]
    make.stored(store, make.layer_type(geometry="PointZ"), make.rows(list("abcde"), shapes, meshes=meshes))
    version, old = store.layer("house", EVERYTHING).version, store.mesh_table("house", EVERYTHING)
    # in a process of its own: two SQLite libraries in one process undo each other's locks
    subprocess.run([sys.executable, "-c", APPEND, str(store.path)], check=True, timeout=60)
    outside(store, rng, "update one")
    changes = store.mesh_changes("house", version, EVERYTHING)
    assert len(changes.gone) == len(changes.came.fids) == 1
    assert changes.came.stamps.tolist() == [changes.version]
    again = GeoPackageStore(store.path)
    assert_equal(again.mesh_table("house", EVERYTHING), followed(old, changes))
    assert again.mesh_blobs("house", changes.came.fids, EVERYTHING).blobs == [
        meshes[old.fids.tolist().index(*changes.gone)].blob
    ]
    again.close()


def test_a_large_write_and_a_long_log_are_not_followed(store, make, monkeypatch):
    monkeypatch.setattr(change_log, "MAX_ENTRIES", 20)
    rng = np.random.default_rng(2)
    put(store, make, rng, [f"h{i}" for i in range(10)])
    versions = [store.layer("house", EVERYTHING).version]
    tables = [store.mesh_table("house", EVERYTHING)]
    for _ in range(12):
        derive(store, rng)
        versions.append(store.layer("house", EVERYTHING).version)
        tables.append(store.mesh_table("house", EVERYTHING))
        with closing(sqlite3.connect(store.path)) as db:
            assert db.execute("SELECT count(*) FROM gpkg_citytwin_change").fetchone()[0] <= 20
    followable = 0
    for version, table in zip(versions, tables, strict=True):
        changes = store.mesh_changes("house", version, EVERYTHING)
        if changes is not None:
            followable += 1
            assert_equal(followed(table, changes), tables[-1])
    assert 1 < followable < len(versions)
    assert store.mesh_changes("house", versions[-1] + 1, EVERYTHING) is None
    put(store, make, rng, [f"n{i}" for i in range(30)])
    assert store.mesh_changes("house", versions[-1], EVERYTHING) is None
    version, table = store.layer("house", EVERYTHING).version, store.mesh_table("house", EVERYTHING)
    derive(store, rng)
    assert_equal(
        followed(table, store.mesh_changes("house", version, EVERYTHING)), store.mesh_table("house", EVERYTHING)
    )


def test_a_store_from_before_the_log_is_brought_up_to_date_by_its_first_write(store, make):
    rng = np.random.default_rng(3)
    put(store, make, rng, [f"h{i}" for i in range(10)])
    table, version = store.mesh_table("house", EVERYTHING), store.layer("house", EVERYTHING).version
    with closing(sqlite3.connect(store.path)) as db, db:
        for name in ("change", "change_log", "stamp", "extent", "mesh_pack", "edit"):
            db.execute(f"DROP TABLE gpkg_citytwin_{name}")
        for (name,) in db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'citytwin_%'"
        ).fetchall():
            db.execute(f'DROP TRIGGER "{name}"')
    assert_equal(store.mesh_table("house", EVERYTHING), table)
    assert store.mesh_changes("house", version - 1, EVERYTHING) is None
    assert len(store.mesh_changes("house", version, EVERYTHING).came.fids) == 0
    derive(store, rng)
    assert_equal(
        followed(table, store.mesh_changes("house", version, EVERYTHING)), store.mesh_table("house", EVERYTHING)
    )
    put(store, make, rng, ["new"], "b.gpkg")
    assert_extent_is_measured(store)
    outside(store, rng, "update all")
    assert store.mesh_table("house", EVERYTHING).stamps.min() > 0
    assert store.mesh_table("house", EVERYTHING).stamps.max() == store.layer("house", EVERYTHING).version


def test_closed_versions_are_still_read_by_row_and_by_moment(store, make):
    layer = make.layer_type(geometry="Point")
    meshes = [solid(i, 0) for i in range(3)]
    make.stored(
        store, layer, make.rows(list("abc"), [shapely.Point(i, i) for i in range(3)], meshes=meshes, floors=[1, 2, 3])
    )
    before, then = store.mesh_table("house", EVERYTHING), datetime.now(UTC)
    time.sleep(0.005)  # moments are kept to the millisecond
    make.stored(
        store,
        layer,
        make.rows(list("ab"), [shapely.Point(i, i) for i in range(2)], meshes=[solid(9, 9), meshes[1]], floors=[9, 2]),
    )
    assert_equal(store.mesh_table("house", EVERYTHING, then), before)
    assert len(store.mesh_table("house", EVERYTHING, datetime(2000, 1, 1, tzinfo=UTC)).fids) == 0
    assert_equal(store.mesh_table("house", EVERYTHING, datetime.now(UTC)), store.mesh_table("house", EVERYTHING))
    back = before.fids[::-1]
    assert store.mesh_blobs("house", back, EVERYTHING).blobs == [mesh.blob for mesh in meshes[::-1]]
    features = store.features_by_fid("house", back, EVERYTHING)
    assert features.ids == ["c", "b", "a"]
    assert features.attributes["floors"].to_pylist() == [3, 2, 1]
    assert [each is None for each in features.valid_to] == [False, True, False]
    with pytest.raises(NotFound, match="no mesh"):
        store.mesh_blobs("house", np.array([1, 999]), EVERYTHING)
    with pytest.raises(NotFound, match="row 999"):
        store.features_by_fid("house", np.array([1, 999]), EVERYTHING)
