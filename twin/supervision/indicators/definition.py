"""What an indicator is, read from YAML and checked against its schema."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from layers.catalogue import Title
from layers.errors import InvalidInput, NotFound
from twin.analysis.verdict import Comparator
from twin.supervision.rules import Confidence

FOLDER = Path(__file__).parent
CITY_FOLDER = "indicators"
MAXIMUM: tuple[Comparator, ...] = ("<=", "<")
WARN_RATIO = 0.95
"""Of a maximum: from this share of the target on it warns, unless the definition says otherwise."""
WEIGHTS_SAME = 1e-6


@dataclass(frozen=True)
class Indicator:
    """One indicator.

    Attributes
    ----------
    id : for example `I-04`
    title : Chinese and English
    measure : `kind` and what that kind needs, as in the schema
    unit : of value and target; `pct` for shares
    target : None where there is none: the value is told, its verdict is unknown
    comparator : of value to target, where it passes
    warn_ratio : a maximum warns from this share of the target on; a minimum below this multiple of it; None: never
    clause, source : the words of the plan, and which document it is
    confidence : of target and formula; low never fails
    effective, until : first day it holds, first day it no longer does
    note : what a reader of the value should know
    """

    id: str
    title: Title
    measure: Mapping[str, Any]
    clause: str
    source: str
    unit: str = "pct"
    target: float | None = None
    comparator: Comparator = ">="
    warn_ratio: float | None = None
    confidence: Confidence = "high"
    effective: dt.date | None = None
    until: dt.date | None = None
    note: Title | None = None

    @property
    def is_maximum(self) -> bool:
        """Whether the target is not to be passed, rather than to be reached."""
        return self.comparator in MAXIMUM


def load(city_folder: Path | None = None, day: dt.date | None = None) -> dict[str, Indicator]:
    """Indicators by id that hold on a day (all of them without one), those of the city over ours.

    Raises
    ------
    InvalidInput
        A file is no YAML or does not fit the schema, weights do not sum to 1; it names file and indicator.
    """
    rows = [dict(row) for row in _ours()]
    folder = None if city_folder is None else city_folder / CITY_FOLDER
    for path in sorted(folder.glob("*.y*ml")) if folder is not None and folder.is_dir() else ():
        _override(rows, _document(path.name, _yaml(path)), path.name)
    return _known(rows, day)


def given(
    base: Mapping[str, Indicator], documents: Sequence[Mapping[str, Any]], name: str = "definitions"
) -> dict[str, Indicator]:
    """Indicators that an asker defines, over those there are."""
    rows = [_row(each) for each in base.values()]
    _override(rows, _document(name, {"indicators": [dict(each) for each in documents]}), name)
    return _known(rows, None)


def chosen(known: Mapping[str, Indicator], ids: Sequence[str] | None, name: str = "indicators") -> list[Indicator]:
    """Some of them in the order asked for; all in their own order when `ids` is None. NotFound names what is not."""
    if ids is None:
        return list(known.values())
    missing = [each for each in ids if each not in known]
    if missing:
        raise NotFound(f"{name}: there is no indicator {missing[0][:40]!r}.", f"Known: {', '.join(known)}.")
    return [known[each] for each in ids]


def _known(rows: Sequence[Mapping[str, Any]], day: dt.date | None) -> dict[str, Indicator]:
    made = {}
    for row in rows:
        if missing := [key for key in ("title", "measure", "clause", "source") if key not in row]:
            raise InvalidInput(
                f"Indicator {row['id']} lacks {', '.join(missing)}.", "Only one of ours may be given in part."
            )
        each = _indicator(row)
        holds = (each.effective is None or day is None or each.effective <= day) and (
            each.until is None or day is None or day < each.until
        )
        if holds:
            made[each.id] = each
    return made


def _override(rows: list[dict[str, Any]], found: Sequence[Mapping[str, Any]], name: str) -> None:
    for row in found:
        same = next((each for each in rows if each["id"] == row["id"]), None)
        if same is None:
            rows.append(dict(row))
            continue
        same.update(row)
        if "source" not in row:
            same["source"] = f"{same['source']}; {name}"


@lru_cache(maxsize=1)
def _ours() -> tuple[dict[str, Any], ...]:
    return tuple(_document("indicators.yaml", _yaml(FOLDER / "indicators.yaml")))


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """JSON schema of a document of indicators."""
    found: dict[str, Any] = json.loads((FOLDER / "indicator.schema.json").read_text("utf8"))
    return found


@lru_cache(maxsize=1)
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text("utf8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"{path.name} is no YAML: {error}.", "Correct it.") from error


def _document(name: str, document: Any) -> list[dict[str, Any]]:
    from jsonschema.exceptions import best_match

    deepest = best_match(_validator().iter_errors(document))
    if deepest is not None:
        where = "/".join(map(str, deepest.absolute_path)) or "document"
        raise InvalidInput(
            f"{name}: {where}: {deepest.message[:300]}.", "docs/analyses/indicators.md says what an indicator has."
        )
    found: list[dict[str, Any]] = document["indicators"]
    for row in found:
        check_weights(f"{name}: indicator {row['id']}", row.get("measure", {}))
    return found


def check_weights(name: str, measure: Mapping[str, Any]) -> None:
    """InvalidInput where the weights of a weighted mean do not sum to 1."""
    if measure.get("kind") == "weighted-mean":
        total = sum(float(part["weight"]) for part in measure["parts"])
        if not abs(total - 1.0) <= WEIGHTS_SAME:
            raise InvalidInput(f"{name}: weights sum to {total:g}, not 1.", "Correct weight of its parts.")


def _indicator(row: Mapping[str, Any]) -> Indicator:
    comparator = row.get("comparator", ">=")
    ratio = row.get("warn_ratio", WARN_RATIO if comparator in MAXIMUM else None)
    note = row.get("note")
    return Indicator(
        id=row["id"], title=Title(**row["title"]), measure=row["measure"], clause=row["clause"], source=row["source"],
        unit=row.get("unit", "pct"), target=row.get("target"), comparator=comparator, warn_ratio=ratio,
        confidence=row.get("confidence", "high"), effective=_day(row.get("effective")), until=_day(row.get("until")),
        note=None if note is None else Title(**note),
    )  # fmt: skip


def _row(each: Indicator) -> dict[str, Any]:
    """An indicator as its YAML would be."""
    row: dict[str, Any] = {
        "id": each.id, "title": each.title.to_dict(), "measure": each.measure, "clause": each.clause,
        "source": each.source, "unit": each.unit, "target": each.target, "comparator": each.comparator,
        "warn_ratio": each.warn_ratio, "confidence": each.confidence, "effective": each.effective, "until": each.until,
    }  # fmt: skip
    return row if each.note is None else row | {"note": each.note.to_dict()}


def _day(given_day: Any) -> dt.date | None:
    if given_day is None or isinstance(given_day, dt.date):
        return given_day
    try:
        return dt.date.fromisoformat(str(given_day))
    except ValueError as error:
        raise InvalidInput(f"effective or until: {given_day!r} is no date.", "Write 2026-01-31.") from error
