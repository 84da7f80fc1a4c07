"""The day, the hours and the limit that sunlight is judged by: from a rule, or as given."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layers.errors import InvalidInput
from twin.analysis import sun_position

if TYPE_CHECKING:
    from twin.supervision.rules import Rule, RuleBook

PLACE, METHOD = "sunlight-place", "sunlight-method"
RULES = {"dwelling": "sunlight-dwelling", "elderly": "sunlight-elderly", "rebuilt": "sunlight-rebuilt"}
HOURS = {sun_position.DAYS["great-cold"]: (8.0, 16.0), sun_position.DAYS["winter-solstice"]: (9.0, 15.0)}
"""Spans of GB 50180-2018, table 4.0.9, for its two days."""


@dataclass(frozen=True)
class Day:
    """What is computed and what it is held against.

    Attributes
    ----------
    declination_deg, declination_from : `given`, or `date` where it was computed
    day : None where the declination was given
    from_h, to_h : span of true solar time
    shortest_min : stretches shorter than this do not count
    limit_h : None where there is no limit to hold against; `reason` then says why
    rule : the limit's; None where the limit was given
    """

    declination_deg: float
    declination_from: str
    day: dt.date | None
    from_h: float
    to_h: float
    shortest_min: float
    limit_h: float | None
    rule: "Rule | None" = None
    reason: str = ""


def rule_line(
    book: "RuleBook", use: str, climate_zone: str | None, population_person: float | None
) -> tuple["Rule", Mapping[str, Any] | None]:
    """The rule for a use and its line (hours, day, span); None where zone or population are needed and not known."""
    rule, known = book[RULES[use]], book[PLACE].parameters
    facts = {
        "climate_zone": climate_zone or known.get("climate_zone"),
        "population_person": known.get("population_person") if population_person is None else population_person,
    }
    row = rule.row(facts)
    return rule, None if row is None else row.value


def settle(
    book: "RuleBook",
    *,
    use: str = "dwelling",
    climate_zone: str | None = None,
    population_person: float | None = None,
    date: str | None = None,
    declination_deg: float | None = None,
    from_h: float | None = None,
    to_h: float | None = None,
    limit_h: float | None = None,
    shortest_min: float | None = None,
) -> Day:
    """What is given goes before what the rule says; what neither says is asked for by name.

    A limit of the rule is used only on the rule's own day and hours: with others the hours are told, not judged.
    """
    if date is not None and declination_deg is not None:
        raise InvalidInput("date and declination_deg are both given.", "Give one of them.")
    rule, line = rule_line(book, use, climate_zone, population_person)
    own = line or {}
    day = None
    if declination_deg is None:
        named = date or own.get("day")
        if named is None:
            raise InvalidInput(
                "date is needed: climate_zone and population_person, which name the day, are not known.",
                "Give date (great-cold, winter-solstice or a day), declination_deg, or the two.",
            )
        day = sun_position.day_of(str(named))
        declination_deg, source = sun_position.declination_deg(day), "date"
    else:
        source = "given"
    usual = HOURS.get(day, (None, None)) if day else (None, None)
    is_rules_day = day is not None and "day" in own and day == sun_position.day_of(str(own["day"]))
    span = [
        given if given is not None else own.get(key) if is_rules_day else usual[k]
        for k, (key, given) in enumerate((("from_h", from_h), ("to_h", to_h)))
    ]
    if span[0] is None or span[1] is None:
        raise InvalidInput(
            f"{'from_h' if span[0] is None else 'to_h'} is needed for this day.", "Give 8 and 16, or so."
        )
    if not span[0] < span[1]:
        raise InvalidInput(f"to_h = {span[1]:g} is not after from_h = {span[0]:g}.", "Give 8 and 16, or so.")
    method = book[METHOD].parameters
    if shortest_min is None:
        shortest_min = float(method["shortest_stretch_min"]) if method.get("counts_from_shortest") else 0.0
    reason = ""
    used: Rule | None = None
    if limit_h is None:
        if line is None:
            reason = "climate_zone and population_person are not known"
        elif not is_rules_day or span != [own["from_h"], own["to_h"]]:
            reason = f"day or hours are not those of {rule.id}"
        else:
            limit_h, used = float(own["hours"]), rule
    return Day(
        float(declination_deg), source, day, float(span[0]), float(span[1]), float(shortest_min), limit_h, used, reason
    )
