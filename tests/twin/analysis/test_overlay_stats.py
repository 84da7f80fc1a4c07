"""P02: the official area of the hand case, sums that add up, geopandas, and the two code systems kept apart."""

import itertools

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layers.ellipsoid_area import areas_m2, lengths_m
from layers.errors import InvalidInput
from tests.twin.analysis.land_city import collection, feature, made, town
from twin.analysis.overlay_stats_shares import OUTSIDE, shares

CENTRE = 500_000.0, 3_109_000.0


def square(x0, y0, x1, y1):
    return shapely.box(CENTRE[0] + x0, CENTRE[1] + y0, CENTRE[0] + x1, CENTRE[1] + y1)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """Ground round Yueqing, two quarters on the central meridian, and what lies in them."""
    sd = {"code_system": "sd2017"}
    line = shapely.LineString(np.add([(-50, 5), (150, 5)], CENTRE))
    on_border = shapely.LineString(np.add([(50, 0), (50, 30)], CENTRE))
    layers = {
        "planning_area": [("all", shapely.box(590_000, 3_100_000, 610_000, 3_120_000), {}),
                          ("here", square(-2000, -2000, 2000, 2000), {})],
        "admin_unit": [("w", square(0, 0, 50, 100), {"name": "西"}), ("e", square(50, 0, 100, 100), {"name": "东"}),
                       ("e2", square(100, 0, 120, 10), {"name": "东"})],
        "land_survey": [
            ("a", square(0, 0, 100, 100), {"DLBM": "0101", **sd}),
            ("b", square(40, 100, 60, 200), {"DLBM": "0201K", **sd}),
            ("c", square(0, 0, 10, 10), {"DLBM": "0304", **sd}),
        ],
        "road": [("r", line, {"road_class": "A"}), ("s", on_border, {"road_class": "B"})],
        "poi": [(str(i), shapely.Point(CENTRE[0] + x, CENTRE[1] + 1), {"kind": "k"})
                for i, x in enumerate([1, 50, 99, 100, 300])] + [("lost", None, {"kind": "k"})],
    }  # fmt: skip
    with made(tmp_path_factory.mktemp("stats"), layers) as opened:
        yield opened


QUAD = {"type": "Polygon", "coordinates": [[[121, 28.1], [121.01, 28.1], [121.01, 28.11], [121, 28.11], [121, 28.1]]]}
UNITS = {"collection": "admin_unit"}


def rows_of(found, **values):
    return [row for row in found["table"] if all(row[key] == value for key, value in values.items())]


@pytest.mark.parametrize("swapped", [False, True], ids=["quad-as-zone", "quad-as-layer"])
def test_hand_case_a_quad_in_degrees_has_the_official_area(city, swapped):
    pair = [QUAD, {"collection": "planning_area"}]
    zones, layer = reversed(pair) if swapped else pair
    found = city.run("overlay-stats", zones=zones, layer=layer)
    (row,) = [each for each in rows_of(found, kind="zone") if each["area_m2"]]
    assert row["area_m2"] == pytest.approx(1_088_999.05, abs=0.01)
    assert row["area_mu"] == pytest.approx(1633.499, abs=0.001)
    assert row["area_ha"] == pytest.approx(108.899905, abs=1e-6)
    assert abs(row["area_m2"] - 1_089_261.15) > 200, "the plane area is not the survey's"


def test_zones_add_up_to_the_total_and_what_is_outside_is_told(city):
    found = city.run("overlay-stats", zones=UNITS, zone_field="name", layer={"collection": "land_survey"})
    areas = {row["zone"]: row["area_m2"] for row in found["table"]}
    assert areas == pytest.approx({"西": 5100, "东": 5000, None: 2000}, abs=1e-3)
    assert sum(areas.values()) == pytest.approx(found["total"]["area_m2"], abs=1e-6)
    assert found["overlaps"]["layer"]["n"] == 1
    assert found["overlaps"]["layer"]["largest"] == {"ids": ["a", "c"], "area_m2": pytest.approx(100, abs=1e-4)}
    assert found["overlaps"]["zones"] == {"n": 0, "area_m2": 0, "largest": None}
    assert rows_of(found, zone="西")[0]["area_mu"] == pytest.approx(5100 * 15 / 10_000, abs=1e-5)


def test_land_classes_have_names_and_first_classes_of_their_list(city):
    asked = {"zones": UNITS, "layer": {"collection": "land_survey"}, "class_field": "DLBM"}
    found = city.run("overlay-stats", **asked)
    assert {row["class"]: row["class_name"] for row in found["table"] if row["class"]} == {
        "0101": "水田", "0201": "果园", "0304": "森林沼泽"}  # fmt: skip
    assert (found["class_system"], found["unknown_codes"]) == ("sd2017", {})
    found = city.run("overlay-stats", **asked, class_digits=2)
    assert {row["class"]: row["class_name"] for row in found["table"] if row["class"]} == {
        "01": "耕地", "02": "园地", "00": "湿地"}  # fmt: skip


def test_lines_and_points_on_a_border_count_once(city):
    lines = city.run("overlay-stats", zones=UNITS, layer={"collection": "road"}, class_field="road_class")
    lengths = {(row["zone"], row["class"]): row["length_m"] for row in lines["table"] if row["class"]}
    expected = {("w", "A"): 50, ("e", "A"): 50, ("e2", "A"): 20, (None, "A"): 80}
    both = {zone: lengths.pop((zone, "B"), 0) for zone in ("w", "e")}
    assert lengths == pytest.approx(expected, abs=1e-4)
    assert both in ({"w": pytest.approx(30, abs=1e-5), "e": 0}, {"w": 0, "e": pytest.approx(30, abs=1e-5)})
    points = city.run("overlay-stats", zones=UNITS, layer={"collection": "poi"})
    counts = {(row["kind"], row["zone"]): row["count"] for row in points["table"]}
    assert counts["outside", None] == 1
    assert sum(counts.values()) == points["total"]["count"] == 5
    (lost,) = rows_of(points, kind="unlocated")
    assert (lost["n_features"], lost["count"]) == (1, 0)
    assert points["total"]["n_features"] == 6


def test_numbers_are_shared_out_and_missing_ones_told(city):
    things = collection(
        feature(square(0, 0, 100, 100), "a", n=10.0, k="x"),
        feature(square(0, 0, 20, 10), "b", n=None, k="x"),
        feature(shapely.Point(CENTRE[0] + 999, CENTRE[1]), "c", n=7.0, k="y"),
    )
    found = city.run("overlay-stats", zones=UNITS, layer=things, value_field="n", class_field="k")
    values = {(row["zone"], row["class"]): (row["value"], row["n_without_value"]) for row in found["table"]}
    assert values["w", "x"] == (pytest.approx(5, abs=1e-6), 1)
    assert values["e", "x"] == (pytest.approx(5, abs=1e-6), 0)
    assert values[None, "y"] == (7, 0)
    assert (found["total"]["value"], found["total"]["n_without_value"]) == (17, 1)


def test_zones_that_overlap_are_reported_and_count_twice(city):
    zones = collection(feature(square(0, 0, 60, 100), "p"), feature(square(40, 0, 100, 100), "q"))
    found = city.run("overlay-stats", zones=zones, layer=collection(feature(square(-10, 0, 100, 100))))
    areas = {row["zone"]: row["area_m2"] for row in found["table"]}
    assert areas == pytest.approx({"p": 6000, "q": 6000, None: 1000}, abs=1e-3)
    shared = found["overlaps"]["zones"]["area_m2"]
    assert sum(areas.values()) == pytest.approx(found["total"]["area_m2"] + shared, abs=1e-6)


def test_a_zone_with_nothing_in_it_has_a_row(city):
    zones = collection(feature(square(500, 500, 510, 510), "empty"), feature(square(0, 0, 9, 9), "full"))
    found = city.run("overlay-stats", zones=zones, layer={"collection": "land_survey", "ids": ["a"]})
    assert rows_of(found, zone="empty")[0]["area_m2"] == 0


COORDINATE = st.integers(0, 8)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE), max_size=8),
    st.lists(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=2, max_size=5), max_size=8),
    st.lists(st.tuples(COORDINATE, COORDINATE), max_size=8),
    st.sets(st.integers(1, 7), max_size=3),
)
@example([(0, 0, 8, 8)], [[(4, 0), (4, 8)], [(0, 0), (8, 0)]], [(4, 4), (8, 8), (0, 0)], {4})
def test_parts_add_up_whatever_lies_on_the_borders(boxes, lines, points, cuts):
    """Zones share borders on whole metres, as the features' corners do."""
    x = [1, *sorted(cuts), 7]
    corners = [(a, 1, b, 7) for a, b in itertools.pairwise(x) if a < b]
    zones = np.array([square(*each) for each in corners], object)
    areas = [square(a, b, a + c + 1, b + d + 1) for a, b, c, d in boxes]
    strings = [shapely.LineString(np.add(each, CENTRE)) for each in lines]
    spots = [shapely.Point(CENTRE[0] + a, CENTRE[1] + b) for a, b in points]
    shapes = np.array([*areas, *strings, *spots, None], object)
    found = shares(shapes, zones, "EPSG:4549")
    for amount, expected in (
        (found.area_m2, areas_m2(shapes, "EPSG:4549")),
        (found.length_m, np.where(shapely.get_dimensions(shapes) == 1, lengths_m(shapes, "EPSG:4549"), 0)),
        (found.count, (shapely.get_dimensions(shapes) == 0).astype(float)),
    ):
        assert np.bincount(found.feature, weights=amount, minlength=len(shapes)) == pytest.approx(expected, abs=1e-5)
    assert np.bincount(found.feature, weights=found.fraction, minlength=len(shapes))[:-1] == pytest.approx(1)
    for zone, corner in enumerate(corners):  # brute force: metres of plane and ellipsoid agree here within 1e-8
        mine = found.zone == zone
        expected = sum(square(*corner).intersection(each).area for each in areas)
        assert found.area_m2[mine].sum() == pytest.approx(expected, abs=1e-4)
        inner = sum(corner[0] < a < corner[2] and 1 < b < 7 for a, b in points)
        edge = sum(corner[0] <= a <= corner[2] and 1 <= b <= 7 for a, b in points)
        assert inner <= found.count[mine].sum() <= edge
        edges = [np.add(pair, CENTRE) for line in lines for pair in itertools.pairwise(line)]
        inside = shapely.intersection(shapely.linestrings(edges), square(*corner)) if edges else np.zeros(0, object)
        on_border = shapely.intersection(inside, shapely.boundary(square(*corner)))
        most, least = shapely.length(inside).sum(), shapely.length(inside).sum() - shapely.length(on_border).sum()
        assert least - 1e-4 <= found.length_m[mine].sum() <= most + 1e-4
    is_out = sum(not (1 <= a <= 7 and 1 <= b <= 7) for a, b in points)
    assert found.count[found.zone == OUTSIDE].sum() == is_out


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"layer": collection(feature(square(0, 0, 9, 9), DLBM="0101")), "class_field": "DLBM"},
         "layer/code_system: '0' has no code_system"),
        ({"layer": collection(feature(square(0, 0, 9, 9), DLBM="0101", code_system="gb")), "class_field": "DLBM"},
         "layer/code_system: '0' has the code_system 'gb'"),
        ({"layer": collection(feature(square(0, 0, 9, 9), DLBM="0101", code_system="sd2017"),
                              feature(square(0, 0, 9, 9), DLBM="0101", code_system="ydyh2023")), "class_field": "DLBM"},
         "layer/code_system: sd2017 and ydyh2023 are mixed"),
        ({"class_field": "nothing"}, "layer: land_survey has no attribute 'nothing'"),
        ({"zone_field": "nothing"}, "zones: admin_unit has no attribute 'nothing'"),
        ({"value_field": "DLBM", "layer": {"collection": "land_survey", "ids": ["b"]}},
         "value_field: DLBM is no number"),
        ({"class_digits": 2}, "class_digits"),
        ({"class_digits": 3}, "class_digits"),
        ({"zones": {"collection": "poi"}}, "zones: '0' has a POINT"),
        ({"zones": {"type": "Point", "coordinates": [121, 28]}}, "zones"),
        ({"layer": collection(feature(shapely.GeometryCollection([square(0, 0, 1, 1)])))}, "layer: '0' is a Geometry"),
        ({"layer": collection(feature(square(8e5, 0, 9e5, 9)))}, "layer lies outside the city"),
        ({"layer": collection()}, "layer has no feature"),
        ({"zones": {"type": "Polygon", "coordinates": [[[121, 91], [121, 95], [122, 95], [121, 91]]]}}, "zones"),
    ],
)  # fmt: skip
def test_wrong_inputs_are_named(city, inputs, says):
    with pytest.raises(InvalidInput, match=says):
        city.run("overlay-stats", **{"zones": UNITS, "layer": {"collection": "land_survey"}} | inputs)


def test_unknown_codes_are_told_and_kept_as_written(city):
    layer = collection(feature(square(0, 0, 9, 9), DLBM="0999", code_system="sd2017"))
    found = city.run("overlay-stats", zones=UNITS, layer=layer, class_field="DLBM")
    assert found["unknown_codes"] == {"0999": 1}
    assert rows_of(found, zone="w")[0] | {"class": "0999", "class_name": None} == rows_of(found, zone="w")[0]


def test_the_town_by_village_agrees_with_geopandas(tmp_path):
    with town(tmp_path, "land", "vector") as city:
        survey = {"collection": "land_survey", "filter": "survey_year = 2025"}
        villages = {"collection": "admin_unit", "filter": "unit_level = 5"}
        found = city.run("overlay-stats", zones=villages, layer=survey, class_field="DLBM")
        left = city["land_survey"].query(filter="survey_year = 2025")
        right = city["admin_unit"].query(filter="unit_level = 5")
        cut = geopandas.overlay(
            left[["DLBM", "geometry"]], right.reset_index()[["id", "geometry"]], how="intersection", keep_geom_type=True
        )
        cut["m2"] = areas_m2(cut.geometry.to_numpy(), "EPSG:4549")
        expected = cut.groupby(["id", "DLBM"])["m2"].sum()
        told = {(row["zone"], row["class"]): row["area_m2"] for row in rows_of(found, kind="zone")}
        assert len(told) > 20
        for key, area in expected.items():
            assert told.get(key, 0.0) == pytest.approx(area, abs=1e-5)
        assert sum(told.values()) == pytest.approx(expected.sum(), abs=1e-4)
        assert found["total"]["area_m2"] == pytest.approx(left["TBMJ"].sum(), abs=0.01 * len(left))


def test_a_code_s_beginning_chooses_what_lies_in_the_unit(tmp_path):
    """Villages (12 digits), towns (9), city (6): homesteads by `village LIKE 'code%'` are those inside."""
    with town(tmp_path, "land", "vector") as city:
        units, homes = city["admin_unit"].query(), city["homestead"].query()
        inner = shapely.point_on_surface(homes.geometry.to_numpy())
        n = 0
        for code, shape in zip(units["xzqdm"], units.geometry, strict=True):
            by_code = set(city["homestead"].query(filter=f"village LIKE '{code}%'").index)
            assert by_code == set(homes.index[shapely.intersects(shape, inner)])
            n += len(by_code)
        assert n == 3 * len(homes)
