"""A page out of a small region, in one statement: rows of the few candidates, tested as they are read.

Choosing rows as numbers first pays from some hundred features on; below that each statement costs more than the rows.
"""

import sqlite3
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.store import box_index, geometry_blob, geometry_kind
from twin.store.query_plan import Plan, lookup

MOST = 250
"""Features that are read at once."""
MOST_TESTED = 1_500
"""Candidates that a filter may choose them from."""
OWN = 8
"""Columns in front of the attributes: fid, id, geometry, extra, version, valid_from, valid_to, and was it single."""


@dataclass(frozen=True)
class Few:
    """All features that match, in fid order.

    Attributes
    ----------
    rows : as `query_plan.lookup` selects them: OWN columns, then the attributes of the plan
    shapes : (n,) their geometries as they were given; None where they were not asked for
    """

    rows: list[tuple[Any, ...]]
    shapes: NDArray[np.object_]


def read(db: sqlite3.Connection, asked: Plan) -> Few | None:
    """Everything that is asked for, if it lies in one small region, is of now and wants no order; else None."""
    is_plain = asked.is_now and not asked.sort and asked.after is None and not asked.after_fid
    if not is_plain or asked.z is not None or asked.ids is not None or len(asked.regions) != 1:
        return None
    region = asked.regions[0]
    if not asked.layer.has_geometry or shapely.is_empty(region):
        return None
    west, south, east, north = (float(v) for v in shapely.bounds(region))
    found = box_index.few(db, asked.layer.rtree, (west, south, east, north))
    if found is None or len(found[0]) > (MOST_TESTED if asked.condition.sql else MOST):
        return None
    tested = replace(asked, regions=(), with_geometry=True)
    rows = db.execute(*lookup(tested, np.sort(found[0]))).fetchmany(MOST + 1)
    if len(rows) > MOST:
        return None
    shapes = geometry_blob.decode([row[2] for row in rows])
    keep = np.flatnonzero(shapely.intersects(region, shapes))
    if len(keep) < len(rows):
        rows, shapes = [rows[at] for at in keep.tolist()], shapes[keep]
    if not asked.with_geometry:
        return Few(rows, np.full(len(rows), None, object))
    if tested.restores_singles and rows:
        shapes = geometry_kind.demoted(shapes, np.array([row[7] == 1 for row in rows], np.bool_))
    return Few(rows, shapes)
