"""P26: hand cases at their boundaries; least cover against dense sampling of the ground; what is not known."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput, NotFound
from tests.twin.analysis import water_city
from tests.twin.analysis.land_city import collection, feature
from twin.analysis.pipe_cover import Squares, least_cover, rises, slopes
from twin.analysis.pipe_distance import segments
from twin.analysis.pipe_hydraulics import manning_full, material_class
from twin.supervision.rules import load

EAST, NORTH = water_city.EAST, water_city.NORTH
FLAT = np.full((20, 20), 10.0)


def line(*points):
    return shapely.LineString([(EAST + x, NORTH - y, *z) for x, y, *z in points])


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """Ground 10.00, flat, 200 m x 200 m; none in the cells of the last two columns; a road along y = 50."""
    ground = FLAT.copy()
    ground[:, -2:] = np.nan
    road = {"R": (line((0, 50), (200, 50)), {"width_m": 8.0})}
    with water_city.make(tmp_path_factory.mktemp("twin"), ground, [("road", "LineString", road)]) as opened:
        yield opened


def pipe(name, *points, kind="rain", **more):
    given_ = {"kind": kind, "od_mm": 300.0, "dn_mm": 300.0, "material": "混凝土", "z_ref": "crown"} | more
    return feature(line(*points), name, **given_)


def run(city, *pipes, **more):
    return city.run("pipe-cover-slope", pipes=[collection(*pipes)], include_passes=True, crs="city", **more)


def result(found, rule, pipe_=None):
    rows = [row for row in found["results"] if row["rule_id"] == rule and pipe_ in {None, row["pipe"]}]
    assert len(rows) == 1, rows
    return rows[0]


@pytest.mark.parametrize(("crown", "surface", "cover", "verdict"), [
    (9.25, "carriageway", 0.75, "pass"), (9.35, "carriageway", 0.65, "fail"), (9.35, "sidewalk", 0.65, "pass"),
    (9.30, "carriageway", 0.70, "pass"), (9.301, "carriageway", 0.699, "fail"), (9.40, "sidewalk", 0.60, "pass"),
    (9.401, "sidewalk", 0.599, "fail"),
])  # fmt: skip
def test_hand_cases_of_cover(city, crown, surface, cover, verdict):
    row = result(run(city, pipe("P", (20, 20, crown), (80, 20, crown)), surface=surface), "drain-cover")
    assert row["measured"] == pytest.approx(cover, abs=1e-6)
    assert (row["verdict"], row["limit"]) == (verdict, 0.7 if surface == "carriageway" else 0.6)


def test_the_road_over_it_decides_where_no_surface_is_given(city):
    found = run(city, pipe("P", (30, 20, 9.35), (30, 80, 9.35)))
    # 0.65 m under the road; beside it either limit may count
    assert [row["verdict"] for row in found["results"] if row["rule_id"] == "drain-cover"] == ["fail", "unknown"]
    numbers = found["pipes"][0]
    assert (numbers["cover_carriageway_m"], numbers["cover_elsewhere_m"]) == (pytest.approx(0.65), pytest.approx(0.65))
    beside = run(city, pipe("P", (30, 60, 9.5), (30, 80, 9.5)))
    assert result(beside, "drain-cover")["verdict"] == "fail", "0.5 keeps neither"
    assert result(run(city, pipe("P", (30, 60, 9.3), (30, 80, 9.3))), "drain-cover")["verdict"] == "pass"
    stated = pipe("P", (30, 60, 9.35), (30, 80, 9.35), surface="sidewalk")
    assert result(run(city, stated), "drain-cover")["verdict"] == "pass"


def test_cover_is_the_least_anywhere_and_says_where(city):
    found = run(city, pipe("P", (20, 20, 8.0), (60, 20, 9.4), (100, 20, 8.0)), surface="carriageway")
    row = result(found, "drain-cover")
    assert row["measured"] == pytest.approx(0.6, abs=1e-6)
    at = [each for each in found["features"]["features"] if each["properties"]["rule_id"] == "drain-cover"]
    assert at[0]["geometry"]["coordinates"] == pytest.approx([EAST + 60, NORTH - 20], abs=1e-6)


def test_where_the_ground_is_not_known_nothing_passes(city):
    out = run(city, pipe("P", (150, 20, 9.0), (195, 20, 9.0)), surface="carriageway")
    row = result(out, "drain-cover")
    assert (row["verdict"], row["measured"]) == ("unknown", pytest.approx(1.0))
    assert "ground" in row["note"]["en"]
    short = result(run(city, pipe("P", (150, 20, 9.5), (195, 20, 9.5)), surface="carriageway"), "drain-cover")
    assert short["verdict"] == "fail", "what is known fails already"
    none = result(run(city, pipe("P", (190, 20, 9.0), (195, 20, 9.0)), surface="carriageway"), "drain-cover")
    assert (none["verdict"], none["measured"]) == ("unknown", None)


def test_missing_sizes_and_heights_are_unknown(city):
    flat = run(city, pipe("P", (20, 20), (80, 20)), surface="carriageway")
    for rule in ("drain-cover", "drain-slope", "drain-fall", "drain-velocity"):
        row = result(flat, rule)
        assert (row["verdict"], row["measured"]) == ("unknown", None)
        assert "heights" in row["note"]["en"]
    bare = run(city, pipe("P", (20, 20, 8.0), (80, 20, 7.5), od_mm=None, z_ref="invert"), surface="carriageway")
    assert (result(bare, "drain-cover")["verdict"], result(bare, "drain-slope")["verdict"]) == ("unknown", "pass")
    assert "outer diameter" in result(bare, "drain-cover")["note"]["en"]
    crown = run(city, pipe("P", (20, 20, 9.2), (80, 20, 9.0), od_mm=None), surface="carriageway")
    assert result(crown, "drain-cover")["measured"] == pytest.approx(0.8), "heights of the top need no diameter"


def test_a_city_without_ground(tmp_path):
    with water_city.make(tmp_path) as bare:
        row = result(run(bare, pipe("P", (0, 0, 1.0), (50, 0, 0.5))), "drain-cover")
        assert (row["verdict"], row["measured"]) == ("unknown", None)
        with pytest.raises(NotFound, match=r"^dem: "):
            run(bare, pipe("P", (0, 0, 1.0), (50, 0, 0.5)), dem={"collection": "dem"})


@pytest.mark.parametrize(("end", "material", "slope", "verdict", "limit"), [
    (7.880, "混凝土", 0.0024, "fail", 0.003), (7.85, "混凝土", 0.003, "pass", 0.003),
    (7.8501, "混凝土", 0.002998, "fail", 0.003), (7.90, "HDPE", 0.002, "pass", 0.002),
    (7.901, "HDPE双壁波纹管", 0.00198, "fail", 0.002),
])  # fmt: skip
def test_hand_cases_of_slope(city, end, material, slope, verdict, limit):
    found = run(city, pipe("P", (20, 20, 8.000), (70, 20, end), material=material, z_ref="invert"))
    row = result(found, "drain-slope")
    assert row["measured"] == pytest.approx(slope, abs=1e-6)
    assert (row["verdict"], row["limit"]) == (verdict, limit)
    numbers = found["pipes"][0]
    assert (numbers["invert_start_m"], numbers["invert_end_m"]) == (pytest.approx(8.0), pytest.approx(end))


def test_slope_goes_with_the_flow_and_a_rise_is_told(city):
    up = run(city, pipe("P", (20, 20, 7.5), (70, 20, 8.0)))
    assert result(up, "drain-fall")["verdict"] == "fail"
    assert result(up, "drain-fall")["measured"] == pytest.approx(-0.01)
    back = run(city, pipe("P", (20, 20, 7.5), (70, 20, 8.0), flow_dir="逆"))
    assert result(back, "drain-fall")["verdict"] == "pass"
    assert result(run(city, pipe("P", (20, 20, 8.0), (70, 20, 8.0))), "drain-fall")["verdict"] == "fail", "flat"
    bent = run(city, pipe("P", (20, 20, 8.0), (40, 20, 7.0), (70, 20, 7.5)))
    assert result(bent, "drain-fall")["verdict"] == "review"
    assert bent["pipes"][0]["rise_m"] == pytest.approx(0.5)


def test_hand_case_of_manning(city):
    velocity, flow = manning_full(
        np.array([0.3]), np.array([0.3]), np.array([True]), np.array([0.003]), np.array([0.013])
    )
    assert velocity[0] == pytest.approx(0.749, abs=5e-4)
    assert flow[0] * 1000 == pytest.approx(52.97, abs=0.01)
    found = run(city, pipe("P", (20, 20, 8.0), (70, 20, 7.85)), manning_n=0.013)
    numbers = found["pipes"][0]
    assert numbers["velocity_full_m_s"] == pytest.approx(0.749, abs=5e-4)
    assert numbers["flow_full_l_s"] == pytest.approx(52.97, abs=0.01)
    row = result(found, "drain-velocity")
    assert (row["verdict"], row["limit"]) == ("fail", 0.75), "0.749 of 0.75"
    assert result(run(city, pipe("P", (20, 20, 8.0), (70, 20, 7.849)), manning_n=0.013), "drain-velocity")[
        "verdict"] == "pass"  # fmt: skip


def test_a_box_is_as_fast_as_its_hydraulic_radius():
    velocity, flow = manning_full(
        np.array([2.0]), np.array([1.0]), np.array([False]), np.array([0.004]), np.array([0.015])
    )
    assert velocity[0] == pytest.approx((2 / 6) ** (2 / 3) * 0.004**0.5 / 0.015)
    assert flow[0] == pytest.approx(2 * velocity[0])


def test_a_sewer_below_the_limit_at_full_bore_may_reach_it_at_its_depth(city):
    def verdict(slope, **more):
        sewer = pipe("P", (20, 20, 8.0), (70, 20, 8.0 - 50 * slope), kind="sewage", material="HDPE")
        return result(run(city, sewer, manning_n=0.01, **more), "drain-velocity")["verdict"]

    limit = (0.6 * 0.01 / 0.075 ** (2 / 3)) ** 2
    assert verdict(limit * 1.0001) == "pass"
    assert verdict(limit * 0.9999) == "review"
    assert verdict(limit / 1.14**2 * 1.001) == "review"
    assert verdict(limit / 1.14**2 * 0.999) == "fail"
    by_material = pipe("P", (20, 20, 8.0), (70, 20, 7.99), kind="rain")
    assert result(run(city, by_material), "drain-velocity")["verdict"] == "review", "n is that of a table"


@pytest.mark.parametrize(
    ("kind", "dn", "verdict"), [("rain", 300, "pass"), ("sewage", 299, "fail"), ("drain", 250, "fail")]
)
def test_diameters(city, kind, dn, verdict):
    found = run(city, pipe("P", (20, 20, 8.0), (70, 20, 7.0), kind=kind, dn_mm=dn))
    assert result(found, "drain-diameter")["verdict"] == verdict


def test_connections_of_inlets_have_limits_of_their_own(city):
    def both(dn, fall):
        found = run(city, pipe("P", (20, 20, 8.0), (30, 20, 8.0 - fall), dn_mm=dn, use="inlet"))
        return result(found, "drain-diameter")["verdict"], result(found, "drain-slope")["verdict"]

    assert both(200, 0.1) == ("pass", "pass")
    assert both(200, 0.099) == ("pass", "fail")
    assert result(run(city, pipe("P", (20, 20, 8), (30, 20, 7.9), dn_mm=199, use="inlet")), "drain-diameter")[
        "verdict"] == "fail"  # fmt: skip


def test_limits_of_ones_own(city):
    found = run(city, pipe("P", (20, 20, 8.0), (70, 20, 7.85)), min_cover_m=2.1, min_slope=0.002)
    assert (result(found, "drain-cover")["verdict"], result(found, "drain-slope")["verdict"]) == ("fail", "pass")
    assert result(found, "drain-cover")["limit"] == 2.1


def test_pipes_that_are_no_drains_have_numbers_and_no_verdicts(city):
    found = run(city, pipe("W", (20, 20, 8.0), (70, 20, 8.0), kind="water"))
    assert (found["results"], found["n_not_drains"], found["verdict"]) == ([], 1, "unknown")


def test_wrong_inputs_are_named(city):
    for name, value in (("min_cover_m", -1), ("manning_n", 0), ("min_slope", float("nan")), ("surface", "lawn")):
        with pytest.raises(InvalidInput, match=name):
            run(city, pipe("P", (20, 20, 8.0), (70, 20, 7.0)), **{name: value})


def test_materials_by_their_words():
    words = {rule.id: rule for rule in load()}["drain-material"].parameters["words"]
    given_ = ["钢筋混凝土管", "HDPE双壁波纹管", "PVC-U", "球墨铸铁", "玻璃钢夹砂管", "钢带增强聚乙烯", "镀锌钢管",
              "PE100", "copper", "陶土管", None, ""]  # fmt: skip
    assert [material_class(each, words) for each in given_] == [
        "concrete", "plastic", "plastic", "iron", "plastic", "plastic", "steel", "plastic", None, "clay", None, None,
    ]  # fmt: skip


@settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_least_cover_equals_dense_sampling_of_random_ground(seed):
    """Bilinear ground of random heights, sampled at 20,000 places of the pipe."""
    draw = np.random.default_rng(seed)
    grid = draw.uniform(0, 3, (12, 12))

    def ground(x, y):
        i, j = np.clip(np.floor(x).astype(int), 0, 10), np.clip(np.floor(y).astype(int), 0, 10)
        u, v = x - i, y - j
        return (grid[i, j] * (1 - u) * (1 - v) + grid[i + 1, j] * u * (1 - v) + grid[i, j + 1] * (1 - u) * v
                + grid[i + 1, j + 1] * u * v)  # fmt: skip

    points = np.c_[draw.uniform(0, 11, (3, 2)), draw.uniform(-2, 0, 3)]
    pipe_ = np.array([shapely.LineString(points)])
    area = shapely.box(*draw.uniform(0, 5, 2), *draw.uniform(6, 11, 2))
    inside, outside = least_cover(segments(pipe_, np.ones(1, bool)), ground, Squares(0, 0, 1, 1), np.array([area]))
    share = np.linspace(0, 1, 10_001)[:, None]
    dense = np.concatenate([points[k] + share * (points[k + 1] - points[k]) for k in (0, 1)])
    cover = ground(dense[:, 0], dense[:, 1]) - dense[:, 2]
    is_in = shapely.intersects_xy(area, dense[:, 0], dense[:, 1])
    for chosen, found in ((is_in, inside), (~is_in, outside)):
        if chosen.sum() > 2:
            assert found.least_m[0] <= cover[chosen].min() + 1e-9
            assert found.least_m[0] == pytest.approx(cover[chosen].min(), abs=0.02)
            x, y = found.at[0]
            along = shapely.line_locate_point(shapely.force_2d(pipe_[0]), shapely.Point(x, y))
            z = np.interp(along, np.r_[0, np.cumsum(np.hypot(*np.diff(points[:, :2], axis=0).T))], points[:, 2])
            assert ground(np.array([x]), np.array([y]))[0] - z == pytest.approx(found.least_m[0], abs=1e-6)
    assert inside.length_m[0] + outside.length_m[0] == pytest.approx(shapely.length(pipe_[0]), abs=1e-9)
    assert inside.length_m[0] == pytest.approx(shapely.intersection(pipe_[0], area).length, abs=1e-9)


def test_slopes_and_rises_of_arrays():
    found = slopes(np.array([8.0, 7.0, np.nan, 1.0]), np.array([7.0, 8.0, 1.0, 1.0]), np.array([50.0, 50.0, 9.0, 0.0]),
                   np.array([False, True, False, False]))  # fmt: skip
    np.testing.assert_allclose(found, [0.02, 0.02, np.nan, np.nan])
    assert rises([np.array([3.0, 2.0, 2.5]), np.array([3.0, 2.0, 2.5])], np.array([False, True])).tolist() == [0.5, 1.0]
