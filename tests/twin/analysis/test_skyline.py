"""P18: the hand case, walls against shapely's ray by ray, ground, wrap over north, missing heights."""

import numpy as np
import pytest
import shapely
import shapely.affinity
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.terrain_city import NORTH, WEST, city_on
from twin.analysis import skyline_edges
from twin.analysis.elevation import Grid, taken
from twin.analysis.skyline import azimuths
from twin.analysis.skyline_edges import edges, ground, walls


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    z = np.zeros((400, 400))
    z[:50, :50] = np.nan
    with city_on(tmp_path_factory.mktemp("sky") / "twin", (z, 1.0)) as opened:
        yield opened


EYE = {"type": "Point", "coordinates": [WEST + 200, NORTH - 200], "crs": "city"}


def houses(*rows):
    return {"type": "FeatureCollection", "crs": "city", "features": [
        {"type": "Feature", "id": name, "properties": {"height_m": height, "base_elev_m": 0.0},
         "geometry": shapely.geometry.mapping(shapely.affinity.translate(shapely.box(*box), WEST + 200, NORTH - 200))}
        for name, box, height in rows
    ]}  # fmt: skip


def test_hand_case(city):
    """A building of 30 m at 100 m, eye 1.6: 15.8545 degrees."""
    found = city.run(
        "skyline", observer=EYE, radius_m=150, from_deg=90, to_deg=90, buildings=houses(("b", (100, -5, 120, 5), 30.0))
    )
    (one,) = found["skyline"]
    assert one["elevation_deg"] == pytest.approx(15.8545, abs=5e-5)
    assert one["elevation_deg"] == pytest.approx(np.degrees(np.arctan(28.4 / 100)), abs=1e-9)
    assert (one["by"], one["distance_m"], one["azimuth_deg"]) == ("b", pytest.approx(100), 90)
    assert (found["verdict"], found["max_elevation_deg"]) == ("pass", one["elevation_deg"])


def test_at_the_boundary_of_radius_and_of_a_wall(city):
    asked = {"observer": EYE, "from_deg": 90, "to_deg": 90, "with_ground": False}
    row = ("b", (100, 0, 120, 5), 30.0)  # its corner lies exactly to the east
    assert city.run("skyline", **asked, radius_m=100, buildings=houses(row))["skyline"][0]["by"] == "b"
    assert city.run("skyline", **asked, radius_m=99.99, buildings=houses(row))["skyline"][0]["state"] == "open"
    off = ("b", (100, 0.01, 120, 5), 30.0)
    (open_,) = city.run("skyline", **asked, radius_m=100, buildings=houses(off))["skyline"]
    assert (open_["state"], open_["elevation_deg"], open_["by"]) == ("open", None, None)


def test_a_roof_below_the_eye_counts_at_its_far_edge(city):
    found = city.run("skyline", observer=EYE, observer_height_m=50, radius_m=150, from_deg=90, to_deg=90,
                     with_ground=False, buildings=houses(("b", (100, -5, 120, 5), 30.0)))  # fmt: skip
    assert found["skyline"][0]["elevation_deg"] == pytest.approx(np.degrees(np.arctan(-20 / 120)))


def test_azimuths():
    assert azimuths(0, 360, 90).tolist() == [0, 90, 180, 270]
    assert azimuths(350, 10, 5).tolist() == [350, 355, 360, 365, 370]
    assert azimuths(10, 10, 1).tolist() == [10]
    assert azimuths(0, 359, 100).tolist() == [0, 100, 200, 300]
    assert azimuths(90, 90.5, 1).tolist() == [90]


def test_curvature_where_asked(city):
    asked = {
        "observer": EYE,
        "radius_m": 150,
        "from_deg": 90,
        "to_deg": 90,
        "buildings": houses(("b", (100, -5, 120, 5), 30.0)),
    }
    bend = (1 - 0.13) / (2 * 6_371_000)
    found = city.run("skyline", **asked, curvature=True)["skyline"][0]
    assert found["elevation_deg"] == pytest.approx(np.degrees(np.arctan((28.4 - bend * 100**2) / 100)), abs=1e-9)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(0, 359), st.sampled_from([0.25, 1.0, 7.0]), st.sampled_from([0.0, 1e-4]))
def test_walls_are_what_shapely_cuts(seed, first, step, bend):
    rng = np.random.default_rng(seed)
    eye = np.array([3.0, -4.0, 8.0])
    shapes = [
        shapely.convex_hull(shapely.MultiPoint(rng.uniform(-60, 60, 2) + rng.uniform(-9, 9, (4, 2)))) for _ in range(12)
    ]
    shapes = [each for each in shapes if each.geom_type == "Polygon" and not each.intersects(shapely.Point(eye[:2]))]
    shapes.append(shapely.box(-90, -90, 90, 90).difference(shapely.box(-80, -80, 80, 80)))
    tops = rng.uniform(0, 40, len(shapes))
    bearings = azimuths(first, first + 50 if first < 300 else first - 290, step)
    rim = edges(np.array(shapes, object))
    found = walls(eye, bearings, rim, tops[rim.of], reach_m=85.0, bend=bend)
    for k, bearing in enumerate(bearings):
        turn = np.radians(bearing)
        ray = shapely.LineString([eye[:2], eye[:2] + 85.0 * np.array([np.sin(turn), np.cos(turn)])])
        best = -np.inf
        for shape, top in zip(shapes, tops, strict=True):
            cut = shapely.get_coordinates(shapely.intersection(shape.boundary, ray))
            for d in np.hypot(*(cut - eye[:2]).T):
                best = max(best, (top - bend * d * d - eye[2]) / d)
        assert found.tangent[k] == pytest.approx(best, abs=1e-6), bearing
        if np.isfinite(best):
            assert (tops[rim.of[found.which[k]]] - bend * found.at_m[k] ** 2 - eye[2]) / found.at_m[k] == pytest.approx(
                best
            )


def test_pairs_in_parts_are_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    shapes = np.array([shapely.box(x, y, x + 6, y + 4) for x, y in rng.uniform(10, 80, (50, 2))], object)
    rim, bearings, eye = edges(shapes), azimuths(0, 90, 0.5), np.array([0.0, 0.0, 2.0])
    tops = rng.uniform(3, 30, 50)[rim.of]
    whole = walls(eye, bearings, rim, tops, reach_m=200, bend=0.0)
    monkeypatch.setattr(skyline_edges, "AT_ONCE", 7)
    parts = walls(eye, bearings, rim, tops, reach_m=200, bend=0.0)
    for name in ("tangent", "at_m", "which"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_a_cone_has_a_level_skyline():
    """Ground that rises evenly from the eye: the same angle all round."""
    grid = Grid("EPSG:4549", 0, 201, 1.0, 1.0, 201, 201)
    r, c = np.mgrid[:201, :201]
    z = 0.3 * np.hypot(r - 100, c - 100)
    eye = np.array([100.5, 100.5, 0.0])
    (part,) = ground(lambda a, b: taken(z, a, b), grid, eye, azimuths(0, 360, 3), reach_m=90.0, bend=0.0)
    assert part[2].tangent == pytest.approx(0.3, abs=0.04)
    assert part[2].tangent.min() >= 0.3 - 1e-9, "between centres the cone is cut a little higher, never lower"
    assert (part[2].missing == 0).all()


def test_ground_hides_behind_houses_and_rises_over_them(tmp_path):
    z = np.zeros((400, 400))
    z[:, 320:] = 60.0  # a scarp to the east at 120.5
    with city_on(tmp_path / "twin", (z, 1.0)) as city:
        asked = {"observer": EYE, "radius_m": 150, "from_deg": 90, "to_deg": 90}
        scarp = city.run("skyline", **asked, buildings=houses(("b", (100, -5, 110, 5), 30.0)))["skyline"][0]
        assert scarp["by"] == "ground"
        assert scarp["elevation_deg"] == pytest.approx(np.degrees(np.arctan(58.4 / 120.5)))
        house = city.run("skyline", **asked, buildings=houses(("b", (50, -5, 110, 5), 30.0)))["skyline"][0]
        assert (house["by"], house["distance_m"]) == ("b", pytest.approx(50))


def test_missing_heights_are_unknown_there_only(city):
    found = city.run("skyline", observer=EYE, radius_m=190, step_deg=45, buildings=houses(("b", (20, -5, 30, 5), None)))
    states = {row["azimuth_deg"]: row["state"] for row in found["skyline"]}
    assert {azimuth for azimuth, state in states.items() if state == "unknown"} == {90}
    far = city.run("skyline", observer=EYE, radius_m=230, step_deg=45, from_deg=315, to_deg=315)
    assert (far["verdict"], far["max_elevation_deg"], far["missing_share"]) == ("unknown", None, 1)
    assert far["skyline"][0]["elevation_deg"] is None
    assert far["skyline"][0]["at_least_deg"] < 0


def test_wrong_inputs_are_named(city):
    good = {"observer": EYE, "radius_m": 100}
    for wrong, named in (
        ({"radius_m": -1}, "radius_m"),
        ({"step_deg": 0}, "step_deg"),
        ({"from_deg": float("nan")}, "from_deg"),
        ({"to_deg": 361}, "to_deg"),
        ({"observer": {"type": "Point", "coordinates": [WEST + 10, NORTH - 10], "crs": "city"}}, "observer"),
        ({"observer": {"type": "LineString", "coordinates": [[0, 0], [1, 1]], "crs": "city"}}, "observer"),
    ):
        with pytest.raises(InvalidInput, match=named):
            city.run("skyline", **{**good, **wrong})
