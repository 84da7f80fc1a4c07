"""`Query.z`: which rows reach into a range of heights with their geometry or their model.

Geometries tell their heights in the blob's header. Models are kept as boxes in the city's ENU frame, whose z is not a
height: a kilometre from the origin the ground lies 0.08 m lower there, ten kilometres off 8 m. The box's lowest and
highest points are taken back to heights through geocentric coordinates and the height model.
"""
# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers import geocentric
from layers.errors import InvalidInput
from layers.frame import CityFrame
from twin import config
from twin.store import geometry_blob
from twin.store.columns import quote, row_numbers
from twin.store.layer_record import GEOMETRY
from twin.store.query_plan import Plan

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
_HEAD_BYTES = 80


def kept(db: sqlite3.Connection, asked: Plan, fids: IntArray) -> IntArray:
    """Those of some rows (ascending) that meet the plan's range of heights, or have no height at all."""
    if asked.z is None or not len(fids):
        return fids
    low, high = asked.z
    ranges = [_of_geometries(db, asked, fids), _of_models(db, asked, fids)]
    has_none = np.logical_and.reduce([np.isnan(each[:, 0]) for each in ranges])
    meets = [(each[:, 1] >= low) & (each[:, 0] <= high) for each in ranges]
    return fids[has_none | np.logical_or.reduce(meets)]


def _of_geometries(db: sqlite3.Connection, asked: Plan, fids: IntArray) -> FloatArray:
    """(n, 2) lowest and highest z; NaN for geometries without."""
    found = np.full((len(fids), 2), np.nan)
    if not asked.layer.has_geometry or not any(has_z for _, has_z, _ in asked.layer.kinds):
        return found
    names, there = (asked.layer.table, asked.layer.history), f"t.{GEOMETRY} IS NOT NULL"
    rows = _joined(db, fids, names[: 1 + (not asked.is_now)], (f"substr(t.{GEOMETRY}, 1, {_HEAD_BYTES})", there))
    if not rows:
        return found
    numbers = np.array([row[0] for row in rows], np.int64)
    _, heights, is_untold = geometry_blob.envelopes([row[1] for row in rows])
    untold = numbers[is_untold]
    if len(untold):
        whole = _joined(db, untold, names[: 1 + (not asked.is_now)], (f"t.{GEOMETRY}", there))
        order = {row[0]: row[1] for row in whole}
        heights[is_untold] = geometry_blob.measured([order.get(fid) for fid in untold.tolist()])[1]
    found[np.searchsorted(fids, numbers)] = heights
    return found


def _of_models(db: sqlite3.Connection, asked: Plan, fids: IntArray) -> FloatArray:
    """(n, 2) lowest and highest normal height of each model's box; NaN for features without a model."""
    found = np.full((len(fids), 2), np.nan)
    bounds = "t.min_x, t.min_y, t.min_z, t.max_x, t.max_y, t.max_z"
    names = (asked.layer.mesh, asked.layer.mesh_history)[: 1 + (not asked.is_now)]
    rows = _joined(db, fids, names, (bounds, "t.min_x IS NOT NULL"))
    if rows:
        table = np.array(rows, np.float64)
        at = np.searchsorted(fids, table[:, 0].astype(np.int64))
        found[at] = heights(_frame_of(db), table[:, 1:])
    return found


def _joined(
    db: sqlite3.Connection, fids: IntArray, tables: tuple[str, ...], what: tuple[str, str]
) -> list[tuple[Any, ...]]:
    """Row number and columns (`what[0]`) of those of some rows for which `what[1]` holds."""
    parts = [
        f"SELECT t.fid, {what[0]} FROM json_each(?) j CROSS JOIN {quote(name)} t ON t.fid = j.value WHERE {what[1]}"
        for name in tables
    ]
    return db.execute(" UNION ALL ".join(parts), [row_numbers(fids)] * len(tables)).fetchall()


def heights(frame: CityFrame, boxes: FloatArray) -> FloatArray:
    """(n, 6) boxes in the ENU frame -> (n, 2) lowest and highest normal height in them.

    A point is the higher above the ellipsoid the farther it is from the origin's plumb line: lowest is the bottom's
    nearest point to it, highest the top's farthest corner. Within 1 mm for boxes below 1 km on a side; the height
    anomaly is taken at the same points.
    """
    low, high = boxes[:, :3], boxes[:, 3:]
    nearest = np.clip(0.0, low[:, :2], high[:, :2])
    farthest = np.where(np.abs(low[:, :2]) > np.abs(high[:, :2]), low[:, :2], high[:, :2])
    points = np.concatenate([np.column_stack([nearest, low[:, 2]]), np.column_stack([farthest, high[:, 2]])])
    matrix = np.array(frame.root_transform).reshape(4, 4).T
    lon, lat, ellipsoidal = geocentric.ecef_to_geodetic(points @ matrix[:3, :3].T + matrix[:3, 3]).T
    normal = ellipsoidal - frame.height_model.undulation_m(lon, lat)
    return np.stack([normal[: len(boxes)], normal[len(boxes) :]], axis=1)


def _frame_of(db: sqlite3.Connection) -> CityFrame:
    folder = Path(db.execute("PRAGMA database_list").fetchone()[2]).parent
    settings = folder / config.FILE
    if not settings.is_file():
        raise InvalidInput(
            f"No {config.FILE} beside the store says where its models are.", "Ask without heights, or restore it."
        )
    return _frame(folder, settings.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _frame(folder: Path, _: int) -> CityFrame:
    return config.load(folder).frame(folder)
