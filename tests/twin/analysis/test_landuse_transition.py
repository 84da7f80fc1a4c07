"""P06: the hand case, row sums, geopandas, time turned round, and code systems that do not mix."""

import itertools

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.ellipsoid_area import MU_M2, areas_m2
from layers.errors import InvalidInput
from tests.twin.analysis.land_city import collection, feature, made, town
from twin.analysis.landuse_transition import matrix, transition

CENTRE = 500_000.0, 3_109_000.0
SD = {"code_system": "sd2017"}
PLAN = {"code_system": "ydyh2023"}


def square(x0, y0, x1, y1):
    return shapely.box(CENTRE[0] + x0, CENTRE[1] + y0, CENTRE[0] + x1, CENTRE[1] + y1)


BEFORE = collection(feature(square(0, 0, 100, 100), "t1", DLBM="0101", **SD))
AFTER = collection(
    feature(square(0, 0, 50, 100), "west", DLBM="0101", **SD),
    feature(square(50, 0, 100, 100), "east", DLBM="0701", **SD),
)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    with made(tmp_path_factory.mktemp("land"), {"planning_area": [("p", square(0, 0, 100, 100), {})]}) as opened:
        yield opened


def areas(found, kind="both"):
    return {(row["from"], row["to"]): row["area_m2"] for row in found["matrix"] if row["kind"] == kind}


def test_hand_case(city):
    found = city.run("landuse-transition", before=BEFORE, after=AFTER)
    assert areas(found) == pytest.approx({("0101", "0101"): 5000, ("0101", "0701"): 5000}, abs=1e-3)
    assert found["farmland"]["loss_mu"] == pytest.approx(7.5, abs=1e-5)
    assert (found["farmland"]["gain_mu"], found["farmland"]["net_mu"]) == (0, pytest.approx(-7.5, abs=1e-5))
    assert sum(areas(found).values()) == pytest.approx(found["from_totals"][0]["area_m2"], abs=1e-6)
    assert {row["to_name"] for row in found["matrix"]} == {"水田", "城镇住宅用地"}
    (change,) = found["changes"]["features"]
    assert (
        change["properties"] | {"from": "0101", "to": "0701", "before": "t1", "after": "east"} == change["properties"]
    )
    assert found["n_changes"] == 1


def test_time_turned_round_turns_the_matrix(city):
    there = city.run("landuse-transition", before=BEFORE, after=AFTER)
    back = city.run("landuse-transition", before=AFTER, after=BEFORE)
    assert {(b, a): area for (a, b), area in areas(back).items()} == pytest.approx(areas(there), abs=1e-6)
    assert back["farmland"]["gain_m2"] == pytest.approx(there["farmland"]["loss_m2"], abs=1e-6)


def test_what_is_surveyed_once_only_has_rows_of_its_own(city):
    after = collection(feature(square(50, 0, 150, 100), "a", DLBM="0101", **SD))
    found = city.run("landuse-transition", before=BEFORE, after=after)
    assert areas(found, "only_before") == {("0101", None): pytest.approx(5000, abs=1e-3)}
    assert areas(found, "only_after") == {(None, "0101"): pytest.approx(5000, abs=1e-3)}
    assert found["farmland"]["loss_m2"] == 0, "what is not surveyed again is not known to be lost"
    assert found["farmland"]["not_surveyed_again_m2"] == pytest.approx(5000, abs=1e-3)


def test_overlaps_are_reported_and_not_resolved(city):
    after = collection(
        feature(square(0, 0, 60, 100), DLBM="0101", **SD), feature(square(40, 0, 80, 100), DLBM="0701", **SD)
    )
    found = city.run("landuse-transition", before=BEFORE, after=after)
    assert areas(found) == pytest.approx({("0101", "0101"): 6000, ("0101", "0701"): 4000}, abs=1e-3)
    assert areas(found, "only_before") == {("0101", None): pytest.approx(2000, abs=1e-3)}, "covered twice is covered"
    assert found["overlaps"]["after"] == {"n": 1, "area_m2": pytest.approx(2000, abs=1e-3)}


def test_suffixes_wetlands_and_first_classes(city):
    before = collection(
        feature(square(0, 0, 10, 10), DLBM="0201K", **SD), feature(square(10, 0, 20, 10), DLBM="0304", **SD)
    )
    after = collection(feature(square(0, 0, 20, 10), DLBM="010100", **SD))
    found = city.run("landuse-transition", before=before, after=after)
    assert set(areas(found)) == {("0201", "0101"), ("0304", "0101")}
    found = city.run("landuse-transition", before=before, after=after, class_digits=2)
    assert set(areas(found)) == {("02", "01"), ("00", "01")}
    assert found["farmland"]["gain_m2"] == pytest.approx(200, abs=1e-4)


@pytest.mark.parametrize("code", [None, "0999", "0199"])
def test_a_class_that_is_not_known_is_no_loss(city, code):
    after = collection(
        feature(square(0, 0, 100, 60), DLBM=code, **SD), feature(square(0, 60, 100, 100), DLBM="0101", **SD)
    )
    for before, later in ((BEFORE, after), (after, BEFORE)):
        farmland = city.run("landuse-transition", before=before, after=later)["farmland"]
        assert (farmland["loss_m2"], farmland["gain_m2"]) == (0, 0)
        assert farmland["unclassified_m2"] == pytest.approx(6000, abs=1e-3)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"after": collection(feature(square(0, 0, 9, 9), DLBM="0702", **PLAN))},
         "after/code_system: ydyh2023 is held against sd2017 of before.*0101 of sd2017 is 0101 of ydyh2023"),
        ({"before": collection(feature(square(0, 0, 9, 9), DLBM="05H1", **SD)),
          "after": collection(feature(square(0, 0, 9, 9), DLBM="0901", **PLAN))}, "05H1 of sd2017 has no single"),
        ({"before": collection(feature(square(0, 0, 9, 9), DLBM="0101"))}, "before/code_system: '0' has no code"),
        ({"before": collection(feature(square(0, 0, 9, 9), name="x", **SD))}, "before has no land class codes"),
        ({"field": "ydyh_code"}, "before has no value of 'ydyh_code'"),
        ({"before": collection(feature(square(0, 0, 9, 9), DLBM="0101", survey_year=2019, **SD),
                               feature(square(0, 0, 9, 9), DLBM="0101", survey_year=2025, **SD))},
         "before/survey_year: surveys of 2019, 2025"),
        ({"after": collection(feature(shapely.Point(CENTRE), DLBM="0101", **SD))}, "after: '0' has a POINT"),
        ({"class_digits": 5}, "class_digits"),
        ({"limit": -1}, "limit"),
    ],
)  # fmt: skip
def test_wrong_inputs_are_named(city, inputs, says):
    with pytest.raises(InvalidInput, match=says):
        city.run("landuse-transition", **{"before": BEFORE, "after": AFTER} | inputs)


def strips(cuts, codes, tilt):
    """A field of 100 by 100 m in strips; a tilt of their borders in metres."""
    x = [0, *sorted(cuts), 100]
    shapes = [
        shapely.Polygon(
            np.add([(a + tilt * (0 < a < 100), 0), (b + tilt * (0 < b < 100), 0), (b, 100), (a, 100)], CENTRE)
        )
        for a, b in itertools.pairwise(x)
    ]
    return np.array(shapes, object), [codes[i % len(codes)] for i in range(len(shapes))]


@settings(max_examples=50)
@given(
    st.sets(st.integers(5, 90), max_size=6), st.sets(st.integers(5, 90), max_size=6),
    st.lists(st.sampled_from(["0101", "0301", "0701"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["0101", "0301", "0701"]), min_size=1, max_size=4), st.floats(0, 4),
)  # fmt: skip
def test_rows_add_up_and_agree_with_geopandas(first, second, codes, others, tilt):
    before, was = strips(first, codes, 0)
    after, became = strips(second, others, tilt)
    found = transition(before, after, "EPSG:4549")
    sums = {key[1:]: area for key, area in matrix(found, was, became).items()}
    for code in set(was):
        row = sum(area for (start, _), area in sums.items() if start == code)
        own = areas_m2(before[[each == code for each in was]], "EPSG:4549").sum()
        assert row == pytest.approx(own, abs=1e-5)
    frames = [geopandas.GeoDataFrame({name: codes}, geometry=shapes, crs="EPSG:4549")
              for name, codes, shapes in (("start", was, before), ("end", became, after))]  # fmt: skip
    cut = geopandas.overlay(*frames, how="intersection", keep_geom_type=True)
    cut["m2"] = areas_m2(cut.geometry.to_numpy(), "EPSG:4549")
    expected = cut.groupby(["start", "end"])["m2"].sum()
    assert {key for key, area in expected.items() if area > 1e-6} == set(sums)
    assert all(sums[key] == pytest.approx(area, abs=1e-5) for key, area in expected.items() if area > 1e-6)


def test_the_town_from_2019_to_2025(tmp_path):
    with town(tmp_path, "land") as city:
        years = [{"collection": "land_survey", "filter": f"survey_year = {year}"} for year in (2019, 2025)]
        found = city.run("landuse-transition", before=years[0], after=years[1])
        old, new = (city["land_survey"].query(filter=each["filter"]) for each in years)
        assert sum(areas(found).values()) == pytest.approx(old["TBMJ"].sum(), abs=0.005 * len(old))
        cut = geopandas.overlay(
            old[["DLBM", "geometry"]], new[["DLBM", "geometry"]], how="intersection", keep_geom_type=True
        )
        lost = cut[cut["DLBM_1"].str.startswith("01") & ~cut["DLBM_2"].str.startswith("01")]
        loss = areas_m2(lost.geometry.to_numpy(), "EPSG:4549").sum() / MU_M2
        assert loss > 1
        assert found["farmland"]["loss_mu"] == pytest.approx(loss, abs=1e-6)
        with pytest.raises(InvalidInput, match="before/survey_year"):
            city.run("landuse-transition", before={"collection": "land_survey"}, after=years[1])
