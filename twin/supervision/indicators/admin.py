"""Zones that values are told for: the towns or villages of the city, or areas that the asker gives.

Codes of admin units are 6 digits for a county (two or four of them zero for a prefecture or province), 9 for a town,
12 for a village; a town written with 12 digits ends with 000.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput, NotFound
from twin.analysis.coverage_indicators_zones import disjoint
from twin.analysis.place import numbers, words
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.supervision.indicators.source import Source

Level = Literal["city", "county", "town", "village"]
DIGITS: dict[str, int] = {"county": 6, "town": 9, "village": 12}
LAYER = "admin_unit"
SLIVER_M2 = 1.0
"""What the zones leave of the city is a row of its own where it is larger than this."""


@dataclass(frozen=True)
class Zones:
    """Where values are told.

    Attributes
    ----------
    codes, names : (k,) of the zones
    geometry : (k,) disjoint areas, the city's CRS
    rest : what the whole has beyond the zones; None where there is nothing
    whole : everything that is the city (or the unit asked for); None where the city has no admin units: it is unbounded
    code, name : of the whole
    population : (k,) people by the units' own numbers, NaN where they have none; `whole_population` of the whole
    overlap_m2 : plane area that two zones both claimed; it is told as the earlier one's
    is_part : a part of the city was asked for: what lies beyond it is not told
    """

    codes: list[str]
    names: list[str]
    geometry: NDArray[np.object_]
    rest: shapely.Geometry | None
    whole: shapely.Geometry | None
    code: str
    name: str
    population: NDArray[np.float64]
    whole_population: float
    overlap_m2: float = 0.0
    is_part: bool = False

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def areas(self) -> NDArray[np.object_]:
        """(k + 1,) the zones and, last, the rest (None where there is none)."""
        made = np.empty(len(self.codes) + 1, object)
        made[:-1] = self.geometry
        made[-1] = self.rest
        return made


def bare(code: str | None) -> str | None:
    """A code without the zeros that fill it up to 12 digits; None for what is no code."""
    text = (code or "").strip()
    if not text.isdigit() or len(text) not in {6, 9, 12}:
        return None
    while len(text) > 6 and text.endswith("000"):
        text = text[:-3]
    return text


def prefix(code: str) -> str:
    """What the codes of all units inside a unit begin with."""
    short = bare(code) or code
    if len(short) == 6:
        return short[:2] if short.endswith("0000") else short[:4] if short.endswith("00") else short
    return short


def level_of(code: str) -> str:
    """`city` for a province or prefecture, else `county`, `town` or `village`."""
    short = bare(code) or ""
    if len(short) == 6:
        return "city" if short.endswith("00") else "county"
    return "town" if len(short) == 9 else "village"


def of_city(source: "Source", level: Level = "town", xzqdm: str | None = None) -> Zones:
    """The admin units of a level, of the whole city or inside one unit.

    A city without admin units (or whose asker may not see them) is one whole without bounds and without zones.

    Raises
    ------
    InvalidInput, NotFound
        `xzqdm` is no code, or no unit has it.
    """
    if xzqdm is not None and bare(xzqdm) is None:
        raise InvalidInput(f"xzqdm {xzqdm[:20]!r} is no admin code.", "It has 6, 9 or 12 digits.")
    title = source.city.config.title_in("zh")
    if not source.has(LAYER):
        if xzqdm is not None:
            raise NotFound(f"xzqdm: the city has no admin unit {xzqdm}: it has no layer {LAYER}.")
        return Zones([], [], np.empty(0, object), None, None, "", title, np.empty(0), np.nan)
    units = _Units(source.features(LAYER, columns=("population",)))
    if xzqdm is None:
        return units.zones(units.top(), level, title, is_part=False)
    found = units.having(bare(xzqdm) or "")
    if not found:
        raise NotFound(f"xzqdm: no admin unit has the code {xzqdm}.", f"Known: {', '.join(units.some())}.")
    return units.zones(found, level, title, is_part=True)


class _Units:
    """Admin units as they are stored; what has no code or no area is left out."""

    def __init__(self, found: Features) -> None:
        codes = [bare(text) for text in words(found, "xzqdm")]
        flat = shapely.get_dimensions(found.geometry) == 2
        order = sorted((row for row, code in enumerate(codes) if code and flat[row]), key=lambda row: codes[row] or "")
        self.codes = [codes[row] or "" for row in order]
        self.names = [words(found, "name")[row] or codes[row] or "" for row in order]
        self.geometry = shapely.make_valid(shapely.force_2d(found.geometry[order])) if order else np.empty(0, object)
        self.population = numbers(found, "population")[order]

    def top(self) -> list[int]:
        """Rows of the highest level there is."""
        levels = [level_of(code) for code in self.codes]
        for level in ("city", "county", "town", "village"):
            if level in levels:
                return [row for row, each in enumerate(levels) if each == level]
        return []

    def having(self, code: str) -> list[int]:
        return [row for row, each in enumerate(self.codes) if each == code]

    def some(self) -> list[str]:
        return self.codes[:20]

    def zones(self, whole: Sequence[int], level: Level, title: str, *, is_part: bool) -> Zones:
        if not whole:
            return Zones([], [], np.empty(0, object), None, None, "", title, np.empty(0), np.nan)
        starts = tuple(prefix(self.codes[row]) for row in whole)
        inside = [
            row for row, code in enumerate(self.codes)
            if level != "city" and row not in whole and level_of(code) == level and code.startswith(starts)
        ]  # fmt: skip
        shape = shapely.union_all(self.geometry[list(whole)])
        made, overlap = disjoint(self.geometry[inside]) if inside else (np.empty(0, object), 0.0)
        rest = shapely.difference(shape, shapely.union_all(made)) if inside else shape
        is_one = len(whole) == 1
        return Zones(
            [self.codes[row] for row in inside], [self.names[row] for row in inside], made,
            rest if not inside or shapely.area(rest) > SLIVER_M2 else None,
            shapely.union_all([shape, *made]), self.codes[whole[0]] if is_one else "",
            self.names[whole[0]] if is_one else title, self.population[inside], float(self.population[whole].sum()),
            overlap, is_part,
        )  # fmt: skip


def of_features(found: Features, title: str) -> Zones:
    """Areas that the asker gives, named by their `xzqdm` (or id) and `name`; the whole is their union."""
    made, overlap = disjoint(shapely.force_2d(found.geometry))
    codes = [code or found.ids[row] for row, code in enumerate(words(found, "xzqdm"))]
    names = [name or codes[row] for row, name in enumerate(words(found, "name"))]
    population = numbers(found, "population")
    return Zones(
        codes, names, made, None, shapely.union_all(made), "", title, population, float(population.sum()), overlap, True
    )
