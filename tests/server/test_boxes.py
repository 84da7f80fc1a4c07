"""Boxes in every CRS against brute force: each feature, densely drawn, taken into the box's own CRS by PROJ."""

from types import SimpleNamespace

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from shapely.affinity import translate

from layers import crs, heights
from layers.errors import InvalidInput
from server import boxes
from twin.store import cql2_parse

HAIR = {True: 2e-9, False: 2e-4}
"""Degrees or metres within which a side may be taken for the other side of a corner of a feature."""


def snapshot(city_crs, shapes, model=None):
    frame = SimpleNamespace(height_model=model or heights.Constant(12.5))
    bounds = tuple(shapely.total_bounds(np.array(shapes, object)).tolist())
    return SimpleNamespace(city=SimpleNamespace(config=SimpleNamespace(crs=city_crs), frame=frame), city_bounds=bounds)


def scattered(centre, n=300, reach=20_000.0, seed=7):
    """Polygons, lines and points around a place, in metres."""
    random = np.random.default_rng(seed)
    out = []
    for i, (x, y) in enumerate(centre + random.normal(0, reach / 3, (n, 2))):
        size = 10 ** random.uniform(0.5, 3)
        if i % 3 == 0:
            out.append(shapely.box(x, y, x + size, y + size * random.uniform(0.2, 2)))
        elif i % 3 == 1:
            out.append(shapely.LineString([(x, y), (x + size, y - size / 3), (x + size, y + size)]))
        else:
            out.append(shapely.Point(x, y))
    return np.array(out, object)


class World:
    """Features of a city, and the same in another CRS, east first, longitudes from 0 to 360."""

    def __init__(self, city_crs, shapes):
        self.city_crs, self.shapes, self.snapshot = city_crs, shapes, snapshot(city_crs, shapes)
        self._there = {}

    def there(self, target):
        if target not in self._there:
            dense = np.array([shapely.segmentize(g, 2.0) if g.geom_type != "Point" else g for g in self.shapes], object)
            forward = Transformer.from_crs(self.city_crs, target, always_xy=True)

            def project(xy):
                x, y = forward.transform(xy[:, 0], xy[:, 1])
                return np.stack([x % 360 if crs.is_geographic(target) else x, y], axis=1)

            self._there[target] = shapely.transform(dense, project)
        return self._there[target]

    def expected(self, box, target, grow):
        """Features that meet a box (east first) that is a hair larger or smaller."""
        west, south, east, north = box
        degrees = crs.is_geographic(target)
        east += 360 * (degrees and west > east)
        hair = HAIR[degrees] * grow
        aside = hair / max(np.cos(np.radians(max(abs(south), abs(north)))), 1e-4) if degrees else hair
        west, south, east, north = west - aside, south - hair, east + aside, north + hair
        if west > east or south > north:
            return set()
        turns = (-360, 0, 360) if degrees else (0,)
        hits = [shapely.intersects(self.there(target), shapely.box(west + t, south, east + t, north)) for t in turns]
        return set(np.flatnonzero(np.any(hits, axis=0)).tolist())

    def found(self, box, target):
        west, south, east, north = box
        order = (south, west, north, east) if crs.is_north_first(target) else box
        text = ",".join(repr(float(v)) for v in order)
        region = boxes.asked(text, target, self.snapshot).region
        return set(np.flatnonzero(shapely.intersects(region, self.shapes)).tolist())

    def check(self, box, target):
        found = self.found(box, target)
        assert self.expected(box, target, -1) <= found <= self.expected(box, target, 1), (box, target)
        return found


TOWN = World("EPSG:4549", scattered((598_000, 3_110_000)))
FIJI = World("EPSG:32760", scattered((820_000, 8_100_000), seed=8))  # x of 180° is about 818,000
FIJI_WIDE = World("EPSG:3832", scattered((3_339_585, -1_900_000), seed=9))  # 180° is 30° from its meridian


def random_box(draw, world, target):
    """A box around some feature, from a metre to far beyond the city."""
    there = world.there(target)
    x, y = shapely.get_coordinates(there[draw(st.integers(0, len(there) - 1))])[0].tolist()
    unit = 1e-5 if crs.is_geographic(target) else 1.0
    reach = st.floats(0, 5.3).map(lambda power: 10**power * unit)
    west, east = x - draw(reach), x + draw(reach)
    south, north = y - draw(reach), y + draw(reach)
    if crs.is_geographic(target):
        west, east = ((v + 180) % 360 - 180 for v in (west, east))
        south, north = max(south, -90), min(north, 90)
    return west, south, east, north


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["OGC:CRS84", "EPSG:4490", "EPSG:4326", "EPSG:3857", "EPSG:4549", "EPSG:4528"]))
def test_a_box_in_any_crs_equals_brute_force(data, target):
    TOWN.check(random_box(data.draw, TOWN, target), target)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([FIJI, FIJI_WIDE]), st.sampled_from(["OGC:CRS84", "EPSG:4490", "EPSG:4326"]))
def test_also_where_the_antimeridian_runs_through_the_city(data, world, target):
    world.check(random_box(data.draw, world, target), target)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([TOWN, FIJI, FIJI_WIDE]), st.sampled_from(["OGC:CRS84", "EPSG:4490", "EPSG:3857"]))
def test_literals_of_filters_are_placed_as_exactly(data, world, target):
    """Boxes over the antimeridian too, and triangles, whose sides bend in their own way."""
    world = TOWN if target == "EPSG:3857" else world  # elsewhere lines over the antimeridian have no meaning in it
    west, south, east, north = box = random_box(data.draw, world, target)
    if data.draw(st.booleans()) and west < east:
        ring = [(west, south), (east, south + (north - south) / 3), (west + (east - west) / 4, north)]
        doc = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        grown, shrunk = (shapely.Polygon(ring).buffer(s * 3 * HAIR[crs.is_geographic(target)]) for s in (1, -1))
        turns = (-360, 0, 360) if crs.is_geographic(target) else (0,)
        low, high = (
            {
                i for turn in turns
                for i in np.flatnonzero(shapely.intersects(world.there(target), translate(each, turn))).tolist()
            }
            for each in (shrunk, grown)
        )  # fmt: skip
    else:
        doc = {"bbox": list(box)}
        low, high = world.expected(box, target, -1), world.expected(box, target, 1)
    placed = cql2_parse.reproject(
        {"op": "s_intersects", "args": [{"property": "geometry"}, doc]}, target, world.city_crs
    )
    region = cql2_parse.geometry(placed["args"][1])
    found = set(np.flatnonzero(shapely.intersects(region, world.shapes)).tolist())
    assert low <= found <= high, (doc, target)


@pytest.mark.parametrize("world", [FIJI, FIJI_WIDE])
def test_both_sides_of_the_antimeridian_and_all_of_it(world):
    lon = np.array([shapely.get_coordinates(g)[:, 0].mean() for g in world.there("OGC:CRS84")])
    assert 30 < (lon < 180).sum() < 270, "the features lie on both sides"
    all_of_them = set(range(len(world.shapes)))
    assert world.check((179, -30, -179, -5), "OGC:CRS84") == all_of_them
    west, east = world.check((179, -30, 180, -5), "OGC:CRS84"), world.check((-180, -30, -179, -5), "OGC:CRS84")
    assert west | east == all_of_them
    assert west != all_of_them != east
    assert world.check((-179, -30, 179, -5), "OGC:CRS84") == set(), "the way around, without the city"
    assert world.check((-180, -90, 180, 90), "OGC:CRS84") == all_of_them


def test_mercator_ends_at_the_antimeridian():
    """x of EPSG:3857 does not go on beyond 180°: such a box ends there."""
    west = FIJI.check((19.9e6, -3e6, 20_037_508.3, -1e6), "EPSG:3857")
    assert west == FIJI.found((19.9e6, -3e6, 21e6, -1e6), "EPSG:3857")
    assert FIJI.found((20.1e6, -3e6, 21e6, -1e6), "EPSG:3857") == set()
    everything = (-20_037_508.342789, -20_037_508, 20_037_508.342789, 20_037_508)
    assert FIJI.found(everything, "EPSG:3857") == set(range(300))


def test_the_wide_city_is_not_joined_over_a_gap():
    """A box from -170° to 170° holds two parts of a CRS around the date line, and nothing between them."""
    shapes = np.array([shapely.Point(x, 0) for x in (1_000_000, 2_000_000, 3_339_585, 5_000_000)], object)
    world = World("EPSG:3832", shapes)  # 159.0°, 168.0°, 180°, 194.9°
    assert world.check((-170, -10, 170, 10), "OGC:CRS84") == {0, 1, 3}


POLE = World(
    "EPSG:3413", np.array([shapely.Point(*p) for p in np.random.default_rng(4).normal(0, 3e3, (400, 2))], object)
)


@settings(max_examples=20, deadline=None)
@given(st.floats(-180, 180), st.floats(-180, 180), st.floats(89.9, 90), st.floats(0, 0.1))
@example(-180.0, 180.0, 89.98, 2.0)
@example(90.0, 90.0, 85.0, 5.0)
@example(170.0, -170.0, 85.0, 5.0)
@example(-180.0, 180.0, -90.0, 180.0)
@example(-180.0, 180.0, 90.0, 0.0)
def test_boxes_at_the_pole(west, east, south, height):
    POLE.check((west, south, east, min(90.0, south + height)), "OGC:CRS84")


@pytest.mark.parametrize(
    ("box", "target", "is_everything"),
    [
        ((-180, -90, 180, 90), "OGC:CRS84", True),
        ((-180, -90, 180, 90), "EPSG:4490", True),
        ((0, 0, 1e7, 1e7), "EPSG:4549", True),
        ((-9e7, -9e7, 9e7, 9e7), "EPSG:4549", True),
        ((-9e7, -9e7, 9e7, 9e7), "EPSG:4528", True),
        ((0, 0, 1e6, 1e7), "EPSG:4528", False),  # without the zone's number
        ((-9e7, -9e7, 9e7, 9e7), "EPSG:3857", True),
        ((-80, -60, -70, -50), "OGC:CRS84", False),
        ((-60.1, -29, -58, -27), "OGC:CRS84", False),  # the other side of the Earth, where the projection folds
        ((0, 0, 1, 1), "EPSG:4549", False),
    ],
)
def test_boxes_beyond_the_projections_domain(box, target, is_everything):
    assert TOWN.found(box, target) == (set(range(len(TOWN.shapes))) if is_everything else set())


def test_boxes_that_are_points_and_lines():
    point = next(i for i, g in enumerate(TOWN.shapes) if g.geom_type == "Point")
    x, y = TOWN.shapes[point].x, TOWN.shapes[point].y
    assert TOWN.found((x, y, x, y), "EPSG:4549") == {point}
    assert point not in TOWN.found((np.nextafter(x, 1e9), y, np.nextafter(x, 1e9), y), "EPSG:4549")
    assert point in TOWN.found((x, y - 5, x, y + 5), "EPSG:4549")
    lon, lat = Transformer.from_crs("EPSG:4549", "EPSG:4490", always_xy=True).transform(x, y)
    assert point in TOWN.found((lon, lat, lon, lat), "EPSG:4490"), "0.1 mm wide where it must be transformed"
    assert point in TOWN.found((lon, lat - 1e-5, lon, lat + 1e-5), "EPSG:4490")


def test_sides_stay_within_a_tenth_of_a_millimetre():
    """Dense points on each side of a box, by PROJ, against the polygon that stands for it."""
    for box in ((120.5, 27.7, 121.4, 28.4), (120.99, 28.09, 121.01, 28.11), (105, 10, 135, 50)):
        region = boxes.asked(",".join(map(str, box)), "OGC:CRS84", TOWN.snapshot).region
        share = np.random.default_rng(1).random(1_500)
        lon, lat = box[0] + share * (box[2] - box[0]), np.full(1_500, box[3])
        lon = np.r_[lon, np.full(1_500, box[2])]
        lat = np.r_[lat, box[1] + share * (box[3] - box[1])]
        x, y = Transformer.from_crs("OGC:CRS84", "EPSG:4549", always_xy=True).transform(lon, lat)
        west, south, east, north = TOWN.snapshot.city_bounds
        near = (x > west) & (x < east) & (y > south) & (y < north)
        in_use = (lon > 108.5) & (lon < 131.5) & (lat > 14.5) & (lat < 48)  # the registry's area and 10° around it
        strays = shapely.distance(region.exterior, shapely.points(x, y))
        assert strays[near].max(initial=0) <= 1e-4
        assert strays[in_use].max(initial=0) <= 0.01


@pytest.mark.parametrize(
    ("text", "source", "said"),
    [
        ("", None, "bbox has 1 numbers"),
        ("1,2,3", None, "bbox has 3 numbers"),
        ("1,2,3,4,5", None, "bbox has 5 numbers"),
        ("1,2,3,4,5,6,7", None, "bbox has 7 numbers"),
        ("1,2,3,", None, "no finite number"),
        ("1,2,nan,4", None, "no finite number"),
        ("1,2,infinity,4", None, "no finite number"),
        ("1,2,1_0,4", None, "no finite number"),
        ("1,2,٣,4", None, "no finite number"),
        ("1,2,0x3,4", None, "no finite number"),
        ("1,2,1e999,4", None, "not finite"),
        ("1,2,1e308,4", None, "beyond ±180°"),
        ("1,2,1e308,4", "EPSG:4549", "beyond any place"),
        ("-1e308,-1e308,1e308,1e308", "EPSG:3857", "beyond any place"),
        ("120,28,121,91", None, "beyond ±90°"),
        ("28,120,29,121", None, "beyond ±90°"),  # axes the wrong way round
        ("20,40,30,10", None, "lower bound above"),
        ("40,20,10,30", "EPSG:4326", "lower bound above"),
        ("1,0,0,1", "EPSG:4549", "lower bound above"),
        ("1,0,0,1", "EPSG:3857", "lower bound above"),
        ("120,28,5,121,29,4", None, "lowest height above"),
    ],
)
def test_boxes_that_make_no_sense_are_refused_by_name(text, source, said):
    with pytest.raises(InvalidInput, match=f"bbox.*{said}|^{said}"):
        boxes.asked(text, source, TOWN.snapshot)


def test_heights_of_a_box():
    """Ellipsoidal without bbox-crs (part 1) and in CRS84h; normal heights in a flat CRS."""
    text = "120.9,28,5,121.1,28.2,25"
    assert boxes.asked(text, None, TOWN.snapshot).z == (-7.5, 12.5), "constant: h - 12.5 m"
    assert boxes.asked(text, "OGC:CRS84h", TOWN.snapshot).z == (-7.5, 12.5)
    assert boxes.asked(text, "OGC:CRS84", TOWN.snapshot).z == (5, 25)
    assert boxes.asked("3100000,590000,5,3120000,600000,25", "EPSG:4549", TOWN.snapshot).z == (5, 25)
    assert boxes.asked("120.9,28,121.1,28.2", None, TOWN.snapshot).z is None
    flat = boxes.asked("120.9,28,121.1,28.2", None, TOWN.snapshot).region
    assert shapely.equals(boxes.asked(text, None, TOWN.snapshot).region, flat)


def test_ellipsoidal_heights_with_a_model_that_varies_lose_nothing():
    from egm96 import undulation

    city = snapshot("EPSG:4549", TOWN.shapes, heights.Egm96())
    z = boxes.asked("120.9,28,5,121.1,28.2,25", None, city).z
    lon, lat = np.meshgrid(np.linspace(120.9, 121.1, 30), np.linspace(28, 28.2, 30))
    x, y = Transformer.from_crs("OGC:CRS84", "EPSG:4549", always_xy=True).transform(lon.ravel(), lat.ravel())
    west, south, east, north = city.city_bounds
    inside = (x >= west) & (x <= east) & (y >= south) & (y <= north)
    anomaly = undulation(lat.ravel()[inside], lon.ravel()[inside])
    assert z[0] <= 5 - anomaly.max() + 0.01
    assert z[1] >= 25 - anomaly.min() - 0.01
    assert z[1] - z[0] - 20 <= np.ptp(anomaly) + 0.05, "wider by what the anomaly varies, not more"
