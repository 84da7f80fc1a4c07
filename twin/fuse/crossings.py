"""Pipes of one kind that run through each other where no node joins them: a node is missing, or a height is wrong.

In plan pipes cross all the time; that is no finding. It is one where the axes pass each other by less than both radii,
so that one pipe would go through the wall of the other. Where a height is unknown nothing is said.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.issue import Issue
from twin.fuse.attach import ALL_PIPES
from twin.fuse.columns import FloatArray, numbers
from twin.fuse.ends import SNAP_M
from twin.fuse.notes import Notes
from twin.store.interface import Query, WriteBatch

MOST_PIPES = 500_000
"""Of one layer; more are not compared, and that is said."""


def is_needed(touched: set[str]) -> bool:
    """True if a transaction has touched pipes or the nodes that join them."""
    return bool(touched & {"pipe_node", *ALL_PIPES})


def check(batch: WriteBatch) -> list[Issue]:
    """Memory: the axes of one layer."""
    notes = Notes()
    for layer_id in ALL_PIPES:
        ids: list[str] = []
        axes: list[NDArray[np.object_]] = []
        radii: list[FloatArray] = []
        for pipes in batch.query(layer_id, Query(properties=("od_mm", "dn_mm", "height_mm"))):
            ids += pipes.ids
            axes.append(pipes.geometry)
            od, height, dn = (numbers(pipes.attributes, name) for name in ("od_mm", "height_mm", "dn_mm"))
            radii.append(np.where(np.isfinite(od), od, np.where(np.isfinite(height), height, dn)) / 2000)
            if len(ids) > MOST_PIPES:
                break
        if len(ids) > MOST_PIPES:
            said = f"More than {MOST_PIPES:,} pipes: crossings were not looked for."
            notes.add("PIPES_NOT_COMPARED", [layer_id], [said], "Check them by district.", "info")
        elif ids:
            _tell(np.array(ids, dtype=object), *through(np.concatenate(axes), np.concatenate(radii)), notes)
    return notes.issues()


def through(axes: NDArray[np.object_], radius_m: FloatArray) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """(n,) axes with heights, (n,) outer radii, NaN where unknown -> pairs that run through each other.

    Returns (k, 2) rows, (k, 2) places in plan, (k,) height from axis to axis in metres. Pairs that meet at an end of
    either axis, within 2 cm, are joined there.
    """
    is_line = np.flatnonzero((shapely.get_type_id(axes) == 1) & shapely.has_z(axes) & np.isfinite(radius_m))
    lines = axes[is_line]
    first, second = shapely.STRtree(lines).query(lines, predicate="crosses")
    keep = first < second
    first, second = first[keep], second[keep]
    at = shapely.intersection(shapely.force_2d(lines[first]), shapely.force_2d(lines[second]))
    parts, pair = shapely.get_parts(at, return_index=True)
    is_point = shapely.get_type_id(parts) == 0
    parts, pair = parts[is_point], pair[is_point]
    a, b = lines[first[pair]], lines[second[pair]]
    free = np.ones(len(parts), bool)
    height = []
    for line in (a, b):
        flat = shapely.force_2d(line)
        ends = np.minimum(
            shapely.distance(shapely.get_point(flat, 0), parts), shapely.distance(shapely.get_point(flat, -1), parts)
        )
        free &= ends > SNAP_M
        share = shapely.line_locate_point(flat, parts, normalized=True)
        height.append(shapely.get_z(shapely.line_interpolate_point(line, share, normalized=True)))
    apart = np.abs(height[0] - height[1])
    reach = radius_m[is_line][first[pair]] + radius_m[is_line][second[pair]]
    rows = np.flatnonzero(free & (apart < reach))
    found = np.column_stack([is_line[first[pair[rows]]], is_line[second[pair[rows]]]])
    return found, np.column_stack([shapely.get_x(parts[rows]), shapely.get_y(parts[rows])]), apart[rows]


def _tell(
    names: NDArray[np.object_], pairs: NDArray[np.int64], places: FloatArray, apart_m: FloatArray, notes: Notes
) -> None:
    messages = [
        f"It runs through {names[other]!r} at {x:.2f}, {y:.2f}: axes {far:.2f} m apart in height, and no node there."
        for (_, other), (x, y), far in zip(pairs.tolist(), places.tolist(), apart_m.tolist(), strict=True)
    ]
    hint = "If they are joined, split both at a node; else correct the heights of one."
    notes.add("PIPES_CROSS_WITHOUT_NODE", names[pairs[:, 0]].tolist(), messages, hint, "warning")
