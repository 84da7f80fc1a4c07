"""A table of cells, whatever file it came from: header, columns with their types, numbered rows.

Titles above the header are found and told; a header of two rows (`平面坐标` over `X`, `Y`) is made one.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest.stream import BATCH_ROWS
from ingest.units import narrow
from layers.errors import InvalidInput
from layers.issue import Issue

MAX_COLUMNS = 2000
LOOKED_AT = 20
"""So many rows at the top are searched for the header."""

_VALUE = re.compile(r"^([-+.\d]|DN\d|\d{4}年)", re.IGNORECASE)


@dataclass(frozen=True)
class Sheet:
    """One table.

    Attributes
    ----------
    path, source : the file, and its name below the source folder
    name : of the layer to be
    table : name of the sheet where the file has several, else None
    schema : columns under the header's names; text for CSV, what the cells hold for workbooks
    rows : starts reading: number of line or row in the file, and the cells as they are
    word : `line` or `row`, for messages
    issues : found on opening
    quick : batches of so many rows, read faster; raises pa.ArrowInvalid where the table is not plain; None without
    """

    path: Path
    source: str
    name: str
    table: str | None
    schema: pa.Schema
    rows: Callable[[], Iterator[tuple[int, list[Any]]]]
    word: str = "line"
    issues: list[Issue] = field(default_factory=list)
    quick: Callable[[int], Iterator[pa.Table]] | None = None

    @property
    def header(self) -> list[str]:
        """Names of the columns, no two alike."""
        return list(self.schema.names)

    @property
    def place(self) -> str:
        """The table in words: its file, and its name where the file has several."""
        return self.source if self.table is None else f"{self.source}, sheet {self.table}"


@dataclass(frozen=True)
class Slice:
    """Some rows of a sheet: where they stand, their cells by column, and those that are too wide."""

    numbers: list[int]
    table: pa.Table
    bad: dict[int, tuple[str, str]]


def slices(sheet: Sheet, n_rows: int = BATCH_ROWS) -> Iterator[Slice]:
    """Batches of rows under the sheet's columns. A cell that its column's type cannot hold is a programming error."""
    rows = sheet.rows()
    width = len(sheet.schema)
    while batch := list(islice(rows, n_rows)):
        bad = {
            row: ("ROW_WIDTH", f"The {sheet.word} has {len(cells)} cells, the header {width}: {_shown(cells)}")
            for row, (_, cells) in enumerate(batch)
            if len(cells) > width and not all(is_blank(cell) for cell in cells[width:])
        }
        padded = [[*cells[:width], *[None] * (width - len(cells))] for _, cells in batch]
        columns = zip(*padded, strict=True)
        arrays = [
            pa.array([cell if cell != "" else None for cell in cells], kind.type)
            for cells, kind in zip(columns, sheet.schema, strict=True)
        ]
        yield Slice([number for number, _ in batch], pa.Table.from_arrays(arrays, schema=sheet.schema), bad)


def _shown(cells: Sequence[Any]) -> str:
    return ",".join("" if cell is None else str(cell) for cell in cells)[:500]


def is_blank(cell: Any) -> bool:
    """True for no cell, and for text without a letter."""
    return cell is None or (isinstance(cell, str) and not cell)


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def header(rows: Sequence[Sequence[Any]], place: str) -> tuple[list[str], int, list[Issue]]:
    """Names of the columns, how many rows they and the titles above take, and what to know of the titles.

    Raises InvalidInput for more columns than are read.
    """
    looked = rows[:LOOKED_AT]
    at = _header_row(looked)
    cells, used = list(looked[at]), at + 1
    if used < len(looked) and _is_second(cells, looked[used]):
        cells, used = _joined(cells, looked[used]), used + 1
    if len(cells) > MAX_COLUMNS:
        problem = f"{place} has {len(cells)} columns."
        raise InvalidInput(problem, f"At most {MAX_COLUMNS} are read.", code="CSV_NOT_UNDERSTOOD")
    titles = [" ".join(dict.fromkeys(str(c).strip() for c in row if not _is_empty(c))) for row in looked[:at]]
    issues = []
    if said := " | ".join(title for title in titles if title):
        message = f"The {at} rows above the header are no data: {said[:300]}."
        issues.append(Issue("TABLE_TITLE_SKIPPED", place, message, "", "info"))
    return unique([narrow(str(cell)) if cell is not None else "" for cell in cells]), used, issues


def _header_row(rows: Sequence[Sequence[Any]]) -> int:
    """The first row that is no title: titles fill a cell or two of a table of three columns or more."""
    counts = [_n_filled(row) for row in rows]
    width = max(counts, default=0)
    for i, (row, count) in enumerate(zip(rows, counts, strict=True)):
        if i and any(_is_value(cell) for cell in row if not _is_empty(cell)):
            break
        if count >= max(2, (width + 1) // 2) and (count > 1 or width < 3):
            return i
    return next((i for i, count in enumerate(counts) if count), 0)


def _n_filled(row: Sequence[Any]) -> int:
    """Cells with content; neighbours that are equal (a merged cell) count once."""
    before = [None, *row]
    return sum(not _is_empty(cell) and cell != left for left, cell in zip(before, row, strict=False))


def _is_value(cell: Any) -> bool:
    return not isinstance(cell, str) or bool(_VALUE.match(narrow(cell)))


def _is_second(upper: Sequence[Any], lower: Sequence[Any]) -> bool:
    """True if a row is the lower half of a header: words under cells that span several columns."""
    pairs = list(zip(upper, [*upper[1:], None], lower, strict=False))
    spanned = any(not _is_empty(up) and up == right and not _is_empty(down) for up, right, down in pairs)
    return spanned and not any(_is_value(cell) for cell in lower if not _is_empty(cell))


def _joined(upper: Sequence[Any], lower: Sequence[Any]) -> list[Any]:
    down = [*lower, *[None] * (len(upper) - len(lower))]
    up = [*upper, *[None] * (len(lower) - len(upper))]
    spans = [up[i] is not None and up[i] in (up[max(0, i - 1)] if i else None, up[i + 1 : i + 2] and up[i + 1])
             for i in range(len(up))]  # fmt: skip
    return [u if _is_empty(d) or u == d else d if spans[i] or _is_empty(u) else u
            for i, (u, d) in enumerate(zip(up, down, strict=True))]  # fmt: skip


def unique(cells: Sequence[str]) -> list[str]:
    """Names as they are; `column_3` for none, `name_2` for one that came before."""
    names: dict[str, None] = {}
    for number, cell in enumerate(cells, 1):
        base = cell or f"column_{number}"
        name, n = base, 2
        while name in names:
            name, n = f"{base}_{n}", n + 1
        names[name] = None
    return list(names)


def column_type(kinds: set[str], *, is_whole: bool) -> pa.DataType:
    """The type that holds all cells of a column: `kinds` of number, date, time, flag, text."""
    if kinds == {"number"}:
        return pa.int64() if is_whole else pa.float64()
    if kinds == {"flag"}:
        return pa.bool_()
    if kinds == {"date"}:
        return pa.date32()
    return pa.timestamp("us") if kinds and kinds <= {"date", "time"} else pa.string()


def cast(cell: Any, kind: pa.DataType) -> Any:
    """A cell as its column holds it; only text holds everything."""
    if cell is None:
        return None
    if pa.types.is_string(kind):
        return as_text(cell)
    if pa.types.is_integer(kind):
        return int(cell)
    if pa.types.is_timestamp(kind) and not isinstance(cell, datetime):
        return datetime(cell.year, cell.month, cell.day)
    return cell


def as_text(cell: Any) -> str:
    """A cell as people read it: whole numbers without `.0`, dates as ISO 8601."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    return cell.isoformat() if isinstance(cell, date) else str(cell)
