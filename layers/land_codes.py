"""Land class codes of the two Chinese lists: names, how a code as written relates to its list, and to the other one.

`sd2017` is the working classification of the third national land survey, `ydyh2023` the classification of land and sea
use for spatial planning (guide of 2023). The same four digits mean different things in the two lists (0702 is a rural
homestead in one and a community service in the other), so that a code without its list says nothing. The lists
themselves are data: `codes/land_use.yaml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import yaml

Standing = Literal["known", "trailing-zeros", "suffix", "unknown"]

FARMLAND = "01"
"""First class of farmland, in both lists."""
SYSTEMS = ("sd2017", "ydyh2020", "ydyh2023")
"""Code systems a layer may state; the codes of `ydyh2020` are not known here."""


@dataclass(frozen=True)
class LandCode:
    """A code as written, its plain form in the list (empty where unknown), and how they relate."""

    written: str
    plain: str
    standing: Standing


@lru_cache(maxsize=1)
def _lists() -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.safe_load(files("layers").joinpath("codes", "land_use.yaml").read_text("utf8"))
    return found


@lru_cache(maxsize=4)
def _names(system: str) -> Mapping[str, str] | None:
    """Chinese name of every code of a list."""
    if system not in _lists():
        return None
    names: dict[str, str] = {}
    for first, each in _lists()[system]["classes"].items():
        names[first] = each["zh"]
        names.update(each.get("classes", {}))
    return names


@lru_cache(maxsize=4)
def codes(system: str) -> frozenset[str] | None:
    """All codes of a list, every level; None for a list that is not known here (`ydyh2020`)."""
    names = _names(system)
    return None if names is None else frozenset(names)


def name(code: str, system: str, language: Literal["zh", "en"] = "zh") -> str | None:
    """The list's own name of a plain code; None where code or list are not known. English ones are of first classes."""
    names = _names(system)
    if names is None or code not in names:
        return None
    if language == "zh":
        return names[code]
    return str(_lists()[system]["classes"][first_class(code, system)]["en"])


def first_class(code: str, system: str) -> str:
    """The first class a plain code belongs to: its first two digits, but for wetlands of the survey, which are 00."""
    classes = _lists()[system]["classes"] if system in _lists() else {}
    for first, each in classes.items():
        if code == first or code in each.get("classes", {}):
            return str(first)
    return code[:2]


def is_farmland(code: str) -> bool:
    """Whether a plain code of any of the lists is farmland (耕地, first class 01)."""
    return code[:2] == FARMLAND


def needs_detail(code: str) -> bool:
    """Whether a plain code of `sd2017` has no single counterpart: which it is must be looked up, never guessed."""
    return code in _lists()["sd2017"]["needs_detail"]


def counterpart(code: str) -> str | None:
    """The code of `ydyh2023` of the class that a plain code of `sd2017` has by its name; None where there is none."""
    found: str | None = _lists()["sd2017"]["ydyh2023"].get(code)
    return found


@lru_cache(maxsize=4096)
def read(code: str, system: str) -> LandCode | None:
    """How a code stands in its list; None where the list is not known here.

    `trailing-zeros`: 010100 is 0101. `suffix`: of the third survey, K (land that may be turned back into farmland) and
    A (a variant) behind a code. Nothing else is tried.
    """
    known = codes(system)
    if known is None:
        return None
    written = code.strip().upper()
    if written in known:
        return LandCode(code, written, "known")
    own = _lists()[system]
    plain = written[:-1]
    if plain in known and (
        (written.endswith("K") and own.get("suffix_k")) or (written.endswith("A") and plain in own.get("suffix_a", ()))
    ):
        return LandCode(code, plain, "suffix")
    plain = written
    while len(plain) > 2 and len(plain) % 2 == 0 and plain.endswith("00"):
        plain = plain[:-2]
        if plain in known:
            return LandCode(code, plain, "trailing-zeros")
    return LandCode(code, "", "unknown")
