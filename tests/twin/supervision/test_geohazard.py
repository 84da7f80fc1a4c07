"""S37: buildings in geohazard zones, steep ground there; at the boundaries; what is missing is unknown."""

import datetime as dt

import numpy as np
import pytest
import shapely

from tests.twin.analysis.terrain_city import NORTH, WEST, city_on
from twin.supervision.check import Context, Passed
from twin.supervision.checks.geohazard import CHECKS, run


def box(west, south, east, north):
    return shapely.box(WEST + west, NORTH + south, WEST + east, NORTH + north)


def ground(degrees):
    """An even slope to the west."""
    x = np.meshgrid(np.arange(100) + 0.5, np.arange(80))[0]
    return np.tan(np.radians(degrees)) * x


def found(city, rule, region=None):
    context = Context(city, region, now=dt.datetime(2026, 6, 1, tzinfo=dt.UTC))
    return [each for each in run(context) if each.rule == rule]


def on(tmp_path, z, zones, houses=()):
    return city_on(tmp_path / "twin", (z, 1.0), buildings=houses, areas=[("geohazard", *each) for each in zones])


ZONE = ("slide", box(20, -60, 60, -20))


def test_buildings_in_a_zone_are_for_review_with_their_area(tmp_path):
    houses = [("in", box(30, -30, 40, -25), 0.0, 6.0), ("half", box(55, -40, 65, -30), 0.0, 6.0),
              ("touches", box(60, -60, 70, -50), 0.0, 6.0), ("sliver", box(59.99, -29, 69, -20), 0.0, 6.0),
              ("far", box(80, -60, 90, -50), 0.0, 6.0)]  # fmt: skip
    with on(tmp_path, ground(10), [ZONE, ("empty", box(0, -79, 10, -70))], houses) as city:
        rows = found(city, "geohazard-building")
        told = {each.objects: each for each in rows if not isinstance(each, Passed)}
        assert set(told) == {("building/in", "geohazard/slide"), ("building/half", "geohazard/slide")}
        one = told["building/in", "geohazard/slide"]
        assert (one.verdict, one.limit, one.unit, one.confidence) == ("review", 0, "m2", "low")
        assert one.measured == pytest.approx(50, rel=2e-3), "on the ellipsoid"
        assert told["building/half", "geohazard/slide"].measured == pytest.approx(50, rel=2e-3)
        assert shapely.area(told["building/half", "geohazard/slide"].geometry) == pytest.approx(50)
        assert [each.n for each in rows if isinstance(each, Passed)] == [1], "the empty zone"
        near = found(city, "geohazard-building", box(30, -31, 31, -30))
        assert [each.objects[0] for each in near if not isinstance(each, Passed)] == ["building/in"]


@pytest.mark.parametrize(("degrees", "share", "verdict"), [(20, 0, "pass"), (25, 0, "pass"), (25.01, 100, "review")])
def test_steep_ground(tmp_path, degrees, share, verdict):
    with on(tmp_path, ground(degrees), [ZONE]) as city:
        (one,) = found(city, "geohazard-slope")
        assert (one.measured, one.limit, one.unit, one.verdict) == (share, 50, "%", verdict)
        assert one.objects == ("geohazard/slide",)


def test_half_of_the_zone_is_the_limit(tmp_path):
    """To the west of 40 level, to the east steep: the cells at the fold lie between."""
    x = np.meshgrid(np.arange(100) + 0.5, np.arange(80))[0]
    z = np.maximum(x - 40, 0) * 2.0
    with on(tmp_path, z, [ZONE]) as city:
        # Horn sees a mean of 63.4 and 0 degrees on both sides of the fold: 45 degrees, steep
        (one,) = found(city, "geohazard-slope")
        assert (one.measured, one.verdict) == (pytest.approx(52.5), "review")
    with on(tmp_path / "b", z, [("slide", box(18, -60, 60, -20))]) as city:
        (one,) = found(city, "geohazard-slope")
        assert (one.measured, one.verdict) == (pytest.approx(50), "pass")


def test_missing_ground_is_unknown_unless_it_cannot_matter(tmp_path):
    z = ground(30)
    z[:, :35] = np.nan
    with on(tmp_path, z, [ZONE]) as city:
        (one,) = found(city, "geohazard-slope")
        assert (one.verdict, one.measured) == ("review", pytest.approx(60)), "24 of 40 columns are steep for sure"
        assert "%" in one.note.en
    z[:, :45] = np.nan
    with on(tmp_path / "b", z, [ZONE, ("out", box(300, -60, 340, -20)), ("over", box(90, -60, 130, -20))]) as city:
        rows = {each.objects[0]: each for each in found(city, "geohazard-slope")}
        assert {name: each.verdict for name, each in rows.items()} == {
            "geohazard/slide": "unknown", "geohazard/out": "unknown", "geohazard/over": "unknown"}  # fmt: skip
        assert all(each.measured is None for each in rows.values())
        assert {each.verdict for each in found(city, "geohazard-building")} == {"unknown"}, (
            "there is no layer of buildings"
        )
    with city_on(tmp_path / "c" / "twin", areas=[("geohazard", *ZONE)]) as city:
        (one,) = found(city, "geohazard-slope")
        assert one.verdict == "unknown"
        assert "terrain" in one.note.en


def test_a_city_without_zones_has_nothing_to_tell(tmp_path):
    with city_on(tmp_path / "twin", (ground(10), 1.0)) as city:
        assert list(run(Context(city))) == []
    assert CHECKS[0].needs == ("geohazard",)
