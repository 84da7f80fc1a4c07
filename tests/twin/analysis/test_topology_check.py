"""P03: the hand case, gaps with and without a boundary, slivers, and brute force on a grid of cells."""

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.land_city import collection, feature, made, town
from twin.analysis.overlay import dissolved
from twin.analysis.topology_check import holes, topology

CENTRE = 500_000.0, 3_109_000.0
CRS = "EPSG:4549"


def placed(corners):
    return shapely.Polygon(np.add(corners, CENTRE))


def square(x0, y0, x1, y1):
    return shapely.box(CENTRE[0] + x0, CENTRE[1] + y0, CENTRE[0] + x1, CENTRE[1] + y1)


BOW_TIE = placed([(0, 0), (2, 2), (2, 0), (0, 2)])
TWO = [feature(square(0, 0, 10, 10), "left"), feature(square(9, 0, 19, 10), "right")]


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    with made(tmp_path_factory.mktemp("land"), {"planning_area": [("p", square(-50, -50, 200, 200), {})]}) as opened:
        yield opened


def check(found, rule):
    return next(each for each in found["checks"] if each["rule_id"] == rule)


def test_hand_case_a_bow_tie_is_mended_to_two_square_metres(city):
    found = city.run("topology-check", layer=collection(feature(BOW_TIE, "tie")))
    (row,) = found["invalid"]["features"]
    assert row["properties"]["id"] == "tie"
    assert row["properties"]["repaired_area_m2"] == pytest.approx(2.0, abs=1e-6)
    assert "Self-intersection" in row["properties"]["reason"]
    assert shapely.geometry.shape(row["geometry"]).is_valid
    assert (found["verdict"], check(found, "topology-valid")["measured"]) == ("fail", 1)


def test_hand_case_two_squares_overlap_by_ten(city):
    found = city.run("topology-check", layer=collection(*TWO), crs="city")
    (row,) = found["overlaps"]["features"]
    assert row["properties"]["area_m2"] == pytest.approx(10, abs=1e-5)
    assert {row["properties"]["a"], row["properties"]["b"]} == {"left", "right"}
    assert shapely.geometry.shape(row["geometry"]).equals(square(9, 0, 10, 10))
    assert (found["verdict"], check(found, "topology-overlap")["verdict"]) == ("fail", "fail")
    assert check(found, "topology-gap") | {"n": 0, "verdict": "pass"} == check(found, "topology-gap")


@pytest.mark.parametrize(
    ("width", "tolerance", "verdict"),
    [(0.1, 1.0, "pass"), (0.1001, 1.0, "fail"), (0.05, 1.0, "pass"), (0.05, 0.0, "fail")],
)
def test_a_sliver_at_the_tolerance_is_no_failure(city, width, tolerance, verdict):
    pair = collection(feature(square(0, 0, 10, 10)), feature(square(10 - width, 0, 20, 10)))
    found = city.run("topology-check", layer=pair, tolerance_m2=tolerance)
    row = check(found, "topology-overlap")
    assert (row["verdict"], row["n"], row["n_slivers"]) == (verdict, int(verdict == "fail"), int(verdict == "pass"))
    assert found["overlaps"]["features"][0]["properties"]["is_sliver"] is (verdict == "pass")
    assert row["measured"] == pytest.approx(10 * width, abs=1e-5)


def ring(x0, y0, x1, y1, wide):
    """Four boxes around a hole."""
    return [square(x0, y0, x1, y0 + wide), square(x0, y1 - wide, x1, y1), square(x0, y0 + wide, x0 + wide, y1 - wide),
            square(x1 - wide, y0 + wide, x1, y1 - wide)]  # fmt: skip


def test_a_hole_is_a_gap_and_islands_in_it_are_taken_off(city):
    shapes = [*ring(0, 0, 50, 50, 10), *ring(15, 15, 35, 35, 5), square(22, 22, 24, 24)]
    found = city.run("topology-check", layer=collection(*map(feature, shapes)))
    sizes = [each["properties"]["area_m2"] for each in found["gaps"]["features"]]
    assert sizes == pytest.approx([30 * 30 - 20 * 20, 10 * 10 - 2 * 2], abs=1e-4)
    assert found["overlaps"]["features"] == []


def test_a_boundary_shows_what_is_open_to_the_outside(city):
    asked = {"layer": collection(feature(square(0, 0, 40, 40)), feature(square(60, 0, 105, 40)))}
    assert city.run("topology-check", **asked)["gaps"]["features"] == []
    found = city.run("topology-check", **asked, boundary=collection(feature(square(0, 0, 100, 50))))
    assert [each["properties"]["area_m2"] for each in found["gaps"]["features"]] == pytest.approx([1800], abs=1e-3)
    assert found["outside_m2"] == pytest.approx(200, abs=1e-4)
    assert found["verdict"] == "fail"


def test_groups_are_looked_at_by_themselves(city):
    layer = collection(*(feature(square(0, 0, 10, 10), f"y{year}", year=year) for year in (2019, 2025, 2025)))
    found = city.run("topology-check", layer=layer, group_field="year")
    (row,) = found["overlaps"]["features"]
    assert (row["properties"]["group"], row["properties"]["area_m2"]) == ("2025", pytest.approx(100, abs=1e-5))
    assert len(city.run("topology-check", layer=layer)["overlaps"]["features"]) == 3


def test_a_clean_layer_passes_and_a_feature_without_place_is_named(city):
    clean = collection(feature(square(0, 0, 10, 10)), feature(square(10, 0, 20, 10)))
    assert city.run("topology-check", layer=clean)["verdict"] == "pass"
    lost = collection({"type": "Feature", "id": "lost", "properties": {}, "geometry": None}, *TWO)
    found = city.run("topology-check", layer=lost)
    assert (
        found["invalid"]["features"][0]["properties"] | {"id": "lost", "reason": "No geometry"}
        == (found["invalid"]["features"][0]["properties"])
    )


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"layer": collection(feature(shapely.Point(CENTRE), "here"))}, "layer: 'here' has a POINT"),
        ({"layer": collection()}, "layer has no feature"),
        ({"group_field": "year"}, "group_field: layer has no attribute 'year'"),
        ({"boundary": collection(feature(BOW_TIE))}, "boundary: '0' is no valid area"),
        ({"tolerance_m2": -0.1}, "tolerance_m2"),
        ({"tolerance_m2": float("inf")}, "tolerance_m2"),
        ({"layer": collection(feature(square(9e5, 0, 9e5 + 9, 9)))}, "layer lies outside the city"),
    ],
)
def test_wrong_inputs_are_named(city, inputs, says):
    with pytest.raises(InvalidInput, match=says):
        city.run("topology-check", **{"layer": collection(*TWO)} | inputs)


CELL = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=60)
@given(st.lists(CELL, min_size=1, max_size=7))
@example([(0, 0, 4, 1), (0, 3, 4, 1), (0, 0, 1, 4), (3, 0, 1, 4)])
def test_overlaps_and_gaps_are_those_of_a_grid_of_cells(boxes):
    """Rectangles on whole metres against counting cells; a gap is reached by no way of cells from the outside."""
    shapes = np.array([square(x, y, x + w, y + h) for x, y, w, h in boxes], object)
    found = topology(shapes, CRS)
    count = np.zeros((12, 12), int)
    for x, y, w, h in boxes:
        count[x + 1 : x + w + 1, y + 1 : y + h + 1] += 1
    pairs = sum(n * (n - 1) // 2 for n in count.ravel())
    assert found.overlaps.areas_m2.sum() == pytest.approx(pairs, abs=1e-4)
    seen, todo = np.zeros_like(count, bool), [(0, 0)]
    while todo:
        i, j = todo.pop()
        if 0 <= i < 12 and 0 <= j < 12 and not seen[i, j] and not count[i, j]:
            seen[i, j] = True
            todo += [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
    assert found.gap_m2.sum() == pytest.approx((~seen & (count == 0)).sum(), abs=1e-4)


def test_the_union_of_many_blocks_is_the_union():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 300, (2, 3_000))
    shapes = shapely.box(x, y, x + 9, y + 7)
    assert dissolved(shapes).symmetric_difference(shapely.union_all(shapes)).area < 1e-6
    assert len(holes(dissolved(shapes))) == sum(
        len(each.interiors) for each in shapely.get_parts(shapely.union_all(shapes))
    )
    assert dissolved(np.array([None, shapely.Polygon()], object)).is_empty


def test_the_survey_of_the_town_has_no_overlap_in_one_year(tmp_path):
    with town(tmp_path, "land") as city:
        found = city.run("topology-check", layer={"collection": "land_survey"}, group_field="survey_year")
        assert check(found, "topology-overlap")["verdict"] == "pass"
        assert check(found, "topology-valid")["verdict"] == "pass"
        both = city.run("topology-check", layer={"collection": "land_survey"})
        assert check(both, "topology-overlap")["area_m2"] > 1e6
