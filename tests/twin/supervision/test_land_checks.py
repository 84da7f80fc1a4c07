"""One map: what the checks of land find, on known numbers, at the limit and where data is missing; the town."""

import datetime as dt
import json

import geopandas
import numpy as np
import pytest
import shapely

from layers.ellipsoid_area import areas_m2
from tests.twin.analysis.land_city import TOWN, made, town
from twin.analysis.cadastral_codes import UnitCode, is_parcel_code, unit_code
from twin.supervision import engine

CENTRE = 500_000.0, 3_109_000.0
PLAN, SD = {"code_system": "ydyh2023"}, {"code_system": "sd2017"}
CODE = "330382001001GB00001"
OTHER = "330382001001JC00002"


def square(x0, y0, x1, y1):
    return shapely.box(CENTRE[0] + x0, CENTRE[1] + y0, CENTRE[0] + x1, CENTRE[1] + y1)


def run(folder, layers, check, region=None):
    folder.mkdir(exist_ok=True)
    with made(folder, layers) as city:
        (result,) = engine.run(city, "one-map", checks=[check], region=region).results
        return result


def rows(result, rule):
    return sorted((each.objects, each.verdict) for each in result.findings if each.rule == rule)


LINES = {
    "pbf": [("f", square(60, 0, 200, 100), {})],
    "eco_redline": [("r", square(200, 0, 300, 100), {})],
    "urban_boundary": [("u", square(-100, 0, 40, 100), {})],
}


def test_projects_against_the_three_lines(tmp_path):
    use = {"planned_use": "0701", **PLAN}
    projects = [("over", square(0, 0, 100, 100), use), ("in", square(0, 0, 40, 50), use),
                ("edge", square(0, 0, 60.01, 100), use),
                ("farm", square(0, 0, 60, 100), {"planned_use": "0703", **PLAN}),
                ("unsaid", square(-50, 0, 60, 100), {})]  # fmt: skip
    found = run(tmp_path, LINES | {"project_land": projects}, "control-lines")
    assert rows(found, "pbf-occupied") == [(("project_land/over", "pbf"), "fail")], "1 m² is the tolerance"
    assert rows(found, "eco-redline-occupied") == []
    assert rows(found, "urban-boundary-outside") == [
        (("project_land/edge", "urban_boundary"), "fail"), (("project_land/over", "urban_boundary"), "fail"),
        (("project_land/unsaid", "urban_boundary"), "unknown")]  # fmt: skip
    assert (found.passed["pbf-occupied"], found.passed["eco-redline-occupied"]) == (4, 5)
    (over,) = (each for each in found.findings if each.rule == "pbf-occupied")
    assert (over.measured, over.limit, over.unit) == (pytest.approx(4000, abs=1e-3), 1.0, "m2")
    assert over.geometry.equals(square(60, 0, 100, 100))


def test_a_line_that_is_not_there_is_unknown_for_every_project(tmp_path):
    layers = {"project_land": [("p", square(0, 0, 10, 10), {})], "pbf": LINES["pbf"], "eco_redline": []}
    found = run(tmp_path, layers, "control-lines")
    assert rows(found, "eco-redline-occupied") == [(("project_land/p", "eco_redline"), "unknown")]
    assert rows(found, "urban-boundary-outside") == [(("project_land/p", "urban_boundary"), "unknown")]
    assert found.passed["pbf-occupied"] == 1


def test_a_project_without_a_place_is_unknown(tmp_path):
    use = {"planned_use": "0701", **PLAN}
    layers = LINES | {"project_land": [("lost", None, use), ("p", square(0, 0, 10, 10), use)],
                      "land_plan": [("a", square(0, 0, 100, 100), {"ydyh_code": "07", **PLAN})]}  # fmt: skip
    found = run(tmp_path / "lines", layers, "control-lines")
    assert {(each.rule, each.objects, each.verdict) for each in found.findings} == {
        (rule, ("project_land/lost",), "unknown") for rule in found.check.rules}  # fmt: skip
    found = run(tmp_path / "plan", layers, "plan-compliance")
    assert rows(found, "plan-use-match") == [(("project_land/lost",), "unknown")]
    assert found.passed["plan-use-match"] == 1


def test_a_project_at_the_edge_of_the_place_is_measured_wholly(tmp_path):
    layers = LINES | {"project_land": [("p", square(0, 0, 150, 100), {}), ("far", square(400, 0, 410, 10), {})]}
    found = run(tmp_path, layers, "control-lines", region=square(0, 0, 10, 10))
    (over,) = (each for each in found.findings if each.rule == "pbf-occupied")
    assert over.measured == pytest.approx(9000, abs=1e-2)
    assert {each.objects[0] for each in found.findings} == {"project_land/p"}


def test_homesteads_on_farmland_fail_and_in_the_red_line_are_for_review(tmp_path):
    layers = LINES | {"homestead": [("h", square(190, 0, 210, 10), {}), ("ok", square(0, 0, 10, 10), {})]}
    found = run(tmp_path, layers, "homestead-lines")
    assert rows(found, "homestead-on-farmland") == [(("homestead/h", "pbf"), "fail")]
    assert rows(found, "homestead-in-redline") == [(("homestead/h", "eco_redline"), "review")]


@pytest.mark.parametrize(
    ("west", "verdicts"), [(200.0, []), (199.995, ["pass"]), (199.99, ["pass"]), (199.98, ["fail"])]
)
def test_lines_that_overlap_and_slivers_apart(tmp_path, west, verdicts):
    layers = LINES | {"eco_redline": [("r", square(west, 0, 300, 100), {})]}
    found = run(tmp_path, layers, "control-lines-overlap")
    assert [each.verdict for each in found.findings] == verdicts
    if verdicts == ["fail"]:
        assert found.findings[0].objects == ("eco_redline/r", "pbf/f") or found.findings[0].objects == (
            "pbf/f",
            "eco_redline/r",
        )
        assert found.findings[0].measured == pytest.approx(2, abs=1e-4)
    missing = run(tmp_path / "missing", {"pbf": LINES["pbf"], "planning_area": []}, "control-lines-overlap")
    assert [each.verdict for each in missing.findings] == ["unknown"] * 3


def test_plan_compliance_by_code_system(tmp_path):
    plots = [("a", square(0, 0, 100, 100), {"ydyh_code": "07", **PLAN}),
             ("b", square(100, 0, 200, 100), {"ydyh_code": "1401", **PLAN}),
             ("c", square(200, 0, 300, 100), {"ydyh_code": "0701", **SD})]  # fmt: skip
    projects = [("fits", square(0, 0, 100, 100), {"planned_use": "0701", **PLAN}),
                ("park", square(90, 0, 110, 100), {"planned_use": "0701", **PLAN}),
                ("old", square(200, 0, 210, 100), {"planned_use": "0701", **PLAN}),
                ("bare", square(0, 0, 10, 10), {"planned_use": "0701"}),
                ("survey", square(200, 0, 220, 100), {"planned_use": "0701", **SD})]  # fmt: skip
    found = run(tmp_path, {"land_plan": plots, "project_land": projects}, "plan-compliance")
    by_name = {each.objects[0]: each for each in found.findings}
    assert {name: each.verdict for name, each in by_name.items()} == {
        "project_land/park": "fail", "project_land/old": "unknown", "project_land/bare": "unknown"}  # fmt: skip
    assert by_name["project_land/park"].measured == pytest.approx(1000, abs=1e-3)
    assert by_name["project_land/park"].geometry.equals(square(100, 0, 110, 100))
    assert by_name["project_land/park"].objects[1:] == ("land_plan/b",)
    assert "another code system" in by_name["project_land/old"].note.en
    assert found.passed["plan-use-match"] == 2


def test_topology_of_each_year_by_itself(tmp_path):
    old, new = {"survey_year": 2019, **SD}, {"survey_year": 2025, **SD}
    survey = [("a", square(0, 0, 50, 100), old), ("b", square(50, 0, 100, 100), old), ("c", square(0, 0, 50, 100), new),
              ("d", square(49, 0, 100, 100), new), ("e", square(49.995, 0, 50, 100), old)]  # fmt: skip
    found = run(tmp_path, {"land_survey": survey}, "land-topology")
    fails = [each for each in found.findings if each.verdict == "fail"]
    assert [(each.objects, each.part) for each in fails] == [(("land_survey/c", "land_survey/d"), "2025")]
    assert fails[0].measured == pytest.approx(100, abs=1e-4)
    (sliver,) = (each for each in found.findings if each.part == "2019 slivers")
    assert (sliver.verdict, sliver.measured) == ("pass", pytest.approx(0.5, abs=1e-4))


def test_a_gap_in_the_survey_is_found_where_the_place_is(tmp_path):
    ring = [square(0, 0, 30, 10), square(0, 20, 30, 30), square(0, 10, 10, 20), square(20, 10, 30, 20)]
    survey = [(str(i), shape, {"survey_year": 2025, **SD}) for i, shape in enumerate(ring)]
    found = run(tmp_path / "all", {"land_survey": survey}, "land-topology")
    (gap,) = (each for each in found.findings if each.rule == "topology-gap")
    assert (gap.verdict, gap.measured) == ("fail", pytest.approx(100, abs=1e-4))
    assert gap.geometry.equals(square(10, 10, 20, 20))
    for region, n in ((square(9, 9, 31, 31), 1), (square(0, 0, 8, 8), 0)):
        found = run(tmp_path / str(n), {"land_survey": survey}, "land-topology", region=region)
        assert sum(each.rule == "topology-gap" for each in found.findings) == n


@pytest.mark.parametrize(
    ("size", "off", "verdict"),
    [
        (100, 0.0, "pass"),
        (100, 0.0999, "pass"),
        (100, 0.15, "review"),  # 400 m of outline by half a millimetre: 0.2 m²
        (100, 0.31, "fail"),
        (10, 0.0099, "pass"),  # what two decimals may hide, 0.01 % of 100 m²
        (10, 0.02, "review"),
        (10, 0.04, "fail"),
    ],
    ids=str,
)
def test_stated_areas(tmp_path, size, off, verdict):
    shape = square(0, 0, size, size)
    stated = float(areas_m2(np.array([shape], object), "EPSG:4549")[0]) + off
    found = run(tmp_path, {"parcel": [("p", shape, {"area_m2": stated})]}, "stated-areas")
    assert found.verdict("stated-area") == verdict
    if verdict == "fail":
        (one,) = found.findings
        assert one.measured == pytest.approx(off, abs=1e-6)
        assert f"{stated:.2f}" in one.note.en


def test_an_area_that_is_not_stated_is_unknown(tmp_path):
    found = run(tmp_path, {"parcel": [("p", square(0, 0, 9, 9), {})]}, "stated-areas")
    assert [(each.objects, each.verdict) for each in found.findings] == [(("parcel",), "unknown")]


@pytest.mark.parametrize(
    ("less", "own", "verdict"), [(100.0, 900.0, "pass"), (100.0, 901.0, "review"), (90.0, 910.0, "review")]
)
def test_class_areas_of_the_survey(tmp_path, less, own, verdict):
    values = {"TBMJ": 1000.0, "KCXS": 0.1, "KCMJ": less, "TBDLMJ": own, **SD}
    found = run(tmp_path, {"land_survey": [("a", square(0, 0, 9, 9), values)]}, "survey-class-areas")
    assert found.verdict("survey-class-area") == verdict


def survey(year, *parts, **system):
    return [(f"{year}-{code}-{i}", shape, {"DLBM": code, "survey_year": year, **(system or SD)})
            for i, (code, shape) in enumerate(parts)]  # fmt: skip


def test_farmland_of_the_hand_case_is_lost_by_7_5_mu(tmp_path):
    layer = survey(2019, ("0101", square(0, 0, 100, 100))) + survey(
        2025, ("0101", square(0, 0, 50, 100)), ("0701", square(50, 0, 100, 100)))  # fmt: skip
    found = run(tmp_path, {"land_survey": layer + survey(2009, ("0101", square(0, 0, 100, 100)))}, "farmland-loss")
    (loss,) = found.findings
    assert (loss.measured, loss.unit, loss.verdict) == (pytest.approx(7.5, abs=1e-5), "mu", "review")
    assert loss.objects == ("land_survey/2025-0701-1", "land_survey/2019-0101-0")
    assert "0101 水田 → 0701 城镇住宅用地" in loss.note.zh
    assert loss.geometry.equals(square(50, 0, 100, 100))


@pytest.mark.parametrize(("west", "n_lost", "n_kept"), [(0, 0, 1), (40, 1, 1), (50, 1, 0)])
def test_farmland_is_looked_at_where_the_place_is(tmp_path, west, n_lost, n_kept):
    layer = survey(2019, ("0101", square(0, 0, 100, 100))) + survey(
        2025, ("0101", square(0, 0, 50, 100)), ("0701", square(50, 0, 100, 100)))  # fmt: skip
    found = run(tmp_path, {"land_survey": layer}, "farmland-loss", region=square(west, 0, west + 50, 100))
    assert (len(found.findings), found.passed.get("farmland-loss", 0)) == (n_lost, n_kept)


def test_farmland_without_a_later_class_is_unknown(tmp_path):
    later = [("later", square(0, 0, 9, 9), {"survey_year": 2025, **SD})]
    found = run(tmp_path, {"land_survey": survey(2019, ("0101", square(0, 0, 9, 9))) + later}, "farmland-loss")
    assert [(each.verdict, each.note.en) for each in found.findings] == [("unknown", "0101 水田 → ?")]


def test_without_two_surveys_of_one_list_nothing_is_known(tmp_path):
    one = run(tmp_path / "one", {"land_survey": survey(2019, ("0101", square(0, 0, 9, 9)))}, "farmland-loss")
    two = survey(2019, ("0101", square(0, 0, 9, 9))) + survey(2025, ("0701", square(0, 0, 9, 9)), **PLAN)
    mixed = run(tmp_path / "two", {"land_survey": two}, "farmland-loss")
    for found, says in ((one, "no two surveys"), (mixed, "Code systems of 2019 and 2025 differ")):
        assert [each.verdict for each in found.findings] == ["unknown"]
        assert says in found.findings[0].note.en


@pytest.mark.parametrize(
    ("text", "is_code"),
    [(CODE, True), (OTHER, True), ("330382001001GB0001", False), ("330382001001GBX0001", False),
     ("330382001001QB00001", False), ("33038200100 GB00001", False), ("", False)],
)  # fmt: skip
def test_how_a_parcel_code_is_made(text, is_code):
    assert is_parcel_code(text) is is_code


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("F00010002", UnitCode(CODE, "F", "0001", "0002")),
        ("W00000000", UnitCode(CODE, "W", None, None)),
        ("L00010000", UnitCode(CODE, "L", None, None)),
        ("W00000001", None),
        ("F0001002", None),
        ("X00010002", None),
        ("", None),
    ],
)
def test_how_a_unit_code_is_made(rest, expected):
    assert unit_code(CODE + rest) == expected
    if expected is not None:
        assert unit_code(f"{CODE[:12]} {CODE[12:]} {rest}") == expected


def test_parcel_codes_missing_wrong_and_given_twice(tmp_path):
    parcels = [(str(i), square(20 * i, 0, 20 * i + 9, 9), {} if code is None else {"parcel_code": code})
               for i, code in enumerate([CODE, OTHER, CODE, None, "12345"])]  # fmt: skip
    found = run(tmp_path / "a", {"parcel": parcels}, "parcel-codes")
    assert rows(found, "parcel-code") == [
        (("parcel/0",), "fail"), (("parcel/2",), "fail"),
        (("parcel/3",), "unknown"), (("parcel/4",), "fail")]  # fmt: skip
    assert found.passed["parcel-code"] == 1
    here = run(tmp_path / "b", {"parcel": parcels}, "parcel-codes", region=square(0, 0, 10, 10))
    assert rows(here, "parcel-code") == [(("parcel/0",), "fail")], "the other one lies elsewhere"


def test_units_lie_in_the_parcel_their_code_names(tmp_path):
    unit = [("in", square(0, 0, 9, 9), CODE + "F00010001"), ("out", square(5, 0, 15, 9), CODE + "F00010002"),
            ("lost", square(0, 0, 5, 5), OTHER + "F00010001"), ("bad", square(0, 0, 5, 5), "x"),
            ("none", square(0, 0, 5, 5), None)]  # fmt: skip
    layers = {"parcel": [("p", square(0, 0, 10, 10), {"parcel_code": CODE})],
              "building_unit": [(name, shapely.force_3d(shape, 5.0), {"unit_code": code})
                                for name, shape, code in unit]}  # fmt: skip
    found = run(tmp_path, layers, "real-estate-units")
    assert rows(found, "unit-code") == [(("building_unit/bad",), "fail"), (("building_unit/none",), "unknown")]
    assert rows(found, "unit-in-parcel") == [
        (("building_unit/lost",), "unknown"), (("building_unit/out", "parcel/p"), "fail")]  # fmt: skip
    (out,) = (each for each in found.findings if each.verdict == "fail" and each.rule == "unit-in-parcel")
    assert out.measured == pytest.approx(45, abs=1e-4)


def test_a_building_across_a_parcel_line_is_for_review(tmp_path):
    layers = {
        "parcel": [("p", square(0, 0, 50, 50), {"parcel_code": CODE}),
                   ("q", square(50, 0, 100, 50), {"parcel_code": OTHER})],
        "building": [("in", square(10, 10, 20, 20), {}), ("across", square(40, 10, 55, 20), {}),
                     ("edge", square(40, 30, 50.1, 40), {}), ("beside", square(100, 0, 110, 10), {})],
    }  # fmt: skip
    found = run(tmp_path, layers, "buildings-in-parcels")
    assert rows(found, "building-in-parcel") == [(("building/across", "parcel/p"), "review")]
    assert found.findings[0].measured == pytest.approx(50, abs=1e-4)
    assert found.passed["building-in-parcel"] == 2


def test_homesteads_of_a_household_count_wherever_they_are(tmp_path):
    layers = {"homestead": [("a", square(0, 0, 10, 10), {"household": "H1", "village": "V"}),
                            ("b", square(100, 0, 110, 10), {"household": "H1", "village": "V"}),
                            ("c", square(20, 0, 30, 10), {"household": "H2", "village": "V"}),
                            ("d", square(40, 0, 50, 10), {"household": "H1", "village": "W"}),
                            ("e", square(60, 0, 70, 10), {})]}  # fmt: skip
    for name, region in (("all", None), ("part", square(0, 0, 10, 10))):
        found = run(tmp_path / name, layers, "homesteads", region)
        (two,) = (each for each in found.findings if each.rule == "homestead-plots" and each.verdict == "review")
        assert (two.objects, two.measured) == (("homestead/a", "homestead/b"), 2)
        assert "200.0" in two.note.en
    whole = run(tmp_path / "again", layers, "homesteads")
    assert [
        each.objects for each in whole.findings if each.rule == "homestead-plots" and each.verdict == "unknown"
    ] == [("homestead",)]
    assert whole.verdict("homestead-area") == "unknown"


@pytest.mark.parametrize(("limit", "verdict"), [(100.001, "pass"), (99.0, "fail")])
def test_the_province_gives_the_standard_of_homesteads(tmp_path, limit, verdict):
    layers = {"homestead": [("a", square(0, 0, 10, 10), {"household": "H1", "village": "V"})]}
    with made(tmp_path, layers) as city:
        (tmp_path / "rules").mkdir()
        (tmp_path / "rules" / "ours.yaml").write_text(f"rules:\n  - id: homestead-area\n    value: {limit}\n", "utf8")
        (found,) = engine.run(city, "one-map", checks=["homesteads"]).results
        assert found.verdict("homestead-area") == verdict


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    with town(tmp_path_factory.mktemp("town"), "land", "vector") as city:
        now = dt.datetime(2026, 7, 1, tzinfo=dt.UTC)
        names = ["control-lines", "homestead-lines", "control-lines-overlap", "plan-compliance", "land-topology",
                 "stated-areas", "farmland-loss", "parcel-codes", "buildings-in-parcels", "homesteads"]  # fmt: skip
        yield city, {each.check.id: each for each in engine.run(city, "one-map", checks=names, now=now).results}


def test_the_planted_projects_are_found_and_no_others(planted):
    """Precision and recall 1.0 for farmland and red line; near misses (touching, a sliver of 0.735 m²) pass."""
    _, found = planted
    truths = json.loads((TOWN / "expected.json").read_text("utf8"))["project_overlaps"]
    for rule, key in (("pbf-occupied", "pbf_m2"), ("eco-redline-occupied", "eco_redline_m2")):
        told = {
            each.objects[0].partition("/")[2]: each for each in found["control-lines"].findings if each.rule == rule
        }
        expected = {each["project_code"]: each for each in truths if each[key] > 1}
        assert set(told) == set(expected)
        for name, truth in expected.items():
            assert told[name].verdict == truth["verdict"]
            assert told[name].measured == pytest.approx(truth[key], abs=1.1e-3)
        assert found["control-lines"].passed[rule] == 19 - len(expected)
    outside = {each.objects[0].partition("/")[2]: each.measured for each in found["control-lines"].findings
               if each.rule == "urban-boundary-outside"}  # fmt: skip
    expected = {each["project_code"]: each["outside_urban_boundary_m2"] for each in truths}
    assert outside == pytest.approx({name: area for name, area in expected.items() if area > 1}, abs=1.1e-3)


def test_homesteads_of_the_town_on_farmland_agree_with_geopandas(planted):
    city, found = planted
    homes, farm = city["homestead"].query().reset_index(), city["pbf"].query()
    cut = geopandas.overlay(homes[["id", "geometry"]], farm[["geometry"]], how="intersection", keep_geom_type=True)
    cut["m2"] = areas_m2(cut.geometry.to_numpy(), "EPSG:4549")
    sums = cut.groupby("id")["m2"].sum()
    expected = {f"homestead/{name}": area for name, area in sums.items() if area > 1}
    told = {
        each.objects[0]: each.measured
        for each in found["homestead-lines"].findings
        if each.rule == "homestead-on-farmland"
    }
    assert told == pytest.approx(expected, abs=1e-4)


def test_the_rest_of_the_town_is_as_it_was_made(planted):
    city, found = planted
    assert found["control-lines-overlap"].verdict("control-lines-overlap") == "pass"
    assert found["land-topology"].verdict("topology-overlap") == "pass"
    assert found["land-topology"].verdict("topology-valid") == "pass"
    assert found["stated-areas"].counts()["fail"] == 0
    assert found["parcel-codes"].passed["parcel-code"] == len(city["parcel"].query())
    assert found["homesteads"].verdict("homestead-plots") == "pass"
    loss = [each for each in found["farmland-loss"].findings if each.verdict == "review"]
    assert sum(each.measured for each in loss) == pytest.approx(65.0, abs=0.02)
    assert {each.verdict for each in found["plan-compliance"].findings} <= {"fail", "review", "unknown"}
