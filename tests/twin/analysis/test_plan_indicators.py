"""P07: targets and states at their boundaries; towns add up to the city; codes, own zones, a city's own register."""

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import crs
from layers.errors import InvalidInput, NotFound
from tests.twin.supervision.indicator_city import box, collection, line, made, point, towns
from twin import analysis
from twin.analysis.progress import Dismissed, Progress

AREA = {
    "id": "LAND", "title": {"zh": "建设用地规模", "en": "Built-up land"}, "unit": "km2", "target": 100,
    "comparator": "<=", "clause": "own", "source": "own",
    "measure": {"kind": "amount", "of": {"quantity": "area", "layers": [{"layer": "planning_area"}]}, "factor": 1e-6},
}  # fmt: skip


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    rng = np.random.default_rng(5)
    lamps = [
        (f"L{i}", point(*rng.uniform(-100, 2100, 2)), {"smart": [True, False, None][i % 3]}) for i in range(200)
    ] + [("none", None, {"smart": True}), ("by code", None, {"smart": True, "xzqdm": "999901002003"})]
    pipes = [(f"P{i}", line(*rng.uniform(-200, 2200, (3, 2))), {"monitored": bool(i % 2)}) for i in range(60)] + [
        ("edge", line((1000, 0), (1000, 2000)), {"monitored": True})
    ]
    layers = {
        "admin_unit": [*towns(), ("999901001001", box(0, 0, 1000, 900), {"xzqdm": "999901001001", "name": "村"})],
        "lamp": lamps,
        "pipe_gas": [(name, shapely.force_3d(shape, 1.0), values) for name, shape, values in pipes],
        "planning_area": [("a", box(0, 0, 1500, 2000), {}), ("b", box(1200, 0, 2000, 1000), {})],
        "map_sheet": [("m", box(0, 0, 1100, 1500), {"scale_denom": 1000})],
        "urban_area": [("u", box(0, 0, 2000, 2000), {})],
        "weather_station": [(f"W{i}", point(*rng.uniform(0, 2000, 2)), {}) for i in range(9)],
        "road": [("r", shapely.MultiLineString([line((0, 10), (1500, 10))]), {})],
        "green_space": [("g", box(900, 0, 1100, 100), {"green_type": "1401"})],
    }
    with made(tmp_path_factory.mktemp("twin"), layers) as opened:
        yield opened


def by_id(found):
    return {each["id"]: each for each in found["indicators"]}


@pytest.mark.parametrize(
    ("km2", "state", "verdict"),
    [(94, "ok", "pass"), (94.9999, "ok", "pass"), (95, "warn", "pass"), (96, "warn", "pass"), (100, "warn", "pass"),
     (100.0001, "fail", "fail"), (101, "fail", "fail")],
)  # fmt: skip
def test_hand_case_a_limit_of_100_km2(city, km2, state, verdict):
    areas = {"planning_area": collection(("a", box(0, 0, 1000, 2000), {}))}
    plain = {"of": AREA["measure"]["of"], "kind": "amount", "factor": 1.0}
    ask = {"level": "city", "layers": areas}
    m2 = by_id(city.run("plan-indicators", definitions=[AREA | {"measure": plain}], **ask))["LAND"]["value"]
    lonlat = crs.transform_geometries("EPSG:4549", "EPSG:4490", np.array([box(0, 0, 1000, 2000)]).astype(object))[0]
    geod = pyproj.Geod(a=6378137.0, rf=298.257222101)
    assert m2 == pytest.approx(abs(geod.geometry_area_perimeter(shapely.segmentize(lonlat, 2e-4))[0]), abs=0.1)
    scaled = AREA | {"measure": plain | {"factor": km2 / m2}}
    own = by_id(city.run("plan-indicators", definitions=[scaled], **ask))["LAND"]
    assert (own["value"], own["state"], own["verdict"]) == (pytest.approx(km2, rel=1e-12), state, verdict)
    assert (own["rule_id"], own["measured"], own["limit"], own["unit"]) == ("LAND", own["value"], 100, "km2")


@pytest.mark.parametrize(
    ("ratio", "target", "state"),
    [(None, 50, "ok"), (None, 50.001, "fail"), (1.1, 45.4545, "ok"), (1.1, 45.46, "warn"), (1.1, 50, "warn"),
     (1.1, 50.001, "fail"), (0.9, 45, "ok"), (0.9, 45.01, "warn")],
)  # fmt: skip
def test_minimum_targets_fail_below_and_warn_only_when_the_definition_says_so(city, ratio, target, state):
    lamps = collection(*[(str(i), point(i, 5), {"smart": i < 5}) for i in range(10)])
    changed = [{"id": "I-06", "warn_ratio": ratio, "target": target}]
    found = city.run("plan-indicators", definitions=changed, layers={"lamp": lamps})
    assert by_id(found)["I-06"]["state"] == state


def test_all_indicators_in_one_call_and_towns_add_up_to_the_city(city):
    found = city.run("plan-indicators", level="town", crs="city")
    assert len(found["indicators"]) >= 20
    n_added = 0
    for each in found["indicators"]:
        zones = [row for row in each["rows"] if row["kind"] in {"zone", "rest"}]
        for name in ("numerator", "denominator"):
            if each[name] is not None and zones and None not in [row[name] for row in zones]:
                assert sum(row[name] for row in zones) == pytest.approx(each[name], rel=1e-9, abs=1e-9), each["id"]
                n_added += 1
        if zones:
            assert sum(row["n"] for row in zones) >= each["n"] or each["measure"] == "share-of-length"
    assert n_added >= 8
    assert [each["id"] for each in found["zones"]["features"]] == ["999901001", "999901002"]
    assert found["zones"]["features"][0]["properties"]["I-06"] == by_id(found)["I-06"]["rows"][0]["value"]


def test_progress_goes_forward_and_whoever_is_told_may_stop_it(city):
    told = []
    analysis.run(
        "plan-indicators", city, {}, progress=Progress(lambda percent, message: told.append((percent, message)))
    )
    assert [percent for percent, _ in told] == sorted(percent for percent, _ in told)
    assert {"I-04", "I-06"} <= {message for _, message in told}

    def stop(percent, message):
        raise Dismissed

    with pytest.raises(Dismissed):
        analysis.run("plan-indicators", city, {}, progress=Progress(stop))


def test_lamps_by_town_are_those_that_brute_force_counts(city):
    own = by_id(city.run("plan-indicators", indicators=["I-06"]))["I-06"]
    frame = city["lamp"].query()
    for row, zone in zip(own["rows"], towns()[1:], strict=True):
        inside = frame[frame.geometry.intersects(zone[1])]
        by_code = int(zone[0] == "999901002")  # the lamp without place that has a code of a village there
        assert row["numerator"] == (inside.smart == True).sum() + by_code  # noqa: E712 numpy
        assert row["denominator"] == inside.smart.notna().sum() + by_code
        assert row["n_unknown"] == inside.smart.isna().sum()
    apart = {row["kind"]: row for row in own["apart"]}
    whole = frame.smart.notna().sum()
    assert apart["unlocated"]["n"] == 1
    assert own["denominator"] + apart["outside"]["denominator"] + apart["unlocated"]["denominator"] == whole


def test_pipes_by_town_are_cut_at_the_border_and_one_along_it_counts_once(city):
    own = by_id(city.run("plan-indicators", indicators=["I-04"]))["I-04"]
    frame = city["pipe_gas"].query()
    inside = frame.geometry.intersection(box(0, 0, 2000, 2000))
    assert own["denominator"] == pytest.approx(inside.length.sum())
    assert own["numerator"] == pytest.approx(inside[frame.monitored.astype(bool)].length.sum())
    west = frame[frame.index != "edge"].geometry.intersection(box(0, 0, 1000, 2000)).length.sum() + 2000
    assert own["rows"][0]["denominator"] == pytest.approx(west)


def test_a_prefix_of_the_code_asks_for_what_lies_in_the_unit(city):
    whole = by_id(city.run("plan-indicators"))
    part = by_id(city.run("plan-indicators", xzqdm="999901001", level="village"))
    padded = by_id(city.run("plan-indicators", xzqdm=999901001000, level="village"))
    for name in ("I-01", "I-04", "I-06", "I-03", "S38-road-density", "S33-park-per-person"):
        town = whole[name]["rows"][0]
        assert part[name]["value"] == pytest.approx(town["value"]), name
        assert part[name]["denominator"] == pytest.approx(town["denominator"]), name
        assert padded[name]["value"] == part[name]["value"]
    village, rest = part["I-06"]["rows"]
    assert (village["xzqdm"], village["kind"], rest["kind"]) == ("999901001001", "zone", "rest")
    assert village["denominator"] + rest["denominator"] == part["I-06"]["denominator"]
    assert part["I-06"]["apart"] == []


def test_amounts_by_area_and_people(city):
    found = by_id(city.run("plan-indicators"))
    assert found["S33-park-per-person"]["denominator"] == 400
    assert found["S33-park-per-person"]["value"] == pytest.approx(20000 / 400, rel=1e-3)
    assert found["S38-road-density"]["value"] == pytest.approx(1500 / 4000, rel=1e-3)
    assert [row["value"] for row in found["S38-road-density"]["rows"]] == pytest.approx([0.5, 0.25], rel=1e-3)


def test_own_zones_and_no_zones(city):
    mine = collection(("A", box(0, 0, 1500, 500), {"name": "a"}), ("B", box(1000, 0, 2000, 500), {}))
    own = by_id(city.run("plan-indicators", indicators=["I-01"], zones=mine))["I-01"]
    assert [row["xzqdm"] for row in own["rows"]] == ["A", "B"]
    assert own["denominator"] == pytest.approx(sum(row["denominator"] for row in own["rows"]))
    assert own["denominator"] == pytest.approx(1e6, rel=1e-3), "what both zones have counts once"
    assert own["facts"]["zones_overlap_m2"] == pytest.approx(500 * 500)
    with pytest.raises(InvalidInput, match="zones: give zones or xzqdm"):
        city.run("plan-indicators", zones=mine, xzqdm="999901")


def test_a_city_without_admin_units_is_one_whole(tmp_path):
    with made(
        tmp_path / "bare", {"lamp": [("a", point(0, 0), {"smart": True}), ("b", None, {"smart": False})]}
    ) as bare:
        found = by_id(bare.run("plan-indicators", indicators=["I-06", "S38-road-density"]))
        assert (found["I-06"]["value"], found["I-06"]["rows"]) == (100, [])
        assert [row["kind"] for row in found["I-06"]["apart"]] == ["unlocated"]
        with pytest.raises(NotFound, match="xzqdm"):
            bare.run("plan-indicators", xzqdm="999901")


def test_a_city_has_its_own_targets_and_indicators(tmp_path):
    folder = tmp_path / "own"
    lamps = [(str(i), point(i, 0), {"smart": i < 8}) for i in range(10)]
    with made(folder, {"lamp": lamps}) as own:
        assert by_id(own.run("plan-indicators", indicators=["I-06"]))["I-06"]["verdict"] == "fail"
        (folder / "indicators").mkdir()
        text = (
            "indicators:\n- {id: I-06, target: 75}\n"
            "- {id: NEW, title: {zh: 新, en: new}, clause: c, source: s, unit: '', target: 3, comparator: '>',\n"
            "   measure: {kind: amount, of: {quantity: count, layers: [{layer: lamp, filter: smart = FALSE}]}}}\n"
        )
        (folder / "indicators" / "ours.yaml").write_text(text, "utf8")
        found = by_id(own.run("plan-indicators"))
        assert (found["I-06"]["verdict"], found["I-06"]["target"]) == ("pass", 75)
        assert found["I-06"]["source"].endswith("; ours.yaml")
        assert (found["NEW"]["value"], found["NEW"]["verdict"]) == (2, "fail")
        (folder / "indicators" / "ours.yaml").write_text("indicators:\n- {id: I-06, target: ninety}\n", "utf8")
        with pytest.raises(InvalidInput, match=r"ours.yaml: indicators/0/target"):
            own.run("plan-indicators")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"targets": {"I-06": "90"}}, "targets"),
        ({"definitions": [{"id": "bad id"}]}, "definitions: indicators/0/id"),
        ({"definitions": [AREA | {"measure": {"kind": "ratio", "of": AREA["measure"]["of"]}}]}, "definitions"),
        ({"definitions": [AREA | {"surprise": 1}]}, "definitions"),
        ({"datetime": "yesterday"}, "yesterday"),
        ({"level": "street"}, "level"),
        ({"record": True, "targets": {"I-06": 10}}, "record: only values of the city's own"),
        ({"indicators": ["I-06"], "definitions": [{"id": "I-06", "measure": {
            "kind": "share-of-count", "layers": [{"layer": "lamp", "filter": "colour = 'red'"}],
            "condition": "smart = TRUE"}}]}, "indicator on lamp"),
    ],
)  # fmt: skip
def test_wrong_inputs_are_named(city, inputs, words):
    with pytest.raises(InvalidInput, match=words):
        city.run("plan-indicators", **inputs)


def test_unknown_targets_are_named(city):
    with pytest.raises(NotFound, match="targets: there is no indicator 'I-77'"):
        city.run("plan-indicators", targets={"I-77": 3})


spot = st.tuples(st.integers(-300, 2300), st.integers(-300, 2300))


@settings(max_examples=25, deadline=None)
@given(
    paths=st.lists(
        st.tuples(st.lists(spot, min_size=2, max_size=4, unique=True), st.booleans()), min_size=1, max_size=12
    ),
    places=st.lists(st.tuples(spot, st.sampled_from([True, False, None])), min_size=1, max_size=20),
)
def test_whatever_is_there_towns_add_up_and_with_what_is_apart_it_is_all(city, paths, places):
    pipes = collection(*[(str(i), line(*xy), {"monitored": flag}) for i, (xy, flag) in enumerate(paths)])
    lamps = collection(*[(str(i), point(*xy), {"smart": flag}) for i, (xy, flag) in enumerate(places)])
    found = by_id(
        city.run(
            "plan-indicators",
            indicators=["I-04", "I-06"],
            layers={"pipe_gas": pipes, "lamp": lamps, "pipe_water": collection()},
        )
    )
    for own in found.values():
        for name in ("numerator", "denominator", "n_unknown"):
            assert sum(row[name] for row in own["rows"]) == pytest.approx(own[name], abs=1e-6)
    counted = found["I-06"]
    assert counted["denominator"] + sum(row["denominator"] for row in counted["apart"]) == sum(
        flag is not None for _, flag in places
    )
    inside = [flag for (x, y), flag in places if 0 <= x <= 2000 and 0 <= y <= 2000]
    assert counted["numerator"] == inside.count(True)
    assert counted["n_unknown"] == inside.count(None)
    if all(shapely.is_simple(line(*xy)) for xy, _ in paths):
        total = found["I-04"]["denominator"] + sum(row["denominator"] for row in found["I-04"]["apart"])
        assert total == pytest.approx(sum(line(*xy).length for xy, _ in paths), abs=1e-5)
