"""Land classes of an input: each code with its list, one list an input; two lists are never held against each other."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layers import land_codes
from layers.errors import InvalidInput
from twin.analysis.features_input import attributes
from twin.analysis.place import words
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City

SYSTEM = "code_system"
FIELDS = ("DLBM", "ydyh_code", "planned_use")
"""Attributes that hold land class codes."""


@dataclass(frozen=True)
class Classes:
    """Land classes of (n,) features.

    Attributes
    ----------
    field : attribute the codes come from
    system : list they are of
    codes : plain code of the list; as written where the list does not know it (or is not known); None without one
    unknown : codes as written that the list does not know, with how often
    """

    field: str
    system: str
    codes: list[str | None]
    unknown: dict[str, int]

    def title(self, code: str | None, language: str = "zh") -> str | None:
        """The list's own name of a code."""
        return None if code is None else land_codes.name(code, self.system, "en" if language == "en" else "zh")


def classes(name: str, found: Features, field: str | None = None) -> Classes:
    """Codes of an input's features; the first of `FIELDS` that is there when no field is named.

    Raises
    ------
    InvalidInput
        A feature has no `code_system`, one that does not exist, or another than the rest; no such field.
    """
    if field is None:
        field = next((each for each in FIELDS if any(words(found, each))), None)
        if field is None:
            raise InvalidInput(f"{name} has no land class codes.", f"They are looked for in {', '.join(FIELDS)}.")
    elif not any(words(found, field)):
        raise InvalidInput(f"{name} has no value of {field!r}.", f"It has {', '.join(found.attributes.column_names)}.")
    system = one_system(name, found)
    written = words(found, field)
    codes = [None if each is None or not each.strip() else plain(each, system) for each in written]
    unknown = Counter(
        code for code, text in zip(codes, written, strict=True) if code and text and not is_known(text, system)
    )
    return Classes(field, system, codes, dict(sorted(unknown.items())))


def one_system(name: str, found: Features) -> str:
    """The list that all features of an input state; InvalidInput where one states none, or another."""
    stated = words(found, SYSTEM)
    for row, each in enumerate(stated):
        if each not in land_codes.SYSTEMS:
            has = "no code_system" if not each else f"the code_system {each!r}"
            raise InvalidInput(
                f"{name}/{SYSTEM}: {found.ids[row]!r} has {has}.",
                f"State one of {', '.join(land_codes.SYSTEMS)}: the same digits mean different things.",
            )
    if len(set(stated)) != 1:
        raise InvalidInput(
            f"{name}/{SYSTEM}: {' and '.join(sorted(set(map(str, stated))))} are mixed in one input.",
            "Ask for each apart (filter by code_system).",
        )
    return str(stated[0])


def check_same(first: str, system: str, second: str, other: str, example: str | None = None) -> None:
    """InvalidInput where two inputs have codes of different lists."""
    if system == other:
        return
    hint = "The same digits mean different things in the two lists: translate one input first."
    pair = (system, other)
    if example is not None and "sd2017" in pair and "ydyh2023" in pair:
        known = land_codes.counterpart(example)
        if land_codes.needs_detail(example):
            hint += f" {example} of sd2017 has no single counterpart in ydyh2023."
        elif known is not None:
            hint += f" {example} of sd2017 is {known} of ydyh2023."
    raise InvalidInput(f"{second}/{SYSTEM}: {other} is held against {system} of {first}.", hint)


def plain(code: str, system: str) -> str:
    """Plain code of the list, or as written where the list does not know it."""
    known = land_codes.read(code, system)
    return code.strip().upper() if known is None or not known.plain else known.plain


def is_known(code: str, system: str) -> bool:
    """Whether a list has the code; True for a list that is not known here."""
    known = land_codes.read(code, system)
    return known is None or known.standing != "unknown"


def known_properties(
    city: "City", name: str, given: Mapping[str, Any], wanted: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Those of the wanted attributes that a collection has; all of them for GeoJSON, where a missing one is null."""
    if "collection" not in given:
        return None
    names = attributes(city, name, str(given["collection"]))
    return tuple(each for each in wanted if each in names)
