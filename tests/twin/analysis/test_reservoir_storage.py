"""P22: between the points of the curve, never beyond. Oracle: numbers by hand, monotone inverses."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from layers.errors import InvalidInput, NotFound
from tests.twin.analysis import water_city
from tests.twin.analysis.water_city import EAST, NORTH
from twin.analysis.reservoir_storage import Levels, checked_curve, misordered, state_of, storage_at

CURVE = [{"level_m": z, "storage_1e4m3": v} for z, v in ((90, 0), (100, 100), (110, 300))]
PLACE = shapely.box(EAST, NORTH - 50, EAST + 50, NORTH)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    own = {"dead_level_m": 92.0, "flood_limit_level_m": 106.0, "normal_level_m": 108.0, "check_level_m": 110.0}
    reservoirs = {
        "R1": (PLACE, {"reservoir_code": "SK1", **own}),
        "R2": (PLACE, {"reservoir_code": "SK2"}),
        "R3": (PLACE, {"reservoir_code": "SK3"}),
    }
    rows = [("SK1", 110.0, 300.0), ("SK1", 90.0, 0.0), ("SK1", 100.0, 100.0), ("SK3", 90.0, 5.0), ("SK3", 95.0, 4.0)]
    curve = {
        str(n): (None, {"reservoir_code": code, "level_m": z, "storage_1e4m3": v})
        for n, (code, z, v) in enumerate(rows)
    }
    layers = [("reservoir", "Polygon", reservoirs), ("reservoir_curve", "none", curve)]
    with water_city.make(tmp_path_factory.mktemp("reservoir"), layers=layers) as opened:
        yield opened


def test_hand_case(city):
    levels = {"flood_limit": 106, "check": 110}
    found = city.run("reservoir-storage", level_m=104, curve=CURVE, levels=levels)
    assert found["storage_1e4m3"] == pytest.approx(180)
    assert found["margins"]["flood_limit"]["storage_1e4m3"] == pytest.approx(220)
    assert found["margins"]["flood_limit"]["margin_m"] == pytest.approx(2)
    assert found["margins"]["flood_limit"]["margin_1e4m3"] == pytest.approx(40)
    assert found["storages_1e4m3"]["flood_regulation"] == pytest.approx(80)
    assert (found["state"], found["state_zh"]) == ("normal", "正常")
    over = city.run("reservoir-storage", level_m=107.2, curve=CURVE, levels=levels)
    assert (over["state"], over["state_zh"]) == ("above-flood-limit", "超汛限 +1.20 m")
    assert over["margins"]["flood_limit"]["margin_m"] == pytest.approx(-1.2)
    with pytest.raises(InvalidInput, match="level_m 111 m is outside the storage curve, which reaches from 90 to 110"):
        city.run("reservoir-storage", level_m=111, curve=CURVE, levels=levels)


def test_ends_of_the_curve_belong_to_it(city):
    for level, storage in ((90, 0), (110, 300), (110 + 5e-7, 300), (90 - 5e-7, 0)):
        assert city.run("reservoir-storage", level_m=level, curve=CURVE)["storage_1e4m3"] == pytest.approx(storage)
    for level in (89.99, 110.01):
        with pytest.raises(InvalidInput, match="outside the storage curve"):
            city.run("reservoir-storage", level_m=level, curve=CURVE)


def test_a_reservoir_of_the_city_gives_its_levels_and_curve(city):
    found = city.run("reservoir-storage", level_m=104, reservoir="R1")
    assert found["storage_1e4m3"] == pytest.approx(180)
    assert found["storages_1e4m3"] == pytest.approx(
        {"dead": 20, "useful": 240, "flood_regulation": 80, "shared": 40}
    )  # fmt: skip
    higher = city.run("reservoir-storage", level_m=104, reservoir="R1", levels={"flood_limit": 103})
    assert higher["state"] == "above-flood-limit"
    with pytest.raises(InvalidInput, match="curve is missing"):
        city.run("reservoir-storage", level_m=104, reservoir="R2")
    with pytest.raises(InvalidInput, match="curve is not monotone: storage sinks from 5 at 90 m, 4 at 95 m"):
        city.run("reservoir-storage", level_m=92, reservoir="R3")
    with pytest.raises(NotFound, match="there is no reservoir 'R9'"):
        city.run("reservoir-storage", level_m=92, reservoir="R9")


def test_limit_above_normal_is_a_warning_and_levels_out_of_the_curve_are_told(city):
    found = city.run("reservoir-storage", level_m=104, curve=CURVE, levels={"flood_limit": 107, "normal": 106})
    assert any("汛限水位高于正常蓄水位" in each for each in found["warnings"])
    equal = city.run("reservoir-storage", level_m=104, curve=CURVE, levels={"flood_limit": 106, "normal": 106})
    assert equal["warnings"] == []
    beyond = city.run("reservoir-storage", level_m=104, curve=CURVE, levels={"check": 112})
    assert beyond["margins"]["check"]["storage_1e4m3"] is None
    assert "outside the curve" in beyond["warnings"][0]


@pytest.mark.parametrize(
    ("level", "state"),
    [
        (91.0, "below-dead"), (92.0, "normal"), (100.0, "normal"), (106.0, "normal"), (106.0000005, "normal"),
        (106.001, "above-flood-limit"), (108.5, "above-flood-limit"), (109.0, "above-flood-limit"),
        (109.5, "above-flood-high"), (110.0, "above-flood-high"), (110.5, "above-design"), (112.0, "above-check"),
    ],
)  # fmt: skip
def test_states_at_their_boundaries(level, state):
    levels = Levels(dead=92, flood_limit=106, normal=108, flood_high=109, design=110, check=111)
    assert misordered(levels) == []
    assert state_of(level, levels) == state
    if state == "above-flood-limit":
        assert state_of(level, levels, is_flood_season=False) == ("above-normal" if level > 108 else "normal")


@pytest.mark.parametrize(
    ("levels", "bad"),
    [
        ({"dead": 100, "normal": 100}, ("dead", "<", "normal")),
        ({"dead": 106, "flood_limit": 106}, ("dead", "<", "flood_limit")),
        ({"flood_limit": 106, "flood_high": 105.9}, ("flood_limit", "<=", "flood_high")),
        ({"flood_high": 108, "design": 107}, ("flood_high", "<=", "design")),
        ({"design": 108, "check": 107}, ("design", "<=", "check")),
        ({"normal": 108, "check": 107}, ("normal", "<=", "check")),
    ],
)
def test_levels_out_of_order(city, levels, bad):
    assert misordered(Levels(**levels)) == [bad]
    with pytest.raises(InvalidInput, match=f"levels are out of order: {bad[0]}"):
        city.run("reservoir-storage", level_m=104, curve=CURVE, levels=levels)


def test_equal_levels_are_in_order_where_they_may_be():
    assert misordered(Levels(flood_limit=106, flood_high=106, design=106, check=106 - 5e-7)) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"level_m": float("nan"), "curve": CURVE}, "level_m"),
        ({"level_m": 104}, "curve is missing"),
        ({"level_m": 104, "curve": CURVE[:1]}, "curve"),
        ({"level_m": 104, "curve": [*CURVE, {"level_m": 105, "storage_1e4m3": 50}]}, "curve is not monotone"),
        ({"level_m": 104, "curve": [*CURVE, CURVE[0]]}, "curve has level 90 m twice"),
        ({"level_m": 104, "curve": [*CURVE, {"level_m": 80, "storage_1e4m3": -1}]}, "curve"),
        ({"level_m": 104, "curve": [*CURVE, {"level_m": float("nan"), "storage_1e4m3": 1}]}, "curve"),
        ({"level_m": 104, "curve": [*CURVE, {"level_m": 120, "storage_m3": 1}]}, "curve"),
        ({"level_m": 104, "curve": CURVE, "levels": {"limit": 1}}, "levels"),
        ({"level_m": 104, "curve": CURVE, "levels": {"dead": float("inf")}}, "levels"),
        ({"level_m": "104", "curve": CURVE}, "level_m"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_wrong_inputs_are_named(city, given, words):
    with pytest.raises(InvalidInput, match=words):
        city.run("reservoir-storage", **given)


@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=12, unique=True),
    st.lists(st.integers(0, 90), min_size=12, max_size=12), st.floats(0, 1), st.randoms(),
)  # fmt: skip
def test_storage_lies_between_its_neighbours_and_rises(levels, steps, share, shuffler):
    z, v = np.sort(levels).astype(float), np.cumsum(steps[: len(levels)]).astype(float)
    order = list(range(len(z)))
    shuffler.shuffle(order)
    curve = checked_curve(z[order], v[order])
    level = z[0] + share * (z[-1] - z[0])
    k = min(int(np.searchsorted(z, level, "right")) - 1, len(z) - 2)
    by_hand = v[k] + (v[k + 1] - v[k]) * (level - z[k]) / (z[k + 1] - z[k])
    assert storage_at(level, curve) == pytest.approx(by_hand, abs=1e-9)
    assert storage_at(z[0], curve) <= storage_at(level, curve) <= storage_at(z[-1], curve)
