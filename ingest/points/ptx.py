"""Leica PTX (text): scans of columns × rows, each with a 4 × 4 matrix, -> COPC.

A scan begins with columns, rows, position (3 numbers), axes (3 × 3) and the matrix, by which a row vector x y z 1 is
multiplied (the fourth line moves it). Then follow columns × rows lines: x y z intensity, and r g b with colour;
`0 0 0` is a direction from which nothing came back. Intensity is 0 … 1, colour 0 … 255; both become 0 … 65535.
"""

import io
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ingest import place
from ingest.points import layer as point_layer
from ingest.points.layer import PointChunk
from ingest.vector.reader import ids_name
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints, Reading

SUFFIXES = (".ptx",)

CHUNK_LINES = 100_000
HEADER_LINES = 8
"""After columns and rows: position, three axes, four rows of the matrix."""
MAX_SIDE = 1_000_000
LINE_BYTES = 1000


def read(path: Path, hints: Hints) -> Reading:
    """All scans as one cloud. Raises InvalidInput for a line that is not PTX; CrsMissing, as PTX states no CRS."""
    name = ids_name(path, hints)
    with path.open("rb") as file:
        _size(file, name, 1)
        for line in range(3, 3 + HEADER_LINES):
            _numbers(file, name, line)
        width = len(file.readline(LINE_BYTES).split())
    if width not in {4, 7}:
        problem = f"The points of {name} have {width} columns."
        raise InvalidInput(problem, "PTX has 4 (x y z intensity) or 7 (and r g b).", code="PTX_COLUMNS")
    if hints.crs is None:
        raise place.missing(name, " (PTX never does)")
    counts = Counter[str]()
    made = point_layer.copc_from_chunks(
        path, hints, lambda: _chunks(path, name, width, counts), None, has_color=width == 7
    )
    made.layer.meta |= {"scans": counts["scans"], "points_invalid": counts["empty"]}
    issues = list(made.issues)
    if counts["empty"]:
        message = f"From {counts['empty']} directions nothing came back (0 0 0); they are left out."
        issues.append(Issue("POINTS_INVALID", name, message, "Nothing to do.", "info"))
    return Reading(path, "PTX", [made.layer], made.certificate, issues)


def _size(file: BinaryIO, name: str, line: int) -> tuple[int, int] | None:
    """Columns and rows of the next scan, None at the end of the file."""
    head = file.readline(LINE_BYTES)
    while head and not head.strip():
        head = file.readline(LINE_BYTES)
    if not head:
        return None
    try:
        columns, rows = int(head), int(file.readline(LINE_BYTES))
    except ValueError:
        columns = rows = 0
    if not (0 < columns <= MAX_SIDE and 0 < rows <= MAX_SIDE):
        problem = f"Line {line} of {name} should begin a scan with its numbers of columns and rows."
        raise InvalidInput(problem, "It is not PTX, or damaged: export it again.", code="PTX_HEADER")
    return columns, rows


def _numbers(file: BinaryIO, name: str, line: int) -> list[float]:
    try:
        found = [float(each) for each in file.readline(LINE_BYTES).split()]
    except ValueError:
        found = []
    if len(found) not in {3, 4} or not np.isfinite(found).all():
        problem = f"Line {line} of {name} should hold 3 or 4 numbers of the scan's position."
        raise InvalidInput(problem, "It is damaged: export it again.", code="PTX_HEADER")
    return found


def _chunks(path: Path, name: str, width: int, counts: Counter[str]) -> Iterator[PointChunk]:
    counts.clear()
    line = 1
    with path.open("rb") as file:
        while (size := _size(file, name, line)) is not None:
            matrix = np.array(_matrix(file, name, line + 2))
            line += 2 + HEADER_LINES
            counts["scans"] += 1
            left = size[0] * size[1]
            while left:
                rows = _rows(file, min(left, CHUNK_LINES), width, name, line)
                line += len(rows)
                left -= len(rows)
                is_return = (rows[:, :3] != 0).any(axis=1)
                counts["empty"] += int((~is_return).sum())
                yield _placed(rows[is_return], matrix, counts["scans"])


def _matrix(file: BinaryIO, name: str, line: int) -> list[list[float]]:
    for i in range(4):
        _numbers(file, name, line + i)
    found = [_numbers(file, name, line + 4 + i) for i in range(4)]
    if any(len(row) != 4 for row in found):
        problem = f"The matrix before line {line + 8} of {name} is not 4 × 4."
        raise InvalidInput(problem, "It is damaged: export it again.", code="PTX_HEADER")
    return found


def _rows(file: BinaryIO, n: int, width: int, name: str, line: int) -> NDArray[np.float64]:
    """(n, width) numbers of the next lines."""
    lines = list(itertools.islice(iter(lambda: file.readline(LINE_BYTES), b""), n))
    try:
        rows = (
            np.loadtxt(io.BytesIO(b"".join(lines)), np.float64, ndmin=2, comments=None) if lines else np.zeros((0, 0))
        )
    except ValueError as error:
        problem = f"Near line {line} of {name}: {error}."
        raise InvalidInput(problem, "It is damaged: export it again.", code="PTX_LINE") from error
    if len(rows) < n:
        problem = (
            f"{name} ends or has empty lines after line {line + len(rows) - 1}; {n - len(rows)} points are missing."
        )
        raise InvalidInput(problem, "It is cut off: export it again.", code="TRUNCATED")
    if rows.shape[1] != width:
        problem = f"From line {line} of {name} the points have {rows.shape[1]} columns, before it {width}."
        raise InvalidInput(problem, "Export it again.", code="PTX_COLUMNS")
    return rows


def _placed(rows: NDArray[np.float64], matrix: NDArray[np.float64], scan: int) -> PointChunk:
    attributes = {
        "intensity": _stretched(rows[:, 3], 1.0),
        "source_id": np.full(len(rows), min(scan, 65535), np.uint16),
    }
    for i, name in enumerate(("red", "green", "blue")[: rows.shape[1] - 4]):
        attributes[name] = _stretched(rows[:, 4 + i], 255.0)
    return PointChunk(rows[:, :3] @ matrix[:3, :3] + matrix[3, :3], attributes)


def _stretched(values: NDArray[np.float64], high: float) -> NDArray[np.uint16]:
    return np.rint(np.clip(np.nan_to_num(values) / high, 0, 1) * 65535).astype(np.uint16)
