"""The numbers of the water tables as rules: every line, as the standards state it."""

import datetime as dt

import pytest

from twin.supervision.rules import on_day

BOOK = on_day(dt.date(2026, 11, 30))


def test_rain_classes():
    day, half = BOOK["rain-class-24h"], BOOK["rain-class-12h"]
    assert [(row.value, row.when.get("rain_from_mm")) for row in day.rows] == [
        ("extreme", 250.0), ("severe", 100.0), ("rainstorm", 50.0), ("heavy", 25.0), ("moderate", 10.0), ("light", 0.1),
        ("none", None),
    ]  # fmt: skip
    assert [(row.value, row.when.get("rain_from_mm")) for row in half.rows[:3]] == [
        ("extreme", 140.0), ("severe", 70.0), ("rainstorm", 30.0)
    ]  # fmt: skip
    assert {row.confidence for row in day.rows[:3]} == {"high"}
    assert {row.confidence for row in day.rows[3:]} == {"medium"}
    for rule in (day, half):
        assert {row.value for row in rule.rows} <= set(rule.parameters["classes"])
    assert (BOOK["rainstorm-24h"].value, BOOK["rainstorm-12h"].value) == (50.0, 30.0)


def test_warning_signals_most_severe_first():
    rows = [(row.when["signal"], row.when["hours"], row.value) for row in BOOK["rain-warning-signal"].rows]
    assert rows == [("red", 3, 100.0), ("orange", 3, 50.0), ("yellow", 6, 50.0), ("blue", 12, 50.0)]
    for measured, verdict in ((49.9, "pass"), (50.0, "fail"), (50.1, "fail")):
        assert BOOK["rain-warning-signal"].judged(measured, 50.0) == verdict


def test_rivers_and_waterlogging():
    assert BOOK["river-level-order"].parameters["levels"] == ["defence_level_m", "alert_level_m", "guarantee_level_m"]
    road = BOOK["road-waterlogging"]
    assert (road.value, road.confidence) == (0.15, "low")
    assert (road.judged(0.15), road.judged(0.151)) == ("pass", "review")


OWN = (
    "road-waterlogging", "building-ground-floor", "people-in-water", "reservoir-dam-crest", "basin-area",
    "basin-runoff-storage", "river-level-order",
)  # fmt: skip


@pytest.mark.parametrize("rule_id", OWN)
def test_our_own_rules_fail_nothing(rule_id):
    assert BOOK[rule_id].confidence == "low"


def test_each_rule_has_both_languages_and_a_source():
    for name in (
        "rain",
        "rainstorm",
        "reservoir",
        "river",
        "road-water",
        "building-ground",
        "people-in",
        "inundation",
        "basin",
    ):
        found = [rule for rule in BOOK if rule.id.startswith(name)]
        assert found
        for rule in found:
            assert rule.title.zh
            assert rule.title.en
            assert rule.clause
            assert rule.source
