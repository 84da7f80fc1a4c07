"""P17: the hand case and its boundary, exactness against dense sampling, ground, curvature, missing heights."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.terrain_city import NORTH, WEST, city_on
from twin.analysis.line_of_sight_prisms import Line, over_span
from twin.analysis.view_corridor import corridor, stretches


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    z = np.zeros((60, 120))
    z[:10, 100:] = np.nan
    z[40:, 60] = 24.0
    with city_on(tmp_path_factory.mktemp("view") / "twin", (z, 1.0)) as opened:
        yield opened


def at(x, y):
    return {"type": "Point", "coordinates": [WEST + x, NORTH + y], "crs": "city"}


def houses(*rows):
    return {"type": "FeatureCollection", "crs": "city", "features": [
        {"type": "Feature", "id": name, "properties": {"height_m": height, "base_elev_m": base},
         "geometry": shapely.geometry.mapping(shapely.box(WEST + w, NORTH + s, WEST + e, NORTH + n))}
        for name, (w, s, e, n), base, height in rows
    ]}  # fmt: skip


ASKED = {"observer": at(10, -30), "target": at(110, -30), "width_m": 20, "observer_height_m": 10, "target_height_m": 40,
         "crs": "city"}  # fmt: skip


def test_hand_case(city):
    """Corridor 100 x 20, sight line 10 m -> 40 m; a building with its top at 30 at 50 m: over by 5.0."""
    found = city.run("view-corridor", **ASKED, buildings=houses(("b", (60, -31, 70, -29), 0.0, 30.0)))
    assert found["verdict"] == "fail"
    assert found["over_m"] == pytest.approx(5.0, abs=1e-9)
    (one,) = found["intruders"]["features"]
    assert one["id"] == "b"
    assert one["properties"] == {"over_m": pytest.approx(5), "at_m": pytest.approx(50),
                                 "allowed_elev_m": pytest.approx(25),
                                 "top_elev_m": 30, "from_m": pytest.approx(50), "to_m": pytest.approx(60)}  # fmt: skip
    assert found["length_m"] == pytest.approx(100)


def test_at_the_boundary(city):
    touch = city.run("view-corridor", **ASKED, buildings=houses(("b", (60, -31, 70, -29), 0.0, 25.0)))
    assert (touch["verdict"], touch["n_intruders"], touch["over_m"]) == ("pass", 0, None)
    over = city.run("view-corridor", **ASKED, buildings=houses(("b", (60, -31, 70, -29), 0.0, 25.0 + 2e-6)))
    assert over["verdict"] == "fail"
    beside = city.run("view-corridor", **ASKED, buildings=houses(("b", (60, -20, 70, -10), 0.0, 90.0)))
    assert beside["verdict"] == "pass", "its wall is the corridor's edge"
    inside = city.run("view-corridor", **ASKED, buildings=houses(("b", (60, -20.01, 70, -10), 0.0, 90.0)))
    assert inside["over_m"] == pytest.approx(65)
    behind = city.run("view-corridor", **ASKED, buildings=houses(("b", (0, -31, 9.9, -29), 0.0, 90.0)))
    assert behind["verdict"] == "pass"


def test_worst_first_and_what_has_no_height_is_unknown(city):
    unknown = ("c", (80, -31, 82, -29), 0.0, None)
    rows = houses(("a", (30, -31, 40, -29), 0.0, 20.0), ("b", (60, -31, 70, -29), 0.0, 40.0), unknown)
    found = city.run("view-corridor", **ASKED, buildings=rows)
    assert [each["id"] for each in found["intruders"]["features"]] == ["b", "a", "c"]
    assert (found["n_intruders"], found["n_unknown"]) == (2, 1)
    assert found["intruders"]["features"][2]["properties"]["over_m"] is None
    only = city.run("view-corridor", **ASKED, buildings=houses(unknown))

    assert (only["verdict"], only["over_m"]) == ("unknown", None)


def test_the_building_that_is_looked_at_is_no_intruder(city):
    found = city.run("view-corridor", **ASKED, buildings=houses(("tower", (105, -35, 115, -25), 0.0, 60.0)))
    assert (found["verdict"], found["left_out"]) == ("pass", ["tower"])


def test_a_building_without_base_stands_on_the_ground(city):
    found = city.run("view-corridor", **ASKED, buildings=houses(("b", (60, -31, 70, -29), None, 30.0)))
    assert found["over_m"] == pytest.approx(5)


def test_the_ground_intrudes_too(city):
    low = {**ASKED, "observer": at(10, -45), "target": at(110, -45)}
    found = city.run("view-corridor", **low)
    # the ridge of 24 at x 60.5: the plane is 25.15 high there
    assert found["ground"]["over_m"] == pytest.approx(24 - (10 + 30 * 50.5 / 100))
    assert (found["verdict"], found["ground"]["over_area_m2"]) == ("pass", 0)
    flat = city.run("view-corridor", **{**low, "target_height_m": 10})
    assert flat["verdict"] == "fail"
    assert (flat["ground"]["over_m"], flat["ground"]["over_area_m2"]) == (pytest.approx(14), 15)
    hole = city.run("view-corridor", **{**ASKED, "observer": at(10, -8), "target": at(110, -8), "target_elev_m": 40})
    assert hole["verdict"] == "unknown"
    assert hole["ground"]["missing_share"] > 0.05


def test_a_corridor_beyond_the_heights_is_unknown(city):
    asked = {**ASKED, "target": at(150, -30), "target_elev_m": 40}
    found = city.run("view-corridor", **asked)
    assert found["verdict"] == "unknown"
    assert found["ground"]["missing_share"] == pytest.approx(30 / 140, abs=0.01)


def test_curvature_lowers_the_plane_where_asked():
    flat, round_ = (Line(10.0, 10.0, 20_000.0, bend) for bend in (0.0, 6.8e-8))
    tops = np.array([10.0])
    at_m = np.array([10_000.0])
    assert over_span(flat, tops, at_m, at_m)[0] == 0
    assert over_span(round_, tops, at_m, at_m)[0] == pytest.approx(6.8)


@settings(max_examples=60)
@given(st.floats(-1, 1), st.floats(1, 30), st.floats(-20, 20), st.floats(0, 1e-3), st.integers(0, 2**32 - 1))
def test_exact_against_dense_sampling(slope, width, rise, bend, seed):
    start, end = np.array([0.0, 0.0]), np.array([100.0, 100.0 * slope])
    area = corridor(start, end, width)
    assert area.area == pytest.approx(width * np.hypot(*end))
    rng = np.random.default_rng(seed)
    shape = shapely.convex_hull(shapely.MultiPoint(rng.uniform((10, -30), (90, 30), (5, 2))))
    inside, first, last = stretches(start, end, area, np.array([shape], object))
    line = Line(10.0, 10.0 + rise, float(np.hypot(*end)), bend)
    over, _ = over_span(line, np.array([12.0]), first, last)
    xy = rng.uniform((0, -60), (100, 60), (20_000, 2))
    is_in = shapely.contains_xy(area, xy[:, 0], xy[:, 1]) & shapely.contains_xy(shape, xy[:, 0], xy[:, 1])
    along = xy[is_in] @ end / line.length_m
    if np.isnan(first[0]):
        assert is_in.sum() == 0
    elif is_in.any():
        assert over[0] >= (12.0 - line.room(along)).max() - 1e-9
        assert first[0] <= along.min() + 1e-9
        assert last[0] >= along.max() - 1e-9
    corners = shapely.get_coordinates(inside)
    if len(corners) and not np.isnan(first[0]):
        at_corners = (12.0 - line.room(np.clip(corners @ end / line.length_m, 0, line.length_m))).max()
        assert over[0] >= at_corners - 1e-9
        if bend == 0:
            assert over[0] == pytest.approx(at_corners)


def test_wrong_inputs_are_named(city):
    for wrong, named in (
        ({"width_m": 0}, "width_m"),
        ({"width_m": float("nan")}, "width_m"),
        ({"target": at(10, -30)}, "target"),
        ({"observer": at(105, -5)}, "observer: the ground has no height there"),
        ({"target": at(10, 99_000)}, "target"),
    ):
        with pytest.raises(InvalidInput, match=named):
            city.run("view-corridor", **{**ASKED, **wrong})
