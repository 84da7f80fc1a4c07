"""A surveyed point cloud -> an asset layer with its certificate; also for points that other readers have as arrays.

`copc_from_chunks` is for every reader that can give its points as arrays of coordinates and attributes.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest import place
from ingest.points.copc import PointSource, Survey, survey, write_copc
from ingest.points.octree import Records
from ingest.points.records import describe, record_dtype
from ingest.vector.reader import ids_name
from layers import catalogue, crs
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, Hints

FINEST_STEP = 1e-4
FINEST_STEP_DEG = 1e-9
"""Coordinates are kept to 0.1 mm (in degrees to the same), or coarser where the cloud is too wide for 32 bits."""
MAX_STEPS = 2_000_000_000
UNCLASSIFIED = {0, 1}


@dataclass(frozen=True)
class PointChunk:
    """Some 100,000 points.

    Attributes
    ----------
    xyz : (n, 3) east, north, height in the source's CRS, finite
    attributes : of LAS, by name: `intensity`, `red`, `green`, `blue`, `nir` (0 … 65535), `classification` (0 … 255),
        `returns` (return number | number of returns << 4), `gps_time` (s), `user_data`, `source_id`
    extra : further columns, the same in every chunk; numeric, kept under their names as LAS extra bytes
    """

    xyz: NDArray[np.float64]
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)


Chunks = Callable[[], Iterator[PointChunk]]


@dataclass(frozen=True)
class MadeLayer:
    """The layer, how it is placed, and what was wrong."""

    layer: AssetLayer
    certificate: Certificate
    issues: list[Issue]


def check_layer(hints: Hints) -> None:
    """Raises InvalidInput for a layer that does not hold points, and for repairs that are not made here."""
    if hints.layer is not None and catalogue.layer_type(hints.layer).geometry != "points":
        raise InvalidInput(
            f"Layer {hints.layer!r} does not hold points.",
            "Correct `layer` in city.toml.",
            code="LAYER_GEOMETRY_DIFFERS",
        )
    if hints.correct or hints.control_points:
        problem = "`correct` and `control_points` cannot be applied to point clouds."
        raise InvalidInput(problem, "Move the points first, and give the true crs.", code="POINTS_NOT_MOVED")


def copc_from_chunks(
    path: Path,
    hints: Hints,
    chunks: Chunks,
    stated_crs: str | None,
    *,
    meta: Mapping[str, Any] | None = None,
    extra: Mapping[str, np.dtype[Any]] | None = None,
    has_color: bool = False,
) -> MadeLayer:
    """Points of any reader as a layer that is written as COPC.

    Parameters
    ----------
    path, hints : of the source
    chunks : called three times at most (twice here, for bounds and counts; once by `layer.write`); each call gives all
        points again, in the same order. Memory is bounded by one chunk and about 200 bytes × 2 million points.
    stated_crs : what the file says, with its heights if it says so (compound); None asks `hints.crs`
    meta : facts for the catalogue, added to points, classes, z_bounds …
    extra : columns of `PointChunk.extra` with their types (u1 … f8)
    has_color : whether `red`, `green`, `blue` are given

    Raises CrsMissing without any CRS; InvalidInput for no points, coordinates that are no numbers, or wider than
    32-bit steps of a kilometre. Whatever `chunks` raises passes through.
    """
    check_layer(hints)
    name = ids_name(path, hints)
    if stated_crs is None and hints.crs is None:
        raise place.missing(name)
    low, high = _bounds(chunks, name)
    horizontal = crs.horizontal(stated_crs or hints.crs or "")
    scales, offsets = _steps(low, high, is_geographic=crs.is_geographic(horizontal))
    format_id, kept = 7 if has_color else 6, describe(dict(extra or {}))
    dtype = record_dtype(format_id, kept.n_bytes)

    def records() -> Iterator[Records]:
        for chunk in chunks():
            if len(chunk.xyz):
                yield _records(chunk, dtype, dict(extra or {}), scales, offsets)

    low_steps, high_steps = (_whole(np.rint((each - offsets) / scales)) for each in (low, high))
    source = PointSource(name, format_id, scales, offsets, records, guess=(low_steps, high_steps), extra=kept)
    facts = {"extra_dimensions": list(extra or {}), "has_color": has_color, **(meta or {})}
    return layer(path, hints, source, survey(source), stated_crs, meta=facts, issues=[])


def _bounds(chunks: Chunks, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high, n_points = np.full(3, np.inf), np.full(3, -np.inf), 0
    for chunk in chunks():
        if not len(chunk.xyz):
            continue
        low, high = np.minimum(low, chunk.xyz.min(axis=0)), np.maximum(high, chunk.xyz.max(axis=0))
        n_points += len(chunk.xyz)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            problem = f"{name} has coordinates that are no numbers."
            raise InvalidInput(problem, "Export it again.", code="COORDINATES_NOT_FINITE")
    if n_points == 0:
        raise InvalidInput(f"{name} has no points.", "Export it again.", code="FILE_EMPTY")
    if float((high - low).max()) > MAX_STEPS * 1000.0 or float(np.abs([low, high]).max()) > 1e12:
        problem = f"The coordinates of {name} run from {low.tolist()} to {high.tolist()}."
        raise InvalidInput(problem, "Remove the stray points.", code="COORDINATES_ABSURD")
    return low, high


def _steps(
    low: NDArray[np.float64], high: NDArray[np.float64], *, is_geographic: bool
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Scale and offset of each axis: the finest decimal step with which the extent fits 32 bits."""
    scales = []
    for axis, extent in enumerate((high - low).tolist()):
        step = FINEST_STEP_DEG if is_geographic and axis < 2 else FINEST_STEP
        while extent / step > MAX_STEPS:
            step *= 10
        scales.append(float(f"{step:.0e}"))
    east, north, up = (float(math.floor(value)) for value in low)
    return (scales[0], scales[1], scales[2]), (east, north, up)


def _whole(values: NDArray[np.float64]) -> tuple[int, int, int]:
    x, y, z = (int(value) for value in values)
    return x, y, z


def _records(
    chunk: PointChunk,
    dtype: np.dtype[np.void],
    extra: dict[str, np.dtype[Any]],
    scales: tuple[float, float, float],
    offsets: tuple[float, float, float],
) -> Records:
    made = np.zeros(len(chunk.xyz), dtype)
    steps = np.rint((chunk.xyz - np.array(offsets)) / np.array(scales))
    for i, axis in enumerate("XYZ"):
        made[axis] = steps[:, i]
    made["returns"] = 1 | 1 << 4
    for name, values in chunk.attributes.items():
        if name in (dtype.names or ()):
            made[name] = values
    if extra:
        columns = np.zeros(len(made), np.dtype(list(extra.items())))
        for name in extra:
            columns[name] = chunk.extra[name]
        made["extra"] = columns.view(made.dtype["extra"])
    return made


def layer(
    path: Path,
    hints: Hints,
    source: PointSource,
    found: Survey,
    stated: str | None,
    *,
    meta: Mapping[str, Any],
    issues: list[Issue],
    vertical_unit: str | None = None,
) -> MadeLayer:
    """Certificate and layer of a surveyed cloud. Raises CrsMissing, or InvalidInput where the CRS cannot be true."""
    low, high = found.corners(source)
    bounds = (low[0], low[1], high[0], high[1])
    certificate, placed = place.certificate(stated, hints, source.name, bounds)
    horizontal, vertical = certificate.source_crs or "", certificate.source_vertical_crs
    issues = [*issues, *placed, *_unclassified(source.name, found)]
    issues += _height_unit(source.name, horizontal, vertical, vertical_unit)
    facts = {
        "points": found.n_points,
        "point_format": source.format_id,
        "scale": list(source.scales),
        "z_bounds": [low[2], high[2]],
        "classes": {str(value): count for value, count in found.classes.items()},
        **meta,
    }
    text = _with_heights(horizontal, vertical)

    def write(target: Path) -> list[Issue]:
        write_copc(source, found, target, text)
        return []

    made = AssetLayer(
        name=path.name.split(".")[0],
        kind="points",
        layer_type=hints.layer or "point_cloud",
        crs=horizontal,
        bounds=bounds,
        meta=facts,
        write=write,
        suffix=".copc.laz",
        vertical_crs=vertical,
        epoch=hints.epoch or facts.get("created"),
        height_offset_m=hints.vertical_offset_m,
    )
    return MadeLayer(made, certificate, issues)


def _with_heights(horizontal: str, vertical: str | None) -> str:
    """One text for both parts where they have codes; else the horizontal part alone."""
    if vertical is None:
        return horizontal
    if crs.is_ellipsoidal(vertical):
        return vertical
    if horizontal.startswith("EPSG:") and vertical.startswith("EPSG:"):
        return f"{horizontal}+{vertical.removeprefix('EPSG:')}"
    return horizontal


def _unclassified(name: str, found: Survey) -> list[Issue]:
    if not set(found.classes) <= UNCLASSIFIED:
        return []
    message = f"None of its {found.n_points} points is classified, so nothing tells ground from roofs."
    hint = "Run a ground filter first (a `pipeline` in city.toml can) if terrain is to be made of it."
    return [Issue("POINTS_UNCLASSIFIED", name, message, hint, "info")]


def _height_unit(name: str, horizontal: str, vertical: str | None, unit: str | None) -> list[Issue]:
    """Heights without a datum count as the city's, in metres: say so where the file is likely in feet."""
    if vertical is not None or crs.is_geographic(horizontal):
        return []
    metres = crs.metres_per_unit(horizontal)
    if unit in {None, "metres"} and (unit == "metres" or abs(metres - 1) < 1e-9):
        return []
    likely = f"in {unit}" if unit else f"in the unit of its coordinates ({metres:.7g} m)"
    message = f"It names no height datum, so its heights are taken as metres; but they are probably {likely}."
    hint = 'Write vertical_crs into city.toml, for example "EPSG:6360" (NAVD88, US survey feet).'
    return [Issue("HEIGHT_UNIT_UNKNOWN", name, message, hint, "warning")]
