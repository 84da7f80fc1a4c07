"""Supervision of water: rain, reservoirs, rivers and inundation on a small city whose truth is known by hand."""

import datetime as dt

import numpy as np
import pytest
import shapely

from tests.twin.analysis import water_city
from tests.twin.analysis.water_city import EAST, NORTH
from twin.analysis.reservoir_storage import storages_of
from twin.supervision import engine
from twin.supervision.checks.reservoirs import in_season
from twin.supervision.rules import load, on_day

NOW = dt.datetime(2026, 6, 18, 10, 30, tzinfo=dt.timezone(dt.timedelta(hours=8)))
HOUR = dt.timedelta(hours=1)
LAST = NOW.replace(minute=0)


def box(left, top, right, bottom):
    return shapely.box(EAST + left, NORTH - bottom, EAST + right, NORTH - top)


def at(x, y):
    return shapely.Point(EAST + x, NORTH - y)


def sensor(place, kind, host=None):
    return place, {"device_id": None, "kind": kind, "host_id": host}


def hourly(device, values, quantity="rain", unit="mm", marks=None):
    """Rows of observations, the last of them at the full hour before NOW."""
    return [
        (device, LAST - HOUR * (len(values) - 1 - k), quantity, value, unit, (marks or {}).get(k))
        for k, value in enumerate(values)
    ]


def observations(rows):
    names = ("device_id", "time", "quantity", "value", "unit", "quality")
    rows = [(*row[:3], None if row[3] is None else float(row[3]), *row[4:]) for row in rows]
    return ("sensor_obs", "none", {str(k): (None, dict(zip(names, row, strict=True))) for k, row in enumerate(rows)})


def looked(folder, layers, check, ground=None, now=NOW, **more):
    """Findings of a check by rule and object, and how many things passed untold."""
    folder.mkdir(exist_ok=True)
    with water_city.make(folder, ground, layers) as city:
        run = engine.run(city, "water", checks=[check], now=now, **more)
    found = {}
    for each in run.results[0].findings:
        found.setdefault(each.rule, {})[each.objects[0].partition("/")[2] or each.objects[0]] = each
    return found, run.results[0].passed


# rain ------------------------------------------------------------------------------------------------------------

BASIN = ("basin", "Polygon", {"whole": (box(0, 0, 1000, 500), {"area_m2": 500_000.0})})
TWO = ("sensor", "Point", {"A": sensor(at(0, 250), "rain"), "B": sensor(at(1000, 250), "雨量")})


def spread_over(total, hours=24):
    return [total / hours] * hours


def test_areal_rain_of_24_hours_is_a_rainstorm(tmp_path):
    rows = hourly("A", spread_over(40)) + hourly("B", spread_over(80))
    found, _ = looked(tmp_path, [BASIN, TWO, observations(rows)], "basin-rain")
    storm = found["rainstorm-24h"]["whole"]
    assert (storm.verdict, storm.measured, storm.limit) == ("fail", 60.0, 50.0)
    assert storm.note.zh == "暴雨，60.0 mm"
    half = found["rainstorm-12h"]["whole"]
    assert (half.verdict, half.measured) == ("fail", 30.0)
    assert found["basin-area"]["whole"].verdict == "pass"
    assert found["rain-warning-signal"]["whole"].verdict == "pass"


@pytest.mark.parametrize(
    ("total", "verdict", "name"),
    [(49.9, "pass", "大雨"), (49.94, "pass", "大雨"), (49.95, "fail", "暴雨"), (50.0, "fail", "暴雨")],
)
def test_the_boundary_of_a_rainstorm(tmp_path, total, verdict, name):
    rows = hourly("A", spread_over(total)) + hourly("B", spread_over(total))
    storm = looked(tmp_path, [BASIN, TWO, observations(rows)], "basin-rain")[0]["rainstorm-24h"]["whole"]
    assert storm.verdict == verdict
    assert storm.note.zh.startswith(name)


@pytest.mark.parametrize(
    ("values", "limit", "zh"),
    [
        ([0] * 21 + [33, 33, 34], 100.0, "红色"),
        ([0] * 21 + [33, 33, 33.9], 50.0, "橙色"),
        ([0] * 21 + [10, 20, 20], 50.0, "橙色"),
        ([0] * 18 + [10, 0, 0, 10, 10, 20], 50.0, "黄色"),
        ([0] * 12 + [10, 0, 0, 0, 0, 0, 0, 0, 0, 10, 10, 20], 50.0, "蓝色"),
    ],
    ids=["red", "orange below red", "orange", "yellow", "blue"],
)
def test_the_highest_signal_that_is_reached(tmp_path, values, limit, zh):
    rows = hourly("A", values) + hourly("B", values)
    signal = looked(tmp_path, [BASIN, TWO, observations(rows)], "basin-rain")[0]["rain-warning-signal"]["whole"]
    assert (signal.verdict, signal.limit) == ("fail", limit)
    assert zh in signal.note.zh


def test_just_below_every_signal(tmp_path):
    values = [0] * 12 + [9.9, 0, 0, 0, 0, 0, 0, 0, 0, 10, 10, 20]
    rows = hourly("A", values) + hourly("B", values)
    assert (
        looked(tmp_path, [BASIN, TWO, observations(rows)], "basin-rain")[0]["rain-warning-signal"]["whole"].verdict
        == "pass"
    )


@pytest.mark.parametrize("how", ["gap", "null", "doubt", "unit"])
def test_a_station_with_a_missing_value_is_left_out_and_told(tmp_path, how):
    rows = hourly("A", spread_over(24)) + hourly("B", spread_over(80))
    device, time, quantity, value, unit, _ = rows[30]
    changed = {
        "gap": [], "null": [(device, time, quantity, None, unit, None)],
        "doubt": [(device, time, quantity, value, unit, "range,disorder")],
        "unit": [(device, time, quantity, value, "furlong", None)],
    }[how]  # fmt: skip
    found, _ = looked(tmp_path, [BASIN, TWO, observations(rows[:30] + changed + rows[31:])], "basin-rain")
    storm = found["rainstorm-24h"]["whole"]
    assert (storm.verdict, storm.measured) == ("pass", 24.0)
    assert "缺测未计：B" in storm.note.zh


def test_two_devices_at_one_place_are_named_and_nothing_is_guessed(tmp_path):
    three = ("sensor", "Point", TWO[2] | {"C": sensor(at(1000, 250), "rain")})
    rows = hourly("A", spread_over(40)) + hourly("B", spread_over(80)) + hourly("C", spread_over(20))
    found, _ = looked(tmp_path, [BASIN, three, observations(rows)], "basin-rain")
    assert found["rainstorm-24h"]["whole"].verdict == "unknown"
    assert "'B' and 'C' stand at one place" in found["rainstorm-24h"]["whole"].note.en
    assert found["basin-area"]["whole"].verdict == "pass"


def test_old_or_no_observations_are_unknown(tmp_path):
    rows = hourly("A", spread_over(60)) + hourly("B", spread_over(60))
    later = NOW + dt.timedelta(hours=4)
    found, _ = looked(tmp_path / "late", [BASIN, TWO, observations(rows)], "basin-rain", now=later)
    for rule in ("rainstorm-24h", "rainstorm-12h", "rain-warning-signal"):
        assert found[rule]["whole"].verdict == "unknown"
        assert "没有雨量站" in found[rule]["whole"].note.zh
    none, _ = looked(tmp_path / "none", [BASIN], "basin-rain")
    assert none["rainstorm-24h"]["whole"].verdict == "unknown"
    assert looked(tmp_path / "no_basin", [TWO], "basin-rain")[0]["rainstorm-24h"]["city"].verdict == "unknown"


# reservoirs ------------------------------------------------------------------------------------------------------

OWN = {
    "reservoir_code": "SK1", "dead_level_m": 34.0, "normal_level_m": 46.0, "flood_limit_level_m": 45.0,
    "flood_high_level_m": 47.5, "design_level_m": 48.5, "check_level_m": 49.5, "dam_crest_elev_m": 51.0,
}  # fmt: skip
CURVE = [(30.0, 0.0), (40.0, 100.0), (50.0, 300.0)]


def reservoir(**changes):
    return ("reservoir", "Polygon", {"R": (box(0, 0, 100, 100), OWN | changes)})


def curve(rows=CURVE):
    return ("reservoir_curve", "none", {
        str(k): (None, {"reservoir_code": "SK1", "level_m": z, "storage_1e4m3": v}) for k, (z, v) in enumerate(rows)
    })  # fmt: skip


GAUGE = ("sensor", "Point", {"W": sensor(at(500, 500), "water_level", "SK1")})


def level(value, age_h=0.5, unit="m", mark=None, device="W"):
    return observations([(device, NOW - HOUR * age_h, "water_level", value, unit, mark)])


def reservoir_findings(folder, value=44.0, now=NOW, layers=None, **changes):
    layers = layers if layers is not None else [curve(), GAUGE, level(value)]
    return looked(folder, [reservoir(**changes), *layers], "reservoir-levels", now=now)[0]


def test_a_reservoir_in_order(tmp_path):
    found = reservoir_findings(tmp_path)
    assert {rule: each["R"].verdict for rule, each in found.items()} == dict.fromkeys(found, "pass")
    now = found["reservoir-flood-limit"]["R"]
    assert (now.measured, now.limit, now.time) == (44.0, 45.0, NOW - HOUR / 2)
    # 100 + 4/10 x 200 = 180 and 20 to the limit
    assert now.note.zh == "正常；库容 180.0 万m³，距汛限 +1.00 m、+20.0 万m³"


@pytest.mark.parametrize(("value", "verdict"), [(45.0, "pass"), (45.0000005, "pass"), (45.01, "fail"), (45.35, "fail")])
def test_the_flood_limit_at_its_boundary(tmp_path, value, verdict):
    assert reservoir_findings(tmp_path, value)["reservoir-flood-limit"]["R"].verdict == verdict


def test_above_the_limit_in_words_and_outside_the_season(tmp_path):
    found = reservoir_findings(tmp_path / "a", 46.2)
    assert found["reservoir-flood-limit"]["R"].note.zh.startswith("超汛限 +1.20 m")
    winter = NOW.replace(month=12)
    layers = [curve(), GAUGE, observations([("W", winter - HOUR, "water_level", 45.5, "m", None)])]
    found = reservoir_findings(tmp_path / "b", now=winter, layers=layers)
    assert (found["reservoir-flood-limit"]["R"].limit, found["reservoir-flood-limit"]["R"].verdict) == (46.0, "pass")


@pytest.mark.parametrize(
    ("day", "is_in"), [("2026-04-14", False), ("2026-04-15", True), ("2026-10-15", True), ("2026-10-16", False)]
)
def test_the_flood_season_has_its_first_and_last_day(day, is_in):
    rule = on_day(dt.date(2026, 6, 1))["reservoir-flood-limit"]
    assert in_season(rule, dt.date.fromisoformat(day)) == is_in


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        (level(44.0, age_h=24.1), "没有可用的水位观测"), (level(None), "没有可用的水位观测"),
        (level(44.0, mark="stuck"), "没有可用的水位观测"), (level(44.0, age_h=-1), "没有可用的水位观测"),
        (level(44.0, unit="bar"), "没有可用的水位观测"), (level(44.0, device="X"), "没有可用的水位观测"),
    ],
    ids=["old", "missing", "stuck", "from the future", "unit", "another device"],
)  # fmt: skip
def test_a_level_that_cannot_be_used_is_unknown(tmp_path, observed, words):
    found = reservoir_findings(tmp_path, layers=[curve(), GAUGE, observed])["reservoir-flood-limit"]["R"]
    assert (found.verdict, found.measured) == ("unknown", None)
    assert words in found.note.zh


def test_units_are_brought_to_metres_and_the_latest_counts(tmp_path):
    rows = [
        ("W", NOW - HOUR * k, "水位", value, unit, None)
        for k, value, unit in ((3, 47.0, "m"), (1, 4400.0, "cm"), (2, 48, "m"))
    ]
    found = reservoir_findings(tmp_path, layers=[curve(), GAUGE, observations(rows)])
    assert found["reservoir-flood-limit"]["R"].measured == pytest.approx(44.0)


def test_a_gauge_without_host_belongs_to_the_reservoir_it_stands_in(tmp_path):
    inside = ("sensor", "Point", {"W": sensor(at(50, 50), "water_level")})
    outside = ("sensor", "Point", {"W": sensor(at(150, 50), "water_level")})
    assert (
        reservoir_findings(tmp_path / "in", layers=[curve(), inside, level(44.0)])["reservoir-flood-limit"][
            "R"
        ].measured
        == 44
    )
    found = reservoir_findings(tmp_path / "out", layers=[curve(), outside, level(44.0)])["reservoir-flood-limit"]["R"]
    assert (found.verdict, found.note.zh) == ("unknown", "没有水位监测设备")


def test_order_limit_crest_and_dead_level(tmp_path):
    found = reservoir_findings(
        tmp_path / "a", 33.0, design_level_m=49.8, flood_limit_level_m=46.5, dam_crest_elev_m=49.0
    )
    assert found["reservoir-level-order"]["R"].verdict == "fail"
    assert found["reservoir-level-order"]["R"].part == "design-check"
    assert found["reservoir-limit-above-normal"]["R"].verdict == "review"
    assert found["reservoir-dam-crest"]["R"].verdict == "review"
    assert found["reservoir-dead-level"]["R"].verdict == "review"
    equal = reservoir_findings(tmp_path / "b", 34.0, flood_limit_level_m=46.0, dam_crest_elev_m=49.5)
    assert {each["R"].verdict for each in equal.values()} == {"pass"}
    missing = reservoir_findings(tmp_path / "c", check_level_m=None, flood_limit_level_m=None)
    assert {rule for rule, each in missing.items() if each["R"].verdict == "unknown"} == {
        "reservoir-level-order", "reservoir-dam-crest", "reservoir-flood-limit",
    }  # fmt: skip


def test_curves_that_cannot_be_used(tmp_path):
    bad = curve([*CURVE, (45.0, 50.0)])
    found = reservoir_findings(tmp_path / "a", layers=[bad, GAUGE, level(44.0)])
    assert found["reservoir-curve"]["R"].verdict == "fail"
    assert "not monotone" in found["reservoir-curve"]["R"].note.en
    assert found["reservoir-flood-limit"]["R"].verdict == "pass"
    none = reservoir_findings(tmp_path / "b", layers=[GAUGE, level(44.0)])
    assert none["reservoir-curve"]["R"].verdict == "unknown"
    short = reservoir_findings(tmp_path / "c", layers=[curve(CURVE[:2]), GAUGE, level(44.0)])
    assert short["reservoir-curve"]["R"].verdict == "review"
    assert "现水位 44 m" in short["reservoir-curve"]["R"].note.zh


def test_storages_are_defined_as_the_table_says():
    rule = next(each for each in load() if each.id == "reservoir-storages")
    at_levels = {"dead": 1.0, "flood_limit": 10.0, "normal": 100.0, "flood_high": 1000.0, "check": 10_000.0}
    wanted = {"dead": 1, "useful": 99, "flood_control": 990, "flood_regulation": 9990, "shared": 90}
    assert storages_of(at_levels, rule) == wanted
    assert set(rule.parameters["names"]) == set(wanted)


def test_runoff_against_what_the_reservoir_can_take(tmp_path):
    rows = hourly("A", spread_over(100)) + hourly("B", spread_over(100))
    rows.append(("W", NOW - HOUR, "water_level", 47.0, "m", None))
    sensors = ("sensor", "Point", TWO[2] | GAUGE[2])
    layers = [BASIN, sensors, reservoir(), curve(), observations(rows)]
    found, _ = looked(tmp_path / "a", layers, "basin-rain")
    assert found["basin-runoff-storage"]["whole"].verdict == "unknown"
    assert "curve_number" in found["basin-runoff-storage"]["whole"].note.zh
    folder = tmp_path / "b"
    (folder / "rules").mkdir(parents=True)
    own = "rules: [{id: basin-runoff-storage, parameters: {duration_h: 24, curve_number: 80}}]"
    (folder / "rules" / "own.yaml").write_text(own, "utf8")
    found = looked(folder, layers, "basin-rain")[0]["basin-runoff-storage"]["whole"]
    # 50.539 mm over 0.5 km2 = 2.527 x 10^4 m3; from 47.0 to 47.5 m the curve has 10
    assert found.measured == pytest.approx(2.527, abs=1e-3)
    assert (found.limit, found.verdict) == (pytest.approx(10), "pass")


# rivers ----------------------------------------------------------------------------------------------------------


def rivers(**rows):
    return ("river", "LineString", {
        name: (shapely.LineString([(EAST, NORTH - 25), (EAST + 60, NORTH - 25)]),
               {"river_code": name, "alert_level_m": alert, "guarantee_level_m": guarantee})
        for name, (alert, guarantee) in rows.items()
    })  # fmt: skip


RIVER_GAUGE = ("sensor", "Point", {"W": sensor(at(50, 25), "水位", "Q1")})


@pytest.mark.parametrize(
    ("value", "alert", "guarantee"),
    [
        (3.2, "pass", "pass"),
        (3.21, "fail", "pass"),
        (4.0, "fail", "pass"),
        (4.01, "fail", "fail"),
        (3.2000005, "pass", "pass"),
    ],
)
def test_river_levels_at_their_boundaries(tmp_path, value, alert, guarantee):
    layers = [rivers(Q1=(3.2, 4.0), Q2=(3.2, 4.0), Q3=(None, 4.0), Q4=(4.0, 4.0)), RIVER_GAUGE, level(value)]
    found, passed = looked(tmp_path, layers, "river-levels")
    assert found["river-alert-level"]["Q1"].verdict == alert
    assert found["river-guarantee-level"]["Q1"].verdict == guarantee
    assert found["river-alert-level"]["Q2"].verdict == "unknown", "no gauge"
    assert found["river-level-order"]["Q4"].verdict == "review"
    assert found["river-level-order"]["Q3"].verdict == "unknown"
    assert passed == {"river-level-order": 2}


def test_a_river_without_limit_is_unknown(tmp_path):
    found, _ = looked(tmp_path, [rivers(Q1=(None, 4.0)), RIVER_GAUGE, level(9.0)], "river-levels")
    assert found["river-alert-level"]["Q1"].verdict == "unknown"
    assert "警戒水位" in found["river-alert-level"]["Q1"].note.zh
    assert found["river-guarantee-level"]["Q1"].verdict == "fail"


# inundation ------------------------------------------------------------------------------------------------------


def ground():
    """10 x 10 cells of 10 m: a bed of 1 m in row 2, banks that rise by 1 m a row to the south, 9 m in the north.

    A dyke of 9 m in column 7, rows 3 to 9, shuts off what lies east of it but for the bed, where it is a sill of 3 m.
    """
    z = np.full((10, 10), 9.0)
    for row in range(2, 10):
        z[row] = row - 1.0
    z[3:, 7] = 9.0
    z[2, 7] = 3.0
    return z


PLACE = [
    ("building", "Polygon", {
        "low": (box(10, 42, 18, 48), {"gfa_m2": 300.0}),
        "touching": (box(10, 50, 18, 58), {"gfa_m2": 100.0}),
        "behind": (box(82, 32, 88, 38), {"gfa_m2": 100.0}),
        "high": (box(10, 82, 18, 88), {"gfa_m2": 100.0}),
    }),
    ("road", "LineString", {
        "down": (shapely.LineString([(EAST + 25, NORTH - 30), (EAST + 25, NORTH - 90)]), {"name": "D"}),
        "over": (shapely.LineString([(EAST + 45, NORTH - 15), (EAST + 45, NORTH - 50)]), {"name": "O"}),
        "dry": (shapely.LineString([(EAST, NORTH - 85), (EAST + 60, NORTH - 85)]), {"name": "T"}),
    }),
    ("bridge", "Polygon", {"B": (box(40, 10, 50, 50), {"name": "B"})}),
    ("admin_unit", "Polygon", {
        "1": (box(0, 0, 100, 100), {"xzqdm": "999901", "population": 400}),
        "2": (box(0, 0, 70, 100), {"xzqdm": "999901001", "population": 300}),
        "3": (box(70, 0, 100, 100), {"xzqdm": "999901002", "population": 100}),
    }),
]  # fmt: skip


def inundation(folder, value, layers=PLACE, **more):
    river = rivers(Q1=(3.0, 4.0))
    return looked(folder, [river, RIVER_GAUGE, level(value), *layers], "inundation", ground(), **more)


def test_who_stands_in_the_water(tmp_path):
    found, passed = inundation(tmp_path, 3.5)  # rows 2, 3 and 4 (ground 1, 2, 3), and over the sill to the east
    assert set(found["building-ground-floor"]) == {"low", "behind"}
    low = found["building-ground-floor"]["low"]
    assert (low.verdict, low.measured, low.objects) == ("review", 0.5, ("building/low", "river/Q1"))
    assert found["building-ground-floor"]["behind"].measured == 1.5
    assert set(found["road-waterlogging"]) == {"down"}, "the other one is on the bridge"
    down = found["road-waterlogging"]["down"]
    assert (down.measured, down.limit) == (1.5, 0.15)
    assert "20.0 m" in down.note.zh
    people = found["people-in-water"]["Q1"]
    assert (people.verdict, people.measured) == ("review", pytest.approx(300 * 300 / 500 + 100))
    assert passed == {"building-ground-floor": 2, "road-waterlogging": 2}
    assert "可能更大" in found["inundation-extent"]["Q1"].note.zh


def test_behind_the_sill_it_is_dry(tmp_path):
    found, passed = inundation(tmp_path, 3.0)  # the sill equals the level
    assert "building-ground-floor" not in found
    assert passed["building-ground-floor"] == 4
    assert found["people-in-water"]["Q1"].verdict == "pass"


def test_a_road_is_waterlogged_above_15_cm(tmp_path):
    for value, is_bad in ((2.15, False), (2.16, True)):  # ground 2 m under the road's first stretch
        found, passed = inundation(tmp_path / str(value), value)
        assert ("down" in found.get("road-waterlogging", {})) == is_bad
        assert passed["road-waterlogging"] == (2 if is_bad else 3)


def test_people_are_unknown_where_units_do_not_say(tmp_path):
    units = ("admin_unit", "Polygon", {"1": (box(0, 0, 100, 100), {"xzqdm": "999901", "population": None})})
    found, _ = inundation(tmp_path / "a", 3.5, [*PLACE[:3], units])
    assert found["people-in-water"]["Q1"].verdict == "unknown"
    found, _ = inundation(tmp_path / "b", 3.5, PLACE[:3])
    assert found["people-in-water"]["Q1"].verdict == "unknown"
    assert found["people-in-water"]["Q1"].note.zh == "缺少行政区人口"


def test_without_level_ground_or_source_it_is_unknown(tmp_path):
    found, _ = looked(
        tmp_path / "a", [rivers(Q1=(3, 4)), RIVER_GAUGE, level(3, age_h=30), *PLACE], "inundation", ground()
    )
    assert found["inundation-extent"]["Q1"].verdict == "unknown"
    found, _ = looked(tmp_path / "b", [rivers(Q1=(3, 4)), RIVER_GAUGE, level(3), *PLACE], "inundation")
    assert found["inundation-extent"]["Q1"].verdict == "unknown"
    assert "no terrain model" in found["inundation-extent"]["Q1"].note.en
    found, _ = looked(tmp_path / "c", [RIVER_GAUGE, level(3), *PLACE], "inundation", ground())
    assert found["inundation-extent"]["city"].verdict == "unknown"
    void = ground()
    void[2] = np.nan
    found, _ = looked(tmp_path / "d", [rivers(Q1=(3, 4)), RIVER_GAUGE, level(3), *PLACE], "inundation", void)
    assert found["inundation-extent"]["Q1"].verdict == "unknown"
    assert "building-ground-floor" not in found


def test_a_place_is_told_of_what_lies_in_it(tmp_path):
    found, _ = inundation(tmp_path, 3.5, region=box(75, 25, 100, 100))
    assert set(found["building-ground-floor"]) == {"behind"}
    assert found["people-in-water"]["Q1"].measured == pytest.approx(100)
