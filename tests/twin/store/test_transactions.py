"""Atomic writes, readers during a write, a killed writer, opening and refusing files."""

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Thread

import pytest
import shapely

from layers.errors import CityTwinError, InvalidInput, NotFound
from twin.scope import EVERYTHING
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, Query

WRITER = """
import sys, os, numpy as np, pyarrow as pa, shapely
from pathlib import Path
from layers.report import Report
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord
store = GeoPackageStore(Path(sys.argv[1]))
source = SourceRecord("a.gpkg", "1", 1, 1, "{}")
with store.writing() as batch:
    batch.begin_source(source)
    for part in range(40):
        x = np.arange(5000.0)
        ids = [f"new{part}-{i}" for i in range(5000)]
        table = pa.table({"floors": np.arange(5000)})
        batch.put("house", "a.gpkg", Rows(ids, shapely.points(x, x), table, [None] * 5000))
        print("part", part, flush=True)
    batch.finish_source(source, Report("a.gpkg", "GPKG", "1", "stored"))
"""


def count(store):
    return store.count("house", Query(), EVERYTHING)


@pytest.fixture
def filled(store, make):
    shapes = [shapely.Point(i, i) for i in range(1000)]
    make.stored(store, make.layer_type(geometry="Point"), make.rows([f"h{i}" for i in range(1000)], shapes))
    return store


def test_a_killed_writer_leaves_the_old_state(filled, tmp_path):
    version = filled.version()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "city.gpkg")], stdout=subprocess.PIPE, text=True
    ) as writer:
        for _ in range(12):
            assert writer.stdout.readline().startswith("part")
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    assert (count(filled), filled.version()) == (1000, version)
    again = GeoPackageStore(tmp_path / "city.gpkg")
    assert [len(b) for b in again.query("house", Query(), EVERYTHING)] == [1000]
    again.close()
    with closing(sqlite3.connect(tmp_path / "city.gpkg")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT rtreecheck('rtree_house_geom')").fetchone() == ("ok",)


def test_an_exception_rolls_everything_back(filled, make):
    class Stop(Exception):
        pass

    asset = Asset("d", "dem", "raster", "rasters/d.tif", "EPSG:4549", (0, 0, 1, 1), (0, 0, 1, 1), "d.tif")

    def write_and_fail():
        with filled.writing() as batch:
            batch.ensure_layer(make.layer_type("other"))
            batch.put_asset(asset)
            batch.remove_source("a.gpkg")
            raise Stop

    with pytest.raises(Stop):
        write_and_fail()
    assert count(filled) == 1000
    assert [info.id for info in filled.layers(EVERYTHING)] == ["house"]
    assert filled.assets(EVERYTHING) == []
    with filled.writing() as batch:  # the writer's lock is free again
        batch.put_asset(asset)
    assert filled.assets(EVERYTHING) == [asset]


def test_readers_keep_their_moment_while_a_writer_writes(filled, make):
    reading = filled.query("house", Query(), EVERYTHING, batch_size=100)
    first = next(reading)
    with filled.writing() as batch:
        batch.begin_source(make.source())
        batch.put("house", "a.gpkg", make.rows(["only"], [shapely.Point(5, 5)]))
        batch.finish_source(make.source(), make.report())
        assert count(filled) == 1000, "not visible before the end"
    assert count(filled) == 1
    rest = [id_ for part in reading for id_ in part.ids]
    assert first.ids + rest == [f"h{i}" for i in range(1000)], "begun before, so of the moment before"
    assert [b.ids for b in filled.query("house", Query(), EVERYTHING)] == [["only"]]


def test_many_threads_read_while_one_writes(filled, make):
    """Each answer must be one of the committed states, never a mixture."""
    sizes = [1000, 10, 500, 1]

    def write():
        for n in sizes[1:]:
            make.stored(
                filled, make.layer_type(geometry="Point"),
                make.rows([f"n{n}-{i}" for i in range(n)], [shapely.Point(i, 0) for i in range(n)]),
            )  # fmt: skip

    def read(_):
        ids = [
            id_
            for part in filled.query("house", Query(region=shapely.box(-1, -1, 2e3, 2e3)), EVERYTHING)
            for id_ in part.ids
        ]
        return len(ids), len({id_.split("-")[0][:2] for id_ in ids} & {"h0", "n1", "n5"})

    writer = Thread(target=write)
    with ThreadPoolExecutor(8) as pool:
        writer.start()
        answers = list(pool.map(read, range(60)))
        writer.join()
    assert {n for n, _ in answers} <= set(sizes)
    assert count(filled) == 1


def test_a_half_read_query_may_go_on_in_another_thread(filled):
    reading = filled.query("house", Query(), EVERYTHING, batch_size=400)
    sizes = [len(next(reading))]
    other = Thread(target=lambda: sizes.extend(len(part) for part in reading))
    other.start()
    other.join()
    assert sizes == [400, 400, 200]


def test_the_version_grows_only_when_something_is_written(filled, make):
    version = filled.version()
    with filled.writing():
        pass
    assert filled.version() == version
    make.stored(filled, make.layer_type("other"), make.rows(["a"], [None]), "b.gpkg")
    assert filled.version() > version


def test_a_second_writer_waits_its_turn(filled, tmp_path, monkeypatch):
    monkeypatch.setattr("twin.store.connections.BUSY_TIMEOUT_S", 0.05)
    other = GeoPackageStore(tmp_path / "city.gpkg")
    with filled.writing(), pytest.raises(CityTwinError, match="being written"), other.writing():
        pass
    other.close()


def test_opening_what_is_no_store(tmp_path, store):
    with pytest.raises(NotFound, match=r"no store .*nothing\.gpkg"):
        GeoPackageStore(tmp_path / "nothing.gpkg")
    (tmp_path / "text.gpkg").write_text("hello" * 1000)
    with pytest.raises(InvalidInput, match="not a GeoPackage"):
        GeoPackageStore(tmp_path / "text.gpkg")
    sqlite3.connect(tmp_path / "other.gpkg").execute("CREATE TABLE t (a)").connection.close()
    with pytest.raises(InvalidInput, match="not a city twin"):
        GeoPackageStore(tmp_path / "other.gpkg")
    with pytest.raises(InvalidInput, match="is in EPSG:4549, not in EPSG:4547"):
        GeoPackageStore(store.path, create=True, city_crs="EPSG:4547")
    with pytest.raises(InvalidInput, match="needs the city's CRS"):
        GeoPackageStore(tmp_path / "new.gpkg", create=True)
    store.close()
    with pytest.raises(CityTwinError, match="closed"):
        store.layers(EVERYTHING)


def test_a_closed_store_is_one_file_that_can_be_copied(filled, tmp_path):
    filled.close()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    copy = folder / "city.gpkg"
    copy.write_bytes((tmp_path / "city.gpkg").read_bytes())
    assert not (tmp_path / "city.gpkg-wal").exists(), "closing leaves one file"
    again = GeoPackageStore(copy)
    assert count(again) == 1000
    again.close()
