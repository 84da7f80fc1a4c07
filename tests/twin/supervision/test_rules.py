"""Rules as data: tables, editions, confidence, and a city's own folder over ours."""

import datetime as dt

import pytest

from layers.catalogue import Title
from layers.errors import InvalidInput, NotFound
from twin.supervision import rules
from twin.supervision.rules import Row, Rule, RuleBook, on_day

DAY = dt.date(2026, 11, 30)


def rule(**more):
    given = {"id": "r", "title": Title("规则", "Rule"), "clause": "1", "source": "S", "comparator": ">=", "unit": "m"}
    return Rule(**(given | more))


TABLE = rule(
    rows=(
        Row(1.0, "high", {"kind": "water", "dn_max_mm": 200}),
        Row(1.5, "high", {"kind": "water", "dn_over_mm": 200}),
        Row(2.0, "low", {"kind": ["gas", "heat"], "voltage_from_kv": 35}),
        Row(3.0, "low", {"kind": ["gas", "heat"], "voltage_under_kv": 35}),
    )
)


@pytest.mark.parametrize(
    ("facts", "value"),
    [
        ({"kind": "water", "dn_mm": 200}, 1.0),
        ({"kind": "water", "dn_mm": 200.1}, 1.5),
        ({"kind": "gas", "voltage_kv": 35}, 2.0),
        ({"kind": "heat", "voltage_kv": 34.9}, 3.0),
        ({"kind": "water", "dn_mm": None}, None),  # either line may hold
        ({"kind": "water"}, None),
        ({"kind": "power", "dn_mm": 100}, None),  # no line
        ({"dn_mm": 100}, None),
    ],
    ids=["at 200", "over 200", "at 35", "under 35", "no size", "size not told", "no line", "no kind"],
)
def test_the_first_line_that_fits_counts_and_what_is_open_is_not_guessed(facts, value):
    found = TABLE.row(facts)
    assert (None if found is None else found.value) == value


def test_a_missing_fact_does_no_harm_where_all_lines_agree():
    same = rule(rows=(Row(1.0, "high", {"dn_max_mm": 200}), Row(1.0, "low", {"dn_over_mm": 200}), Row(1.0, "low", {})))
    assert same.row({}).value == 1.0


@pytest.mark.parametrize(
    ("measured", "confidence", "said"),
    [(5.0, "high", "pass"), (5.0 - 1e-7, "high", "pass"), (4.99, "high", "fail"), (4.99, "medium", "fail"),
     (4.99, "low", "review"), (5.0, "low", "pass"), (None, "high", "unknown"), (float("nan"), "low", "unknown")],
)  # fmt: skip
def test_a_rule_of_low_confidence_fails_nothing(measured, confidence, said):
    assert rule(value=5.0, confidence=confidence).judged(measured) == said


def test_no_limit_is_unknown():
    assert rule().judged(3.0) == "unknown"
    with pytest.raises(InvalidInput, match="compares nothing"):
        rule(comparator=None).judged(3.0)


def test_the_edition_of_the_day_holds():
    editions = [
        rule(value=1.0, effective=dt.date(2012, 7, 1), until=dt.date(2026, 1, 1)),
        rule(value=2.0, effective=dt.date(2026, 1, 1)),
    ]
    assert RuleBook(editions, dt.date(2025, 12, 31))["r"].value == 1.0
    assert RuleBook(editions, dt.date(2026, 1, 1))["r"].value == 2.0
    with pytest.raises(NotFound, match="no rule 'r' on 2012-06-30"):
        RuleBook(editions, dt.date(2012, 6, 30))["r"]


def test_our_rules_are_whole():
    """Each has words in both languages, a clause, a source, and is there once for each day it begins to hold."""
    found = list(rules.load())
    for each in found:
        assert each.title.zh
        assert each.title.en
        assert each.clause
        assert each.source
    editions = [(each.id, each.effective) for each in found]
    assert len(editions) == len(set(editions))


def own(folder, text):
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "rules" / "own.yaml").write_text(text, "utf8")


def test_a_city_overrides_a_rule_without_code(tmp_path):
    ours = next(each for each in rules.load() if each.value is not None and each.comparator)
    own(tmp_path, f"rules:\n  - {{id: {ours.id}, value: 123.5, source: 本市规定}}\n")
    found = next(each for each in rules.load(tmp_path) if each.id == ours.id)
    assert (found.value, found.source, found.clause) == (123.5, "本市规定", ours.clause)
    assert next(each for each in rules.load() if each.id == ours.id).value == ours.value, "ours stays"


def test_a_city_adds_a_rule(tmp_path):
    text = "rules:\n  - {id: own-rule, title: {zh: 本市, en: Own}, clause: '3', source: 市, comparator: '<=', value: 1}"
    own(tmp_path, text)
    assert on_day(DAY, tmp_path)["own-rule"].judged(1.0) == "pass"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rules: [", "own.yaml is no YAML"),
        ("rules:\n  - {id: x, valve: 3}", "own.yaml: rules/0"),
        ("rules:\n  - {id: x, value: high}", "rules/0/value"),
        ("rules:\n  - {id: never-heard-of, value: 3}", "never-heard-of lacks title, clause, source"),
        ("- 1", "own.yaml: document"),
    ],
    ids=["yaml", "key", "value", "part", "list"],
)
def test_a_wrong_rule_is_named(tmp_path, text, says):
    own(tmp_path, text)
    with pytest.raises(InvalidInput, match=says):
        rules.load(tmp_path)
