"""P08: plot ratio, density, green; the hand case, its boundary, shares across a line, what is not known."""

import geopandas
import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.land_city import box, collection, feature, made
from twin.analysis import parcel_intensity_areas
from twin.analysis.parcel_intensity import floor_areas
from twin.analysis.parcel_intensity_areas import controls_of, intensity, parts
from twin.analysis.parcel_intensity_buildings import standing
from twin.analysis.progress import Progress
from twin.store.interface import Features

PLOT = box(0, 0, 100, 100)
HOUSES = collection(
    feature(box(10, 10, 30, 60), "tower", floors=10), feature(box(50, 50, 70, 70), "low", floors=3, gfa_m2=5.0)
)
GREEN = collection(feature(box(0, 65, 100, 100), "park"))


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    plan = {"code_system": "ydyh2023", "far_max": 1.0, "density_max_pct": 14.0, "green_min_pct": 35.0}
    layers = {
        "land_plan": [
            ("P1", box(-50, 0, 100, 100), plan),
            ("P2", box(100, 0, 200, 100), plan | {"far_max": 3.0, "density_max_pct": None}),
        ],
        "building": [
            ("B1", box(10, 10, 30, 60), {"floors": 10}),
            ("B1-fine", box(10, 10, 30, 60), {"floors": 10, "same_as": "B1"}),
            ("B2", box(50, 50, 70, 70), {"floors": None, "gfa_m2": 1200.0, "height_m": 9.0}),
            ("B3", box(0, 0, 100, 100), {"floors": 99, "phase": "plan"}),
        ],
        "green_space": [("G", box(150, 0, 160, 100), {})],
    }
    with made(tmp_path_factory.mktemp("land"), layers) as opened:
        yield opened


def of(answer, rule, parcel="0"):
    return next(each for each in answer["results"] if (each["rule_id"], each["parcel_id"]) == (rule, parcel))


def test_hand_case_and_its_limits_to_the_last_digit(city):
    limits = {"far_max": 1.12, "density_max_pct": 14, "green_min_pct": 35}
    answer = city.run("parcel-intensity", parcels=collection(feature(PLOT)), buildings=HOUSES, green=GREEN, **limits)
    found = answer["parcels"]["features"][0]["properties"]
    assert (found["far"], found["density_pct"], found["green_pct"]) == pytest.approx((1.12, 14, 35), abs=1e-9)
    assert answer["verdict"] == "pass", "equal to the limit passes"
    for name, value in (("far_max", 1.119), ("density_max_pct", 13.99), ("green_min_pct", 35.01)):
        worse = limits | {name: value}
        found = city.run("parcel-intensity", parcels=collection(feature(PLOT)), buildings=HOUSES, green=GREEN, **worse)
        assert sorted(each["verdict"] for each in found["results"]) == ["fail", "pass", "pass"]


def test_the_survey_area_is_the_ellipsoids(city):
    answer = city.run("parcel-intensity", parcels=collection(feature(PLOT)), buildings=HOUSES, green=GREEN)
    found = answer["parcels"]["features"][0]["properties"]
    ring = geopandas.GeoSeries([PLOT.segmentize(5)], crs="EPSG:4549").to_crs("EPSG:4490")
    area, _ = ring.crs.get_geod().geometry_area_perimeter(ring[0])
    assert found["area_m2"] == pytest.approx(abs(area), abs=0.001)
    assert found["floor_area_m2"] == pytest.approx(1.12 * found["area_m2"], rel=1e-12)


def test_the_plan_gives_limits_copies_and_plans_do_not_count_and_unknown_floors_are_unknown(city):
    answer = city.run("parcel-intensity", parcels=collection(feature(PLOT)))
    far, density, green = (of(answer, rule) for rule in ("plan-far", "plan-density", "plan-green"))
    assert (far["verdict"], far["measured"], far["is_at_least"]) == ("unknown", pytest.approx(1.0), True)
    assert (density["verdict"], density["measured"]) == ("pass", pytest.approx(14))
    assert (green["verdict"], green["measured"]) == ("unknown", None), "nothing green recorded is not 0"
    assert answer["without_floor_area"] == ["B2"]


def test_what_is_known_may_break_the_limit_though_not_all_is_known(city):
    answer = city.run("parcel-intensity", parcels=collection(feature(PLOT)), far_max=0.9)
    far = of(answer, "plan-far")
    assert (far["verdict"], far["measured"], far["is_at_least"]) == ("fail", pytest.approx(1.0), True)


@pytest.mark.parametrize(("how", "far"), [("floors-then-stated", 1.12), ("floors-then-height", 1.12), ("stated", None)])
def test_other_floor_areas_only_when_asked_and_told(city, how, far):
    answer = city.run("parcel-intensity", parcels=collection(feature(PLOT)), floor_area_from=how)
    found = answer["parcels"]["features"][0]["properties"]["far"]
    assert found == (None if far is None else pytest.approx(far))
    assert answer["floor_area_from"] == how


def test_a_building_across_the_line_counts_by_share_and_is_told(city):
    plots = collection(feature(box(0, 0, 100, 100), "W"), feature(box(100, 0, 200, 100), "E"))
    houses = collection(feature(box(90, 0, 130, 10), "X", floors=5), feature(box(80, 0, 100, 10), "touches", floors=1))
    answer = city.run("parcel-intensity", parcels=plots, buildings=houses, green=collection())
    far = {each["parcel_id"]: each["measured"] for each in answer["results"] if each["rule_id"] == "plan-far"}
    assert far == {"W": pytest.approx((500 + 200) / 1e4), "E": pytest.approx(1500 / 1e4)}
    density = [each["properties"]["density_pct"] for each in answer["parcels"]["features"]]
    assert density == pytest.approx([2.0, 3.0]), "overlapping footprints cover the ground once"
    assert [(each["building_id"], each["parcel_id"], each["share_pct"]) for each in answer["across"]] == [
        ("X", "W", pytest.approx(25)),
        ("X", "E", pytest.approx(75)),
    ]


def test_plots_with_different_limits_give_a_review_and_no_plan_gives_unknown(city):
    mixed = collection(feature(box(60, 0, 140, 100), "M"), feature(box(500, 0, 600, 100), "out"))
    answer = city.run("parcel-intensity", parcels=mixed, buildings=HOUSES, green=GREEN)
    assert of(answer, "plan-far", "M")["limit"] == 1.0, "the strictest"
    assert of(answer, "plan-density", "M")["verdict"] == "pass"
    tall = collection(feature(box(70, 0, 130, 90), "tall", floors=9))
    answer = city.run("parcel-intensity", parcels=mixed, buildings=tall, green=GREEN)
    assert (of(answer, "plan-far", "M")["verdict"], of(answer, "plan-far", "M")["confidence"]) == ("review", "low")
    assert {each["verdict"] for each in answer["results"] if each["parcel_id"] == "out"} == {"unknown"}


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"far_max": -1}, "far_max"),
        ({"far_max": float("nan")}, "far_max"),
        ({"density_max_pct": 101}, "density_max_pct"),
        ({"floor_area_from": "guess"}, "floor_area_from"),
        ({"parcels": collection(feature(shapely.Point(598_273, 3_109_927)))}, "parcels"),
        ({"parcels": collection(feature(box(90_000, 0, 90_001, 1)))}, "parcels"),
        ({"buildings": collection(feature(shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]), "bow"))}, "buildings"),
        ({"storey": 3}, "storey"),
    ],
)
def test_wrong_inputs_are_named(city, inputs, named):
    with pytest.raises(InvalidInput, match=named):
        city.run("parcel-intensity", **({"parcels": collection(feature(PLOT))} | inputs))


squares = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 15), st.integers(1, 15))


@settings(max_examples=60)
@given(
    st.lists(squares, min_size=1, max_size=8),
    st.lists(st.tuples(squares, st.none() | st.integers(1, 9)), max_size=15),
    st.lists(squares, max_size=5),
)
def test_numbers_equal_geopandas_overlay_and_a_count_of_cells(lands, houses, green):
    def shape(square):
        x, y, w, d = square
        return shapely.box(x, y, x + w, y + d)

    plots = np.array([shape(each) for each in lands], object)
    prints = np.array([shape(each) for each, _ in houses], object)
    floors = np.array([np.nan if n is None else n for _, n in houses], float)
    plants = np.array([shape(each) for each in green], object)
    found = intensity(plots, prints, floors * shapely.area(prints), plants)

    def cells(shapes):  # unit squares: geometry by counting
        grid = np.zeros((56, 56), bool)
        for each in shapes:
            x0, y0, x1, y1 = map(int, each.bounds)
            grid[y0:y1, x0:x1] = True
        return grid

    for row, plot in enumerate(plots):
        mine = cells([plot])
        assert found.area_m2[row] == mine.sum()
        assert found.covered_m2[row] == pytest.approx((mine & cells(prints)).sum())
        assert found.green_m2[row] == pytest.approx((mine & cells(plants)).sum())
        inside = [(mine & cells([each])).sum() for each in prints]
        known = sum(a * n for a, n in zip(inside, floors, strict=True) if not np.isnan(n))
        assert found.floor_m2[row] == pytest.approx(known)
        assert found.n_unknown[row] == sum(a > 0 and np.isnan(n) for a, n in zip(inside, floors, strict=True))
    if len(prints):
        a = geopandas.GeoDataFrame({"p": range(len(plots))}, geometry=plots)
        b = geopandas.GeoDataFrame({"b": range(len(prints))}, geometry=prints)
        whole = geopandas.overlay(a, b, keep_geom_type=True).geometry.area.sum()
        assert found.parts.area_m2.sum() == pytest.approx(whole)


def test_blocks_of_parcels_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    plots, prints, plants = (
        np.asarray(shapely.box(x, y, x + rng.uniform(5, 30, n), y + rng.uniform(5, 30, n)), object)
        for n, (x, y) in ((n, rng.uniform(0, 200, (2, n))) for n in (50, 80, 30))
    )
    floors = np.where(rng.random(80) < 0.1, np.nan, rng.uniform(50, 500, 80))
    whole = intensity(plots, prints, floors, plants)
    monkeypatch.setattr(parcel_intensity_areas, "AT_ONCE", 7)
    told = []
    blocks = intensity(plots, prints, floors, plants, Progress(lambda percent, _: told.append(percent)))
    for name in ("area_m2", "covered_m2", "floor_m2", "n_unknown", "green_m2"):
        np.testing.assert_allclose(getattr(blocks, name), getattr(whole, name), rtol=1e-12)
    assert blocks.parts.parcel.tolist() == whole.parts.parcel.tolist()
    assert blocks.parts.item.tolist() == whole.parts.item.tolist()
    assert (len(told), told[-1]) == (8, 100)


def test_slivers_of_plots_do_not_count():
    plot = np.array([shapely.box(0, 0, 10, 10)], object)
    plan = np.array([shapely.box(0, 0, 9.95, 10), shapely.box(9.95, 0, 20, 10)], object)
    met = parts(plot, plan)
    found = controls_of(met, np.array([100.0]), np.array([2.0, 1.0]), is_maximum=True)
    assert (found.limit[0], found.is_mixed[0]) == (2.0, False)
    half = controls_of(parts(plot, plan[:1]), np.array([250.0]), np.array([2.0]), is_maximum=True)
    assert np.isnan(half.limit[0]), "more than half of the parcel has no plan"


def test_storeys_of_zero_are_no_number():
    table = pa.table({"floors": [0, 2, None], "phase": ["existing", "permit", None]})
    none = np.zeros(3, np.int64)
    shapes = np.array([shapely.box(0, 0, 1, 1)] * 3, object)
    found = Features(none, ["a", "b", "c"], shapes, table, [None] * 3, none, [""] * 3, [None] * 3)
    assert np.isnan(floor_areas(found)).tolist() == [True, False, True]
    assert standing(found).tolist() == [0, 2]
