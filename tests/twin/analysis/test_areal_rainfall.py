"""P23: Thiessen weights. Oracles: hand cases, half-planes by shapely, nearest station of many sample points."""

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from layers.errors import InvalidInput
from tests.twin.analysis import water_city
from tests.twin.analysis.water_city import EAST, NORTH
from twin.analysis.areal_rainfall import class_of, tenths
from twin.analysis.areal_rainfall_weights import thiessen
from twin.supervision.rules import load


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    whole = shapely.box(EAST - 50, NORTH - 50, EAST + 50, NORTH + 50)
    with water_city.make(
        tmp_path_factory.mktemp("rain"), layers=[("urban", "Polygon", {"u": (whole, {"d": 1})})]
    ) as made:
        yield made


def stations(*rows, name="rain_mm"):
    features = [
        {"type": "Feature", "id": f"Y{k}", "properties": {name: rain},
         "geometry": {"type": "Point", "coordinates": [EAST + x, NORTH + y]}}
        for k, (x, y, rain) in enumerate(rows)
    ]  # fmt: skip
    return {"type": "FeatureCollection", "crs": "city", "features": features}


def basin(x0, x1):
    return shapely.geometry.mapping(shapely.box(EAST + x0, NORTH - 5, EAST + x1, NORTH + 5)) | {"crs": "city"}


TWO = stations((0, 0, 40), (10, 0, 80))


def test_hand_cases(city):
    found = city.run("areal-rainfall", stations=TWO, basin=basin(0, 10), crs="city")
    assert found["rain_mm"] == pytest.approx(60)
    assert (found["class"], found["class_zh"], found["rule_id"]) == ("rainstorm", "暴雨", "rain-class-24h")
    assert [each["weight"] for each in found["stations"]] == pytest.approx([0.5, 0.5])
    assert found["volume_m3"] == pytest.approx(0.06 * found["area_m2"])
    wide = city.run("areal-rainfall", stations=TWO, basin=basin(0, 20), crs="city")
    assert wide["rain_mm"] == pytest.approx(70)
    assert [each["weight"] for each in wide["stations"]] == pytest.approx([0.25, 0.75])
    part = shapely.geometry.shape(wide["parts"]["features"][0]["geometry"])
    assert part.equals(shapely.box(EAST, NORTH - 5, EAST + 5, NORTH + 5))


@pytest.mark.parametrize(
    ("rain", "wanted"),
    [
        (0, "none"), (0.04, "none"), (0.05, "light"), (0.1, "light"), (9.9, "light"), (9.94, "light"),
        (9.95, "moderate"), (10.0, "moderate"), (24.9, "moderate"), (24.95, "heavy"), (25.0, "heavy"), (49.9, "heavy"),
        (49.94, "heavy"), (50.0, "rainstorm"), (99.9, "rainstorm"), (100.0, "severe"), (249.9, "severe"),
        (249.95, "extreme"), (250.0, "extreme"), (1000.0, "extreme"),
    ],
)  # fmt: skip
def test_classes_of_24_hours_at_their_boundaries(rain, wanted):
    rule = next(each for each in load() if each.id == "rain-class-24h")
    assert class_of(rain, rule) == wanted
    assert wanted in rule.parameters["classes"]


@pytest.mark.parametrize(
    ("rain", "wanted"),
    [
        (0.04, "none"), (0.1, "light"), (4.9, "light"), (4.95, "moderate"), (14.9, "moderate"), (15.0, "heavy"),
        (29.9, "heavy"), (30.0, "rainstorm"), (69.9, "rainstorm"), (70.0, "severe"), (139.9, "severe"),
        (140.0, "extreme"),
    ],
)  # fmt: skip
def test_classes_of_12_hours_at_their_boundaries(rain, wanted):
    assert class_of(rain, next(each for each in load() if each.id == "rain-class-12h")) == wanted


def test_tenths_are_rounded_half_upwards_on_paper():
    assert [tenths(x) for x in (9.95, 0.05, 49.95, 0.25, 9.949, 12.0)] == [10.0, 0.1, 50.0, 0.3, 9.9, 12.0]
    assert tenths(sum([0.05] * 199)) == 10.0  # 9.95 less some binary dust


def test_the_duration_chooses_the_rule(city):
    half = city.run("areal-rainfall", stations=TWO, basin=basin(0, 10), duration_h=12)
    assert (half["class"], half["rule_id"]) == ("rainstorm", "rain-class-12h")
    assert city.run("areal-rainfall", stations=TWO, basin=basin(0, 10), duration_h=6)["class"] is None


def test_a_station_without_value_is_left_out_and_told(city):
    found = city.run("areal-rainfall", stations=stations((0, 0, 40), (10, 0, 80), (5, 0, None)), basin=basin(0, 10))
    assert found["left_out"] == ["Y2"]
    assert found["rain_mm"] == pytest.approx(60)


def test_one_station_is_all_of_the_basin(city):
    found = city.run("areal-rainfall", stations=stations((40, 40, 12.5)), basin=basin(0, 10))
    assert (found["rain_mm"], found["stations"][0]["weight"]) == (12.5, 1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"stations": stations((0, 0, 1), (0, 0, 2))}, "stations 'Y0' and 'Y1' stand at one place"),
        ({"stations": stations((0, 0, None))}, "stations has none with a value"),
        ({"stations": stations((0, 0, -1))}, "stations: 'Y0' has rain_mm -1"),
        ({"stations": stations((0, 0, float("inf")))}, "stations: 'Y0' has rain_mm inf, more than 3000 mm"),
        ({"stations": stations((0, 0, "5mm"))}, "stations: rain_mm is no number"),
        ({"property": "depth"}, "property"),
        ({"duration_h": 0}, "duration_h"),
        ({"duration_h": -24}, "duration_h"),
        ({"stations": basin(0, 1)}, "stations"),
        ({"basin": {"type": "Point", "coordinates": [EAST, NORTH], "crs": "city"}}, "basin"),
        ({"basin": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}}, "basin lies outside"),
    ],
    ids=range(11),
)  # fmt: skip
def test_wrong_inputs_are_named(city, given, words):
    with pytest.raises(InvalidInput, match=words):
        city.run("areal-rainfall", **({"stations": TWO, "basin": basin(0, 10)} | given))


spots = st.tuples(st.integers(-20, 20), st.integers(-20, 20))


@settings(max_examples=150)
@given(st.lists(spots, min_size=1, max_size=12, unique=True), st.lists(spots, min_size=3, max_size=8))
def test_weights_equal_half_planes_cut_by_shapely(points, corners):
    area = shapely.convex_hull(shapely.multipoints(corners)).difference(shapely.box(-2, -2, 1, 3))
    assume(area.area > 0.1)
    at = np.array(points, float)
    weights, parts = thiessen(at, area)
    assert weights.sum() == pytest.approx(1)
    assert shapely.area(parts).sum() == pytest.approx(area.area)
    for k, own in enumerate(at):
        cell = area
        for other in np.delete(at, k, axis=0):
            along, middle = other - own, (own + other) / 2
            across = np.array([-along[1], along[0]])
            far = 1000 / np.hypot(*along)
            half = [
                middle + far * across,
                middle - far * across,
                middle - far * (across + along),
                middle + far * (across - along),
            ]
            cell = cell.intersection(shapely.Polygon(half))
        assert weights[k] == pytest.approx(cell.area / area.area, abs=1e-9)


def test_many_stations_equal_the_nearest_of_sample_points():
    draw = np.random.default_rng(4)
    at = draw.random((300, 2)) * 1000 + [EAST, NORTH]
    area = shapely.Point(EAST + 500, NORTH + 500).buffer(450)
    weights, parts = thiessen(at, area)
    samples = draw.random((200_000, 2)) * 1000 + [EAST, NORTH]
    samples = samples[shapely.contains_xy(area, *samples.T)]
    counts = np.bincount(cKDTree(at).query(samples)[1], minlength=300) / len(samples)
    assert np.abs(weights - counts).max() < 5 * np.sqrt(weights.max() / len(samples))
    assert shapely.area(parts).sum() == pytest.approx(area.area)


@given(st.permutations(range(6)))
def test_the_order_of_stations_does_not_matter(order):
    at = np.array([[0, 0], [3, 1], [5, 5], [-2, 4], [1, 7], [20, 20]], float)
    weights, _ = thiessen(at, shapely.box(-5, -5, 10, 10))
    turned, _ = thiessen(at[list(order)], shapely.box(-5, -5, 10, 10))
    assert turned == pytest.approx(weights[list(order)])
