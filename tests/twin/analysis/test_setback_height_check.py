"""P09: 5 m against 6 m is 1 m short; 10 + 35 m against 44 m is 1 m over; across the line is 0."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.land_city import box, collection, feature, made
from twin.analysis.setback_height_check_distance import setbacks, within_reach

PLOT = collection(feature(box(0, 0, 100, 100), "P"))
HOUSE = collection(feature(box(5, 30, 40, 60), "H", base_elev_m=10.0, height_m=35.0))


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    plan = {"code_system": "ydyh2023", "height_max_m": 36.0}
    layers = {
        "parcel": [("P", box(0, 0, 100, 100), {})],
        "land_plan": [
            ("L", box(-50, -50, 150, 150), plan),
            ("N", box(150, -50, 350, 150), {**plan, "height_max_m": 9}),
        ],
        "building": [
            ("tall", box(5, 30, 40, 60), {"base_elev_m": 10.0, "height_m": 36.5}),
            ("guessed", box(50, 30, 60, 60), {"base_elev_m": 10.0, "height_m": 36.5, "estimated": "height_m"}),
            ("unknown", box(70, 30, 80, 60), {"base_elev_m": 10.0, "height_m": 0.0}),
            ("outside", box(120, 30, 130, 60), {"base_elev_m": 10.0, "height_m": 1.0}),
        ],
        "water_line": [("W", box(-40, 0, -10, 100), {"setback_m": 15.0})],
    }
    with made(tmp_path_factory.mktemp("land"), layers) as opened:
        yield opened


def rows(answer, rule):
    return {each["building_id"]: each for each in answer["results"] if each["rule_id"] == rule}


@pytest.mark.parametrize(
    ("least", "verdict", "short"), [(6, "fail", 1.0), (5, "pass", 0), (5.0000005, "pass", 0), (5.001, "fail", 0.001)]
)
def test_hand_case_setback(city, least, verdict, short):
    answer = city.run("setback-height-check", buildings=HOUSE, parcels=PLOT, setback_min_m=least)
    found = rows(answer, "building-setback")["H"]
    assert (found["measured"], found["short_by"]) == pytest.approx((5, short), abs=1e-9)
    assert (found["verdict"], found["parcel_id"]) == (verdict, "P")
    assert len(answer["ways"]["features"]) == (verdict == "fail")


@pytest.mark.parametrize(("limit", "verdict", "over"), [(44, "fail", 1.0), (45, "pass", 0), (44.999, "fail", 0.001)])
def test_hand_case_height(city, limit, verdict, over):
    answer = city.run("setback-height-check", buildings=HOUSE, parcels=PLOT, top_elev_max_m=limit)
    found = rows(answer, "plan-top-elevation")["H"]
    assert (found["measured"], found["short_by"]) == pytest.approx((45, over), abs=1e-9)
    assert found["verdict"] == verdict
    above_base = city.run("setback-height-check", buildings=HOUSE, parcels=PLOT, height_max_m=35)
    assert rows(above_base, "plan-height")["H"]["verdict"] == "pass"


def test_across_the_line_is_short_by_the_whole_setback(city):
    across = collection(feature(box(-1, 30, 40, 60), "X"), feature(box(-20, 30, 0, 60), "beside"))
    answer = city.run("setback-height-check", buildings=across, parcels=PLOT, setback_min_m=6)
    assert answer["without_parcel"] == ["beside"], "it only touches the parcel"
    found = rows(answer, "building-setback")
    assert (found["X"]["measured"], found["X"]["short_by"], found["X"]["verdict"]) == (0, 6, "fail")
    zero = city.run("setback-height-check", buildings=across, parcels=PLOT, setback_min_m=0)
    assert rows(zero, "building-setback")["X"]["verdict"] == "pass", "no setback is wanted"


def test_the_outline_of_a_hole_counts(city):
    holed = shapely.difference(box(0, 0, 100, 100), box(45, 40, 50, 50))
    answer = city.run("setback-height-check", buildings=HOUSE, parcels=collection(feature(holed, "P")), setback_min_m=6)
    assert rows(answer, "building-setback")["H"]["measured"] == pytest.approx(5)
    house = collection(feature(box(20, 30, 43, 60), "H"))
    answer = city.run("setback-height-check", buildings=house, parcels=collection(feature(holed, "P")), setback_min_m=6)
    assert rows(answer, "building-setback")["H"]["measured"] == pytest.approx(2)


def test_limits_of_the_plan_guessed_heights_and_missing_ones(city):
    answer = city.run("setback-height-check", buildings={"collection": "building"})
    found = rows(answer, "plan-height")
    said = {name: (each["verdict"], each["limit"]) for name, each in found.items()}
    assert said == {
        "tall": ("fail", 36),
        "guessed": ("review", 36),
        "unknown": ("unknown", 36),
        "outside": ("pass", 36),
    }
    setback = rows(answer, "building-setback")
    assert {each["verdict"] for each in setback.values()} == {"unknown"}, "nobody gave a setback"
    assert answer["without_parcel"] == ["outside"]


def test_other_lines_by_their_own_setback(city):
    lines = {"collection": "water_line"}
    answer = city.run("setback-height-check", buildings={"collection": "building"}, lines=lines)
    found = rows(answer, "control-line-setback")
    assert {name: (each["measured"], each["verdict"]) for name, each in found.items()} == {
        "tall": (pytest.approx(15), "pass")
    }
    near = collection(feature(box(4, 30, 40, 60), "H"))
    answer = city.run("setback-height-check", buildings=near, lines=lines)
    assert rows(answer, "control-line-setback")["H"]["short_by"] == pytest.approx(1)


def test_two_plots_with_different_heights_are_for_review(city):
    house = collection(feature(box(120, 0, 180, 50), "H", height_m=20))
    found = rows(city.run("setback-height-check", buildings=house), "plan-height")["H"]
    assert (found["limit"], found["verdict"], found["confidence"]) == (9, "review", "low")


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"setback_min_m": -1}, "setback_min_m"),
        ({"setback_min_m": float("inf")}, "setback_min_m"),
        ({"height_max_m": "5 km"}, "height_max_m"),
        ({"buildings": collection()}, "buildings"),
        ({"lines": collection(feature(box(90_000, 0, 90_001, 1)))}, "lines"),
    ],
)
def test_wrong_inputs_are_named(city, inputs, named):
    with pytest.raises(InvalidInput, match=named):
        city.run("setback-height-check", **({"buildings": HOUSE} | inputs))


corner = st.tuples(st.integers(-30, 60), st.integers(-30, 60), st.integers(1, 30), st.integers(1, 30))


@settings(max_examples=60)
@given(st.lists(corner, min_size=1, max_size=12), st.integers(0, 20))
def test_distances_equal_arithmetic_on_boxes(houses, reach):
    prints = np.array([shapely.box(x, y, x + w, y + d) for x, y, w, d in houses], object)
    plot = np.array([shapely.box(0, 0, 50, 50)], object)
    found = setbacks(prints, plot)
    stands = [x < 50 and y < 50 and x + w > 0 and y + d > 0 for x, y, w, d in houses]
    assert found.building.tolist() == np.flatnonzero(stands).tolist()
    for row, distance in zip(found.building, found.distance_m, strict=True):
        x, y, w, d = houses[row]
        assert distance == pytest.approx(max(0, min(x, y, 50 - x - w, 50 - y - d)), abs=1e-9)
    near = within_reach(prints, plot, np.array([float(reach)]))
    gaps = [np.hypot(max(0, -x - w, x - 50), max(0, -y - d, y - 50)) for x, y, w, d in houses]
    assert near.building.tolist() == [i for i, gap in enumerate(gaps) if reach > 0 and gap <= reach]
    assert near.distance_m == pytest.approx([gaps[i] for i in near.building])
