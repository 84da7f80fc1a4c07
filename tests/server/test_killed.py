"""`kill -9` within a build of 100,000 features: the twin opens in its old or new state, the next build completes it."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

import twin
from layers.errors import NotFound
from twin.scope import EVERYTHING

ROOT = Path(__file__).resolve().parents[2]
N = 100_000
KILLS = 10
SOURCES = {"building": "buildings.gpkg", "parcel": "parcels.fgb"}


def write(folder, mark):
    """Two sources of 50,000 features each, whose every row carries the mark of its edition."""
    n = N // 2
    x, y = 560_000 + 40.0 * (np.arange(n) % 250), 3_100_000 + 40.0 * (np.arange(n) // 250)
    ids = [f"{i:06d}" for i in range(n)]
    buildings = {"building_id": ids, "name": [mark] * n, "height_m": 10.0 + np.arange(n) % 50}
    boxes = shapely.box(x, y, x + 15, y + 12)
    gpd.GeoDataFrame(buildings, geometry=boxes, crs="EPSG:4549").to_file(folder / "buildings.gpkg")
    parcels = {"parcel_code": [f"P{each}" for each in ids], "name": [mark] * n}
    boxes = shapely.box(x - 5, y - 5, x + 30, y + 30)
    gpd.GeoDataFrame(parcels, geometry=boxes, crs="EPSG:4549").to_file(folder / "parcels.fgb")


def start(source, target):
    command = [sys.executable, "-m", "server.cli", "build", str(source), str(target)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)


def state(target):
    """Layer -> the marks of its current rows and their number; empty where the layer is not there."""
    if not (target / "city.gpkg").exists():
        return {}
    found = {}
    with twin.open(target) as city:
        for info in city.store.layers(EVERYTHING):
            frame = city[info.id].query()
            assert len(frame) == info.count
            if info.id in SOURCES:  # there is a layer about the sources, too
                found[info.id] = (tuple(sorted(set(frame["name"]))), len(frame))
    with closing(sqlite3.connect(target / "city.gpkg")) as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
    return found


def whole(mark):
    return dict.fromkeys(SOURCES, ((mark,), N // 2))


def lay(edition, source):
    for name in SOURCES.values():
        shutil.copyfile(edition / name, source / name)


@pytest.mark.slow
def test_a_killed_build_leaves_the_old_or_the_new_state_and_the_next_completes_it(tmp_path):
    source, target = tmp_path / "source", tmp_path / "twin"
    source.mkdir()
    editions = {mark: tmp_path / mark for mark in ("first", "second")}
    for mark, folder in editions.items():
        folder.mkdir()
        write(folder, mark)
    lay(editions["first"], source)
    begun = time.perf_counter()
    assert start(source, tmp_path / "uninterrupted").wait(300) == 0
    seconds = time.perf_counter() - begun
    draw = random.Random(20261122)
    mark, old, n_killed = "first", {}, 0
    for _ in range(3 * KILLS):
        process = start(source, target)
        time.sleep(draw.uniform(0.02, 0.9) * seconds)
        is_running = process.poll() is None
        kill(process) if is_running else process.wait()
        try:
            now = state(target)
        except NotFound:  # killed before the twin had its settings
            assert not old
            now = {}
        assert all(now.get(layer) in (old.get(layer), whole(mark)[layer]) for layer in SOURCES)
        old, n_killed = now, n_killed + is_running
        if old == whole(mark):  # it was through: the next build has to read everything again
            mark = "second" if mark == "first" else "first"
            lay(editions[mark], source)
        if n_killed == KILLS:
            break
    assert n_killed == KILLS
    assert start(source, target).wait(300) == 0
    assert state(target) == whole(mark)
    assert [path.name for path in target.glob("**/.*")] == [".lock"]
