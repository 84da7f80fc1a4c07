"""P15: the hand case on ground and buildings, touching lines, curvature, symmetry, what is missing, the viewshed."""

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.terrain_city import NORTH, WEST, city_on
from twin.analysis.elevation import Grid, taken
from twin.analysis.line_of_sight import look
from twin.analysis.line_of_sight_ground import crossings, over_line, sights
from twin.analysis.line_of_sight_prisms import Line, Prisms, first_over, over_span, spans
from twin.analysis.viewshed_sight import HIDDEN, SEEN, UNKNOWN, bend_per_m, viewshed

NONE = Prisms([], np.empty(0, object), np.empty(0))
GRID = Grid("EPSG:4549", 0.0, 40.0, 1.0, 1.0, 120, 40)


class Ground:
    def __init__(self, z, grid=GRID):
        self.z, self.grid = z, grid

    def cells(self, rows, columns):
        return taken(self.z, rows, columns)


def flat(wall=None, at=50):
    z = np.zeros(GRID.shape)
    if wall is not None:
        z[:, at] = wall
    return Ground(z)


def seen(ground, a, b, prisms=NONE, bend=0.0):
    return look(ground, prisms, np.array(a, float), np.array([b], float), bend)[0]


A, B2, B20 = (0.5, 20.5, 2.0), (100.5, 20.5, 2.0), (100.5, 20.5, 20.0)


def wall(top, west=50.5, east=51.0):
    return Prisms(["w"], np.array([shapely.box(west, 0, east, 40)], object), np.array([top], float))


def test_hand_case_a_wall_in_the_ground():
    hidden = seen(flat(10), A, B2)
    assert (hidden.state, hidden.first_m, hidden.first_by) == ("hidden", 50, "ground")
    assert hidden.over_m == pytest.approx(8)
    free = seen(flat(10), A, B20)
    assert (free.state, free.first_m) == ("visible", None)
    assert free.over_m == pytest.approx(-1), "the line is at 11"
    assert seen(flat(11), A, B20).state == "visible", "a line that touches passes"
    assert seen(flat(11 + 2e-6), A, B20).state == "hidden"


def test_hand_case_a_building():
    hidden = seen(flat(), A, B2, wall(10))
    assert (hidden.state, hidden.first_m, hidden.first_by) == ("hidden", 50, "w")
    free = seen(flat(), A, B20, wall(10))
    assert (free.state, free.over_m, free.over_at_m) == ("visible", pytest.approx(-1), pytest.approx(50))
    assert seen(flat(), A, B20, wall(11)).state == "visible"
    assert seen(flat(), A, B20, wall(11 + 2e-6)).state == "hidden"


def test_curvature_takes_room_in_the_middle():
    """1 km: the ground drops 0.068 m; half way the line has a quarter of that less room."""
    bend = bend_per_m()
    assert bend * 1000**2 == pytest.approx(0.068, abs=5e-4)
    room = Line(2.0, 2.0, 1000.0, bend).room(np.array([0.0, 500.0, 1000.0]))
    assert room == pytest.approx([2.0, 2.0 - bend * 1000**2 / 4, 2.0])
    assert seen(flat(), A, B20, wall(11), bend).state == "hidden"
    assert seen(flat(11), A, B20, bend=bend).state == "hidden"
    assert seen(flat(11 - 2e-4), A, B20, bend=bend).state == "visible"


def test_a_line_along_a_wall_touches_it():
    beside = Prisms(["w"], np.array([shapely.box(10, 20.5, 90, 30)], object), np.array([50.0]))
    assert seen(flat(), A, B2, beside).state == "visible"
    inside = Prisms(["w"], np.array([shapely.box(10, 20.4, 90, 30)], object), np.array([50.0]))
    assert seen(flat(), A, B2, inside).state == "hidden"


def test_a_line_comes_down_through_a_roof():
    down = seen(flat(), (0.5, 20.5, 30.0), (100.5, 20.5, 0.0), wall(10, 50.5, 90.5))
    assert down.state == "hidden"
    assert down.first_m == pytest.approx(100 * 2 / 3, abs=1e-4), "where the line is 10 high"
    court = shapely.Polygon(shapely.box(40, 0, 90, 40).exterior, [shapely.box(50, 10, 80, 30).exterior])
    yard = Prisms(["c"], np.array([court], object), np.array([10.0]))
    assert spans(np.array(A[:2]), np.array(B2[:2]), yard.footprints)[1].tolist() == [39.5, 79.5]


def test_what_is_missing_makes_it_unknown_but_hides_nothing_that_is_hidden():
    ground = flat()
    ground.z[:, 30] = np.nan
    found = seen(ground, A, B2)
    assert (found.state, found.missing_share) == ("unknown", pytest.approx(1 / 99))
    ground.z[:, 50] = 10
    assert seen(ground, A, B2).state == "hidden"
    unknown = seen(flat(), A, B2, wall(np.nan))
    assert (unknown.state, unknown.unknown_buildings) == ("unknown", ("w",))
    assert seen(flat(10), A, B2, wall(np.nan)).state == "hidden"
    assert seen(flat(), (0.5, 20.5, np.nan), B2).state == "unknown"


places = st.tuples(st.floats(0.5, 119.5), st.floats(0.5, 39.5), st.floats(0, 30))


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), places, places, st.sampled_from([0.0, 1e-3]))
def test_who_sees_is_seen(seed, a, b, bend):
    assume(np.hypot(a[0] - b[0], a[1] - b[1]) > 1e-3)
    rng = np.random.default_rng(seed)
    ground = Ground(rng.random(GRID.shape) * rng.choice([5, 20]))
    corners = rng.uniform(0, 40, (6, 2)) * (3, 1)
    shapes = np.array([shapely.box(x, y, x + 5, y + 4) for x, y in corners], object)
    prisms = Prisms([str(i) for i in range(6)], shapes, rng.uniform(5, 30, 6))
    there, back = seen(ground, a, b, prisms, bend), seen(ground, b, a, prisms, bend)
    assert there.state == back.state
    if there.over_m is not None:
        assert there.over_m == pytest.approx(back.over_m, abs=1e-6)


@settings(max_examples=60)
@given(places, places, st.floats(1, 40), st.sampled_from([0.0, 1e-3]))
def test_prisms_are_what_dense_sampling_finds(a, b, top, bend):
    assume(np.hypot(a[0] - b[0], a[1] - b[1]) > 1.0)
    shape = shapely.Polygon([(20, 5), (80, 10), (50, 15), (90, 35), (30, 30), (45, 18)])
    start, end = np.array(a[:2]), np.array(b[:2])
    line = Line(a[2], b[2], float(np.hypot(*(end - start))), bend)
    owner, entry, leave = spans(start, end, np.array([shape], object))
    share = np.linspace(0, 1, 20_001)
    xy = start + share[:, None] * (end - start)
    is_in = shapely.contains_xy(shape, xy[:, 0], xy[:, 1])
    inside = np.zeros(len(share), bool)
    for e, x in zip(entry, leave, strict=True):
        inside |= (share * line.length_m > e) & (share * line.length_m < x)
    assert (inside != is_in).sum() <= 2 * max(len(entry), 1)
    over, at = over_span(line, np.full(len(owner), top), entry, leave)
    if is_in.any() and len(over):
        sampled = top - line.room(share * line.length_m)[is_in]
        assert over.max() >= sampled.max() - 1e-9
        assert over.max() == pytest.approx(sampled.max(), abs=0.05)
        firsts = [first_over(line, top, e, x, 1e-6) for e, x in zip(entry, leave, strict=True)]
        low = is_in & (line.room(share * line.length_m) < top - 1e-6)
        if low.any():
            assert np.nanmin(firsts) == pytest.approx((share * line.length_m)[low][0], abs=line.length_m / 5_000)
    assert ((at >= entry) & (at <= leave)).all()


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02]), st.sampled_from([0.0, 0.05]))
def test_the_viewshed_says_the_same(seed, bend, voids):
    """Every cell of a viewshed is a line of sight between cell centres: one definition, two ways."""
    rng = np.random.default_rng(seed)
    z = rng.random((13, 17)) * 6
    z[rng.random(z.shape) < voids] = np.nan
    z[5, 6] = 3.0
    grid = Grid("EPSG:4549", 0, 26, 1.0, 2.0, 17, 13)
    states = viewshed(z, 5, 6, 5.0, dx=1, dy=2, reach_m=100, target_m=1.5, bend=bend)
    rows, columns = (each.ravel() for each in np.mgrid[:13, :17])
    other = ~((rows == 5) & (columns == 6))
    rows, columns = rows[other], columns[other]
    ends = np.column_stack([grid.x(columns), grid.y(rows), z[rows, columns] + 1.5])
    eye = np.array([grid.x(np.array([6]))[0], grid.y(np.array([5]))[0], 5.0])
    names = {"visible": SEEN, "hidden": HIDDEN, "unknown": UNKNOWN}
    found = [names[each.state] for each in look(Ground(z, grid), NONE, eye, ends, bend)]
    np.testing.assert_array_equal(found, states[rows, columns])


def test_crossings_of_a_diagonal_are_centres():
    z = np.arange(25.0).reshape(5, 5)
    grid = Grid("EPSG:4549", 0, 5, 1.0, 1.0, 5, 5)
    found = crossings(lambda r, c: taken(z, r, c), grid, np.array([[0.5, 4.5]]), np.array([[4.5, 0.5]]))
    assert found.ground_m.tolist() == [6, 6, 12, 12, 18, 18]
    assert found.spread_m2 == pytest.approx(0)
    over = over_line(found, np.array([0.0]), np.array([0.0]), np.array([np.hypot(4, 4)]), 0.0)
    worst = sights(found, over, 1, 1e-6)
    assert (worst.over_m[0], worst.at_m[0], worst.first_m[0]) == (18, pytest.approx(3 * 2**0.5), pytest.approx(2**0.5))


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    z = np.full((40, 120), 5.0)
    z[30:, 100:] = np.nan
    box = shapely.box(WEST + 50, NORTH - 25, WEST + 51, NORTH - 15)
    houses = [("w", box, None, 10.0), ("far", shapely.box(WEST + 80, NORTH - 35, WEST + 85, NORTH - 31), 5.0, None)]
    with city_on(tmp_path_factory.mktemp("los") / "twin", (z, 1.0), buildings=houses) as opened:
        yield opened


def points(*xy):
    return {"type": "FeatureCollection", "crs": "city", "features": [
        {"type": "Feature", "id": f"t{i}", "properties": {},
         "geometry": {"type": "Point", "coordinates": [WEST + x, NORTH + y]}}
        for i, (x, y) in enumerate(xy)
    ]}  # fmt: skip


def test_the_process(city):
    asked = {
        "observer": points((0, -20)),
        "observer_height_m": 2,
        "target_height_m": 2,
        "curvature": False,
        "crs": "city",
    }
    found = city.run("line-of-sight", targets=points((100, -20), (40, -20)), **asked)
    assert (found["state"], found["n_visible"], found["n_hidden"]) == ("hidden", 1, 1)
    first, second = found["lines"]["features"]
    assert first["properties"]["first_block"] == "w"
    assert first["properties"]["first_block_m"] == pytest.approx(50)
    assert first["properties"]["first_block_at"] == pytest.approx([WEST + 50, NORTH - 20])
    assert first["properties"]["observer_elev_m"] == 7, "over the ground"
    assert (second["id"], second["properties"]["state"]) == ("t1", "visible")
    higher = city.run("line-of-sight", targets=points((100, -20)), **{**asked, "target_height_m": 20})
    assert higher["state"] == "visible"
    assert city.run("line-of-sight", targets=points((100, -20)), with_buildings=False, **asked)["state"] == "visible"
    absolute = city.run("line-of-sight", targets=points((100, -20)), observer_elev_m=7, target_elev_m=25, **asked)
    assert absolute["state"] == "visible"
    filtered = city.run("line-of-sight", targets=points((100, -20)), **asked,
                        buildings={"collection": "building", "filter": "height_m > 10"})  # fmt: skip
    assert filtered["state"] == "visible"


def test_missing_data_is_unknown(city):
    asked = {"observer": points((0, -33)), "crs": "city"}
    assert city.run("line-of-sight", targets=points((110, -35)), **asked)["state"] == "unknown", "no ground there"
    found = city.run("line-of-sight", targets=points((95, -33)), **asked)
    assert found["state"] == "unknown"
    assert found["lines"]["features"][0]["properties"]["unknown_buildings"] == ["far"]


def test_a_building_around_an_end_is_left_out_and_said(city):
    found = city.run("line-of-sight", observer=points((0, -20)), targets=points((50.5, -20)), target_height_m=3)
    assert (found["state"], found["left_out"]) == ("visible", ["w"])
    roof = city.run("line-of-sight", observer=points((0, -20)), targets=points((50.5, -20)), target_elev_m=15)
    assert roof["left_out"] == []
    assert roof["state"] == "hidden", "the edge of its own roof hides it from below"


def test_wrong_inputs_are_named(city):
    good = {"observer": points((0, -20)), "targets": points((9, -20))}
    for wrong, named in (
        ({"observer": points((0, -20), (1, -20))}, "observer"),
        ({"targets": points((0, -20))}, "targets"),
        ({"observer_height_m": -1}, "observer_height_m"),
        ({"refraction_k": 1.5}, "refraction_k"),
        ({"targets": points((90_000, 0))}, "targets"),
        ({"buildings": points((9, 9))}, "buildings"),
    ):
        with pytest.raises(InvalidInput, match=named):
            city.run("line-of-sight", **{**good, **wrong})
