"""Sectioned text files of EPANET and SWMM (`.inp`): lines by section, with their numbers, in bounded memory.

Format: EPANET 2.2 User Manual, appendix C; SWMM 5.2 User's Manual, appendix D. A section's name counts by its first
four letters, `;` begins a comment, words are separated by blanks; a word in double quotes may hold blanks.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ingest import text
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

FOOT_M, INCH_MM = 0.3048, 25.4

LONGEST_LINE = 65_536
"""Characters. Both programs stop at 1,024 themselves."""
MOST_ROWS = 2_000_000

NAMED = frozenset({"PATTERNS", "CURVES", "TIMESERIES"})
"""Sections whose lines belong together by their first word."""

_WORD = re.compile(r'"([^"]*)"|(\S+)')

Point = tuple[float, float]
Row = tuple[int, list[str]]


@dataclass
class Sections:
    """The lines of one file.

    Attributes
    ----------
    name : of the file, for messages
    rows : section -> (line number, words), of the sections that were asked for
    counts : section -> lines with words, of all sections
    names : section -> the different first words of its lines, for those in `NAMED`
    """

    name: str
    rows: dict[str, list[Row]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)

    def of(self, section: str) -> list[Row]:
        """The lines of a section; none where the file lacks it."""
        return self.rows.get(section, [])

    def wrong(self, line: int, what: str, code: str = "INP_BROKEN") -> InvalidInput:
        """The refusal that names a line."""
        return InvalidInput(f"{self.name}, line {line}: {what}.", "Correct that line.", code=code)

    def number(self, line: int, words: list[str], at: int) -> float | None:
        """The word at a place as a finite number; None where there is none. InvalidInput for another word."""
        if at >= len(words):
            return None
        try:
            value = float(words[at])
        except ValueError as error:
            raise self.wrong(line, f"{_short(words[at])} is not a number") from error
        if not math.isfinite(value):
            raise self.wrong(line, f"{_short(words[at])} is not a finite number")
        return value

    def need(self, line: int, words: list[str], n: int) -> None:
        """InvalidInput where a line has less than n words."""
        if len(words) < n:
            raise self.wrong(line, f"{len(words)} of at least {n} values are there")

    def points(self, section: str, fold: Callable[[str], str]) -> dict[str, list[Point]]:
        """Folded id -> its points in the order of the file, for COORDINATES, VERTICES, Polygons, SYMBOLS."""
        found: dict[str, list[Point]] = {}
        for line, words in self.of(section):
            x, y = self.number(line, words, 1), self.number(line, words, 2)
            if x is None or y is None:
                raise self.wrong(line, "a coordinate is missing")
            found.setdefault(fold(words[0]), []).append((x, y))
        return found

    def options(self) -> dict[str, tuple[int, list[str]]]:
        """OPTIONS by keyword in capitals: line number and the words behind it."""
        return {words[0].upper(): (line, words[1:]) for line, words in self.of("OPTIONS") if len(words) > 1}


def word(words: list[str], at: int) -> str | None:
    """The word at a place, None behind the end."""
    return words[at] if at < len(words) else None


def scaled(value: float | None, factor: float) -> float | None:
    """A number in another unit; None stays None."""
    return None if value is None else value * factor


def encoding(path: Path, hints: Hints, name: str) -> tuple[str, list[Issue]]:
    """Codec of the file: told, UTF-8, GB18030, else Latin-1, which fits any bytes and is therefore said."""
    try:
        return text.encoding(path, hints.encoding, name)
    except InvalidInput:
        if hints.encoding is not None:
            raise
        message = "The text is neither UTF-8 nor GB18030; it is read as Latin-1."
        return "latin-1", [Issue("ENCODING_DETECTED", name, message, "Give `encoding` in city.toml.", "info")]


def parse(path: Path, codec: str, name: str, wanted: Mapping[str, bool | None]) -> Sections:
    """Read a file.

    Parameters
    ----------
    wanted : section, in capitals -> True to keep its lines, False to count them only, None where the
        section is of another program, whose files are refused

    Raises InvalidInput with the line for an unknown section, text before the first section, or what is too large.
    """
    by_start = {each[:4]: each for each in sorted(wanted, reverse=True)}
    found = Sections(name)
    section, n_kept = "", 0
    for line, raw in _lines(path, codec, name):
        words = [quoted or plain for quoted, plain in _WORD.findall(raw.split(";")[0])]
        if not words:
            continue
        if words[0].startswith("["):
            title = words[0].strip("[]").upper()
            section = title if title in wanted else by_start.get(title[:4], "")
            if not section or not title:
                raise found.wrong(line, f"there is no section {_short(words[0])}")
            if wanted[section] is None:
                problem = f"{name}, line {line}: {words[0]} belongs to a file of another program (SWMM or EPANET)."
                raise InvalidInput(problem, "Correct the file, or its suffix.", code="FORMAT_UNKNOWN")
            if section == "END":
                break
        elif not section:
            raise found.wrong(line, "the file does not begin with a section")
        else:
            found.counts[section] = found.counts.get(section, 0) + 1
            if section in NAMED:
                found.names.setdefault(section, set()).add(words[0])
            if wanted[section]:
                n_kept += 1
                if n_kept > MOST_ROWS:
                    raise found.wrong(line, f"more than {MOST_ROWS:,} lines", "FILE_TOO_LARGE")
                found.rows.setdefault(section, []).append((line, words))
    return found


def _lines(path: Path, codec: str, name: str) -> Iterator[tuple[int, str]]:
    line = 0
    with path.open(encoding=codec) as file:
        while raw := file.readline(LONGEST_LINE + 1):
            line += 1
            if len(raw) > LONGEST_LINE:
                problem = f"{name}, line {line} has more than {LONGEST_LINE:,} characters."
                raise InvalidInput(problem, "It is no network file.", code="INP_BROKEN")
            yield line, raw


def _short(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:40] + "…")
