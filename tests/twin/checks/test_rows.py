"""Checks of single features: areas by the official series, codes, dates."""

import math
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
import shapely

from layers import catalogue
from layers.source import FeatureBatch
from twin import checks
from twin.fuse.notes import Notes


def notes_of(layer_id, shapes, crs, **columns):
    kind = catalogue.layer_type(layer_id)
    n = len(shapes)
    arrays = [pa.array(columns.get(each.name, [None] * n), each.type) for each in kind.arrow_schema()]
    table = pa.Table.from_arrays(arrays, schema=kind.arrow_schema())
    notes = Notes()
    geometry = np.array([*shapes, None], object)[:-1]
    checks.rows(kind, FeatureBatch([f"p{i}" for i in range(n)], geometry, table, [None] * n), crs, notes)
    return [(issue.code, issue.where, issue.message) for issue in notes.issues()]


def quad_m2(west, south, step):
    """A trapezoid of meridians and parallels on the CGCS2000 ellipsoid: the closed formula between two parallels."""
    a, f = 6378137.0, 1 / 298.257222101
    e2 = f * (2 - f)
    e, b2 = math.sqrt(e2), a * a * (1 - e2)

    def zone(lat):
        s = math.sin(math.radians(lat))
        return s / (1 - e2 * s * s) + math.log((1 + e * s) / (1 - e * s)) / (2 * e)

    return math.radians(step) * b2 / 2 * (zone(south + step) - zone(south))


def quad(west, south, step):
    """Its outline, the parallels drawn with 1,000 points: a geodesic leaves a parallel by little there."""
    along = np.linspace(west, west + step, 1001)
    low, high = (
        np.column_stack([along, np.full(1001, south)]),
        np.column_stack([along[::-1], np.full(1001, south + step)]),
    )
    return shapely.Polygon(np.concatenate([low, high]))


@pytest.mark.parametrize(("lon", "lat"), [(121.0, 28.0), (121.49, 37.4)])
def test_an_area_is_judged_on_the_ellipsoid(lon, lat):
    true = quad_m2(lon, lat, 0.01)
    shape = quad(lon, lat, 0.01)
    given = [true, true + 0.05, true - 0.2]
    found = notes_of("land_survey", [shape] * 3, "EPSG:4490", TBMJ=given)
    assert [(code, where) for code, where, _ in found] == [("AREA_MISMATCH", "p2")]
    assert f"{true:.2f}"[:-1] in found[0][2]


def test_a_plane_area_is_not_the_survey_s():
    """At 121.4 E the plane of EPSG:4549 is too large by 377 parts in a million: 1 km² by 377 m²."""
    shape = shapely.box(623_800, 4_152_900, 624_800, 4_153_900)
    [(code, _, message)] = notes_of("land_survey", [shape], "EPSG:4549", TBMJ=[1e6])
    assert code == "AREA_MISMATCH"
    true = float(message.split("outline has ")[1].split(" ")[0])
    assert (1e6 - true) / true == pytest.approx(377e-6, abs=10e-6)
    assert notes_of("land_survey", [shape], "EPSG:4549", TBMJ=[true]) == []


def test_a_small_plot_may_round_to_centimetres_but_not_more():
    shape = shapely.box(500_000, 3_100_000, 500_010, 3_100_005)  # on the meridian the plane is the ellipsoid
    assert notes_of("land_survey", [shape], "EPSG:4549", TBMJ=[50.0]) == []
    assert len(notes_of("land_survey", [shape], "EPSG:4549", TBMJ=[50.02])) == 1


def test_an_area_without_geometry_or_statement_is_not_judged():
    assert notes_of("land_survey", [None, shapely.box(0, 0, 1, 1)], "EPSG:4549", TBMJ=[5.0, None]) == []


def test_codes_are_judged_in_their_own_list():
    codes = ["0101", "0603", "010100", "0201K", "08H1", "9999", "0101", None]
    systems = ["ydyh2023", "ydyh2023", "ydyh2023", "sd2017", "sd2017", "sd2017", "ydyh2020", "ydyh2023"]
    found = notes_of("land_survey", [None] * 8, None, DLBM=codes, code_system=systems)
    assert {(code, where) for code, where, _ in found} == {
        ("LAND_CODE_UNKNOWN", "p1"), ("LAND_CODE_WRITTEN", "p2"), ("LAND_CODE_WRITTEN", "p3"),
        ("LAND_CODE_NEEDS_DETAIL", "p4"), ("LAND_CODE_UNKNOWN", "p5"), ("LAND_CODE_NOT_JUDGED", "p6"),
    }  # fmt: skip


def test_a_survey_of_tomorrow_is_told():
    days = [date(2020, 1, 1), date.today() + timedelta(days=3)]
    assert [where for _, where, _ in notes_of("map_sheet", [None] * 2, None, survey_date=days)] == ["p1"]


def test_a_depth_in_centimetres_is_told():
    line = shapely.LineString([(0, 0), (9, 0)])
    found = notes_of(
        "pipe_sewage", [line] * 3, "EPSG:4549", start_depth_m=[1.5, 150.0, None], end_depth_m=[29.0, 31.0, 2.0]
    )
    assert [(code, where, message.split(".")[0]) for code, where, message in found] == [
        ("DEPTH_UNLIKELY", "p1", "start_depth_m is 150 m"), ("DEPTH_UNLIKELY", "p1", "end_depth_m is 31 m"),
    ]  # fmt: skip
