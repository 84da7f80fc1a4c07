"""The register of indicators: targets and comparators as the plans have them, each at its boundary; zones by code."""

import time

import numpy as np
import pytest
import shapely

from layers import catalogue
from layers.errors import InvalidInput, NotFound
from tests.twin.supervision.indicator_city import box, collection, made, point, towns
from twin.scope import Scope
from twin.supervision.indicators import Source, admin, definition, evaluate, load, of_city
from twin.supervision.indicators.evaluate import MEASURES, Row, judged

PLAN = {
    "I-01": (">=", 90), "I-02": (">=", 100), "I-03": ("<", 5000), "I-04": (">=", 85), "I-05": (">", 80),
    "I-06": (">=", 90), "I-07": (">=", 90), "I-08": (">=", 50), "I-09": (">=", 90), "I-10": (">=", 90),
    "I-11": (">=", 90), "I-12": (">=", 80), "I-13": (">=", 90), "I-13-intact": (">=", 90), "I-14": (">=", 80),
    "I-15": (">=", None), "I-16": (">=", 30), "I-17": (">=", 4), "I-18": (">=", 70), "I-18-e-stop": (">=", 10),
}  # fmt: skip
"""不低于 and 达到 are >=, 超过 is >, 小于 is <."""


def state_of(indicator, value):
    return judged(indicator, Row("", "", "city", value, "unknown", "unknown"))


@pytest.mark.parametrize("name", PLAN)
def test_targets_and_comparators_are_the_plans_and_hold_at_the_boundary(name):
    each = load()[name]
    comparator, target = PLAN[name]
    assert (each.comparator, each.target) == (comparator, target)
    if target is None:
        assert state_of(each, 50.0) == ("no-target", "unknown")
        return
    step = 0.01  # percentage points, metres or pieces: more than any tolerance
    better = 1 if comparator in {">=", ">"} else -1
    bad = "review" if each.confidence == "low" else "fail"
    assert state_of(each, target + better * step)[1] == "pass"
    assert state_of(each, target - better * step)[1] == bad
    assert state_of(each, float(target))[1] == ("pass" if "=" in comparator else bad)
    assert state_of(each, None) == ("unknown", "unknown")


def test_i_01_at_90_and_89_point_9():
    assert state_of(load()["I-01"], 90.0)[1] == "pass"
    assert state_of(load()["I-01"], 89.9)[1] == "fail"
    assert state_of(load()["I-01"], 89.998)[1] == "fail"


def test_every_indicator_is_whole():
    found = load()
    assert {f"I-{n:02d}" for n in range(1, 19)} <= set(found)
    for each in found.values():
        assert each.title.zh
        assert each.title.en
        assert each.clause
        assert each.measure["kind"] in {*MEASURES, "weighted-mean"}


def test_the_schema_lets_through_exactly_the_measures_that_there_are():
    kinds = set()
    for each in definition.schema()["$defs"]["measure"]["oneOf"]:
        told = each["properties"]["kind"]
        kinds |= set(told.get("enum", [told.get("const")]))
    assert kinds == {*MEASURES, "weighted-mean"}


def test_attributes_that_the_register_reads_are_in_the_catalogue_where_the_layer_is():
    from twin.supervision.indicators.condition import parsed, properties

    def read(part, layer=None):
        if isinstance(part, dict):
            layer = part.get("layer", layer)
            for key, value in part.items():
                if key in {"filter", "live"} and layer in known:
                    yield from ((layer, name) for name in properties(parsed(value)))
                elif isinstance(value, dict | list):
                    yield from read(value, layer)
        elif isinstance(part, list):
            for each in part:
                yield from read(each, layer)

    known = catalogue.load()
    checked = set()
    for each in load().values():
        for layer, name in read(dict(each.measure)):
            assert known[layer].attribute(name) is not None, (each.id, layer, name)
            checked.add(layer)
    assert len(checked) >= 7


@pytest.mark.parametrize(
    ("code", "short", "starts", "level"),
    [
        ("370000", "370000", "37", "city"), ("370600", "370600", "3706", "city"),
        ("370602", "370602", "370602", "county"),
        ("370602001", "370602001", "370602001", "town"), ("370602001000", "370602001", "370602001", "town"),
        ("370602001003", "370602001003", "370602001003", "village"), ("370602000000", "370602", "370602", "county"),
    ],
)  # fmt: skip
def test_codes_and_their_levels(code, short, starts, level):
    assert (admin.bare(code), admin.prefix(code), admin.level_of(code)) == (short, starts, level)


@pytest.mark.parametrize("code", ["", "37", "3706021", "37060a", None])
def test_what_is_no_code(code):
    assert admin.bare(code) is None


@pytest.fixture
def prefecture(tmp_path):
    units = [("370600", box(0, 0, 400, 100), {"xzqdm": "370600", "name": "市"})]
    units += [(f"37060{i}", box(200 * (i - 2), 0, 200 * (i - 1), 100), {"xzqdm": f"37060{i}"}) for i in (2, 3)]
    units += [("370602001000", box(0, 0, 100, 100), {"xzqdm": "370602001000"})]
    units += [("none", box(0, 0, 1, 1), {"xzqdm": None}), ("odd", None, {"xzqdm": "370602002"})]
    lamps = [(str(i), point(i * 40 + 30, 50), {"smart": True}) for i in range(10)]
    with made(tmp_path, {"admin_unit": units, "lamp": lamps}) as city:
        yield city


def test_a_prefecture_with_counties_and_a_town(prefecture):
    source = Source(prefecture)
    counties = of_city(source, "county")
    assert (counties.code, counties.codes, counties.rest) == ("370600", ["370602", "370603"], None)
    whole = of_city(source, "town")
    assert whole.codes == ["370602001"]
    assert shapely.area(whole.rest) == pytest.approx(30_000)
    value = evaluate(load()["I-06"], source, whole)
    assert [(row.kind, row.n) for row in value.zones] == [("zone", 2), ("rest", 8)]
    assert value.city.n == 10
    with pytest.raises(InvalidInput, match="xzqdm '12' is no admin code"):
        of_city(source, "town", "12")
    with pytest.raises(NotFound, match="370699"):
        of_city(source, "town", "370699")


def test_what_the_asker_may_not_see_is_unknown_and_not_counted(tmp_path):
    layers = {"admin_unit": towns(), "camera": [("c", point(5, 5), {"state": "正常"})],
              "lamp": [("l", point(5, 5), {"smart": True})]}  # fmt: skip
    with made(tmp_path, layers) as city:
        assert evaluate(load()["I-13-intact"], Source(city), of_city(Source(city))).city.value == 100
        guest = city.with_scope(Scope("guest", frozenset({"admin_unit", "lamp"})))
        value = evaluate(load()["I-13-intact"], Source(guest), of_city(Source(guest)))
        assert (value.city.verdict, value.city.n) == ("unknown", 0)
        assert "camera" in value.missing[1]
        opened = evaluate(load()["I-11"], Source(guest), of_city(Source(guest)))
        assert opened.facts["restricted"] == []
        assert evaluate(load()["I-11"], Source(city), of_city(Source(city))).facts["restricted"] == ["camera"]


def test_the_state_of_an_earlier_moment(tmp_path):
    with made(tmp_path, {"lamp": [(str(i), point(i, 5), {"smart": i < 5}) for i in range(10)]}) as city:
        before = city["lamp"].query().valid_from.iloc[0]
        time.sleep(0.01)  # moments are kept by the millisecond
        city["lamp"].update([str(i) for i in range(10)], smart=True)
        now = city.run("plan-indicators", indicators=["I-06"])["indicators"][0]
        then = city.run("plan-indicators", indicators=["I-06"], datetime=before)["indicators"][0]
        assert (then["value"], now["value"]) == (50, 100)


def test_open_data_and_sharing(tmp_path):
    layers = {
        "lamp": [("l", point(5, 5), {"access": "open"}), ("m", point(6, 5), {"access": None})],
        "parking_point": [("p", point(5, 5), {"access": "shared"}), ("q", point(5, 5), {"access": "open"})],
        "poi": [("p", point(5, 5), {"access": "restricted"})],
        "camera": [("c", point(5, 5), {})],
        "source": [
            ("a.gpkg", None, {"status": "stored", "layers": '["lamp"]'}),
            ("b.gpkg", None, {"status": "parked", "layers": "[]"}),
            ("c.gpkg", None, {"status": "stored", "layers": '["camera"]'}),
            ("d.gpkg", None, {"status": "partly", "layers": '[{"layer": "poi"}]'}),
        ],
    }  # fmt: skip
    with made(tmp_path, layers) as city:
        source, zones = Source(city), of_city(Source(city))
        opened = evaluate(load()["I-11"], source, zones)
        assert opened.facts == {"open": ["lamp"], "not_open": ["parking_point"], "restricted": ["poi", "camera"]}
        assert opened.city.value == 50
        shared = evaluate(load()["I-09"], source, zones)
        assert (shared.city.value, shared.facts) == (
            pytest.approx(200 / 3), {"not_shared": ["b.gpkg"], "restricted": ["c.gpkg"]},
        )  # fmt: skip


def test_categories_that_have_a_layer(tmp_path):
    with made(
        tmp_path, {"lamp": [("l", point(5, 5), {})], "poi": [], "building": [("b", box(0, 0, 5, 5), {})]}
    ) as city:
        value = evaluate(load()["I-02"], Source(city), of_city(Source(city)))
        assert value.city.value == pytest.approx(200 / 7)
        assert value.facts["missing"] == ["survey", "plan", "project", "public", "cim_product"]


def test_grid_of_zones_shares_one_whole(tmp_path):
    """A share by own zones is the whole's share when each zone is weighed with its part."""
    rng = np.random.default_rng(7)
    lamps = collection(*[(str(i), point(*rng.uniform(0, 100, 2)), {"smart": bool(i % 3)}) for i in range(60)])
    cells = collection(
        *[(f"{x}{y}", box(25 * x, 25 * y, 25 * x + 25, 25 * y + 25), {}) for x in range(4) for y in range(4)]
    )
    with made(tmp_path, {"building": [("b", box(0, 0, 100, 100), {})]}) as city:
        own = city.run("plan-indicators", indicators=["I-06"], layers={"lamp": lamps}, zones=cells)["indicators"][0]
    assert own["value"] == pytest.approx(sum(row["value"] * row["n"] for row in own["rows"] if row["n"]) / 60)
    assert own["value"] == pytest.approx(100 * 40 / 60)
