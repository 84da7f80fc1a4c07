"""Hand cases of a wrong CRS: what is named, and the cure."""

import numpy as np
import pytest

from layers import crs
from layers.crs_doubts import doubts, mixture, zone_crs

CITY = (121.0, 28.1)
EAST, NORTH = 598273.711, 3109927.739


def given(code):
    return {"crs": code, "correct": ["given-crs"]}


def found(declared, x, y, city=CITY, **more):
    return [(each.code, dict(each.cure)) for each in doubts(declared, np.array([x]), np.array([y]), city=city, **more)]


@pytest.mark.parametrize("city", [CITY, None])
@pytest.mark.parametrize(
    ("declared", "place", "expected"),
    [
        ("EPSG:4549", (40e6 + EAST, NORTH), ("zone-prefix", given("EPSG:4528"))),
        ("EPSG:4528", (EAST, NORTH), ("zone-prefix", given("EPSG:4549"))),
        ("EPSG:4490", (28.1, 121.0), ("swapped-axes", {"correct": ["swap-axes"]})),
        ("EPSG:4549", (NORTH, EAST), ("swapped-axes", {"correct": ["swap-axes"]})),
        ("EPSG:4549", (121.0, 28.1), ("degrees-not-metres", given("EPSG:4490"))),
        ("EPSG:4326", (40e6 + EAST, NORTH), ("metres-not-degrees", given("EPSG:4528"))),
    ],
)
def test_hand_cases(declared, place, expected, city):
    assert found(declared, *place, city) == [expected]


def test_metres_without_zone_number_are_guessed_by_the_city():
    assert found("EPSG:4326", EAST, NORTH) == [("metres-not-degrees", given("EPSG:4549"))]
    assert found("EPSG:4326", EAST, NORTH, None) == [("metres-not-degrees", {})]


def test_zones_40_and_41_in_one_file():
    x, y = np.array([40623798.842, 41384860.594]), np.array([4152922.991, 4139476.913])
    (doubt,) = doubts("EPSG:4528", x, y, city=(121.4, 37.5))
    assert doubt.code == "mixed-zones"
    assert "40, 41" in doubt.explanation


def test_the_neighbour_zone_is_proposed_where_only_it_leads_to_the_city():
    assert found("EPSG:4550", EAST, NORTH) == [("far-from-city", given("EPSG:4549"))]


@pytest.mark.parametrize(
    ("declared", "x", "y"),
    [("EPSG:4549", EAST, NORTH), ("EPSG:4528", 40e6 + EAST, NORTH), ("EPSG:4490", 121, 28.1), ("EPSG:4326", 121, 28.1)],
)
def test_what_is_right_raises_no_doubt(declared, x, y):
    assert found(declared, x, y) == []
    assert found(declared, x, y, None) == []


@pytest.mark.parametrize("zone", [25, 39, 40, 45])
def test_codes_of_zones_are_those_of_the_registry(zone):
    for prefixed in (True, False):
        code = zone_crs(zone, prefixed=prefixed)
        assert crs.gauss_zones(code) is not None
        assert zone in crs.gauss_zones(code)[0]
    assert zone_crs(46, prefixed=True) is None
    assert crs.gauss_zones(zone_crs(21, prefixed=True)) == (frozenset({21}), 21)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ((121.0, 28.1, EAST, NORTH), "are degrees"),
        ((EAST, NORTH, 40e6 + EAST, NORTH + 9000), "zone number"),
        ((EAST, EAST + 9, NORTH, NORTH + 99), "swapped"),
        ((EAST, NORTH, EAST + 9000, NORTH + 9000), ""),
        ((0.0, 0.0, EAST, NORTH), ""),
    ],
)
def test_what_a_box_is_mixed_of(bounds, words):
    told = mixture("EPSG:4549", bounds)
    assert words in told
    assert bool(told) == bool(words)
