"""Rules as data: what must hold, by which clause, since when, and how sure we are of the number.

`twin/supervision/rules/*.yaml` are ours; `TWIN/rules/*.yaml` of a city are read after them, where a rule of the same id
(and the same `effective` day, where it has one) takes the place of ours, key by key. A rule whose confidence is low
never fails anything: what would be `fail` is `review`.
"""

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from layers.catalogue import Title
from layers.errors import InvalidInput, NotFound
from twin.analysis.verdict import Comparator, Verdict, verdict

FOLDER = Path(__file__).parent / "rules"
CITY_FOLDER = "rules"
Confidence = Literal["high", "medium", "low"]
_BOUNDS = ("_max", "_over", "_from", "_under")
"""Ends of condition names that compare numbers: <=, >, >=, <."""


@dataclass(frozen=True)
class Row:
    """A line of a rule's table: its limit and how sure it is. `when` are the conditions as written.

    `other` is the limit of another edition or memory, where the two differ (such a line is of low confidence).
    """

    value: Any
    confidence: Confidence
    when: Mapping[str, Any]
    other: float | None = None


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes
    ----------
    id : for example `pipe-clearance-horizontal`
    title : Chinese and English
    clause, source : where it stands; `source` names the document
    comparator : of the measured number to the limit, where it passes; None where the rule is no comparison
    unit : of measured number and limit, as it is written; empty where it has none
    value : the limit, or None where it stands in `rows` or comes from a layer
    rows : the table, in order: the first line that fits counts
    confidence : of the rule as a whole
    effective, until : first day it holds, and first day it no longer does
    note : what a reader of a finding should know
    parameters : further numbers that the check needs, by name with unit suffix
    """

    id: str
    title: Title
    clause: str
    source: str
    comparator: Comparator | None = None
    unit: str = ""
    value: float | None = None
    rows: tuple[Row, ...] = ()
    confidence: Confidence = "high"
    effective: dt.date | None = None
    until: dt.date | None = None
    note: Title | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def row(self, facts: Mapping[str, Any]) -> Row | None:
        """The line that fits the facts; None where none fits, or where a missing fact (None) leaves it open.

        Facts that a line does not name do not matter. A missing fact does no harm where all lines that it leaves
        possible have the same limit.
        """
        possible, is_sure = self.possible(facts)
        if not possible or not is_sure:  # each of them may fit, or none
            return None
        return possible[0] if all(each.value == possible[0].value for each in possible) else None

    def possible(self, facts: Mapping[str, Any]) -> tuple[list[Row], bool]:
        """Lines that may be the first that fits, and whether one of them does for sure.

        One line and True where all facts are known; several where a missing fact (None) leaves them open.
        """
        found: list[Row] = []
        for each in self.rows:
            fits = [_fits(key, wanted, facts) for key, wanted in each.when.items()]
            if False in fits:
                continue
            found.append(each)
            if None not in fits:
                return found, True
        return found, False

    def judged(
        self, measured: float | None, limit: float | None = None, confidence: Confidence | None = None
    ) -> Verdict:
        """Verdict on a number; `limit` is `value` when absent. None (not known) is `unknown`."""
        if self.comparator is None:
            raise InvalidInput(f"Rule {self.id} compares nothing.", "Give it a comparator.")
        return softened(
            verdict(measured, self.comparator, self.value if limit is None else limit), confidence or self.confidence
        )


def softened(found: Verdict, confidence: Confidence) -> Verdict:
    """What a rule of low confidence may say: it fails nothing."""
    return "review" if found == "fail" and confidence == "low" else found


def _fits(key: str, wanted: Any, facts: Mapping[str, Any]) -> bool | None:
    """Whether a condition holds; None where the fact is not known."""
    end = next((each for each in _BOUNDS if key.endswith(each) or each + "_" in key), None)
    if end is not None and isinstance(wanted, int | float):
        fact = facts.get(key.replace(end, "", 1))
        if fact is None:
            return None
        return bool(
            {"_max": fact <= wanted, "_over": fact > wanted, "_from": fact >= wanted, "_under": fact < wanted}[end]
        )
    fact = facts.get(key)
    if fact is None:
        return None
    return fact in wanted if isinstance(wanted, list) else bool(fact == wanted)


class RuleBook:
    """Rules of one day."""

    def __init__(self, rules: Sequence[Rule], day: dt.date) -> None:
        self.day = day
        self._by_id: dict[str, Rule] = {}
        for rule in rules:
            holds = (rule.effective is None or rule.effective <= day) and (rule.until is None or day < rule.until)
            known = self._by_id.get(rule.id)
            if holds and (known is None or (rule.effective or dt.date.min) >= (known.effective or dt.date.min)):
                self._by_id[rule.id] = rule

    def __getitem__(self, rule_id: str) -> Rule:
        """The edition of a rule that holds on the day; NotFound where there is none."""
        if rule_id not in self._by_id:
            raise NotFound(f"There is no rule {rule_id!r} on {self.day}.", f"Known: {', '.join(sorted(self._by_id))}.")
        return self._by_id[rule_id]

    def __contains__(self, rule_id: object) -> bool:
        return rule_id in self._by_id

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._by_id.values())


def on_day(day: dt.date, city_folder: Path | None = None) -> RuleBook:
    """The rules that hold on a day, those of the city (its folder) over ours."""
    return RuleBook(load(city_folder), day)


def load(city_folder: Path | None = None) -> list[Rule]:
    """All editions of all rules. InvalidInput names the file and rule that is wrong."""
    rows = [dict(row) for row in _ours()]
    folder = None if city_folder is None else city_folder / CITY_FOLDER
    for path in sorted(folder.glob("*.y*ml")) if folder is not None and folder.is_dir() else ():
        for row in _document(path, is_city=True):
            _override(rows, row, path)
    made = []
    for row in rows:
        if missing := [key for key in ("title", "clause", "source") if key not in row]:
            raise InvalidInput(
                f"Rule {row['id']} lacks {', '.join(missing)}.", "Only a rule of ours may be given in part."
            )
        made.append(_rule(row))
    return made


def _override(rows: list[dict[str, Any]], row: dict[str, Any], path: Path) -> None:
    same = [each for each in rows if each["id"] == row["id"] and each.get("effective") == row.get("effective")]
    if not same and "effective" not in row:
        same = [each for each in rows if each["id"] == row["id"]]
    if not same:
        rows.append(row)
    for each in same:
        each.update(row)
        if "source" not in row:
            each["source"] = f"{each['source']}; {path.name}"


@lru_cache(maxsize=1)
def _ours() -> tuple[Mapping[str, Any], ...]:
    return tuple(row for path in sorted(FOLDER.glob("*.yaml")) for row in _document(path, is_city=False))


@lru_cache(maxsize=1)
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads((FOLDER / "rule.schema.json").read_text("utf8")))


def _document(path: Path, *, is_city: bool) -> list[dict[str, Any]]:
    try:
        document = yaml.safe_load(path.read_text("utf8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"{path.name} is no YAML: {error}.", "Correct it.") from error
    errors = sorted(_validator().iter_errors(document), key=lambda each: list(map(str, each.path)))
    if errors:
        where = "/".join(map(str, errors[0].path)) or "document"
        hint = "docs/supervision.md says what a rule has." if is_city else ""
        raise InvalidInput(f"{path.name}: {where}: {errors[0].message[:300]}.", hint)
    found: list[dict[str, Any]] = document["rules"]
    return found


def _rule(row: Mapping[str, Any]) -> Rule:
    confidence: Confidence = row.get("confidence", "high")
    rows = tuple(
        Row(
            each["value"],
            each.get("confidence", confidence),
            {k: v for k, v in each.items() if k not in {"value", "confidence", "other"}},
            each.get("other"),
        )
        for each in row.get("rows", ())
    )
    note = row.get("note")
    return Rule(
        id=row["id"], title=Title(**row["title"]), clause=row["clause"], source=row["source"],
        comparator=row.get("comparator"), unit=row.get("unit", ""), value=row.get("value"), rows=rows,
        confidence=confidence, effective=row.get("effective"), until=row.get("until"),
        note=None if note is None else Title(**note), parameters=dict(row.get("parameters", {})),
    )  # fmt: skip


def with_value(rule: Rule, value: float) -> Rule:
    """The same rule with a limit that comes from a layer (the plan's own number)."""
    return replace(rule, value=value)
