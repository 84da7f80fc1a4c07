"""Every check names rules, layers and words that exist; every rule of ours is held by a check or an analysis."""

import datetime as dt
import re
from pathlib import Path

import pytest

from layers import catalogue
from twin.supervision import engine, rules
from twin.supervision.check import SUPERVISIONS

ROOT = Path(rules.__file__).parents[1]
DAYS = [dt.date(2020, 1, 1), dt.date(2025, 12, 31), dt.date(2026, 1, 1), dt.date(2027, 1, 1)]


@pytest.mark.parametrize("check", engine.registry().values(), ids=lambda check: check.id)
def test_a_check_is_whole(check):
    assert check.supervision in SUPERVISIONS
    assert check.title.zh
    assert check.title.en
    assert check.rules
    assert set(check.needs) <= set(catalogue.load()), "layers of the catalogue"
    for day in DAYS[1:]:
        book = rules.on_day(day)
        assert [rule for rule in check.rules if rule not in book] == [], day


def test_each_supervision_has_checks():
    assert {check.supervision for check in engine.registry().values()} == set(SUPERVISIONS)


def test_no_rule_lies_idle():
    """What nobody asks for is no rule but a note; rules of measured quantities are asked for by their id."""
    code = "\n".join(path.read_text("utf8") for path in ROOT.rglob("*.py"))
    ids = {rule.id for rule in rules.load() if "quantities" not in rule.parameters}
    idle = {each for each in ids if not re.search(rf"[\"']{re.escape(each)}[\"']", code)}
    assert idle == set()
