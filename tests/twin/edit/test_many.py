"""Edits by two processes and of many features; rows that another program has put in are edited too."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
import shapely

import twin
from twin.scope import EVERYTHING
from twin.store import geometry_blob

WRITER = """
import sys, twin
from twin.store.interface import Query
with twin.open(sys.argv[1]) as city:
    for i in range(10):
        with city.editing(sys.argv[2]) as edit:
            [found] = edit.batch.query("building", Query(ids=("B-0",)))
            edit["building"].update("B-0", height_m=found.attributes["height_m"][0].as_py() + 1)
"""


def test_two_processes_lose_nothing(city):
    before = city["building"].get("B-0")["height_m"]
    version = city["building"].info.version
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(city.folder), name]) for name in ("one", "two")]
    assert [writer.wait(timeout=100) for writer in writers] == [0, 0]
    found = city["building"].get("B-0")
    assert (found["height_m"], found["version"]) == (before + 20, 21)
    changes = city.store.mesh_changes("building", version, EVERYTHING)
    assert len(changes.gone) == len(changes.came.fids) == 1, "what came and went in between is not told"


def test_a_thousand_trees_in_one_call(city, files):
    rng = np.random.default_rng(0)
    points = shapely.points(files.E0 + rng.uniform(0, 300, 1000), files.N0 + rng.uniform(0, 300, 1000))
    features = [
        {"type": "Feature", "id": f"T-{i}", "geometry": shapely.geometry.mapping(point),
         "properties": {"species": ["香樟", "水杉"][i % 2], "height_m": 5 + i % 7}}
        for i, point in enumerate(points)
    ]  # fmt: skip
    with city.editing() as edit:
        done = edit["vegetation"].put(features)
    assert set(done.outcome) == {"inserted"}
    assert city["vegetation"].info.mesh_count == 1000
    fids = city.store.mesh_table("vegetation", EVERYTHING).fids
    assert len(set(city.store.mesh_instances("vegetation", fids, EVERYTHING).shapes)) == 2
    done = city["vegetation"].update([f"T-{i}" for i in range(500)], height_m=20.0)
    assert set(done.outcome) == {"updated"}
    table = city.store.mesh_table("vegetation", EVERYTHING)
    tall = np.ptp(table.bounds[:, [2, 5]], axis=1) > 15
    assert tall.sum() == 500


def test_a_row_that_another_program_put_in(city, files):
    [blob] = geometry_blob.encode(np.array([shapely.multipolygons([files.square(44)])]), 4549).blobs
    with closing(sqlite3.connect(city.store.path)) as db, db:
        db.create_function("ST_IsEmpty", 1, lambda _: 0)
        for at, name in enumerate(("ST_MinX", "ST_MinY", "ST_MaxX", "ST_MaxY")):
            db.create_function(name, 1, lambda blob, at=at: shapely.bounds(geometry_blob.decode_one(blob))[at])
        fid = db.execute("INSERT INTO building (geom, height_m) VALUES (?, 8)", (blob,)).lastrowid
    done = city["building"].update(f"fid-{fid}", name="drawn in QGIS")
    assert done.outcome == ["updated"]
    found = city["building"].get(f"fid-{fid}")
    assert (found["name"], found["height_m"]) == ("drawn in QGIS", 8)
    assert found["base_elev_m"] == pytest.approx(4 + 0.02 * (80 + 50 - 2.5), abs=0.01), "it has a mesh and a base now"
    assert city["building"].count() == 7
    assert city["building"].info.mesh_count == 7
    city["building"].delete(f"fid-{fid}")
    assert city["building"].count() == 6


def test_a_city_opened_again_has_the_edits(city):
    city["building"].update("B-0", height_m=42.0)
    with twin.open(city.folder) as again:
        assert again["building"].get("B-0")["height_m"] == 42
        assert [each.id for each in again["building"].edits()] == ["B-0"]
