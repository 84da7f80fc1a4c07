"""CSV -> one sheet of text; RFC 4180, with the liberties that files take.

Byte-order mark, GB18030, semicolons, tabs, full-width commas, titles above the header.
"""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

from ingest import text
from ingest.sensor import quick_csv as sensor_csv
from ingest.table import sheet as sheets
from ingest.table.sheet import Sheet
from ingest.vector.reader import ids_name
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

DELIMITERS = ",;\t|，"
MAX_FIELD = 1_000_000
SAMPLE_CHARS = 65536


def opened(path: Path, hints: Hints) -> Sheet:
    """The table of a file. Raises InvalidInput for a file that is empty, no text, or of no known encoding."""
    name = ids_name(path, hints)
    encoding, issues = text.encoding(path, hints.encoding, name)
    with path.open(encoding=encoding, newline="") as file:
        sample = file.read(SAMPLE_CHARS)
    if not sample.strip():
        raise InvalidInput(f"{name} is empty.", "Export it again.", code="FILE_EMPTY")
    if "\0" in sample:
        raise InvalidInput(f"{name} is not a text file.", "Export it as CSV.", code="CSV_NOT_UNDERSTOOD")
    delimiter = _delimiter(sample)
    names, n_above, said = sheets.header(_top(sample, delimiter, name), name)
    if delimiter == "，":
        message = "The cells are parted by full-width commas «，»; it is read so."
        said.append(Issue("DELIMITER_FULL_WIDTH", name, message, "", "info"))
    schema = pa.schema([(column, pa.string()) for column in names])
    rows = lambda: _rows(path, name, encoding, delimiter, n_above)  # noqa: E731
    is_plain = encoding in {"utf-8", "utf-8-sig"} and len(delimiter.encode()) == 1 and n_above == 1
    quick = (lambda n_rows: sensor_csv.tables(path, delimiter, names, n_rows)) if is_plain else None
    return Sheet(path, name, path.name.split(".")[0], None, schema, rows, "line", [*issues, *said], quick)


def _delimiter(sample: str) -> str:
    """The one that the first line has most of; where it has none (a title), the first lines together."""
    lines = [line for line in sample.splitlines()[: sheets.LOOKED_AT] if line.strip()]
    for looked in (lines[:1], lines):
        counts = {each: sum(line.count(each) for line in looked) for each in DELIMITERS}
        best = max(DELIMITERS, key=lambda each: (counts[each], -DELIMITERS.index(each)))
        if counts[best]:
            return best
    return ","


def _top(sample: str, delimiter: str, name: str) -> list[list[str]]:
    csv.field_size_limit(MAX_FIELD)
    try:
        rows = list(islice(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter), sheets.LOOKED_AT))
    except csv.Error as error:
        problem = f"{name} cannot be read: {error}."
        raise InvalidInput(problem, "Check the quotes of its first lines.", code="CSV_BROKEN") from error
    return rows


def _rows(path: Path, name: str, encoding: str, delimiter: str, n_above: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row below the header that is not blank."""
    csv.field_size_limit(MAX_FIELD)
    with path.open(encoding=encoding, newline="") as handle:
        reader = csv.reader(handle, delimiter=delimiter)
        try:
            for _ in range(n_above):
                next(reader, None)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
        except csv.Error as error:
            problem = f"{name} cannot be read beyond line {reader.line_num}: {error}."
            raise InvalidInput(problem, "Check the quotes of that line.", code="CSV_BROKEN") from error
