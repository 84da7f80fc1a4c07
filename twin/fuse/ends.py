"""Ends of pipes against the nodes that they name: how far apart, which nodes are missing. Nothing is moved."""

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.issue import Issue
from twin.fuse.attach import ALL_PIPES
from twin.fuse.columns import words
from twin.fuse.extrude import FloatArray
from twin.fuse.notes import Notes
from twin.store.interface import Query, WriteBatch

SNAP_M = 0.02
"""Ends that miss their node by no more than this are listed, those that miss it by more are findings."""
EXACT_M = 0.001
_ENDS = (("start_node", 0), ("end_node", -1))


def is_needed(touched: set[str]) -> bool:
    """True if a transaction has touched nodes or pipes."""
    return bool(touched & {"pipe_node", *ALL_PIPES})


def check(batch: WriteBatch) -> list[Issue]:
    """What does not meet, in plan. Without any node in the city there is nothing to compare with.

    Memory: code and place of every node, and one batch of pipes.
    """
    places = _nodes(batch)
    notes = Notes()
    if not places:
        return []
    for layer_id in ALL_PIPES:
        for pipes in batch.query(layer_id, Query(properties=("start_node", "end_node"))):
            _compare(pipes.ids, pipes.geometry, pipes.attributes, places, notes)
    return notes.issues()


def _nodes(batch: WriteBatch) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for nodes in batch.query("pipe_node", Query(properties=("node_code",))):
        xy = zip(shapely.get_x(nodes.geometry).tolist(), shapely.get_y(nodes.geometry).tolist(), strict=True)
        codes = words(nodes.attributes, "node_code")
        found |= {code: at for code, at in zip(codes, xy, strict=True) if code is not None}
    return found


def _compare(
    ids: list[str],
    geometry: NDArray[np.object_],
    attributes: pa.Table,
    places: dict[str, tuple[float, float]],
    notes: Notes,
) -> None:
    names = np.array(ids, dtype=object)
    is_line = np.isin(shapely.get_type_id(geometry), (1, 5))
    for column, at in _ENDS:
        codes = words(attributes, column)
        here = np.fromiter((code is not None for code in codes), bool, len(codes)) & is_line
        missing = here & np.fromiter((code not in places for code in codes), bool, len(codes))
        notes.add("PIPE_NODE_MISSING", names[missing], [f"Its {column} {code!r} is not in the city."
                  for code in codes[missing]], "Add the node, or correct the name.", "info")  # fmt: skip
        rows = np.flatnonzero(here & ~missing)
        node = np.array([places[code] for code in codes[rows]], np.float64).reshape(-1, 2)
        far = np.hypot(*(_end(geometry[rows], at) - node).T)
        for code, chosen, severity in (
            ("PIPE_END_NEAR_NODE", (far > EXACT_M) & (far <= SNAP_M), "info"),
            ("PIPE_END_OFF_NODE", far > SNAP_M, "warning"),
        ):
            told = [f"Its {column} {codes[rows[i]]!r} is {far[i]:.3f} m from its end." for i in np.flatnonzero(chosen)]
            notes.add(code, names[rows[chosen]], told, "Correct the line or the node.", severity)  # type: ignore[arg-type]


def _end(lines: NDArray[np.object_], at: int) -> FloatArray:
    """(n, 2) first or last point of lines, which may have parts."""
    part = shapely.get_geometry(lines, at)
    return shapely.get_coordinates(shapely.get_point(part, at)).reshape(-1, 2)
