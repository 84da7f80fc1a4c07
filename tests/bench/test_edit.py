"""One building is edited in a city of 10,000 and of 1,000,000: time to the commit, and to what a tile tree is told.

Peer: a bare `UPDATE` of the same row with SQLite, as a program does that keeps no history and makes no mesh.
"""

import sqlite3
import time
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
import shapely

import twin
from layers import catalogue
from layers.frame import CityFrame
from layers.heights import Constant
from layers.report import Report
from twin import config
from twin.fuse.blobs import encode_all
from twin.fuse.extrude import Solids, extrude
from twin.scope import EVERYTHING
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord

pytestmark = pytest.mark.bench
SIZES = [10_000, 1_000_000]
ROUNDS = 100
AT_ONCE = 10_000
CRS, LON, LAT = "EPSG:4549", 121.0, 28.1
SOURCE = SourceRecord("b", "", 0, 0, "")


def make(folder, n):
    """Boxes on a grid, 5 to 40 m high, as the fusion would store them."""
    folder.mkdir()
    frame = CityFrame(CRS, Constant(0.0), LON, LAT)
    config.save(config.TwinConfig("bench", CRS, LON, LAT, height_model={"constant_m": 0.0}), folder)
    rng, side = np.random.default_rng(0), int(np.ceil(np.sqrt(n)))
    kind = catalogue.layer_type("building")
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs=CRS)
    with store.writing() as batch:
        batch.ensure_layer(kind)
        batch.begin_source(SOURCE)
        for start in range(0, n, AT_ONCE):
            i = np.arange(start, min(n, start + AT_ONCE))
            x, y = 590_000 + i % side * 20.0, 3_100_000 + i // side * 20.0
            outlines = shapely.multipolygons(shapely.box(x, y, x + 12, y + 10), indices=np.arange(len(i)))
            heights = np.round(rng.uniform(5, 40, len(i)), 1)
            solids = extrude(outlines, np.full(len(i), 3.0), 3.0 + heights)
            placed = Solids(frame.to_enu(solids.vertices), solids.triangles, solids.n_vertices, solids.n_triangles)
            table = pa.table({
                "name": [f"building {k}" for k in i.tolist()], "height_m": heights, "base_elev_m": np.full(len(i), 3.0),
                "floors": i % 12, "use": np.take(["housing", "school", "office"], i % 3), "source": ["b"] * len(i),
            })  # fmt: skip
            ids = [f"B-{k}" for k in i.tolist()]
            batch.put("building", "b", Rows(ids, outlines, table, [None] * len(i), encode_all(placed)))
        batch.finish_source(SOURCE, Report("b", "x", "", "stored"))
    store.close()
    return twin.open(folder)


def percentiles_ms(seconds):
    return [round(float(v) * 1000, 2) for v in np.percentile(seconds, [50, 95])]


@pytest.mark.parametrize("n", SIZES)
def test_one_building(tmp_path, n):
    rng = np.random.default_rng(1)
    with make(tmp_path / "city", n) as city:
        chosen = rng.choice(n, ROUNDS + 5, replace=False)
        edits, changes, peer = [], [], []
        for at, i in enumerate(chosen.tolist()):
            version, height = city["building"].info.version, round(float(rng.uniform(5, 60)), 1)
            start = time.perf_counter()
            done = city["building"].update(f"B-{i}", height_m=height)
            committed = time.perf_counter()
            told = city.store.mesh_changes("building", version, EVERYTHING)
            known = time.perf_counter()
            assert (done.outcome, len(told.gone), len(told.came.fids)) == (["updated"], 1, 1)
            assert np.ptp(told.came.bounds[0, [2, 5]]) == pytest.approx(height, abs=0.05)
            if at >= 5:  # the first ones open files
                edits.append(committed - start)
                changes.append(known - committed)
        start = time.perf_counter()
        table = city.store.mesh_table("building", EVERYTHING)
        table_s = time.perf_counter() - start
        assert len(table.fids) == n
        with closing(sqlite3.connect(city.store.path, isolation_level=None)) as db:
            db.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
            for fid in rng.choice(table.fids, ROUNDS, replace=False).tolist():
                start = time.perf_counter()
                db.execute("UPDATE building SET height_m = 9 WHERE fid = ?", (fid,))
                peer.append(time.perf_counter() - start)
    print(  # noqa: T201
        f"\n{n:,} buildings: update p50, p95 {percentiles_ms(edits)} ms, what changed {percentiles_ms(changes)} ms, "
        f"whole mesh table {table_s * 1000:.0f} ms; bare SQLite UPDATE {percentiles_ms(peer)} ms"
    )
