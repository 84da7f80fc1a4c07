"""What observations are made of and what may be wrong with them: quantities, units, quality flags, as data.

The data are in `codes/observations.yaml`, valid against `codes/observations.schema.json`.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, cast

import yaml

from layers.catalogue import Title
from layers.issue import Severity


@dataclass(frozen=True)
class Flag:
    """One mark of quality; `sensor_obs.quality` holds the ids of all that apply, between commas.

    Attributes
    ----------
    id : the mark itself
    code, severity, says, hint : of the finding that counts the marked observations
    title : in Chinese and English
    """

    id: str
    code: str
    severity: Severity
    title: Title
    says: str
    hint: str


@dataclass(frozen=True)
class Quantity:
    """Something that is measured: the values it can have by unit, and how long it may stand still."""

    id: str
    title: Title
    ranges: dict[str, tuple[float, float]]
    stuck: int
    stuck_at_zero: bool

    def limits(self, unit: str | None) -> tuple[float, float]:
        """Lowest and highest possible value in a unit; the widest of all units where none is known."""
        known = self.ranges.get(unit_key(unit or ""))
        if known is not None:
            return known
        return min(low for low, _ in self.ranges.values()), max(high for _, high in self.ranges.values())


def fold(name: str) -> str:
    """Spelling that does not matter, removed: case, full width, blanks, underscores, hyphens."""
    narrow = unicodedata.normalize("NFKC", name).lower()
    return "".join(char for char in narrow if not (char.isspace() or char in "_-·"))


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    text = (files("layers") / "codes" / "observations.yaml").read_text("utf8")
    return cast("dict[str, Any]", yaml.safe_load(text))


@lru_cache(maxsize=1)
def flags() -> tuple[Flag, ...]:
    """Every quality flag, in the order in which an observation carries them."""
    return tuple(Flag(**{**row, "title": Title(**row["title"])}) for row in _document()["flags"])


@lru_cache(maxsize=1)
def default_stuck() -> int:
    """So many equal values in a row are suspicious for a quantity that is not known."""
    return int(_document()["stuck"])


@lru_cache(maxsize=1)
def missing_words() -> frozenset[str]:
    """What stands in a table instead of a value, in lower case."""
    return frozenset(_document()["missing"]["words"])


@lru_cache(maxsize=1)
def missing_numbers() -> tuple[float, ...]:
    """Numbers that mean «no value»."""
    return tuple(float(value) for value in _document()["missing"]["numbers"])


@lru_cache(maxsize=32)
def column_names(role: str) -> tuple[str, ...]:
    """Folded headers under which files bring a part of an observation, best first."""
    return tuple(fold(name) for name in _document()["columns"][role])


@lru_cache(maxsize=1)
def _quantities() -> dict[str, Quantity]:
    made: dict[str, Quantity] = {}
    for row in _document()["quantities"]:
        ranges = {unit: (float(low), float(high)) for unit, (low, high) in row["ranges"].items()}
        stuck, at_zero = int(row.get("stuck", default_stuck())), bool(row.get("stuck_at_zero", False))
        each = Quantity(row["id"], Title(**row["title"]), ranges, stuck, at_zero)
        made |= {fold(name): each for name in (row["id"], *row["aliases"])}
    return made


def quantity(name: str) -> Quantity | None:
    """The quantity that a name stands for, or None."""
    return _quantities().get(fold(name))


@lru_cache(maxsize=1)
def _unit_keys() -> dict[str, str]:
    keys = {unit: unit for row in _quantities().values() for unit in row.ranges}
    return keys | {fold(other): unit for unit, others in _document()["units"].items() for other in others}


def unit_key(unit: str) -> str:
    """One spelling for each unit that the quantities know; any other unit folded."""
    return _unit_keys().get(fold(unit), fold(unit))


def is_unit(text: str) -> bool:
    """True for a unit that some quantity is measured in."""
    return fold(text) in _unit_keys()
