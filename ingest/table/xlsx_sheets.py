"""Workbook -> its sheets as tables: typed columns, merged cells carried down, titles and empty sheets told.

Formats: ECMA-376 part 1, clause 18 (.xlsx), [MS-XLS] (.xls), as calamine reads them in a process of its own
(`ingest.table.xlsx_worker`); of formulas only the results that the file holds.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from ingest import archive
from ingest.scratch import Scratch
from ingest.table import sheet as sheets
from ingest.table.sheet import Sheet
from ingest.vector.reader import ids_name
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

SECONDS = 600.0
LIMITS = archive.Limits(n_entries=20_000, total_bytes=4_000_000_000)
Row = tuple[int, list[Any]]
Merged = dict[int, list[tuple[int, int, int]]]
"""First row (from 1) -> column (from 0), last column, last row of merged cells that begin there."""


def opened(path: Path, hints: Hints) -> tuple[list[Sheet], list[Issue]]:
    """The sheets that hold rows, and what to know of the others. Raises InvalidInput for a file without any."""
    name = ids_name(path, hints)
    _check(path, name)
    scratch = Scratch()
    _run(path, name, scratch)
    facts = json.loads((scratch.folder / "sheets.json").read_text("utf8"))
    full = [number for number, each in enumerate(facts) if each.get("rows")]
    issues = [_passed_over(each, name) for number, each in enumerate(facts) if number not in full]
    if not full:
        raise InvalidInput(f"No sheet of {name} holds rows.", "Export it again.", code="FILE_EMPTY")
    made = []
    for number in full:
        made.append(_sheet(path, name, scratch, {**facts[number], "number": number}, is_only=len(full) == 1))
        if facts[number]["is_hidden"]:
            said = f"Sheet {facts[number]['name']!r} is hidden in the workbook; it is read like the others."
            issues.append(Issue("SHEET_HIDDEN", name, said, "Remove it if it should not be read.", "info"))
    return made, issues


def _passed_over(facts: dict[str, Any], name: str) -> Issue:
    what = "is empty" if facts["kind"] == "WorkSheet" else f"is no table ({facts['kind']})"
    return Issue("SHEET_EMPTY", name, f"Sheet {facts['name']!r} {what}: passed over.", "", "info")


def _check(path: Path, name: str) -> None:
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] == b"PK\3\4":
        archive.checked(path, LIMITS)
    elif head != b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        problem = f"{name} does not begin like a workbook."
        raise InvalidInput(problem, "Save it as .xlsx or CSV.", code="FILE_UNREADABLE")


def _run(path: Path, name: str, scratch: Scratch) -> None:
    """Let the reading process fill the folder. Raises InvalidInput where it refuses, crashes or takes too long."""
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.getenv("PYTHONPATH")])])}
    command = [sys.executable, "-m", "ingest.table.xlsx_worker", str(path.resolve()), str(scratch.folder)]
    said = "the library that reads it crashed or ran out of memory"
    try:
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
            timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        said = f"it took more than {SECONDS:.0f} s"
    refused = scratch.folder / "refused.json"
    if refused.exists():
        said = json.loads(refused.read_text("utf8")).rstrip(".")
    if not (scratch.folder / "sheets.json").exists():
        problem = f"{name} cannot be read: {said[:300]}."
        raise InvalidInput(problem, "Save it again as .xlsx, or as CSV.", code="FILE_UNREADABLE")


def _sheet(path: Path, name: str, scratch: Scratch, facts: dict[str, Any], *, is_only: bool) -> Sheet:
    number, table = facts["number"], None if is_only else facts["name"]
    merged: Merged = defaultdict(list)
    for top, left, bottom, right in facts["merged"]:
        merged[top + 1].append((left, right, bottom + 1))
    place = name if table is None else f"{name}, sheet {table}"
    top = _spread(list(islice(_rows(scratch, number), sheets.LOOKED_AT)), merged)
    names, used, issues = sheets.header([cells for _, cells in top], place)
    first = top[used][0] if used < len(top) else top[-1][0] + 1
    width = max((len(cells) for _, cells in _carried(scratch, number, merged, first)), default=0)
    names = sheets.unique([*names, *[""] * (min(width, sheets.MAX_COLUMNS) - len(names))])  # cells without a header
    schema = _schema(names, _carried(scratch, number, merged, first))

    def rows() -> Iterator[Row]:
        kinds = list(schema.types)
        for at, cells in _carried(scratch, number, merged, first):
            yield at, [sheets.cast(cell, kind) for cell, kind in zip(cells, kinds, strict=False)] + cells[len(kinds) :]

    layer = facts["name"] if table is not None else path.name.split(".")[0]
    return Sheet(path, name, layer, table, schema, rows, "row", issues)


def _rows(scratch: Scratch, number: int) -> Iterator[Row]:
    with (scratch.folder / f"{number}.jsonl").open("rb") as file:
        for line in file:
            at, *cells = orjson.loads(line)
            yield at, [_cell(cell) for cell in cells]


def _cell(cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell
    if "d" in cell:
        return date.fromisoformat(cell["d"][:10])
    return datetime.fromisoformat(cell["t"])


def _carried(scratch: Scratch, number: int, merged: Merged, first: int) -> Iterator[Row]:
    """Rows from `first` on; a cell merged over several rows holds in each of them."""
    held: dict[int, tuple[int, Any]] = {}
    for at, read in _rows(scratch, number):
        cells = read
        for left, _, bottom in merged.get(at, ()):
            if bottom > at and left < len(cells):
                held[left] = bottom, cells[left]
        if at < first:
            continue
        for left, (bottom, value) in held.items():
            if at <= bottom and left < len(cells) and cells[left] is None:
                cells[left] = value
            elif at <= bottom and left >= len(cells):
                cells = [*cells, *[None] * (left - len(cells)), value]
        yield at, cells


def _spread(rows: list[Row], merged: Merged) -> list[Row]:
    """The first rows with every cell of a merged one holding its content: what a header means."""
    by_number = dict(rows)
    for top, areas in merged.items():
        for left, right, bottom in areas:
            value = by_number[top][left] if top in by_number and left < len(by_number[top]) else None
            for at in range(top, min(bottom, rows[-1][0]) + 1) if value is not None else ():
                cells = by_number.get(at)
                if cells is not None:
                    cells += [None] * (min(right, sheets.MAX_COLUMNS) + 1 - len(cells))
                    cells[left : right + 1] = [value] * len(cells[left : right + 1])
    return rows


def _schema(names: Sequence[str], rows: Iterator[Row]) -> pa.Schema:
    """The type of each column that holds all its cells; one pass."""
    kinds: list[set[str]] = [set() for _ in names]
    is_whole = [True] * len(names)
    for _, cells in rows:
        for i, cell in enumerate(cells[: len(names)]):
            if cell is None:
                continue
            kind = _kind(cell)
            kinds[i].add(kind)
            if kind == "number" and not (float(cell).is_integer() and abs(cell) < 2**53):
                is_whole[i] = False
    types = [sheets.column_type(kind, is_whole=whole) for kind, whole in zip(kinds, is_whole, strict=True)]
    return pa.schema(list(zip(names, types, strict=True)))


def _kind(cell: Any) -> str:
    if isinstance(cell, bool):
        return "flag"
    if isinstance(cell, int | float):
        return "number"
    if isinstance(cell, datetime):
        return "time"
    return "date" if isinstance(cell, date) else "text"
