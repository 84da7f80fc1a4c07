"""P19, the numbers: hand case, closed forms, and a ray test with shapely each minute."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from twin.analysis import sun_position
from twin.analysis.progress import Dismissed, Progress
from twin.analysis.sunlight_shadow import as_clock, facade, obstacles, reach_m, shading, sunlight

LATITUDE, DELTA = 37.5, -20.14


def lit(point, footprints, tops, *, latitude=LATITUDE, delta=DELTA, hours=(8.0, 16.0), facing=None, turn=0.0):
    return sunlight(
        np.array([point], float), obstacles(np.array(footprints, dtype=object), np.array(tops, float)),
        latitude_deg=np.array([latitude]), declination=delta, from_h=hours[0], to_h=hours[1], convergence_deg=turn,
        facing_deg=None if facing is None else np.array([float(facing)]),
    )  # fmt: skip


def wall(distance_m):
    return shapely.box(-100, -distance_m - 10, 100, -distance_m)


@pytest.mark.parametrize(
    ("distance_m", "hours"), [(50.0, 3.546), (45.0, 0.0), (47.10, 2.0)], ids=["50 m", "45 m", "47.10 m"]
)
def test_hand_case_to_one_minute(distance_m, hours):
    found = lit((0, 0, 0.9), [wall(distance_m)], [30.0]).hours()
    assert found[0] == pytest.approx(hours, abs=1 / 60)


@given(st.floats(44.0, 200.0))
def test_a_long_wall_equals_its_closed_form(distance_m):
    """Of an endless wall to the south: lit where rise * cos(azimuth from south) < distance * tan(altitude)."""
    phi, delta, rise = np.radians(LATITUDE), np.radians(DELTA), 29.1
    # distance * sin h > rise * (sin phi cos delta cos H - cos phi sin delta): linear in cos H
    a = distance_m * np.sin(phi) * np.sin(delta) + rise * np.cos(phi) * np.sin(delta)
    b = distance_m * np.cos(phi) * np.cos(delta) - rise * np.sin(phi) * np.cos(delta)
    cosine = -a / b if b > 0 else 2.0
    half_h = np.degrees(np.arccos(cosine)) / 15 if -1 <= cosine <= 1 else 0.0
    far = shapely.box(-100_000, -distance_m - 10, 100_000, -distance_m)
    assert lit((0, 0, 0.9), [far], [30.0]).hours()[0] == pytest.approx(2 * min(half_h, 4.0), abs=1e-4)


def test_just_under_and_over_the_limit_of_two_hours():
    near, far = (lit((0, 0, 0.9), [wall(each)], [30.0]).hours()[0] for each in (47.09, 47.11))
    assert near < 2.0 < far


def ray_test(point, footprints, tops, hours, *, latitude, delta, turn=0.0):
    """By brute force: whether the sun is seen at each hour, from where its ray first meets each outline."""
    sun = sun_position.direction(
        sun_position.path([latitude], delta, [turn])[0], sun_position.hour_angle(hours)
    )  # (checked against the formulas of altitude and azimuth elsewhere)
    seen = sun[:, 2] > 0
    x, y, z = point
    flat = sun[:, :2] / np.hypot(sun[:, 0], sun[:, 1])[:, None]
    rays = shapely.linestrings(np.stack([np.broadcast_to([x, y], flat.shape), [x, y] + flat * 5000.0], axis=1))
    here = shapely.Point(x, y)
    for outline, top in zip(footprints, tops, strict=True):
        met = shapely.intersection(rays, outline)
        entry = np.where(shapely.is_empty(met), np.inf, shapely.distance(met, here))
        seen &= ~(entry * sun[:, 2] / np.hypot(sun[:, 0], sun[:, 1]) < top - z)
    return seen


def is_inside(hours, stretches):
    return np.any([(hours > first) & (hours < last) for first, last in stretches], axis=0) if stretches else hours < 0


outlines = st.tuples(
    st.floats(-150, 150), st.floats(-180, 60), st.floats(4, 60), st.floats(4, 40), st.floats(0, 90), st.floats(3, 90),
    st.booleans(),
)  # fmt: skip


def drawn(x, y, wide, deep, angle, top, has_court):
    outline = shapely.box(x - wide / 2, y - deep / 2, x + wide / 2, y + deep / 2)
    if has_court:
        outline = outline.difference(shapely.box(x - wide / 4, y - deep / 4, x + wide / 4, y + deep / 4))
    return shapely.affinity.rotate(outline, angle), top


@settings(max_examples=120)
@given(
    st.lists(outlines, min_size=1, max_size=6), st.floats(18, 53), st.sampled_from([-23.44, -20.11, 0.0, 23.44]),
    st.floats(-2, 2),
)  # fmt: skip
def test_random_buildings_equal_a_ray_test_each_minute(buildings, latitude, delta, turn):
    shapes, tops = zip(*[drawn(*each) for each in buildings], strict=True)
    point = (0.0, 0.0, 0.9)
    if any(shape.distance(shapely.Point(0, 0)) < 0.05 for shape in shapes):
        return
    found = lit(point, shapes, tops, latitude=latitude, delta=delta, turn=turn).of(0)
    hours = np.arange(8 * 60 + 0.5, 16 * 60) / 60
    ends = np.array([end for each in found for end in each] or [0.0])
    is_clear = np.abs(hours[:, None] - ends).min(axis=1) > 1 / 3600
    seen = ray_test(point, shapes, tops, hours, latitude=latitude, delta=delta, turn=turn)
    assert np.array_equal(seen[is_clear], is_inside(hours, found)[is_clear])
    around = np.array([end + step for each in found for end in each for step in (-1 / 3600, 1 / 3600)])
    around = around[(around > 8 + 1 / 3600) & (around < 16 - 1 / 3600)]
    gaps = np.abs(around[:, None] - ends)
    around = around[(gaps < 2 / 3600).sum(axis=1) == 1]  # ends that lie together are told apart by nobody's clock
    if len(around):
        seen = ray_test(point, shapes, tops, around, latitude=latitude, delta=delta, turn=turn)
        assert np.array_equal(seen, is_inside(around, found)), "each end is right to the second"


@settings(max_examples=40)
@given(st.lists(outlines, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_more_buildings_never_give_more_sun(buildings, random):
    shapes, tops = zip(*[drawn(*each) for each in buildings], strict=True)
    whole = lit((0, 0, 0.9), shapes, tops).hours()[0]
    order = random.sample(range(len(shapes)), len(shapes))
    again = lit((0, 0, 0.9), [shapes[i] for i in order], [tops[i] for i in order]).hours()[0]
    assert again == pytest.approx(whole, abs=1e-9, nan_ok=True)
    fewer = lit((0, 0, 0.9), shapes[1:], tops[1:]).hours()[0]
    if not np.isnan(whole):
        assert whole <= fewer + 1e-9


def test_nothing_around_gives_the_whole_day_and_a_facing_its_part():
    assert lit((0, 0, 1), [], []).hours()[0] == 8.0
    south = lit((0, 0, 1), [], [], facing=180).hours()[0]
    assert south == 8.0, "in winter the sun stays in the southern half from 8 to 16"
    east = lit((0, 0, 1), [], [], facing=90)
    assert east.of(0)[0] == pytest.approx([8.0, 12.0]), "the sun passes from east to west at noon"
    assert lit((0, 0, 1), [], [], facing=0).hours()[0] == 0.0


def test_a_turned_grid_turns_the_sun():
    """An eastern wall's window on a grid turned by 3 degrees: noon comes when the sun is 3 degrees from grid south."""
    assert lit((0, 0, 1), [], [], facing=90, turn=3.0).of(0)[0] == pytest.approx([8.0, 12.0])
    slit = [shapely.box(-60, -60, -0.5, -30), shapely.box(0.5, -60, 60, -30)]
    straight = lit((0, 0, 1), slit, [200, 200], turn=0.0).of(0)
    turned = lit((0, 0, 1), slit, [200, 200], turn=3.0).of(0)
    assert np.mean(straight) == pytest.approx(12.0)
    assert np.mean(turned) > 12.1, "grid south lies west of true south, where the sun is after noon"


@pytest.mark.parametrize(("x", "hours"), [(0.0, 4.0), (0.02, 4.0), (-0.004, 4.0)], ids=["on", "before", "just inside"])
def test_a_window_in_a_wall_sees_what_is_before_the_wall(x, hours):
    """The house stands west of the window: the sun is seen from 8 to noon, whatever the survey's last millimetres."""
    house = shapely.box(-10, -20, 0, 20)
    found = lit((x, 0, 1.0), [house], [300.0])
    assert found.inside[0] == -1
    assert found.hours()[0] == pytest.approx(hours, abs=0.02)


def test_a_window_at_a_corner():
    convex = lit((0, 0, 1.0), [shapely.box(-10, 0, 0, 20)], [300.0]).hours()[0]
    assert convex == pytest.approx(8.0, abs=1e-6), "the house fills the north-west only"
    notch = shapely.box(-10, -20, 20, 20).difference(shapely.box(0, -20, 20, 0))
    reflex = lit((0, 0, 1.0), [notch], [300.0])
    assert reflex.of(0)[0] == pytest.approx([8.0, 12.0], abs=1e-6), "only the south-east is open"


def test_a_window_inside_a_building_has_no_hours_but_one_on_its_roof_has():
    house = shapely.box(-10, -10, 10, 10)
    assert np.isnan(lit((0, 0, 1.0), [house], [30.0]).hours()[0])
    assert lit((0, 0, 30.0), [house], [30.0]).hours()[0] == 8.0


def test_an_unknown_top_is_no_obstacle_and_short_stretches_count_only_when_asked():
    assert lit((0, 0, 0.9), [wall(45)], [np.nan]).hours()[0] == 8.0
    gap = [shapely.box(-100, -40, -0.1, -30), shapely.box(0.1, -40, 100, -30)]
    found = lit((0, 0, 0.9), gap, [100.0, 100.0])
    minutes = found.hours()[0] * 60
    assert 0.5 < minutes < 5
    assert found.hours(5.0)[0] == 0.0
    assert found.hours(minutes)[0] == pytest.approx(minutes / 60), "a stretch as long as the shortest counts"


@settings(max_examples=60)
@given(st.lists(outlines, min_size=1, max_size=8), st.floats(-60, 60), st.floats(-60, 60))
def test_no_building_that_shades_is_left_out_beforehand(buildings, x, y):
    shapes, tops = zip(*[drawn(*each) for each in buildings], strict=True)
    around = obstacles(np.array(shapes, dtype=object), np.array(tops))
    point = np.array([[x, y, 0.9]])
    settings_ = {"latitude_deg": np.array([LATITUDE]), "declination": DELTA, "from_h": 8.0, "to_h": 16.0}
    near = set(shading(point, around, **settings_)[0].tolist())
    hours = np.linspace(8, 16, 97)
    for i, (shape, top) in enumerate(zip(shapes, tops, strict=True)):
        if i not in near:
            assert ray_test(point[0], [shape], [top], hours, latitude=LATITUDE, delta=DELTA).all()


def test_reach_is_that_of_the_lowest_sun():
    low = np.arcsin(
        np.sin(np.radians(37.5)) * np.sin(np.radians(-20.14))
        + np.cos(np.radians(37.5)) * np.cos(np.radians(-20.14)) * np.cos(np.radians(60))
    )
    assert reach_m(37.5, -20.14, 8, 16, 29.1) == pytest.approx(29.1 / np.tan(low))
    assert reach_m(89.0, -20.14, 8, 16, 29.1) <= 29_100


def test_points_along_walls_face_outwards():
    points, bearings = facade(shapely.box(0, 0, 10, 4), 0.9, 3.0)
    assert len(points) == 2 * 4 + 2 * 2
    assert sorted(set(np.round(bearings % 360, 6).tolist())) == [0.0, 90.0, 180.0, 270.0]
    out = points[:, :2] + 0.1 * np.column_stack([np.sin(np.radians(bearings)), np.cos(np.radians(bearings))])
    assert not shapely.contains_xy(shapely.box(0, 0, 10, 4), out[:, 0], out[:, 1]).any()
    court = shapely.box(0, 0, 10, 10).difference(shapely.box(4, 4, 6, 6))
    points, bearings = facade(court, 0.9, 30.0)
    inner = np.flatnonzero((points[:, 0] > 1) & (points[:, 0] < 9) & (points[:, 1] > 1) & (points[:, 1] < 9))
    out = points[inner, :2] + 0.1 * np.column_stack([np.sin(np.radians(bearings)), np.cos(np.radians(bearings))])[inner]
    assert len(inner) == 4
    assert not shapely.contains_xy(court, out[:, 0], out[:, 1]).any(), "into the court"


def test_many_windows_are_as_each_alone_and_the_asker_may_stop():
    """700 windows go in two blocks; far apart, low and high, so that what a block has in common differs."""
    random = np.random.default_rng(3)
    shapes = [
        shapely.affinity.rotate(shapely.box(x, y, x + 25, y + 12), a) for x, y, a in random.uniform(0, 600, (60, 3))
    ]
    around = obstacles(np.array(shapes, dtype=object), random.uniform(5, 80, 60))
    points = np.column_stack([random.uniform(-50, 650, (700, 2)), random.uniform(0, 30, 700)])
    inputs = {"declination": DELTA, "from_h": 8.0, "to_h": 16.0}
    told = []
    whole = sunlight(
        points,
        around,
        latitude_deg=np.linspace(30, 40, 700),
        **inputs,
        progress=Progress(lambda share, _: told.append(share)),
    )
    assert told[-1] == 100
    assert len(told) == 2
    for i in range(0, 700, 37):
        alone = sunlight(points[i : i + 1], around, latitude_deg=np.linspace(30, 40, 700)[i : i + 1], **inputs)
        assert whole.hours()[i] == pytest.approx(alone.hours()[0], abs=1e-9, nan_ok=True)
        assert np.ravel(whole.of(i)) == pytest.approx(np.ravel(alone.of(0)), abs=1e-9)

    def stop(share, message):
        raise Dismissed

    with pytest.raises(Dismissed):
        sunlight(points, around, latitude_deg=np.full(700, 30.0), **inputs, progress=Progress(stop))


@pytest.mark.parametrize(
    ("change", "name"),
    [({"latitude": np.nan}, "latitude_deg"), ({"latitude": 91.0}, "latitude_deg"), ({"delta": 40.0}, "declination_deg"),
     ({"delta": np.nan}, "declination_deg"), ({"hours": (16.0, 8.0)}, "from_h"), ({"hours": (8.0, np.nan)}, "from_h")],
    ids=["latitude NaN", "latitude 91", "declination 40", "declination NaN", "hours reversed", "hours NaN"],
)  # fmt: skip
def test_wrong_numbers_are_named(change, name):
    with pytest.raises(InvalidInput, match=rf"^{name}"):
        lit((0, 0, 1.0), [], [], **change)
    with pytest.raises(InvalidInput, match=r"^windows"):
        lit((0, 0, np.nan), [], [])


def test_clock():
    assert as_clock([8.0, 12.999999, 13.772]) == ["08:00:00", "13:00:00", "13:46:19"]
