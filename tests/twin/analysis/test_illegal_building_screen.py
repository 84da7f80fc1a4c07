"""P10: permits against what stands: the hand case, its boundary, shared permits, the planted truths, other dates."""

import json

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.land_city import EAST, NORTH, TOWN, box, collection, feature, made, town, with_raster
from twin.analysis.illegal_building_screen_excess import cover


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    layers = {
        "building": [("B", box(0, 0, 20, 20), {"height_m": 10.0})],
        "pbf": [("F", box(15, 0, 500, 20), {})],
    }
    with made(tmp_path_factory.mktemp("here"), layers) as opened:
        yield opened


def screened(city, buildings, permits, **more):
    answer = city.run("illegal-building-screen", buildings=collection(*buildings), permits=collection(*permits), **more)
    return {each["id"]: each["properties"] for each in answer["suspects"]["features"]}, answer


HOUSE = feature(box(0, 0, 20, 20), "H", height_m=10.0)


def test_hand_case_a_fifth_beyond_the_permit(city):
    found, answer = screened(city, [HOUSE], [feature(box(0, 0, 20, 15), "P", height_m=10)], crs="city")
    (only,) = found.values()
    assert (only["reason"], only["verdict"], only["permits"]) == ("enlarged", "fail", ["P"])
    assert (only["excess_m2"], only["excess_share_pct"]) == pytest.approx((100, 25), abs=1e-9)
    assert only["area_m2"] == pytest.approx(100, rel=5e-4), "on the ellipsoid"
    shape = shapely.geometry.shape(answer["suspects"]["features"][0]["geometry"])
    assert shapely.equals_exact(shapely.normalize(shape), shapely.normalize(box(0, 15, 20, 20)), 1e-6)


@pytest.mark.parametrize(
    ("wide", "beyond", "is_suspect"),
    [  # a house of wide × 10 m of which `beyond` m are outside: both limits strictly
        (15, 1.0, False),  # exactly 10 m², 6.7 %
        (15, 1.001, True),
        (20, 1.0, False),  # 10 m² and exactly 5 %
        (20.02, 1.001, False),  # 10.01 m² and exactly 5 %
        (20, 1.001, True),
        (30, 1.2, False),  # 12 m² but 4 %
        (10, 0.9, False),  # 9 % but 9 m²
    ],
)
def test_both_limits_must_be_passed_strictly(city, wide, beyond, is_suspect):
    house = feature(box(0, 0, wide, 10), "H", height_m=10)
    found, _ = screened(city, [house], [feature(box(0, 0, wide - beyond, 10), "P", height_m=10)])
    assert [each["reason"] for each in found.values()] == (["enlarged"] if is_suspect else [])


@pytest.mark.parametrize(("height", "tolerance", "is_suspect"), [(10, None, False), (10.01, None, True)])
def test_height_over_the_permit(city, height, tolerance, is_suspect):
    permit = [feature(box(0, 0, 20, 20), "P", height_m=10)]
    house = [feature(box(0, 0, 20, 20), "H", height_m=height)]
    found, _ = screened(city, house, permit)
    assert [each["reason"] for each in found.values()] == (["too_high"] if is_suspect else [])
    assert not screened(city, house, permit, height_tolerance_m=0.01)[0], "equal to the tolerance passes"


def test_heights_that_were_worked_out_and_missing_ones(city):
    permit = [feature(box(0, 0, 100, 20), "P", height_m=10), feature(box(200, 0, 220, 20), "Q")]
    houses = [
        feature(box(0, 0, 20, 20), "near", height_m=11.0, estimated="height_m"),
        feature(box(30, 0, 50, 20), "far", height_m=11.01, estimated="height_m"),
        feature(box(60, 0, 80, 20), "none"),
        feature(box(82, 0, 90, 20), "zero", height_m=0.0),
        feature(box(200, 0, 220, 20), "no limit", height_m=99),
    ]
    found, answer = screened(city, houses, permit)
    assert {name: each["verdict"] for name, each in found.items()} == {"far/too_high": "review"}
    assert {each["building_id"]: each["what"] for each in answer["unknown"]} == {
        "none": "height_unknown",
        "zero": "height_unknown",
        "no limit": "permit_height_unknown",
    }


def test_one_permit_for_several_buildings_and_several_permits_for_one(city):
    houses = [feature(box(x, 0, x + 10, 10), str(x), height_m=12) for x in (0, 20, 40)]
    houses.append(feature(box(100, 0, 140, 20), "long", height_m=30))
    permits = [
        feature(box(0, 0, 50, 10), "estate", height_m=12),
        feature(box(100, 0, 120, 20), "podium", height_m=10),
        feature(box(119, 0, 140, 20), "tower", height_m=30),
    ]
    found, _ = screened(city, houses, permits)
    assert not found
    found, _ = screened(city, houses, permits[:2])
    assert {name: each["measured"] for name, each in found.items()} == {
        "long/enlarged": pytest.approx(400),
        "long/too_high": 30,
    }


def test_a_neighbours_permit_that_touches_is_no_permit(city):
    house = feature(box(0, 0, 20, 20), "H", height_m=10)
    found, _ = screened(city, [house], [feature(box(19, 0, 60, 20), "next", height_m=10)])
    assert [each["reason"] for each in found.values()] == ["no_permit"]
    assert found["H/no_permit"]["excess_m2"] == pytest.approx(400)
    named = feature(box(200, 0, 220, 20), "elsewhere", height_m=10, building_code="H")
    found, _ = screened(city, [house], [named])
    assert found["H/enlarged"]["excess_share_pct"] == pytest.approx(100), "its own permit, but it stands elsewhere"


def test_a_small_building_without_permit_is_a_suspect_and_control_lines_are_a_reason_of_their_own(city):
    shed = feature(box(10, 0, 12, 3), "shed", height_m=2)
    found, _ = screened(city, [shed], [], lines=[{"collection": "pbf"}])
    assert list(found) == ["shed/no_permit"], "it does not reach the farmland"
    permit = feature(box(0, 0, 20, 20), "P", height_m=10)
    found, _ = screened(city, [HOUSE], [permit], lines=[{"collection": "pbf"}])
    assert {name: (each["verdict"], round(each["measured"], 0)) for name, each in found.items()} == {
        "H/control_line:pbf": ("review", 100)
    }
    by_hand = collection(feature(box(19.9, 0, 30, 9.9), "sliver"))
    assert not screened(city, [HOUSE], [permit], lines=[by_hand])[0], "under 1 m²"


def test_only_what_has_changed_since_an_earlier_date(city):
    was = collection(
        feature(box(0, 0, 20, 20), "old", height_m=10), feature(box(100, 0, 120, 20), "grows", height_m=10)
    )
    now = [
        feature(box(0, 0, 20, 20), "old", height_m=10),
        feature(box(100, 0, 130, 20), "grows", height_m=13),
        feature(box(200, 0, 210, 20), "new", height_m=9),
    ]
    found, _ = screened(city, now, [], buildings_before=was)
    assert set(found) == {"grows/no_permit", "new/no_permit"}, "the old one has no permit either, but is as it was"
    answer = city.run("illegal-building-screen", buildings=collection(*now), buildings_before=was)
    leads = {each["id"]: each["properties"]["verdict"] for each in answer["suspects"]["features"]}
    assert leads == dict.fromkeys(["grows/enlarged", "grows/raised", "new/new"], "review"), "no permits are known"
    with pytest.raises(InvalidInput, match="permits"):
        city.run("illegal-building-screen", buildings=collection(*now))


def test_surface_models_of_two_dates(tmp_path):
    with made(tmp_path, {"building": [("B", box(0, 0, 1, 1), {})]}) as city:
        before, after = np.full((60, 60), 5.0), np.full((60, 60), 5.0)
        after[10:20, 10:20] += 9.0  # 100 m², of which the permit leaves 40 m²
        after[30:33, 30:33] += 9.0  # 9 m²: too small
        after[40:50, 40:50] += 2.0  # rises by no more than the limit
        after[10:20, 40:50] += 9.0
        before[:, 40:] = np.nan  # nobody knows what was there
        first, second = with_raster(city, "d1", before), with_raster(city, "d2", after)
        permit = collection(feature(box(10, -20, 16, -10), "P"))
        answer = city.run("illegal-building-screen", dsm_before=first, dsm=second, permits=permit, crs="city")
        (only,) = answer["suspects"]["features"]
        assert (only["properties"]["verdict"], only["properties"]["height_m"]) == ("review", pytest.approx(9))
        assert only["properties"]["excess_m2"] == pytest.approx(40)
        assert shapely.geometry.shape(only["geometry"]).bounds == pytest.approx(box(16, -20, 20, -10).bounds)
        small = collection(feature(box(0, -60, 5, -55)))
        answer = city.run("illegal-building-screen", dsm_before=first, dsm=second, permits=permit, region=small)
        assert answer["n_suspects"] == 0
        with pytest.raises(InvalidInput, match="dsm_before"):
            city.run("illegal-building-screen", dsm=second)


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"height_tolerance_m": -0.1}, "height_tolerance_m"),
        ({"rise_min_m": float("nan")}, "rise_min_m"),
        ({"permits": collection(feature(box(90_000, 0, 90_001, 1)))}, "permits"),
        ({"buildings": collection()}, "buildings"),
    ],
)
def test_wrong_inputs_are_named(city, inputs, named):
    with pytest.raises(InvalidInput, match=named):
        city.run("illegal-building-screen", **({"permits": collection(feature(box(0, 0, 1, 1)))} | inputs))


def test_the_planted_truths_of_the_sample_town_and_no_others(tmp_path):
    truths = json.loads((TOWN / "expected.json").read_text("utf8"))["illegal_buildings"]
    assert len(truths) == 28
    with town(tmp_path, "vector", "land", "terrain") as city:
        answer = city.run("illegal-building-screen", crs="city")
    found = {(each["properties"]["building_id"], each["properties"]["reason"]): each["properties"] for each in
             answer["suspects"]["features"]}  # fmt: skip
    assert set(found) == {(each["building_id"], each["reason"]) for each in truths if each["illegal"]}
    assert (answer["n_checked"], answer["unknown"]) == (473, []), "solids of the same houses are not counted again"
    for truth in truths:
        if truth["illegal"]:
            got = found[truth["building_id"], truth["reason"]]
            assert got["verdict"] == "fail"
            assert got["height_m"] == pytest.approx(truth["height_m"])
            assert got["permit_height_m"] == truth["permit_height_m"]
            assert got["footprint_m2"] == pytest.approx(truth["footprint_m2"], abs=0.0006)
            if truth["reason"] != "too_high":
                assert got["excess_m2"] == pytest.approx(truth["excess_m2"], abs=0.0006)
                assert got["excess_share_pct"] == pytest.approx(100 * truth["excess_share"], abs=0.0006)


square = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 12), st.integers(1, 12))


@settings(max_examples=80)
@given(st.lists(square, min_size=1, max_size=8), st.lists(square, max_size=8))
def test_the_excess_equals_a_count_of_cells(houses, permits):
    def shape(x, y, w, d):
        return shapely.box(EAST + x, NORTH + y, EAST + x + w, NORTH + y + d)

    def cells(x, y, w, d):
        grid = np.zeros((45, 45), bool)
        grid[y : y + d, x : x + w] = True
        return grid

    prints = np.array([shape(*each) for each in houses], object)
    found = cover(prints, np.array([shape(*each) for each in permits], object))
    for row, house in enumerate(houses):
        mine = cells(*house)
        allowed, n = np.zeros_like(mine), 0
        for permit in permits:
            theirs = cells(*permit)
            common = (mine & theirs).sum()
            if common and (10 * common >= mine.sum() or 10 * common >= theirs.sum()):
                allowed |= theirs
                n += 1
        assert found.n_permits[row] == n
        assert found.excess_m2[row] == pytest.approx((mine & ~allowed).sum(), abs=1e-6)
