"""P04: the hand case and its boundary, what is missing, the town's planted projects, and geopandas."""

import datetime as dt
import json

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.ellipsoid_area import areas_m2
from layers.errors import InvalidInput, LayerNotFound
from tests.twin.analysis.land_city import TOWN, collection, feature, made, town
from twin.analysis.control_line_measure import tolerance_verdicts, use_verdict
from twin.supervision.rules import on_day

CENTRE = 500_000.0, 3_109_000.0
"""On the central meridian, where plane metres are metres of the ellipsoid within 1e-8."""


def square(x0, y0, x1, y1):
    return shapely.box(CENTRE[0] + x0, CENTRE[1] + y0, CENTRE[0] + x1, CENTRE[1] + y1)


BOW_TIE = shapely.Polygon(np.add([(0, 0), (9, 9), (9, 0), (0, 9)], CENTRE))
PROJECT = square(0, 0, 100, 100)
HAND = {
    "pbf": [("f", square(60, -50, 200, 150), {})],
    "eco_redline": [("r", square(100, 0, 200, 100), {})],
    "urban_boundary": [("u", square(-100, -100, 80, 200), {})],
}


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    layers = {**HAND, "project_land": [("p", PROJECT, {"planned_use": "0701", "code_system": "ydyh2023"})]}
    with made(tmp_path_factory.mktemp("hand"), layers) as opened:
        yield opened


def by_line(found, project=0):
    return {row["line"]: row for row in found["projects"][project]["lines"]}


def test_hand_case(city):
    found = city.run("control-line-check", project={"collection": "project_land"})
    rows = by_line(found)
    assert rows["pbf"]["measured"] == pytest.approx(4000, abs=1e-3)
    assert rows["pbf"]["area_mu"] == pytest.approx(6.0, abs=1e-5)
    assert (rows["pbf"]["verdict"], rows["pbf"]["share_pct"]) == ("fail", pytest.approx(40))
    assert (rows["eco_redline"]["measured"], rows["eco_redline"]["verdict"]) == (0, "pass")
    assert rows["urban_boundary"]["measured"] == pytest.approx(2000, abs=1e-3)
    assert rows["urban_boundary"]["verdict"] == "fail"
    assert found["verdict"] == "fail"
    assert {"rule_id", "measured", "limit", "unit", "verdict", "source", "confidence"} <= set(rows["pbf"])


def test_parts_are_what_was_measured(city):
    found = city.run("control-line-check", project={"collection": "project_land"}, crs="city")
    parts = {each["properties"]["line"]: each for each in found["parts"]["features"]}
    assert sorted(parts) == ["pbf", "urban_boundary"]
    assert shapely.geometry.shape(parts["pbf"]["geometry"]).equals(square(60, 0, 100, 100))
    assert shapely.geometry.shape(parts["urban_boundary"]["geometry"]).equals(square(80, 0, 100, 100))
    assert parts["pbf"]["properties"]["area_m2"] == pytest.approx(4000, abs=1e-3)


@pytest.mark.parametrize(
    ("use", "system", "verdict"),
    [
        ("0701", "ydyh2023", "fail"),
        ("070102", "ydyh2023", "fail"),
        ("1001", "ydyh2023", "review"),
        ("0901", "ydyh2023", "review"),
        ("07", "ydyh2023", "review"),
        ("0703", "ydyh2023", "pass"),
        ("1202", "ydyh2023", "pass"),
        ("0101", "ydyh2023", "pass"),
        ("9999", "ydyh2023", "unknown"),
        ("0702", "sd2017", "pass"),
        ("0702", "ydyh2023", "review"),
        ("05H1", "sd2017", "review"),
        (None, "ydyh2023", "unknown"),
        ("0701", None, "unknown"),
    ],
)
def test_outside_the_boundary_it_is_the_use_that_decides(city, use, system, verdict):
    values = {key: value for key, value in (("planned_use", use), ("code_system", system)) if value}
    found = city.run("control-line-check", project=collection(feature(PROJECT, "p", **values)))
    row = by_line(found)["urban_boundary"]
    assert (row["verdict"], row["measured"]) == (verdict, pytest.approx(2000, abs=1e-3))
    inside = city.run("control-line-check", project=collection(feature(square(0, 0, 80, 100), "p", **values)))
    assert by_line(inside)["urban_boundary"]["verdict"] == "pass", "inside, the use does not matter"


@pytest.mark.parametrize(
    ("overlap", "size", "verdict"),
    [
        (1.0, 100, "pass"),
        (1.0 + 1e-7, 100, "pass"),
        (1.001, 100, "fail"),
        (0.999, 10, "pass"),
        (10.0, 10_000, "review"),
        (10.001, 10_000, "fail"),
        (1.5, 1680, "review"),
        (0.0, 100, "pass"),
        (float("nan"), 100, "unknown"),
    ],
)
def test_both_tolerances_must_be_passed(overlap, size, verdict):
    assert tolerance_verdicts(np.array([overlap]), np.array([size]), 1.0, 0.1).tolist() == [verdict]


@pytest.mark.parametrize(
    ("tolerance_m2", "share", "verdict"), [(4000, 0, "pass"), (3999, 40, "review"), (0, 39, "fail")]
)
def test_tolerances_of_the_request(city, tolerance_m2, share, verdict):
    found = city.run("control-line-check", project={"collection": "project_land"}, tolerance_m2=tolerance_m2,
                     tolerance_share_pct=share, urban_boundary=collection(feature(PROJECT)))  # fmt: skip
    assert by_line(found)["pbf"]["verdict"] == verdict
    assert by_line(found)["pbf"]["limit"] == tolerance_m2


def test_a_line_that_is_missing_is_unknown(tmp_path):
    layers = {"pbf": [("f", square(200, 0, 300, 100), {})], "eco_redline": [], "project_land": [("p", PROJECT, {})]}
    with made(tmp_path, layers) as city:
        found = city.run("control-line-check", project={"collection": "project_land"})
        rows = by_line(found)
        assert [rows[each]["verdict"] for each in HAND] == ["pass", "unknown", "unknown"]
        assert rows["pbf"]["measured"] == 0, "the layer is there, only not here"
        assert rows["eco_redline"]["measured"] is None
        assert "no data" in rows["eco_redline"]["note"]["en"]
        assert found["verdict"] == "unknown"
        assert found["lines"][1]["area_m2"] is None


def test_a_line_without_a_date_is_unknown(city, monkeypatch):
    asked = city.store.query

    def undated(layer, *args, **more):
        for each in asked(layer, *args, **more):
            if layer == "pbf":
                each.valid_from[:] = [""] * len(each)
            yield each

    monkeypatch.setattr(city.store, "query", undated)
    for more in ({}, {"pbf": {"collection": "pbf"}}):
        row = by_line(city.run("control-line-check", project={"collection": "project_land"}, **more))["pbf"]
        assert (row["verdict"], row["measured"]) == ("unknown", None)
        assert "no date" in row["note"]["en"]


def test_lines_that_overlap_themselves_count_once(city):
    twice = collection(feature(square(60, 0, 100, 100)), feature(square(50, 0, 90, 100)))
    found = city.run("control-line-check", project={"collection": "project_land"}, pbf=twice)
    assert by_line(found)["pbf"]["measured"] == pytest.approx(5000, abs=1e-3)


def test_projects_that_come_in_many_batches_are_all_looked_at(tmp_path):
    """The store gives 10,000 at once: here five batches, a quarter of the projects on farmland."""
    n = 42_000
    use = {"planned_use": "0703", "code_system": "ydyh2023"}
    x = np.arange(n) % 200
    shapes = shapely.box(CENTRE[0] + x, CENTRE[1], CENTRE[0] + x + 0.9, CENTRE[1] + 2)
    rows = [(str(i), shape, use) for i, shape in enumerate(shapes)]
    with made(tmp_path, {"project_land": rows, "pbf": [("f", square(150, -5, 300, 5), {})]}) as city:
        found = city.run("control-line-check", project={"collection": "project_land"}, limit=7)
    assert (found["n_projects"], found["is_complete"], len(found["projects"])) == (n, False, 7)
    assert found["lines"][0]["counts"]["fail"] == n // 4
    assert found["lines"][0]["area_m2"] == pytest.approx(1.8 * n / 4, rel=1e-6)


def test_those_that_pass_are_left_out_first(city):
    clear = [
        feature(square(-50 + i, 0, -49.5 + i, 1), f"c{i}", planned_use="0701", code_system="ydyh2023") for i in range(5)
    ]
    found = city.run("control-line-check", project=collection(*clear, feature(PROJECT, "bad")), limit=2)
    assert [each["project"] for each in found["projects"]] == ["c0", "bad"]
    assert (found["n_projects"], found["is_complete"], found["counts"]["pass"]) == (6, False, 5)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"project": {"collection": "nowhere"}}, "nowhere"),
        ({"project": {"collection": "project_land", "filter": "project_code = 'x'"}}, "project has no feature"),
        ({"pbf": collection()}, "pbf has no feature"),
        ({"pbf": collection(feature(shapely.Point(*CENTRE)))}, "pbf: '0' has a POINT"),
        ({"project": collection(feature(BOW_TIE))}, "project: '0' is no valid area"),
        ({"project": collection(feature(square(9e5, 0, 9.1e5, 10)))}, "project lies outside the city"),
        ({"tolerance_m2": -1}, "tolerance_m2"),
        ({"tolerance_m2": float("nan")}, "tolerance_m2"),
        ({"tolerance_share_pct": 100.5}, "tolerance_share_pct"),
        ({"tolerance_m2": "1 mu"}, "tolerance_m2"),
        ({"crs": "EPSG:0"}, "^crs: 'EPSG:0' is not"),
    ],
)  # fmt: skip
def test_wrong_inputs_are_named(city, inputs, says):
    with pytest.raises((InvalidInput, LayerNotFound), match=says):
        city.run("control-line-check", **{"project": {"collection": "project_land"}} | inputs)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_random_projects_agree_with_geopandas(city, seed):
    rng = np.random.default_rng(seed)
    x, y, size = rng.uniform(-60, 160, 12), rng.uniform(-60, 160, 12), rng.uniform(0.5, 60, 12)
    shapes = shapely.buffer(shapely.points(CENTRE[0] + x, CENTRE[1] + y), size)
    found = city.run(
        "control-line-check", project=collection(*(feature(each, str(i)) for i, each in enumerate(shapes)))
    )
    line = geopandas.GeoDataFrame(geometry=[HAND["pbf"][0][1]], crs="EPSG:4549")
    frame = geopandas.GeoDataFrame({"i": np.arange(12)}, geometry=shapes, crs="EPSG:4549")
    cut = geopandas.overlay(frame, line, how="intersection")
    expected = np.zeros(12)
    expected[cut["i"]] = areas_m2(cut.geometry.to_numpy(), "EPSG:4549")
    measured = [by_line(found, i)["pbf"]["measured"] for i in range(12)]
    assert measured == pytest.approx(expected, abs=1e-6)


def test_the_rule_of_uses_names_only_codes_of_its_lists():
    rule = on_day(dt.date(2026, 6, 1))["urban-boundary-outside"]
    for row in rule.rows:
        systems = row.when["code_system"] if isinstance(row.when["code_system"], list) else [row.when["code_system"]]
        for system in systems:
            for code in row.when["use"]:
                assert use_verdict(rule, code, system)[0] == row.value, (system, code)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    with town(tmp_path_factory.mktemp("town"), "land") as opened:
        yield opened


def test_the_planted_projects_of_the_town_are_found_exactly(planted):
    truths = json.loads((TOWN / "expected.json").read_text("utf8"))["project_overlaps"]
    found = planted.run("control-line-check", project={"collection": "project_land"})
    rows = {each["project"]: {row["line"]: row for row in each["lines"]} for each in found["projects"]}
    assert len(rows) == len(truths) == 19
    for truth in truths:
        row = rows[truth["project_code"]]
        assert row["pbf"]["measured"] == pytest.approx(truth["pbf_m2"], abs=1.1e-3)
        assert row["eco_redline"]["measured"] == pytest.approx(truth["eco_redline_m2"], abs=1.1e-3)
        assert row["urban_boundary"]["measured"] == pytest.approx(truth["outside_urban_boundary_m2"], abs=1.1e-3)
        order = ["pass", "review", "fail"]
        farmland_and_redline = max((row[each]["verdict"] for each in ("pbf", "eco_redline")), key=order.index)
        assert farmland_and_redline == truth["verdict"], truth
        outside = "review" if truth["outside_urban_boundary_m2"] > 1 else "pass"  # industry and shops
        assert row["urban_boundary"]["verdict"] == outside
    one = planted.run("control-line-check", project={"collection": "project_land", "ids": ["2026-XM-006"]})
    assert one["projects"][0]["lines"][0]["measured"] == pytest.approx(0.735, abs=1e-3)
