"""Point records of a LAS or LAZ file -> a COPC file, every point once, in bounded memory.

COPC 1.0 (https://copc.io), written by copclib; legacy point formats (ASPRS LAS 1.4 R15) become 6, 7 or 8.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ingest import octree
from ingest.octree import Cube, Key, Records
from layers import crs
from layers.errors import InvalidInput
from layers.issue import Issue

CHUNK_POINTS = 500_000
SCAN_ANGLE_STEP_DEG = 0.006

_PLAIN = (
    "X", "Y", "Z", "intensity", "return_number", "number_of_returns", "synthetic", "key_point", "withheld", "overlap",
    "scanner_channel", "scan_direction_flag", "edge_of_flight_line", "classification", "user_data", "point_source_id",
    "gps_time", "red", "green", "blue", "nir",
)  # fmt: skip


def _chunks(path: Path, name: str) -> Iterator[Records]:
    """Records in point format 6, 7 or 8, `CHUNK_POINTS` at a time; InvalidInput where they end too early."""
    import laspy

    n_read = 0
    try:
        with laspy.open(path) as source:
            dtype = target_format(source.header).dtype()
            n_claimed = int(source.header.point_count)
            for points in source.chunk_iterator(CHUNK_POINTS):
                n_read += len(points)
                yield _converted(points, dtype)
    except (laspy.errors.LaspyException, OSError, ValueError, RuntimeError) as error:
        problem = f"{name} cannot be read beyond point {n_read}: {error}."
        raise InvalidInput(problem, "It is cut off or damaged: export it again.", code="TRUNCATED") from error
    if n_read != n_claimed:
        problem = f"{name} claims {n_claimed} points, but holds {n_read}."
        raise InvalidInput(problem, "It is cut off: export it again.", code="TRUNCATED")


def target_format(header: Any) -> Any:
    """Point format 6, 7 (colour) or 8 (colour and near infrared), without extra bytes."""
    import laspy

    names = set(header.point_format.dimension_names)
    return laspy.PointFormat(8 if "nir" in names else 7 if "red" in names else 6)


def _converted(points: Any, dtype: np.dtype[np.void]) -> Records:
    import laspy

    format_id = {30: 6, 36: 7, 38: 8}[dtype.itemsize]
    made = laspy.PackedPointRecord(np.zeros(len(points), dtype), laspy.PointFormat(format_id))
    given = set(points.point_format.dimension_names)
    for dimension in _PLAIN:
        if dimension in given and dimension in set(made.point_format.dimension_names):
            made[dimension] = np.asarray(points[dimension])
    if "scan_angle" in given:
        made["scan_angle"] = np.asarray(points["scan_angle"])
    elif "scan_angle_rank" in given:
        degrees = np.asarray(points["scan_angle_rank"]).astype(np.float64)
        made["scan_angle"] = np.rint(degrees / SCAN_ANGLE_STEP_DEG).astype(np.int16)
    return np.asarray(made.array)


def write_copc(path: Path, target: Path, name: str, crs_text: str) -> list[Issue]:
    """Write the COPC file; leaves none behind when it raises. Needs about the uncompressed size on disk for a while."""
    plan = _plan(path, name, crs_text)
    try:
        _write(path, target, plan)
    except BaseException:
        with suppress(FileNotFoundError):
            target.unlink()
        raise
    return plan.survey.issues(path, name)


@dataclass(frozen=True)
class _Plan:
    """What one or two passes over the points found out, and what follows from it."""

    name: str
    crs_text: str
    survey: "_Survey"
    format_id: int
    scales: tuple[float, float, float]
    offsets: tuple[float, float, float]
    root: Cube
    side: float
    depth: int


def _plan(path: Path, name: str, crs_text: str) -> _Plan:
    import laspy

    survey = _Survey()
    for records in _chunks(path, name):
        survey.add(records)
    with laspy.open(path) as source:
        x, y, z = (float(value) for value in source.header.scales)
        east, north, up = (float(value) for value in source.header.offsets)
        format_id = int(target_format(source.header).id)
    root, side = octree.cube(survey.low, survey.high, (x, y, z))
    counts: Counter[tuple[int, int, int]] = Counter()
    if survey.n_points > octree.TILE_POINTS:
        for records in _chunks(path, name):
            counts.update(octree.count_cubes(records, root))
    return _Plan(name, crs_text, survey, format_id, (x, y, z), (east, north, up), root, side, octree.tile_depth(counts))


class _Survey:
    """Bounds in integer steps, points by class and return number."""

    def __init__(self) -> None:
        self.low: tuple[int, int, int] = (2**31, 2**31, 2**31)
        self.high: tuple[int, int, int] = (-(2**31), -(2**31), -(2**31))
        self.n_points = 0
        self.classes: Counter[int] = Counter()
        self.returns = np.zeros(15, np.int64)

    def add(self, records: Records) -> None:
        if not len(records):
            return
        self.n_points += len(records)
        mins = tuple(int(records[axis].min()) for axis in "XYZ")
        maxs = tuple(int(records[axis].max()) for axis in "XYZ")
        self.low = tuple(map(min, self.low, mins))  # type: ignore[assignment]
        self.high = tuple(map(max, self.high, maxs))  # type: ignore[assignment]
        values, counts = np.unique(records["classification"], return_counts=True)
        self.classes.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        numbers = np.bincount(records["bit_fields"] & 15, minlength=16)
        self.returns += numbers[1:16]

    def issues(self, path: Path, name: str) -> list[Issue]:
        if set(self.classes) <= {0, 1}:
            message = "No point is classified, so nothing tells ground from roofs."
            return [
                Issue(
                    "LAS_NOT_CLASSIFIED",
                    name,
                    message,
                    f"Classify {path.name} first if terrain is to be made of it.",
                    "info",
                )
            ]
        return []


def _write(path: Path, target: Path, plan: _Plan) -> None:
    import laspy

    dtype = laspy.PointFormat(plan.format_id).dtype()
    with tempfile.TemporaryDirectory(prefix="copc-", dir=target.parent) as folder:
        tiles = octree.Spill(Path(folder), "tile", dtype)
        shared = octree.Spill(Path(folder), "node", dtype)
        writer = _CopcFile(target, plan)

        def give(key: Key, records: Records) -> None:
            if key[0] < plan.depth:
                shared.add(key, records)
            else:
                writer.add(key, records)

        for records in _chunks(path, plan.name):
            for key, share in octree.split(records, plan.root, plan.depth):
                tiles.add(key, share)
        for _, records in tiles.drain():
            octree.distribute(records, plan.root, plan.depth, give)
        for key, records in shared.drain():
            writer.add(key, records)
        writer.close()


class _CopcFile:
    """copclib's writer, with the header filled from the survey."""

    def __init__(self, target: Path, plan: _Plan) -> None:
        import copclib

        self._lib, self._n_points, self._expected = copclib, 0, plan.survey.n_points
        scales, offsets = np.array(plan.scales), np.array(plan.offsets)
        wkt = crs.parse(plan.crs_text).to_wkt("WKT1_GDAL")
        config = copclib.CopcConfigWriter(
            plan.format_id, copclib.Vector3(*plan.scales), copclib.Vector3(*plan.offsets), wkt
        )
        low = np.array(plan.survey.low) * scales + offsets
        high = np.array(plan.survey.high) * scales + offsets
        info, header = config.copc_info, config.las_header
        info.center_x, info.center_y, info.center_z = (float(value) for value in low + plan.side / 2)
        info.halfsize, info.spacing = plan.side / 2, plan.side / octree.GRID
        header.min, header.max = (copclib.Vector3(*(float(value) for value in corner)) for corner in (low, high))
        header.points_by_return = plan.survey.returns.tolist()
        self._writer = copclib.FileWriter(str(target), config)

    def add(self, key: Key, records: Records) -> None:
        self._n_points += len(records)
        self._writer.AddNode(self._lib.VoxelKey(*key), self._lib.VectorChar(np.frombuffer(records.tobytes(), np.int8)))

    def close(self) -> None:
        self._writer.Close()
        if self._n_points != self._expected:  # the octree lost or doubled points: never let such a file pass
            problem = f"{self._expected} points were read, but {self._n_points} written."
            raise RuntimeError(problem)
