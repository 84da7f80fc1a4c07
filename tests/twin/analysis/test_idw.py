"""P32: inverse distance weighting. Oracles: hand cases, plain loops, bounds."""

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis import water_city
from tests.twin.analysis.water_city import EAST, NORTH
from twin.analysis import idw as module
from twin.analysis.idw import idw


def at(x, y, points, values, **options):
    return float(
        idw(np.array([float(x)]), np.array([float(y)]), np.array(points, float), np.array(values, float), **options)[0]
    )


def test_hand_case():
    assert at(0, 0, [(1, 0), (-2, 0)], [100, 200]) == pytest.approx(120)
    assert at(1, 0, [(1, 0), (-2, 0)], [100, 200]) == 100
    assert at(1 + 5e-7, 0, [(1, 0), (-2, 0)], [100, 200]) == 100
    assert at(0, 0, [(1, 0), (-2, 0)], [100, 200], power=1) == pytest.approx(400 / 3)


def test_radius_and_number():
    points, values = [(1, 0), (-2, 0), (3, 0)], [100, 200, 700]
    assert at(0, 0, points, values, radius_m=2) == pytest.approx(120)  # at the radius counts
    assert at(0, 0, points, values, radius_m=1.99) == 100
    assert np.isnan(at(0, 0, points, values, radius_m=0.5))
    assert at(0, 0, points, values, nearest=2) == pytest.approx(120)
    assert at(0, 0, points, values, nearest=9) == at(0, 0, points, values)
    assert at(0, 0, points, values, nearest=1) == 100


spots = st.tuples(st.integers(-30, 30), st.integers(-30, 30))


@settings(max_examples=150)
@given(
    st.lists(spots, min_size=1, max_size=9, unique=True), st.lists(st.integers(-50, 50), min_size=9, max_size=9),
    st.lists(spots, min_size=1, max_size=5), st.sampled_from([0.5, 1, 2, 3.7, 20]),
    st.sampled_from([None, 5.0, 25.0]), st.sampled_from([None, 1, 3]),
)  # fmt: skip
def test_equals_plain_loops(points, values, places, power, radius, nearest):
    values = values[: len(points)]
    found = idw(
        *np.array(places, float).T,
        np.array(points, float),
        np.array(values, float),
        power=power,
        radius_m=radius,
        nearest=nearest,
    )
    for place, value in zip(places, found, strict=True):
        pairs = sorted((np.hypot(px - place[0], py - place[1]), v) for (px, py), v in zip(points, values, strict=True))
        if nearest is not None and nearest < len(pairs) and pairs[nearest - 1][0] == pairs[nearest][0]:
            continue  # which of two equally far ones is nearer is open
        pairs = [(d, v) for d, v in pairs[:nearest] if radius is None or d <= radius]
        if not pairs:
            assert np.isnan(value)
        elif pairs[0][0] == 0:
            assert value == pairs[0][1]
        else:
            weights = [d**-power for d, _ in pairs]
            assert value == pytest.approx(sum(w * v for w, (_, v) in zip(weights, pairs, strict=True)) / sum(weights))
            assert min(values) <= value <= max(values)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    rows = {"a": (5, -5, 100.0), "b": (95, -95, 200.0), "c": (45, -15, None)}
    points = {
        name: (shapely.Point(EAST + x, NORTH + y), {"v": v, "w": "text"}) for name, (x, y, v) in rows.items()
    }  # fmt: skip
    with water_city.make(tmp_path_factory.mktemp("idw"), layers=[("station", "Point", points)]) as made:
        yield made


STATIONS = {"collection": "station"}
SQUARE = shapely.geometry.mapping(shapely.box(EAST, NORTH - 100, EAST + 100, NORTH)) | {"crs": "city"}


def test_raster_is_exact_at_the_stations_and_a_layer_when_asked(city, monkeypatch):
    monkeypatch.setattr(module, "_PAIRS", 7)
    found = city.run("idw", points=STATIONS, property="v", cell_m=10, region=SQUARE, unit="mm", keep_as="rain")
    with rasterio.open(found["raster"].path) as made:
        values = made.read(1)
        assert made.units == ("mm",)
        assert (made.bounds.left, made.bounds.top) == (EAST, NORTH)
    assert values.shape == (10, 10)
    assert (values[0, 0], values[9, 9]) == (100, 200)
    assert values[4, 5] == pytest.approx(
        at(EAST + 55, NORTH - 45, [(EAST + 5, NORTH - 5), (EAST + 95, NORTH - 95)], [100, 200])
    )
    assert np.allclose(values + values[::-1, ::-1], 300)  # the two stations change places
    assert (found["minimum"], found["maximum"], found["n_cells"], found["n_void_cells"]) == (100, 200, 100, 0)
    assert (found["n_points"], found["left_out"]) == (2, ["c"])
    assert [each.layer for each in city.store.assets(city.scope, "rain")] == ["rain"]


def test_cells_out_of_reach_have_no_value(city):
    found = city.run("idw", points=STATIONS, property="v", cell_m=10, region=SQUARE, radius_m=10)
    with rasterio.open(found["raster"].path) as made:
        assert np.isnan(made.read(1)).sum() == found["n_void_cells"] == 94  # each station and its two neighbours
    hole = shapely.geometry.mapping(shapely.box(EAST + 40, NORTH - 60, EAST + 60, NORTH - 40)) | {"crs": "city"}
    none = city.run("idw", points=STATIONS, property="v", cell_m=10, region=hole, radius_m=5)
    assert (none["minimum"], none["n_cells"]) == (None, 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cell_m": 0}, "cell_m"), ({"cell_m": -5}, "cell_m"), ({"cell_m": float("nan")}, "cell_m"),
        ({"cell_m": 0.001}, "cell_m"), ({"power": 0}, "power"), ({"power": float("nan")}, "power"),
        ({"radius_m": -1}, "radius_m"), ({"nearest": 0}, "nearest"), ({"nearest": 1.5}, "nearest"),
        ({"property": "x"}, "property"), ({"property": "w"}, "property"), ({"points": SQUARE}, "points"),
        ({"keep_as": "station"}, "keep_as"),
    ],
    ids=range(13),
)  # fmt: skip
def test_wrong_inputs_are_named(city, given, words):
    with pytest.raises(InvalidInput, match=words):
        city.run("idw", **({"points": STATIONS, "property": "v", "cell_m": 10, "region": SQUARE} | given))


def test_points_at_one_place_are_refused():
    with pytest.raises(InvalidInput, match="points has two at one place"):
        at(0, 0, [(1, 0), (1, 0)], [1, 2])
