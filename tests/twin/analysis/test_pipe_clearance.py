"""P25: hand cases and their boundaries, joints, what is not known, buildings and culverts, wrong inputs."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.land_city import EAST, NORTH, box, collection, feature, made
from twin import analysis
from twin.analysis.pipe_distance import TOUCH_M
from twin.analysis.progress import Dismissed, Progress


def line(*points):
    return shapely.LineString([(EAST + x, NORTH + y, *z) for x, y, *z in points])


def pipe(name, kind, points, od, dn=None, **more):
    return feature(line(*points), name, kind=kind, od_mm=od, dn_mm=dn, **more)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    with made(tmp_path_factory.mktemp("twin"), {}) as opened:
        yield opened


def run(city, *features, **more):
    return city.run("pipe-clearance", pipes=[collection(*features)], include_passes=True, crs="city", **more)


def only(found):
    assert len(found["pairs"]) == 1, found["pairs"]
    return found["pairs"][0]


def beside(city, apart, water_dn=300, **more):
    water = pipe("W", "water", [(0, 0, -1.5), (20, 0, -1.5)], 300, water_dn)
    sewage = pipe("S", "sewage", [(0, apart, -3), (20, apart, -3)], 400, 400)
    return run(city, water, sewage, **more)


def test_hand_case_beside(city):
    row = only(beside(city, 1.70))
    assert row["measured"] == pytest.approx(1.35, abs=1e-6)
    assert (row["limit"], row["verdict"]) == (1.5, "fail")
    assert row["shortfall_m"] == pytest.approx(0.15, abs=1e-6)
    assert (row["rule_id"], row["confidence"]) == ("pipe-clearance-horizontal", "high")
    assert row["distance_3d_m"] == pytest.approx(np.hypot(1.7, 1.5) - 0.35, abs=1e-6)
    assert row["gives_way"] == "W", "pressure gives way to gravity"


@pytest.mark.parametrize(("net", "dn", "verdict"), [
    (1.5, 300, "pass"), (1.5 - 9e-7, 300, "pass"), (1.499, 300, "fail"), (1.499, 200, "pass"), (1.0, 200, "pass"),
    (0.999, 200, "fail"), (1.499, 201, "fail"),
])  # fmt: skip
def test_boundaries_of_the_clearance_and_of_the_diameter(city, net, dn, verdict):
    assert only(beside(city, net + 0.35, dn))["verdict"] == verdict


def across(city, low=-2.15, **more):
    water = pipe("W", "water", [(0, 0, -1.5), (20, 0, -1.5)], 300, 300)
    sewage = pipe("S", "sewage", [(10, -10, low), (10, 10, low)], 400, 400)
    return run(city, water, sewage, **more)


def test_hand_case_across(city):
    found = across(city)
    row = only(found)
    assert row["measured"] == pytest.approx(0.30, abs=1e-6)
    assert (row["limit"], row["verdict"], row["rule_id"]) == (0.40, "fail", "pipe-clearance-vertical")
    assert row["shortfall_m"] == pytest.approx(0.10, abs=1e-6)
    assert row["distance_3d_m"] == pytest.approx(0.30, abs=1e-6)
    at = found["features"]["features"][0]["geometry"]
    assert at["coordinates"] == pytest.approx([EAST + 10, NORTH], abs=1e-6)
    assert (found["verdict"], found["counts"]["fail"]) == ("fail", 1)


@pytest.mark.parametrize(("low", "verdict"), [(-2.25, "pass"), (-2.249, "fail"), (-0.75, "pass"), (-1.5, "fail")])
def test_boundaries_across(city, low, verdict):
    row = only(across(city, low))
    assert row["verdict"] == verdict
    assert row["measured"] == pytest.approx(abs(low + 1.5) - 0.35, abs=1e-6)


def test_side_by_side_counts_in_plan_however_deep_one_lies(city):
    water = pipe("W", "water", [(0, 0, 8), (20, 0, 8)], 300, 300)
    sewage = pipe("S", "sewage", [(0, 1.0, -3), (20, 1.0, -3)], 400, 400)
    row = only(run(city, water, sewage))
    assert (row["verdict"], row["measured"]) == ("fail", pytest.approx(0.65, abs=1e-6))
    assert row["distance_3d_m"] == pytest.approx(np.hypot(11, 1) - 0.35, abs=1e-6)


def test_one_above_the_other_is_side_by_side(city):
    gas = pipe("G", "gas", [(0, 0, 0), (20, 0, 0)], 110, 110, pressure_class="低压")
    sewage = pipe("S", "sewage", [(0, 0, -3), (20, 0, -3)], 400, 400)
    row = only(run(city, gas, sewage))
    assert (row["rule_id"], row["verdict"]) == ("pipe-clearance-horizontal", "fail")
    assert row["measured"] == pytest.approx(-0.255, abs=1e-6)


def test_a_pipe_that_crosses_and_then_runs_alongside_is_told_twice(city):
    water = pipe("W", "water", [(0, 0, -1), (60, 0, -1)], 300, 300)
    sewage = pipe("S", "sewage", [(10, -10, -3), (10, 1, -3), (50, 1, -3)], 400, 400)
    found = run(city, water, sewage)["pairs"]
    assert {(row["rule_id"], row["verdict"]) for row in found} == {
        ("pipe-clearance-vertical", "pass"), ("pipe-clearance-horizontal", "fail"),
    }  # fmt: skip
    assert [row["measured"] for row in found if row["verdict"] == "fail"] == [pytest.approx(0.65, abs=1e-6)]


def test_joined_pipes_are_no_clash(city):
    one = pipe("A", "gas", [(0, 0, 0), (10, 0, 0)], 110, 110, start_node="1", end_node="2")
    two = pipe("B", "gas", [(10.3, 0, 0), (20, 0, 0)], 110, 110, start_node="2", end_node="3")
    assert run(city, one, two)["pairs"] == [], "by the node they name"
    end = pipe("B", "gas", [(10.01, 0, 0), (20, 0, 0)], 110, 110)
    assert run(city, pipe("A", "gas", [(0, 0, 0), (10, 0, 0)], 110, 110), end)["pairs"] == [], "by ends that meet"
    tee = pipe("B", "gas", [(5, 0, 0), (5, 9, 0)], 110, 110)
    assert run(city, pipe("A", "gas", [(0, 0, 0), (10, 0, 0)], 110, 110), tee)["pairs"] == [], "a tee"
    fitting = pipe("F", "gas", [(10, 0, 0), (10.2, 0, 0)], 110, 110)
    beyond = pipe("B", "gas", [(10.2, 0, 0), (20, 0, 0)], 110, 110)
    assert run(city, pipe("A", "gas", [(0, 0, 0), (10, 0, 0)], 110, 110), fitting, beyond)["pairs"] == []
    far = pipe("B", "gas", [(10.3, 0, 0), (20, 0, 0)], 110, 110)
    assert only(run(city, pipe("A", "gas", [(0, 0, 0), (10, 0, 0)], 110, 110), far))["verdict"] == "fail"


def test_other_kinds_that_touch_and_lower_ends_are_a_clash(city):
    gas = pipe("G", "gas", [(5, 0, -2), (5, 9, -2)], 110, 110, pressure_class="低压")
    water = pipe("W", "water", [(0, 0, -2), (10, 0, -2)], 300, 300)
    row = only(run(city, gas, water))
    assert (row["rule_id"], row["verdict"]) == ("pipe-clearance-vertical", "fail")
    low = pipe("B", "water", [(5, 0, -3), (5, 9, -3)], 300, 300)
    assert only(run(city, low, water))["measured"] == pytest.approx(0.7, abs=1e-6), "under it, not joined"


def test_two_codes_that_are_used_twice_do_not_join(city):
    one = pipe("A", "water", [(0, 0, 0), (10, 0, 0)], 300, 300, start_node="1", end_node="2")
    two = pipe("B", "sewage", [(0, 1, 0), (40, 1, 0)], 400, 400, start_node="9", end_node="2")
    assert only(run(city, one, two))["verdict"] == "fail"


def test_what_is_not_known_is_unknown_and_says_what(city):
    water = pipe("W", "water", [(0, 0), (20, 0)], 300, 300)
    sewage = pipe("S", "sewage", [(10, -10, -2), (10, 10, -2)], 400, 400)
    row = only(run(city, water, sewage))
    assert (row["verdict"], row["measured"]) == ("unknown", None)
    assert "height" in row["lacks"]["en"]
    bare = pipe("W", "water", [(0, 0, -1), (20, 0, -1)], None, 300)
    near = pipe("S", "sewage", [(0, 1.7, -1), (20, 1.7, -1)], 400, 400)
    found = run(city, bare, near)
    assert (only(found)["verdict"], found["n_without_outer_size"]) == ("unknown", 1)
    assert "outer diameter" in only(found)["lacks"]["en"]
    assert run(city, bare, pipe("S", "sewage", [(0, 2.5, -1), (20, 2.5, -1)], 400, 400))["pairs"] == [], "cannot fail"
    odd = pipe("W", None, [(0, 0, -1), (20, 0, -1)], 300, 300)
    assert only(run(city, odd, near))["verdict"] == "unknown", "a pipe of unknown kind"


def test_the_nominal_diameter_counts_only_when_asked_and_never_fails(city):
    bare = pipe("W", "water", [(0, 0, -1), (20, 0, -1)], None, 300)
    near = pipe("S", "sewage", [(0, 1.7, -1), (20, 1.7, -1)], 400, 400)
    row = only(run(city, bare, near, nominal_is_outer=True))
    assert (row["verdict"], row["confidence"]) == ("review", "low")
    assert row["measured"] == pytest.approx(1.35, abs=1e-6)


def test_pipes_above_ground_and_in_tunnels_are_not_judged(city):
    for burial in ("overhead", "tunnel"):
        found = run(
            city, pipe("W", "water", [(0, 0, 5), (20, 0, 5)], 300, 300, burial=burial),
            pipe("S", "sewage", [(0, 0.5, -1), (20, 0.5, -1)], 400, 400),
        )  # fmt: skip
        assert (found["pairs"], found["n_not_in_ground"], found["verdict"]) == ([], 1, "pass")


def test_heights_of_the_top_or_the_inner_bottom_are_brought_to_the_axis(city):
    water = pipe("W", "water", [(0, 0, -1.35), (20, 0, -1.35)], 300, 300, z_ref="crown")
    sewage = pipe("S", "sewage", [(10, -10, -2.35), (10, 10, -2.35)], 500, 400, z_ref="invert")
    # axes at -1.50 and -2.15
    assert only(run(city, water, sewage))["measured"] == pytest.approx(0.65 - 0.15 - 0.25, abs=1e-6)


def test_boxes_use_their_width_beside_and_their_height_across(city):
    duct = {"width_mm": 1000, "height_mm": 400, "burial": "duct"}
    power = feature(line((0, 0, 0), (20, 0, 0)), "P", kind="power", **duct)
    rain = pipe("R", "rain", [(0, 1.2, 0), (20, 1.2, 0)], 400, 300)
    assert only(run(city, power, rain))["measured"] == pytest.approx(1.2 - 0.5 - 0.2, abs=1e-6)
    under = pipe("R", "rain", [(10, -9, -1), (10, 9, -1)], 400, 300)
    row = only(run(city, power, under))
    assert row["measured"] == pytest.approx(1.0 - 0.2 - 0.2, abs=1e-6)
    assert (row["confidence"], row["distance_3d_m"]) == ("low", None), "no distance of round walls"


def test_buildings_beside(city):
    houses = collection(feature(box(0, 5, 10, 15), "H", kind="building"))
    for apart, verdict in ((2.7, "pass"), (2.69, "fail")):
        rain = pipe("R", "rain", [(-5, 5 - apart, -1), (15, 5 - apart, -1)], 400, 300)
        row = only(run(city, rain, structures=[houses]))
        assert (row["b"], row["verdict"], row["limit"]) == ("H", verdict, 2.5)
        assert row["measured"] == pytest.approx(apart - 0.2, abs=1e-6)
    serves = pipe("R", "rain", [(5, -9, -1), (5, 5, -1)], 400, 300)
    assert run(city, serves, structures=[houses])["pairs"] == [], "it ends at the wall: it serves the house"
    under = pipe("R", "rain", [(5, 0, -1), (5, 20, -1)], 400, 300)
    assert only(run(city, under, structures=[houses]))["measured"] == pytest.approx(-0.2, abs=1e-6)


def test_culverts_and_rails_above(city):
    water = pipe("W", "water", [(-20, 0, -2.0), (20, 0, -2.0)], 300, 300)
    for kind, limit in (("culvert", 0.15), ("rail", 1.0)):
        for clear, verdict in ((limit, "pass"), (limit - 0.001, "fail")):
            given_ = collection(feature(box(-2, -9, 2, 9), "C", kind=kind, base_elev_m=-1.85 + clear))
            row = only(run(city, water, structures=[given_]))
            assert (row["verdict"], row["limit"], row["unit"]) == (verdict, limit, "m")
            assert row["measured"] == pytest.approx(clear, abs=1e-6)
    blind = collection(feature(box(-2, -9, 2, 9), "C", kind="culvert"))
    assert only(run(city, water, structures=[blind]))["verdict"] == "unknown"


def test_lines_of_ones_own_stand_first(city):
    row = only(beside(city, 1.70, horizontal=[{"a": "sewage", "b": "water", "value": 1.3}]))
    assert (row["verdict"], row["limit"]) == ("pass", 1.3)
    assert "horizontal" in row["source"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"od_mm": -5}, "pipes: 'W' has od_mm -5"),
        ({"od_mm": float("nan"), "kind": "pipe"}, "pipes: 'W' has kind 'pipe'"),
        ({"burial": "deep"}, "pipes: 'W' has burial"),
        ({"z_ref": "top"}, "pipes: 'W' has z_ref"),
        ({"od_mm": "thick"}, "pipes: od_mm is no number"),
    ],
)
def test_wrong_pipes_are_named(city, change, message):
    wrong = feature(line((0, 0, 0), (9, 0, 0)), "W", **({"kind": "water", "od_mm": 300} | change))
    with pytest.raises(InvalidInput, match=message):
        run(city, wrong)


def test_a_run_can_be_dismissed(city):
    def tell(percent, message):
        raise Dismissed

    with pytest.raises(Dismissed):
        analysis.run("pipe-clearance", city, {"pipes": [collection(pipe("W", "water", [(0, 0, 0), (9, 0, 0)], 300))]},
                     progress=Progress(tell))  # fmt: skip


def test_wrong_inputs_are_named(city):
    point = feature(shapely.Point(EAST, NORTH), "P", kind="water")
    with pytest.raises(InvalidInput, match=r"^pipes: 'P' has a POINT"):
        run(city, point)
    with pytest.raises(InvalidInput, match=r"^structures: 'H' has no kind"):
        beside(city, 1.7, structures=[collection(feature(box(0, 0, 1, 1), "H", floors=1))])
    with pytest.raises(InvalidInput, match="horizontal: NaN"):
        beside(city, 1.7, horizontal=[{"a": "sewage", "b": "water", "value": float("nan")}])
    with pytest.raises(InvalidInput, match="pipes: the city has no layer of pipes"):
        city.run("pipe-clearance")


KINDS = ("water", "sewage", "gas", "telecom", "power", "heat")


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_random_pipes_against_brute_force(city, seed):
    """Every pair of twelve straight pipes, with shapely and the height on the line, one by one."""
    draw = np.random.default_rng(seed)
    rows = []
    for k in range(12):
        start, turn = draw.uniform(0, 15, 2), draw.uniform(0, 2 * np.pi)
        stop = start + draw.uniform(1, 12) * np.array([np.cos(turn), np.sin(turn)])
        z = draw.uniform(-4, 0, 2)
        rows.append((KINDS[k % 6], [(*start, z[0]), (*stop, z[1])], float(draw.integers(100, 900))))
    features_ = [pipe(str(k), kind, points, od, od, burial="direct", pressure_class="低压", voltage_kv=10)
                 for k, (kind, points, od) in enumerate(rows)]  # fmt: skip
    got = {(row["a"], row["b"], row["rule_id"]): row["measured"] for row in run(city, *features_)["pairs"]}
    for a in range(12):
        for b in range(a + 1, 12):
            one, two = (shapely.LineString(rows[k][1]) for k in (a, b))
            half = (rows[a][2] + rows[b][2]) / 2000
            if shapely.crosses(shapely.force_2d(one), shapely.force_2d(two)):
                at = shapely.intersection(shapely.force_2d(one), shapely.force_2d(two))
                heights = [
                    np.interp(shapely.distance(shapely.Point(each[0][:2]), at),
                              [0, shapely.length(shapely.LineString([p[:2] for p in each]))], [each[0][2], each[1][2]])
                    for each in (rows[a][1], rows[b][1])
                ]  # fmt: skip
                wanted = ("pipe-clearance-vertical", abs(heights[0] - heights[1]) - half)
            elif shapely.distance(one, two) <= TOUCH_M:
                continue  # an end on the other, to a millimetre: it crosses too, where is for other tests
            else:
                wanted = ("pipe-clearance-horizontal", shapely.distance(one, two) - half)
            found = got.get((str(a), str(b), wanted[0]))
            if found is not None:
                assert found == pytest.approx(wanted[1], abs=2e-6)
            else:
                table = {("water", "water"), ("sewage", "sewage"), ("telecom", "telecom"), ("power", "power"),
                         ("heat", "heat")}  # fmt: skip
                no_row = wanted[0].endswith("horizontal") and (rows[a][0], rows[b][0]) in table
                assert no_row or wanted[1] > 0.4, (a, b, wanted)
