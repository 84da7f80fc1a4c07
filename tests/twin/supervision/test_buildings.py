"""Sites and the one map: parcels against the plan, permits against what stands, models against pipes."""

import datetime as dt
import json

import numpy as np
import pytest
import shapely
import trimesh

from tests.twin.analysis.land_city import EAST, NORTH, TOWN, box, made, town, with_raster
from twin.supervision import engine

PLAN = {
    "code_system": "ydyh2023",
    "far_max": 1.12,
    "density_max_pct": 14.0,
    "green_min_pct": 35.0,
    "height_max_m": 30.0,
}
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def mesh(x0, y0, z0, x1, y1, z1):
    body = trimesh.creation.box(bounds=[[EAST + x0, NORTH + y0, z0], [EAST + x1, NORTH + y1, z1]])
    return np.asarray(body.vertices), np.asarray(body.faces)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    site = {"stage": "主体", "end_date": dt.date(2026, 12, 31)}
    layers = {
        "construction_site": [
            ("S", box(0, 0, 100, 100), site),
            ("late", box(200, 0, 300, 100), site | {"end_date": dt.date(2026, 5, 31)}),
            ("empty", box(400, 0, 500, 100), {}),
        ],
        "parcel": [("P", box(0, 0, 100, 100), {}), ("next", box(100, 0, 200, 100), {})],
        "land_plan": [("L", box(0, 0, 100, 100), PLAN), ("L2", box(200, 0, 300, 100), PLAN)],
        "green_space": [("G", box(0, 65, 100, 100), {})],
        "building": [
            ("tower", box(10, 10, 30, 60), {"floors": 10, "height_m": 30.0, "base_elev_m": 5.0}),
            ("low", box(50, 50, 70, 64), {"floors": 3, "height_m": 9.0, "base_elev_m": 5.0}),
            ("over", box(220, 10, 240, 30), {"floors": 2, "height_m": 31.0, "base_elev_m": 5.0}),
            ("bare", box(250, 10, 260, 30), {"base_elev_m": 5.0}),
        ],
        "permit_building": [
            ("p-tower", box(10, 10, 30, 60), {"height_m": 30.0, "gfa_m2": 10_000.0}),
            ("p-low", box(50, 50, 70, 64), {"height_m": 9.0, "gfa_m2": 800.0}),
            ("p-over", box(220, 10, 240, 25), {"height_m": 30.0, "gfa_m2": 600.0}),
            ("p-bare", box(250, 10, 260, 30), {"height_m": 10.0, "gfa_m2": 600.0}),
            ("p-new", box(270, 10, 290, 50), {"height_m": 40.0, "gfa_m2": 12_000.0}),
        ],
        "water_line": [("W", box(-20, 0, 1, 100), {"setback_m": 15.0})],
        "bim_element": [
            ("slab", box(10, 10, 30, 60), {"top_elev_m": 5.5}),
            ("roof", box(10, 10, 30, 60), {"top_elev_m": 36.0}),
            ("ghost", box(10, 10, 12, 12), {}),
        ],
        "pipe_sewage": [
            ("through", shapely.LineString([(EAST + 20, NORTH, 4), (EAST + 20, NORTH + 90, 4)]), {}),
            ("near", shapely.LineString([(EAST + 30.2, NORTH, 4), (EAST + 30.2, NORTH + 90, 4)]), {}),
            ("far", shapely.LineString([(EAST + 32, NORTH, 4), (EAST + 32, NORTH + 90, 4)]), {}),
            ("unknown", shapely.LineString([(EAST + 25, NORTH), (EAST + 25, NORTH + 90)]), {}),
            ("elsewhere", shapely.LineString([(EAST + 80, NORTH), (EAST + 80, NORTH + 90)]), {}),
        ],
    }
    meshes = {
        "bim_element": {"slab": mesh(10, 10, 3, 30, 60, 5.5), "roof": mesh(10, 10, 35, 30, 60, 36)},
        "pipe_sewage": {
            "through": mesh(19.9, 0, 3.9, 20.1, 90, 4.1),
            "near": mesh(30.1, 0, 3.9, 30.3, 90, 4.1),
            "far": mesh(31.9, 0, 3.9, 32.1, 90, 4.1),
        },
    }
    with made(tmp_path_factory.mktemp("site"), layers, meshes) as opened:
        yield opened


def held(city, check, supervision="construction", **where):
    run = engine.run(city, supervision, checks=[check], now=NOW, **where)
    rows = {}
    for each in run.findings:
        rows.setdefault(each.rule, {})[*each.objects, *([each.part] if each.part else [])] = each
    return rows, run.results[0]


def test_the_sites_parcel_passes_at_its_limits(city):
    rows, _ = held(city, "site-intensity", site="S")
    far = rows["plan-far"]["parcel/P",]
    # 10 storeys of 1,000 m² and 3 of 280 m² on a hectare
    assert (far.measured, far.limit, far.verdict) == (pytest.approx(1.084), 1.12, "pass")
    assert rows["plan-density"]["parcel/P",].measured == pytest.approx(12.8)
    green = rows["plan-green"]["parcel/P",]
    assert (green.measured, green.verdict) == (pytest.approx(35), "pass"), "equal to the limit"
    assert set(rows["plan-far"]) == {("parcel/P",)}, "the neighbour that only touches is not the site's"


def test_a_site_without_parcel_and_permits_to_come(city):
    rows, _ = held(city, "site-intensity", site="late")
    far = rows["plan-far"]["construction_site/late",]
    assert (far.verdict, far.measured) == ("unknown", pytest.approx(0.08)), "storeys of one are not known"
    assert "bare" in far.note.en
    permitted = rows["plan-far"]["construction_site/late", "permitted"]
    assert (permitted.verdict, permitted.measured) == ("review", pytest.approx((800 + 12_000) / 1e4))
    assert rows["plan-green"]["construction_site/late",].verdict == "unknown", "nothing green is recorded"
    empty, _ = held(city, "site-intensity", site="empty")
    assert {each.verdict for rule in empty.values() for each in rule.values()} == {"unknown"}, "the plan has no plot"


def test_the_one_map_counts_what_passes(city):
    rows, result = held(city, "parcel-intensity", "one-map")
    assert (result.verdict("plan-density"), result.counts("plan-density")["pass"]) == ("unknown", 1)
    assert {key: each.verdict for key, each in rows["plan-far"].items()} == {("parcel/next",): "unknown"}


def test_setback_is_unknown_until_a_city_says_it(city):
    rows, _ = held(city, "setback-height", site="S")
    words = rows["building-setback"]["parcel/P", "building"]
    assert (words.verdict, words.measured) == ("unknown", pytest.approx(10))
    folder = city.folder / "rules"
    folder.mkdir()
    (folder / "ours.yaml").write_text("rules:\n  - {id: building-setback, value: 10.5, confidence: high}\n")
    try:
        rows, result = held(city, "setback-height", site="S")
    finally:
        (folder / "ours.yaml").unlink()
        folder.rmdir()
    assert {key[0]: (each.verdict, each.measured) for key, each in rows["building-setback"].items()} == {
        "building/tower": ("fail", pytest.approx(10)),
        "building/low": ("pass", pytest.approx(30)),
    }
    assert result.counts("plan-height")["pass"] == 2, "30 m under a limit of 30 m"


def test_the_plans_own_setback_where_it_has_one(tmp_path):
    plot = {"code_system": "ydyh2023"}
    layers = {
        "parcel": [("P", box(0, 0, 50, 50), {}), ("Q", box(60, 0, 110, 50), {})],
        "land_plan": [("L", box(0, 0, 50, 50), plot | {"setback_min_m": 6.0}), ("M", box(60, 0, 110, 50), plot)],
        "building": [
            ("near", box(5, 10, 20, 20), {}),
            ("far", box(25, 10, 40, 20), {}),
            ("free", box(70, 10, 80, 20), {}),
        ],
    }
    with made(tmp_path, layers, more=("setback_min_m",)) as city:
        rows, result = held(city, "setback-height")
    assert result.counts("building-setback") == {"fail": 1, "review": 0, "unknown": 1, "pass": 1}
    short = rows["building-setback"]["building/near", "parcel/P"]
    assert (short.measured, short.limit, short.verdict) == (pytest.approx(5), 6, "fail")


def test_heights_of_the_plan_and_control_lines(city):
    rows, _ = held(city, "setback-height", site="late")
    assert {key[0]: each.verdict for key, each in rows["plan-height"].items()} == {
        "building/over": "fail",
        "building/bare": "unknown",
        "permit_building/p-new": "fail",
    }
    near, result = held(city, "setback-height", site="S")
    line = near["control-line-setback"]["building/tower", "water_line/W"]
    assert (line.measured, line.limit, line.verdict) == (pytest.approx(9), 15, "review")
    assert result.counts("control-line-setback")["pass"] == 1, "the other is far from it"


def test_permits_against_what_is_built(city):
    rows, result = held(city, "as-built", site="late")
    excess = rows["as-built-footprint"]["building/over", "permit_building/p-over"]
    assert (excess.measured, excess.verdict) == (pytest.approx(100), "fail")
    heights = {key[0]: (each.verdict, each.limit) for key, each in rows["as-built-height"].items()}
    assert heights == {"building/over": ("fail", 30), "building/bare": ("unknown", 10)}
    floors = {key[0]: (each.verdict, each.measured) for key, each in rows["as-built-floor-area"].items()}
    assert floors == {
        "permit_building/p-over": ("review", pytest.approx(100 * (800 / 600 - 1))),
        "permit_building/p-bare": ("unknown", None),
    }
    assert result.counts("as-built-footprint")["pass"] == 1


def test_the_models_top_against_the_permit(city):
    rows, result = held(city, "as-built", site="S")
    (bim,) = [each for key, each in rows["as-built-height"].items() if key[-1] == "bim"]
    assert (bim.measured, bim.limit, bim.verdict) == (pytest.approx(31), 30, "fail"), "36 m less a base of 5 m"
    assert result.counts("as-built-height") == {"fail": 1, "review": 0, "unknown": 0, "pass": 2}
    assert result.verdict("as-built-floor-area") == "review", "840 m² stand where 800 m² are permitted"


def test_progress_by_phase_and_what_is_overdue(city):
    rows, _ = held(city, "as-built")
    progress = {key[0].partition("/")[2]: each for key, each in rows["construction-progress"].items()}
    assert (progress["S"].verdict, progress["S"].measured) == ("pass", pytest.approx(100))
    late = progress["late"]
    assert (late.verdict, late.limit) == ("review", 95)
    assert late.measured == pytest.approx(100 * (300 + 200) / (300 + 200 + 800))
    assert "permit 3, existing 2" in late.note.en
    assert (progress["empty"].verdict, progress["empty"].measured) == ("unknown", None)
    cut, _ = held(city, "as-built", region=box(195, 5, 235, 20))
    same = cut["construction-progress"]["construction_site/late",]
    assert same.measured == pytest.approx(late.measured), "a site is looked at as a whole"
    whole, _ = held(city, "as-built", site="empty")
    assert {each.verdict for rule in whole.values() for each in rule.values()} == {"unknown"}


def test_a_building_on_the_edge_keeps_its_permit_outside(tmp_path):
    layers = {
        "construction_site": [("S", box(0, 0, 50, 50), {})],
        "building": [("B", box(40, 0, 80, 20), {"height_m": 10.0, "floors": 3})],
        "permit_building": [
            ("in", box(40, 0, 50, 20), {"height_m": 10.0, "gfa_m2": 600.0}),
            ("out", box(50, 0, 80, 20), {"height_m": 10.0, "gfa_m2": 1800.0}),
        ],
    }
    with made(tmp_path, layers) as city:
        _, result = held(city, "as-built", site="S")
    assert (result.verdict("as-built-footprint"), result.verdict("as-built-height")) == ("pass", "pass")
    assert result.verdict("as-built-floor-area") == "unknown", "one building, two permits"


def test_a_surface_over_the_permit_is_for_review(tmp_path):
    layers = {
        "construction_site": [("S", box(0, -60, 60, 0), {})],
        "building": [("B", box(10, -30, 30, -10), {"height_m": 10.0, "floors": 3})],
        "permit_building": [("P", box(10, -30, 30, -10), {"height_m": 10.0, "gfa_m2": 1200.0})],
    }
    with made(tmp_path, layers) as city:
        ground, surface = np.full((60, 60), 5.0), np.full((60, 60), 5.0)
        surface[10:30, 10:30] = 5.0 + 11.0  # as much as the allowance
        with_raster(city, "dem", ground, layer="dem")
        with_raster(city, "dsm", surface)
        _, result = held(city, "as-built", site="S")
        assert result.counts("as-built-height")["pass"] == 2
        surface[10:30, 10:30] += 0.01
        with_raster(city, "dsm", surface)
        rows, _ = held(city, "as-built", site="S")
        (only,) = rows["as-built-height"].values()
        assert (only.part, only.verdict, only.measured) == ("dsm", "review", pytest.approx(11.01))


def test_models_against_pipes(city):
    rows, result = held(city, "bim-clash", site="S")
    through = rows["bim-pipe-clash"]["bim_element/slab", "pipe_sewage/through"]
    assert (through.verdict, through.measured) == ("fail", pytest.approx(0.2 * 0.2 * 50, abs=1e-4))
    near = rows["bim-pipe-gap"]["bim_element/slab", "pipe_sewage/near"]
    assert (near.verdict, near.measured) == ("review", pytest.approx(0.1, abs=1e-5))
    assert ("bim_element/slab", "pipe_sewage/far") not in rows["bim-pipe-gap"]
    unknown = rows["bim-pipe-clash"]["construction_site/S",]
    assert (unknown.verdict, unknown.note.en[:7]) == ("unknown", "1 pipes"), "one pipe near has no solid"
    assert rows["bim-clash-hard"]["bim_element/ghost",].verdict == "unknown", "it has no mesh"
    assert result.counts("bim-clash-hard")["fail"] == 0
    nothing, _ = held(city, "bim-clash", site="late")
    assert {each.verdict for rule in nothing.values() for each in rule.values()} == {"unknown"}


def test_elements_that_run_into_each_other(tmp_path):
    elements = [("a", box(0, 0, 1, 1), {}), ("b", box(0, 0, 2, 1), {}), ("c", box(2, 0, 3, 1), {})]
    meshes = {
        "bim_element": {"a": mesh(0, 0, 0, 1, 1, 1), "b": mesh(0.8, 0, 0, 1.8, 1, 1), "c": mesh(1.8, 0, 0, 3, 1, 1)}
    }
    with made(tmp_path, {"bim_element": elements}, meshes) as city:
        rows, result = held(city, "bim-clash")
    (only,) = rows["bim-clash-hard"].values()
    assert (only.objects, only.measured) == (("bim_element/a", "bim_element/b"), pytest.approx(0.2, abs=1e-5))
    assert (only.geometry.x, only.geometry.y) == pytest.approx((EAST + 0.9, NORTH + 0.5), abs=1e-4)
    assert result.counts("bim-clash-hard")["pass"] == 1, "the pair that touches"


def test_without_a_layer_each_rule_is_unknown(tmp_path):
    with made(tmp_path, {"building": [("B", box(0, 0, 1, 1), {})]}) as city:
        for check, supervision in (
            ("illegal-building", "one-map"),
            ("parcel-intensity", "one-map"),
            ("as-built", "construction"),
            ("bim-clash", "construction"),
        ):
            _, result = held(city, check, supervision)
            assert {result.verdict(rule) for rule in result.check.rules} == {"unknown"}


def test_an_outline_that_cuts_itself_is_unknown(tmp_path):
    bow = shapely.Polygon([(EAST, NORTH), (EAST + 9, NORTH + 9), (EAST + 9, NORTH), (EAST, NORTH + 9)])
    layers = {
        "building": [("bow", bow, {}), ("B", box(20, 0, 30, 9), {})],
        "permit_building": [("P", box(20, 0, 30, 9), {})],
    }
    with made(tmp_path, layers) as city:
        rows, result = held(city, "illegal-building", "one-map")
    assert {key[0]: each.verdict for key, each in rows["illegal-building-permit"].items()} == {
        "building/bow": "unknown"
    }
    assert result.counts("illegal-building-permit")["pass"] == 1
    assert rows["illegal-building-height"]["building/B",].note.en.startswith("A permit"), "it names no height"
    assert rows["illegal-building-control-line"]["city",].verdict == "unknown", "no line is known"


def test_illegal_buildings_of_the_sample_town_and_no_near_miss(tmp_path):
    truths = json.loads((TOWN / "expected.json").read_text("utf8"))["illegal_buildings"]
    rules = {
        "no_permit": "illegal-building-permit",
        "enlarged": "illegal-building-footprint",
        "too_high": "illegal-building-height",
    }
    with town(tmp_path, "vector", "land", "terrain") as city:
        rows, result = held(city, "illegal-building", "one-map")
        built, _ = held(city, "as-built")
    found = {(rule, key[0]) for rule in rules.values() for key, each in rows[rule].items() if each.verdict == "fail"}
    assert found == {(rules[each["reason"]], f"building/{each['building_id']}") for each in truths if each["illegal"]}
    assert sum(result.counts(rule)["unknown"] + result.counts(rule)["review"] for rule in rules.values()) == 0
    assert result.counts("illegal-building-permit")["pass"] == 468
    for kind, rule in (("enlarged", "as-built-footprint"), ("too_high", "as-built-height")):
        got = {key[0] for key, each in built[rule].items() if each.verdict == "fail"}
        assert got == {
            f"building/{each['building_id']}" for each in truths if each["illegal"] and each["reason"] == kind
        }


def test_random_permits_equal_a_count_of_cells(tmp_path):
    rng = np.random.default_rng(7)
    houses, permits, cells = [], [], {}
    for row in range(120):
        x, y = 40 * (row % 12), 40 * (row // 12)
        w, d = rng.integers(4, 20, 2)
        dx, dy, pw, pd = (*rng.integers(-6, 7, 2), *rng.integers(4, 20, 2))
        houses.append((f"B{row}", box(x + 10, y + 10, x + 10 + w, y + 10 + d), {"height_m": float(rng.integers(5, 9))}))
        if row % 5:
            low = (x + 10 + dx, y + 10 + dy)
            permits.append((f"P{row}", box(*low, low[0] + pw, low[1] + pd), {"height_m": 7.0}))
        width = max(0, min(w, dx + pw) - max(0, dx)) * (row % 5 > 0)
        common = width * max(0, min(d, dy + pd) - max(0, dy))
        belongs = common > 0 and (10 * common >= w * d or 10 * common >= pw * pd)
        cells[f"B{row}"] = (w * d, common if belongs else 0, belongs)
    with made(tmp_path, {"building": houses, "permit_building": permits}) as city:
        rows, _ = held(city, "illegal-building", "one-map")
    heights = {name: values["height_m"] for name, _, values in houses}
    expected = {
        "illegal-building-permit": {name for name, (_, _, own) in cells.items() if not own},
        "illegal-building-footprint": {
            name for name, (size, common, own) in cells.items()
            if own and size - common > 10 and size - common > 0.05 * size
        },
        "illegal-building-height": {name for name, (_, _, own) in cells.items() if own and heights[name] > 7},
    }  # fmt: skip
    for rule, names in expected.items():
        assert {key[0].partition("/")[2] for key in rows[rule]} == names
