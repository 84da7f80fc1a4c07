"""What a report says, as plain values in one language: filled by `gather`, written by `page` and `pdf`."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from layers.crs import Bounds
from twin.analysis.verdict import Verdict

Language = Literal["zh", "en"]
Draw = Callable[[Bounds, int, int], bytes]
"""Bounds in the city's CRS, pixels wide and high -> PNG of what lies there."""


@dataclass(frozen=True)
class Entry:
    """A finding as a row of the report.

    Attributes
    ----------
    number : in its section, from 1; the same on the map
    place : east and north of its point in the city's CRS; None where it has none
    status : of a kept finding; empty for one of a run
    """

    number: int
    verdict: Verdict
    title: str
    rule: str
    clause: str
    objects: str
    measured: float | None
    limit: float | None
    unit: str
    confidence: str
    note: str = ""
    status: str = ""
    time: str = ""
    place: tuple[float, float] | None = None


@dataclass(frozen=True)
class CheckLine:
    """A check in short: how many things have which verdict."""

    title: str
    counts: dict[Verdict, int]


@dataclass(frozen=True)
class Picture:
    """A map: what lies below the marks, and the box it shows. The marks are drawn over it by the writers.

    Attributes
    ----------
    png : the picture
    bounds : west, south, east, north in the city's CRS
    width, height : pixels
    """

    png: bytes
    bounds: Bounds
    width: int
    height: int

    def position(self, place: tuple[float, float]) -> tuple[float, float]:
        """Pixels from the upper left corner."""
        west, south, east, north = self.bounds
        return (place[0] - west) / (east - west) * self.width, (north - place[1]) / (north - south) * self.height


@dataclass(frozen=True)
class Section:
    """A supervision.

    Attributes
    ----------
    entries : the worst first, at most so many as the report lists; `n_entries` is how many there are
    """

    title: str
    counts: dict[Verdict, int]
    checks: list[CheckLine]
    entries: list[Entry]
    n_entries: int
    picture: Picture | None = None


@dataclass(frozen=True)
class IndicatorLine:
    """An indicator, its target, the values of its zones and those kept from before (day number, value)."""

    id: str
    title: str
    unit: str
    value: float | None
    target: float | None
    comparator: str
    state: str
    zones: list[tuple[str, float | None, str]]
    note: str = ""
    history: list[tuple[int, float]] = field(default_factory=list)
    forecast: str = ""


@dataclass(frozen=True)
class Report:
    """The whole.

    Attributes
    ----------
    city : its name; `place` what part of it was looked at
    made : when, in the city's time
    of : the state of the city that was looked at, in words
    """

    city: str
    place: str
    made: dt.datetime
    language: Language
    sections: list[Section]
    indicators: list[IndicatorLine]
    of: str = ""
    crs: str = ""

    @property
    def counts(self) -> dict[Verdict, int]:
        """Of all sections."""
        total: dict[Verdict, int] = {"fail": 0, "review": 0, "unknown": 0, "pass": 0}
        for section in self.sections:
            for verdict, n in section.counts.items():
                total[verdict] += n
        return total
