"""Overlaps and gaps against brute force and hand arithmetic, through a store."""

import numpy as np
import pyarrow as pa
import pytest
import shapely

from layers import catalogue
from layers.report import Report
from twin.checks import overlaps
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord


@pytest.fixture
def store(tmp_path):
    made = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs="EPSG:4549")
    yield made
    made.close()


def check(store, columns=None, **layers):
    with store.writing() as batch:
        for layer_id, shapes in layers.items():
            kind = catalogue.layer_type(layer_id)
            schema = kind.arrow_schema()
            table = pa.Table.from_arrays(
                [pa.array((columns or {}).get(each.name, [None] * len(shapes)), each.type) for each in schema],
                schema=schema,
            )
            batch.begin_source(SourceRecord(layer_id, "0" * 64, 1, 1, "{}"))
            batch.ensure_layer(kind)
            parts = [shapely.MultiPolygon([each]) if each.geom_type == "Polygon" else each for each in shapes]
            ids = [f"{layer_id}{i}" for i in range(len(shapes))]
            batch.put(layer_id, layer_id, Rows(ids, np.array([*parts, None], object)[:-1], table, [None] * len(ids)))
            batch.finish_source(SourceRecord(layer_id, "0" * 64, 1, 1, "{}"), Report(layer_id, "x", "0" * 64, "stored"))
        return overlaps.check(batch)


def block(x, y, wide=10, high=10):
    return shapely.box(600_000 + x, 3_100_000 + y, 600_000 + x + wide, 3_100_000 + y + high)


def test_parcels_that_share_an_edge_do_not_overlap(store):
    assert check(store, parcel=[block(10 * i, 10 * j) for i in range(4) for j in range(3)]) == []


def test_the_largest_overlap_is_named_and_slivers_are_counted_apart(store):
    shapes = [block(0, 0), block(8, 0), block(30, 0), block(39.95, 0), block(60, 0), block(65, 5)]
    [issue] = check(store, parcel=shapes)
    assert (issue.code, issue.where) == ("PARCELS_OVERLAP", "parcel")
    assert issue.message.startswith("2 pairs overlap, 45.00 m2 in all; the largest is 25.00 m2, of 'parcel4' and")
    assert "1 slivers" in issue.message  # 0.05 m x 10 m


def test_strips_find_what_brute_force_finds(store, monkeypatch):
    monkeypatch.setattr(overlaps, "AT_ONCE", 20)
    random = np.random.default_rng(1)
    shapes = [block(*random.uniform(0, 300, 2), *random.uniform(5, 60, 2)) for _ in range(150)]
    areas = [a.intersection(b).area for i, a in enumerate(shapes) for b in shapes[i + 1 :]]
    wide = [area for area in areas if area > 1]
    [issue] = check(store, homestead=shapes)
    assert f"{len(wide)} pairs overlap, {sum(wide):.2f} m2 in all; the largest is {max(wide):.2f} m2" in issue.message


def test_control_lines_are_compared_with_each_other_and_not_with_themselves(store):
    red, farm, town = [block(0, 0, 100, 100)], [block(90, 0, 100, 100), block(90, 0, 100, 100)], [block(500, 0)]
    [issue] = check(store, eco_redline=red, pbf=farm, urban_boundary=town)
    assert (issue.code, issue.where) == ("CONTROL_LINES_OVERLAP", "eco_redline, pbf")
    assert "2 pairs overlap, 2000.00 m2 in all; the largest is 1000.00 m2" in issue.message


def test_a_hole_between_survey_parcels_is_a_gap_and_the_outside_is_none(store):
    ring = [block(10 * i, 10 * j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    [issue] = check(store, land_survey=[*ring, block(500, 500)])
    assert issue.code == "PARCEL_GAPS"
    assert issue.message.startswith("1 gaps between parcels, 100.00 m2 in all; the largest is 100.00 m2, at 6000")


def test_a_layer_of_others_is_not_looked_at(store):
    assert check(store, building=[block(0, 0), block(5, 0)]) == []


def test_other_years_and_other_levels_are_no_overlap(store):
    years = {"survey_year": [2019, 2025, 2025]}
    [issue] = check(store, years, land_survey=[block(0, 0), block(0, 0), block(5, 0)])
    assert "1 pairs overlap, 50.00 m2" in issue.message
    assert check(store, {"unit_level": [3, 4, 4]}, admin_unit=[block(0, 0, 20), block(0, 0), block(10, 0)]) == []
