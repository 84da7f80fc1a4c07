"""Devices find their pipes: distances by brute force in shapely, versions and hashes as the store keeps them."""

import numpy as np
import pyarrow as pa
import pytest
import shapely

from layers import catalogue
from layers.report import Report
from twin.fuse import attach
from twin.scope import EVERYTHING
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query, Rows, SourceRecord


def rows(layer_id, shapes, **columns):
    schema = catalogue.layer_type(layer_id).arrow_schema()
    n = len(shapes)
    made = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    table = pa.table([made.get(name, pa.nulls(n, schema.field(name).type)) for name in schema.names], schema=schema)
    ids = [f"{layer_id}-{k}" for k in range(n)]
    return Rows(ids, np.array(shapes, dtype=object), table, [None] * n)


def build(store, sources):
    """One build: source -> (layer, rows); what the attachment said, and the outcomes."""
    outcomes = {}
    with store.writing() as batch:
        for path, (layer_id, given) in sources.items():
            record = SourceRecord(path, "0", 1, 1, "{}")
            batch.ensure_layer(catalogue.layer_type(layer_id))
            batch.begin_source(record)
            outcomes[path] = batch.put(layer_id, path, given).outcome.tolist()
            batch.finish_source(record, Report(path, "GPKG", "0", "stored"))
        issues = attach.attach(batch) if attach.is_needed(batch.touched()) else []
    return outcomes, issues


def current(store, layer_id="valve"):
    found = {}
    for features in store.query(layer_id, Query(), EVERYTHING):
        for key, version, row in zip(features.ids, features.versions, features.attributes.to_pylist(), strict=True):
            found[key] = (row["link_id"], row["link_by"], row["link_distance_m"], int(version))
    return found


@pytest.fixture
def store(tmp_path):
    made = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs="EPSG:4549")
    yield made
    made.close()


def line(*points):
    return shapely.LineString(points)


PIPES = [line((0, 0, 1), (100, 0, 1)), line((100, 0, 1), (100, 50, 1)), line((0, 1, 1), (100, 1, 1))]
VALVES = [shapely.Point(50, 0.2, 3), shapely.Point(100, 0, 3), shapely.Point(50, 9, 3), shapely.Point(7, 7, 3)]
LINKS = [None, None, None, "gone"]


def test_near_ambiguous_far_and_given(store):
    sources = {"v": ("valve", rows("valve", VALVES, link_id=LINKS)), "p": ("pipe_water", rows("pipe_water", PIPES))}
    _, issues = build(store, sources)
    assert current(store) == {
        "valve-0": ("pipe_water-0", "near", 0.2, 1),
        "valve-1": ("pipe_water-0", "near", 0.0, 1),
        "valve-2": (None, "unknown", None, 1),
        "valve-3": ("gone", "given", None, 1),
    }
    assert {(issue.code, issue.where) for issue in issues} == {
        ("DEVICE_LINK_AMBIGUOUS", "valve-1"), ("DEVICE_WITHOUT_LINK", "valve-2"), ("DEVICE_LINK_UNKNOWN", "valve-3")
    }  # fmt: skip


def test_the_second_build_changes_nothing_and_moved_pipes_make_new_versions(store):
    valves = ("valve", rows("valve", VALVES, link_id=LINKS))
    build(store, {"p": ("pipe_water", rows("pipe_water", PIPES)), "v": valves})
    before = current(store)
    outcomes, _ = build(store, {"v": valves})
    assert outcomes["v"] == ["unchanged"] * 4
    assert current(store) == before
    moved = [line((0, 9.3, 1), (100, 9.3, 1)), *PIPES[1:]]
    build(store, {"p": ("pipe_water", rows("pipe_water", moved))})
    assert current(store) == {
        "valve-0": (None, "unknown", None, 2),
        "valve-1": ("pipe_water-1", "near", 0.0, 2),
        "valve-2": ("pipe_water-0", "near", 0.3, 2),
        "valve-3": ("gone", "given", None, 1),
    }
    outcomes, _ = build(store, {"v": valves})  # the source is still what it was
    assert outcomes["v"] == ["unchanged"] * 4
    assert sorted(row[3] for row in current(store).values()) == [1, 2, 2, 2]
    [history] = store.query("valve", Query(ids=("valve-0",)), EVERYTHING)
    assert shapely.equals(history.geometry[0], VALVES[0])
    assert store.layer("valve", EVERYTHING).count == 4


def test_only_fitting_layers_count(store):
    here = [shapely.Point(5, 0.1)]
    build(store, {
        "g": ("pipe_gas", rows("pipe_gas", [line((0, 0, 0), (9, 0, 0))])),
        "r": ("pipe_rain", rows("pipe_rain", [line((0, 0.4, 0), (9, 0.4, 0))])),
        "h": ("hydrant", rows("hydrant", here)),
        "i": ("inlet", rows("inlet", here)),
        "v": ("valve", rows("valve", here)),
    })  # fmt: skip
    assert current(store, "hydrant")["hydrant-0"][:2] == (None, "unknown")
    assert current(store, "inlet")["inlet-0"][:3] == ("pipe_rain-0", "near", 0.3)
    assert current(store)["valve-0"][:3] == ("pipe_gas-0", "near", 0.1)


def test_distances_are_those_of_brute_force(store, monkeypatch):
    monkeypatch.setattr(attach, "_PIPES_AT_ONCE", 40)
    draw = np.random.default_rng(3)
    starts = draw.uniform(0, 60, (150, 2))
    pipes = [line((*a, 0), (*(a + draw.normal(0, 6, 2)), 0)) for a in starts]
    points = [shapely.Point(*xy) for xy in draw.uniform(0, 60, (200, 2))]
    build(store, {"p": ("pipe_water", rows("pipe_water", pipes)), "v": ("valve", rows("valve", points))})
    found = current(store)
    for k, point in enumerate(points):
        far = shapely.distance(point, pipes)
        link, by, distance, _ = found[f"valve-{k}"]
        if far.min() > attach.TOLERANCE_M:
            assert (link, by) == (None, "unknown")
        else:
            assert distance == pytest.approx(far.min(), abs=6e-4)
            assert shapely.distance(point, pipes[int(link.split("-")[1])]) == pytest.approx(far.min(), abs=2e-3)
