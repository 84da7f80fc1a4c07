"""LAS, LAZ, COPC -> COPC, every point once, in bounded memory.

Formats: ASPRS LAS 1.0 to 1.4 R15; COPC 1.0 (https://copc.io). Point formats 0 to 5 become 6 or 7, 9 and 10 lose their
waveforms and become 6 and 8; extra bytes stay. Coordinates and heights stay in the CRS of the file.
"""

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from ingest import place
from ingest.points import las_header, pdal_pipeline
from ingest.points import layer as point_layer
from ingest.points.copc import PointSource, Steps, Survey, survey
from ingest.points.las_header import LasHeader
from ingest.points.octree import Records
from ingest.points.records import HAS_TIME, TARGET, WAVEFORMS, converted, described
from ingest.scratch import Scratch
from ingest.vector.reader import ids_name
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints, Reading

SUFFIXES = (".las", ".laz", ".copc.laz")

CHUNK_POINTS = 500_000
FIRST_YEAR = 1990
"""Creation dates before it are empty fields of the header."""
INT32 = 2**31


def read(path: Path, hints: Hints) -> Reading:
    """The cloud as an asset; reads every point once, for its bounds and classes.

    Raises InvalidInput for a header that lies, a file without points or cut off; CrsMissing without CRS.
    """
    name = ids_name(path, hints)
    point_layer.check_layer(hints)
    original, scratch = path, Scratch() if hints.pipeline else None
    if scratch is not None:
        las_header.checked(path, name)
        path = pdal_pipeline.run(path, hints.pipeline, name, scratch)
    header = las_header.checked(path, name)
    stated, issues = las_header.stated_crs(header, name)
    if header.n_points == 0:
        raise InvalidInput(f"{name} has no points.", "Export it again.", code="FILE_EMPTY")
    source, facts = _source(path, name, header)
    if facts["bounds"] is not None:  # a CRS that is missing or wrong is told before all points are read
        place.certificate(stated, hints, name, facts["bounds"])
    found = _surveyed(path, header, source)
    issues = [*header.issues, *issues, *_doubts(name, header, source, found)]
    meta = {
        "version": header.version,
        "source_point_format": header.format_id,
        "created": facts["created"],
        "extra_dimensions": facts["extra_dimensions"],
        "waveforms": header.format_id in WAVEFORMS,
        "has_gps_time": header.format_id in HAS_TIME,
        "has_color": TARGET[header.format_id] in {7, 8},
    }
    made = point_layer.layer(
        original, hints, source, found, stated, meta=meta, issues=issues, vertical_unit=las_header.vertical_unit(header)
    )
    if scratch is not None:
        made.layer.write = _keeping(scratch, made.layer.write)
    return Reading(original, f"LAS {header.version}", [made.layer], made.certificate, made.issues)


def _keeping(scratch: Scratch, write: Callable[[Path], list[Issue]]) -> Callable[[Path], list[Issue]]:
    """The same, with the folder that it reads from kept until then."""

    def kept(target: Path, _scratch: Scratch = scratch) -> list[Issue]:
        return write(target)

    return kept


def _source(path: Path, name: str, header: LasHeader) -> tuple[PointSource, dict[str, Any]]:
    import laspy

    with _reading(name, 0), laspy.open(path) as opened:
        las = opened.header
        scales, offsets = (tuple(float(each) for each in values) for values in (las.scales, las.offsets))
        corners = np.array([las.mins, las.maxs], np.float64)
        created = las.creation_date
        extra_names = list(las.point_format.extra_dimension_names)
        encoding, source_id = int(las.global_encoding.value), int(las.file_source_id)
    if not (np.isfinite([*scales, *offsets]).all() and all(scales)):
        problem = f"{name} has scale {scales} and offset {offsets}, which place nothing."
        raise InvalidInput(problem, "It is damaged: export it again.", code="LAS_HEADER")
    is_sane = bool(np.isfinite(corners).all() and (corners[0] <= corners[1]).all())
    if created is not None and created.year < FIRST_YEAR:
        created = None
    n_extra = header.record_bytes - las_header.BASE_BYTES[header.format_id]
    made = PointSource(
        name, TARGET[header.format_id], scales, offsets,  # type: ignore[arg-type]
        chunks=lambda: _chunks(path, name, header),
        positions=lambda: _chunks(path, name, header, only_positions=True),
        guess=_steps(corners, scales, offsets) if is_sane else None,
        extra=described(header.find(4, "LASF_Spec") or b"", n_extra),
        global_encoding=encoding, source_id=source_id, created=created,
    )  # fmt: skip
    bounds = (*corners[0, :2].tolist(), *corners[1, :2].tolist()) if is_sane else None
    return made, {
        "bounds": bounds,
        "created": created.isoformat() if created else None,
        "extra_dimensions": extra_names,
    }


def _steps(corners: Any, scales: Any, offsets: Any) -> tuple[Steps, Steps] | None:
    steps = np.sort(np.rint((corners - offsets) / scales), axis=0)
    if not (np.abs(steps) <= INT32).all():
        return None
    low, high = (tuple(int(value) for value in row) for row in steps)
    return low, high  # type: ignore[return-value]


class _reading:  # noqa: N801 a context manager that is used like a function
    """Whatever the libraries raise while they read becomes InvalidInput."""

    def __init__(self, name: str, n_read: int) -> None:
        self.name, self.n_read = name, n_read

    def __enter__(self) -> Self:
        return self

    # a panic of the decoder (Rust) is a BaseException that no module exports
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if (
            error is None
            or isinstance(error, (InvalidInput, GeneratorExit, MemoryError))
            or not (isinstance(error, _errors()) or type(error).__name__ == "PanicException")
        ):
            return
        if self.n_read:
            problem, code = f"{self.name} cannot be read beyond point {self.n_read}: {error}.", "TRUNCATED"
        else:
            problem, code = f"{self.name} cannot be read: {error}.", "FILE_UNREADABLE"
        raise InvalidInput(problem, "It is cut off or damaged: export it again.", code=code) from error


def _errors() -> tuple[type[BaseException], ...]:
    import laspy
    import lazrs

    library = (laspy.errors.LaspyException, lazrs.LazrsError)
    return (*library, OSError, ValueError, RuntimeError, struct.error, OverflowError, KeyError, IndexError)


def _chunks(path: Path, name: str, header: LasHeader, *, only_positions: bool = False) -> Iterator[Records]:
    """Records in the target format; InvalidInput where they end too early."""
    import laspy

    wanted = laspy.DecompressionSelection.all()
    if only_positions:
        wanted = laspy.DecompressionSelection.base() | laspy.DecompressionSelection.Z
        wanted |= laspy.DecompressionSelection.CLASSIFICATION
    reading = _reading(name, 0)
    with reading, laspy.open(path, decompression_selection=wanted) as source:
        for points in source.chunk_iterator(CHUNK_POINTS):
            records = np.ascontiguousarray(points.array)
            if records.dtype.itemsize != header.record_bytes:
                raise ValueError(f"{records.dtype.itemsize} bytes a point instead of {header.record_bytes}")
            yield converted(records, header.format_id)
            reading.n_read += len(points)
    if reading.n_read != header.n_points:
        problem = f"{name} claims {header.n_points} points, but holds {reading.n_read}."
        raise InvalidInput(problem, "It is cut off: export it again.", code="TRUNCATED")


def _surveyed(path: Path, header: LasHeader, source: PointSource) -> Survey:
    """The survey of a file; kept while the file stays as it is, because a build opens a source more than once."""
    status = path.stat()
    return _survey_of(_Same((str(path.resolve()), status.st_mtime_ns, status.st_size, header.n_points), source))


class _Same:
    """A source that is equal to another of the same, unchanged file."""

    def __init__(self, mark: tuple[str, int, int, int], source: PointSource) -> None:
        self.mark, self.source = mark, source

    def __hash__(self) -> int:
        return hash(self.mark)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.mark == other.mark


@lru_cache(maxsize=32)
def _survey_of(same: _Same) -> Survey:
    return survey(same.source)


def _doubts(name: str, header: LasHeader, source: PointSource, found: Survey) -> list[Issue]:
    issues = []
    if source.guess is None or any(
        abs(a - b) > 1
        for pair in zip(source.guess, (found.low, found.high), strict=True)
        for a, b in zip(*pair, strict=True)
    ):
        low, high = found.corners(source)
        true = " to ".join(", ".join(f"{value:.10g}" for value in corner) for corner in (low, high))
        message = f"The bounds in its header are not those of its points; they run from {true}."
        issues.append(Issue("LAS_BOUNDS_DIFFER", name, message, "The true bounds are used.", "warning"))
    if header.format_id in WAVEFORMS:
        message = "Waveforms are not carried over to COPC."
        issues.append(Issue("LAS_WAVEFORMS_DROPPED", name, message, "Keep the source file.", "warning"))
    return issues
