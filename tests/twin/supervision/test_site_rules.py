"""Rules of sites and sources: each row of the table of construction-site rules, at its boundary."""

import datetime as dt

import pytest

from twin.supervision.rules import load, on_day

BOOK = on_day(dt.date(2025, 6, 1))
LATER = on_day(dt.date(2026, 1, 1))
OWN = {
    "sunlight-place", "sunlight-dwelling", "sunlight-elderly", "sunlight-rebuilt", "sunlight-method", "sunlight-loss",
    "pit-dangerous", "pit-over-scale", "pit-complex-surroundings", "pit-influence", "pit-class-recorded",
    "crane-jib-to-mast", "crane-vertical-gap", "crane-tail-to-building", "crane-power-line", "site-noise",
    "site-noise-night-max", "dust-pm10-difference", "dust-pm10-difference-shandong", "dust-tsp-liaoning",
    "dust-tsp-shaanxi", "dust-tsp-shanghai-high", "dust-tsp-shanghai-low", "air-pm10-day", "air-pm25-day",
    "air-tsp-day", "air-pm10-year", "air-pm25-year", "site-series", "water-source-live", "monitored-level",
}  # fmt: skip


def test_all_are_there_and_say_where_they_come_from():
    assert {each.id for each in BOOK} >= OWN
    for each in load():
        if each.id in OWN:
            assert all((each.source, each.clause, each.title.zh, each.title.en)), each.id


@pytest.mark.parametrize(
    ("rule", "value", "unit", "confidence"),
    [("pit-dangerous", 3.0, "m", "high"), ("pit-over-scale", 5.0, "m", "high"),
     ("crane-jib-to-mast", 2.0, "m", "medium"),
     ("crane-vertical-gap", 2.0, "m", "medium"), ("crane-tail-to-building", 0.6, "m", "medium"),
     ("dust-pm10-difference", 80.0, "ug/m3", "medium"), ("dust-tsp-shanghai-high", 2.0, "mg/m3", "low"),
     ("dust-tsp-shanghai-low", 1.0, "mg/m3", "low"), ("air-pm10-day", 150.0, "ug/m3", "medium"),
     ("air-pm10-year", 70.0, "ug/m3", "medium"), ("air-pm25-day", 75.0, "ug/m3", "medium"),
     ("air-pm25-year", 35.0, "ug/m3", "medium"), ("air-tsp-day", 300.0, "ug/m3", "medium")],
    ids=lambda each: each if isinstance(each, str) else None,
)  # fmt: skip
def test_limits(rule, value, unit, confidence):
    found = BOOK[rule]
    assert (found.value, found.unit, found.confidence) == (value, unit, confidence)


def test_a_rule_without_a_known_number_has_none():
    assert BOOK["dust-pm10-difference-shandong"].value is None
    assert BOOK["dust-pm10-difference-shandong"].judged(500.0) == "unknown"


@pytest.mark.parametrize(
    ("rule", "facts", "value"),
    [("site-noise", {"period": "day"}, 70), ("site-noise", {"period": "night"}, 55),
     ("site-noise-night-max", {"period": "night"}, 70), ("dust-tsp-liaoning", {"area": "built-up"}, 0.8),
     ("dust-tsp-liaoning", {"area": "suburban"}, 1.0), ("dust-tsp-shaanxi", {"stage": "土方"}, 0.8),
     ("dust-tsp-shaanxi", {"stage": "demolition"}, 0.8), ("dust-tsp-shaanxi", {"stage": "主体"}, 0.7),
     ("dust-tsp-shaanxi", {"stage": "decoration"}, 0.7)],
    ids=["day", "night", "night max", "built-up", "suburban", "earthwork", "demolition", "structure", "decoration"],
)  # fmt: skip
def test_tables(rule, facts, value):
    assert BOOK[rule].row(facts).value == value


@pytest.mark.parametrize("rule", ["dust-tsp-liaoning", "dust-tsp-shaanxi", "site-noise"])
def test_a_missing_fact_leaves_the_limit_open(rule):
    assert BOOK[rule].row({}) is None


def test_noise_has_two_editions():
    assert (BOOK["site-noise"].source, BOOK["site-noise"].confidence) == ("GB 12523-2011", "high")
    assert (LATER["site-noise"].source, LATER["site-noise"].confidence) == ("GB 12523-2025", "low")
    assert on_day(dt.date(2025, 12, 31))["site-noise"].source == "GB 12523-2011"
    assert "site-noise" not in on_day(dt.date(2012, 6, 30))


@pytest.mark.parametrize("zone", ["I", "II", "III", "VII", "IV", "V", "VI"])
@pytest.mark.parametrize("population", [499_999, 500_000])
def test_sunlight_of_every_zone_and_size(zone, population):
    expected = {
        "IV": {499_999: (1, "winter-solstice", 9, 15), 500_000: (3, "great-cold", 8, 16)},
        "V": dict.fromkeys((499_999, 500_000), (1, "winter-solstice", 9, 15)),
        "VI": dict.fromkeys((499_999, 500_000), (1, "winter-solstice", 9, 15)),
    }.get(zone, {499_999: (3, "great-cold", 8, 16), 500_000: (2, "great-cold", 8, 16)})[population]
    row = BOOK["sunlight-dwelling"].row({"climate_zone": zone, "population_person": population})
    assert (row.value["hours"], row.value["day"], row.value["from_h"], row.value["to_h"]) == expected
    assert row.confidence == "high"


def test_sunlight_needs_zone_and_population_where_they_matter():
    rule = BOOK["sunlight-dwelling"]
    assert rule.row({"climate_zone": "II"}) is None
    assert rule.row({"population_person": 600_000}) is None
    assert rule.row({"climate_zone": "V"}).value["hours"] == 1, "there the size does not matter"


@pytest.mark.parametrize(
    ("kv", "horizontal", "vertical"),
    [(0.4, 1.0, 1.5), (0.999, 1.0, 1.5), (1, 1.5, 3.0), (15, 1.5, 3.0), (20, 2.0, 4.0), (40, 2.0, 4.0), (60, 4.0, 5.0),
     (110, 4.0, 5.0), (220, 6.0, 6.0)],
    ids=str,
)  # fmt: skip
def test_power_line_table(kv, horizontal, vertical):
    row = BOOK["crane-power-line"].row({"voltage_kv": kv})
    assert (row.value, row.confidence) == ({"horizontal_m": horizontal, "vertical_m": vertical}, "low")


@pytest.mark.parametrize("kv", [15.1, 19.9, 41, 59, 111, 219, 221, 500], ids=str)
def test_voltages_that_the_table_does_not_name(kv):
    assert BOOK["crane-power-line"].row({"voltage_kv": kv}) is None
