"""Valves, hydrants, pumps and inlets -> the pipe that each belongs to, after all sources are in the store.

A device whose source names a pipe keeps it, and is told where that pipe does not exist. Any other takes the nearest
pipe of a fitting layer, in plan, up to `TOLERANCE_M`; its attributes say the distance. Of two that are equally near
the first by id is taken, and both are named. None that near leaves it unknown. What changes with the pipes changes
here at the next build.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.issue import Issue
from twin.fuse.columns import numbers, words
from twin.fuse.extrude import FloatArray, IntArray
from twin.fuse.notes import Notes
from twin.store.interface import Query, WriteBatch

TOLERANCE_M = 0.5
SAME_M = 0.001
"""Distances that differ by less are the same."""

DRAINS = ("pipe_rain", "pipe_sewage")
FITTING: dict[str, tuple[str, ...]] = {
    "valve": ("pipe_water", "pipe_gas", "pipe_heat", "pipe_industry"),
    "hydrant": ("pipe_water",),
    "pump": ("pipe_water", *DRAINS),
    "inlet": DRAINS,
}
"""Layer of devices -> layers of pipes that they may belong to."""

ALL_PIPES = (
    "pipe_water",
    *DRAINS,
    "pipe_gas",
    "pipe_heat",
    "pipe_power",
    "pipe_telecom",
    "pipe_industry",
    "pipe_other",
)
_DERIVED = ("link_id", "link_by", "link_distance_m")
_PIPES_AT_ONCE = 50_000


@dataclass
class _Devices:
    """(n,) devices of one layer: what they have now and what was found so far."""

    fids: IntArray
    ids: NDArray[np.object_]
    points: NDArray[np.object_]
    link: NDArray[np.object_]
    by: NDArray[np.object_]
    distance_m: FloatArray
    best_m: FloatArray
    best: NDArray[np.object_]
    rival: NDArray[np.object_]
    exists: NDArray[np.bool_]

    @property
    def is_given(self) -> NDArray[np.bool_]:
        """(n,) True where the source itself names the pipe."""
        return np.array([link is not None and by != "near" for link, by in zip(self.link, self.by, strict=True)], bool)


def is_needed(touched: Iterable[str]) -> bool:
    """True if a transaction has touched devices or pipes."""
    return bool(set(touched) & {*FITTING, *ALL_PIPES})


def attach(batch: WriteBatch) -> list[Issue]:
    """Set `link_id`, `link_by` and `link_distance_m` of all devices; only rows whose values change are written.

    Memory: the devices, and 50,000 pipes at a time.
    """
    notes = Notes()
    for layer_id, fitting in FITTING.items():
        devices = _read(batch, layer_id)
        if devices is None:
            continue
        for pipe_layer in ALL_PIPES:
            _compare(batch, pipe_layer, devices, is_fitting=pipe_layer in fitting)
        _write(batch, layer_id, devices)
        _tell(layer_id, fitting, devices, notes)
    return notes.issues()


def _read(batch: WriteBatch, layer_id: str) -> _Devices | None:
    fids, ids, points, tables = [], [], [], []
    for features in batch.query(layer_id, Query()):
        fids.append(features.fids)
        ids += features.ids
        points.append(features.geometry)
        tables.append(features.attributes)
    if not ids:
        return None
    table = pa.concat_tables(tables)
    n = len(ids)
    return _Devices(
        np.concatenate(fids), np.array(ids, dtype=object), np.concatenate(points), words(table, "link_id"),
        words(table, "link_by"), numbers(table, "link_distance_m"), np.full(n, np.inf), np.full(n, None, object),
        np.full(n, None, object), np.zeros(n, bool),
    )  # fmt: skip


def _compare(batch: WriteBatch, pipe_layer: str, devices: _Devices, *, is_fitting: bool) -> None:
    """Look for the named pipes, and for nearer ones, among the pipes of one layer."""
    given = devices.is_given
    free = np.flatnonzero(~given & (shapely.get_type_id(devices.points) == 0))
    flat = shapely.force_2d(devices.points[free])
    for pipes in batch.query(pipe_layer, Query(properties=()), _PIPES_AT_ONCE):
        here = set(pipes.ids)
        devices.exists[given] |= np.fromiter((link in here for link in devices.link[given]), bool)
        if not is_fitting or not free.size:
            continue
        lines = shapely.force_2d(pipes.geometry)
        tree = shapely.STRtree(lines)
        who, which = tree.query(flat, predicate="dwithin", distance=TOLERANCE_M)
        if who.size:
            far = shapely.distance(flat[who], lines[which])
            _take(devices, free[who], np.array(pipes.ids, dtype=object)[which], far)


def _take(devices: _Devices, rows: IntArray, pipes: NDArray[np.object_], distance_m: FloatArray) -> None:
    """Keep the nearest; among pipes of the same distance the first by name, with another one as its rival."""
    for i in np.lexsort((pipes.astype(str), distance_m)).tolist():
        row, pipe, far = int(rows[i]), pipes[i], float(distance_m[i])
        if far < devices.best_m[row] - SAME_M:
            devices.best_m[row], devices.best[row], devices.rival[row] = far, pipe, None
        elif far <= devices.best_m[row] + SAME_M:
            first, second = sorted((devices.best[row], pipe))
            devices.best[row], devices.rival[row] = first, second


def _write(batch: WriteBatch, layer_id: str, devices: _Devices) -> None:
    given = devices.is_given
    found = np.isfinite(devices.best_m)
    link = np.where(given, devices.link, devices.best)
    by = np.where(given, "given", np.where(found, "near", "unknown")).astype(object)
    distance = np.where(found & ~given, np.round(devices.best_m, 3), np.nan)
    same = np.fromiter((a == b for a, b in zip(link, devices.link, strict=True)), bool, len(link))
    same &= np.fromiter((a == b for a, b in zip(by, devices.by, strict=True)), bool, len(link))
    same &= np.isclose(distance, devices.distance_m, rtol=0, atol=SAME_M / 2, equal_nan=True)
    rows = np.flatnonzero(~same)
    values = (
        pa.array(link[rows].tolist(), pa.string()), pa.array(by[rows].tolist(), pa.string()),
        pa.array(distance[rows], pa.float64(), from_pandas=True),
    )  # fmt: skip
    batch.set_derived(layer_id, devices.fids[rows], pa.table(dict(zip(_DERIVED, values, strict=True))))


def _tell(layer_id: str, fitting: tuple[str, ...], devices: _Devices, notes: Notes) -> None:
    given, found = devices.is_given, np.isfinite(devices.best_m)
    lost = given & ~devices.exists
    notes.add("DEVICE_LINK_UNKNOWN", devices.ids[lost],
              [f"This {layer_id} names pipe {link!r}, which is not in the city." for link in devices.link[lost]],
              "Correct link_id, or add the pipe.", "warning")  # fmt: skip
    alone = ~given & ~found
    notes.add("DEVICE_WITHOUT_LINK", devices.ids[alone],
              [f"This {layer_id} has no pipe of {', '.join(fitting)} within {TOLERANCE_M} m in plan."]
              * int(alone.sum()), "Give link_id, or correct its place.", "warning")  # fmt: skip
    torn = ~given & found & np.fromiter((rival is not None for rival in devices.rival), bool, len(found))
    notes.add("DEVICE_LINK_AMBIGUOUS", devices.ids[torn],
              [f"Pipes {best!r} and {rival!r} are both {far:.3f} m away; the first was taken." for best, rival, far in
               zip(devices.best[torn], devices.rival[torn], devices.best_m[torn], strict=True)],
              "Give link_id.", "info")  # fmt: skip
