"""Nodes of pipe networks -> wells as closed solids, from the ground down to the bottom.

A node is a well where its table says so: an appendage or feature that names one (检查井, manhole …), a size of a well,
a bottom elevation, or a kind of a drainage model that has depth (junction, storage, divider). A node with a depth but
neither appendage nor feature is one too. Other nodes (tees, ends, valves) get no solid: their depth is the pipe's.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.frame import CityFrame
from layers.mesh import StoredMesh
from twin.fuse.blobs import encode_all
from twin.fuse.columns import numbers, with_column, words
from twin.fuse.extrude import FloatArray
from twin.fuse.notes import Notes
from twin.fuse.tube import box_section, round_section, tubes
from twin.terrain import Terrain

DIAMETER_M = 1.0
"""Where none is given; then `estimated` names it. 1,000 mm is the round well of common standard drawings."""

WELL_WORDS = ("井", "manhole", "well", "chamber", "shaft")
WELL_KINDS = ("junction", "storage", "divider")
MM = 0.001


@dataclass(frozen=True)
class Wells:
    """What is stored: points with the ground's height, attributes, meshes, and whether the ground was asked."""

    geometry: NDArray[np.object_]
    attributes: pa.Table
    meshes: list[StoredMesh | None]
    used_terrain: bool


def sink(
    ids: list[str],
    geometry: NDArray[np.object_],
    attributes: pa.Table,
    *,
    terrain: Terrain,
    frame: CityFrame,
    notes: Notes,
) -> Wells:
    """(n,) Points in the city's CRS -> points on the ground, and the solids of those that are wells.

    Ground: `ground_elev_m`, else z of the point, else the terrain where a well asks for it. Bottom: `bottom_elev_m`,
    else ground - `depth_m`. Plan: `well_length_mm` x `well_width_mm` turned by `rotation_deg` against the clock from
    east, else a circle of `well_diameter_mm`; walls are not added. The volume is area x depth, to rounding.
    """
    names = np.array(ids, dtype=object)
    is_point = np.asarray(shapely.get_type_id(geometry) == 0)
    x, y, z = (np.asarray(get(geometry), np.float64) for get in (shapely.get_x, shapely.get_y, shapely.get_z))
    depth, bottom = numbers(attributes, "depth_m"), numbers(attributes, "bottom_elev_m")
    is_well = is_point & _is_well(attributes, depth, bottom)
    ground = numbers(attributes, "ground_elev_m")
    ground = np.where(np.isnan(ground), z, ground)
    asks = is_well & np.isnan(ground)
    if asks.any():
        ground[asks] = terrain.height(x[asks], y[asks])
    bottom = np.where(np.isnan(bottom), ground - depth, bottom)
    whole = is_well & np.isfinite(ground) & np.isfinite(bottom) & (ground - bottom > MM)
    lacking = is_well & ~whole
    notes.add("WELL_DEPTH_MISSING", names[lacking], ["Its top or its bottom is not known, or they are not one above "
              "the other: no solid."] * int(lacking.sum()), "Give ground_elev_m, and depth_m or bottom_elev_m.",
              "warning")  # fmt: skip
    attributes, sections, is_box = _plans(attributes, whole)
    meshes: list[StoredMesh | None] = [None] * len(ids)
    shafts = np.stack([x, y, bottom, x, y, ground], axis=1).reshape(-1, 2, 3)
    for chosen, plans in ((whole & ~is_box, sections.circles), (whole & is_box, sections.boxes)):
        if not chosen.any():
            continue
        line = np.repeat(np.arange(int(chosen.sum())), 2)
        made = tubes(shafts[chosen].reshape(-1, 3), line, plans[chosen])
        solids = replace(made, vertices=frame.to_enu(made.vertices))
        for row, mesh in zip(np.flatnonzero(chosen).tolist(), encode_all(solids), strict=True):
            meshes[row] = mesh
    raised = is_point & np.isnan(z) & np.isfinite(ground)
    out = np.array(geometry, dtype=object)
    out[raised] = shapely.points(x[raised], y[raised], ground[raised])
    return Wells(out, attributes, meshes, bool(asks.any()))


def _is_well(attributes: pa.Table, depth: FloatArray, bottom: FloatArray) -> NDArray[np.bool_]:
    appendage, feature = words(attributes, "appendage"), words(attributes, "feature")
    kind = words(attributes, "node_type")
    named = _names_well(appendage) | _names_well(feature)
    sized = np.isfinite(numbers(attributes, "well_diameter_mm")) | np.isfinite(numbers(attributes, "well_length_mm"))
    silent = _is_none(appendage) & _is_none(feature) & _is_none(kind)
    with_depth = np.isfinite(depth)
    model = np.isin(kind, WELL_KINDS) & with_depth
    return np.asarray(named | sized | model | (silent & (with_depth | np.isfinite(bottom))), bool)


def _is_none(values: NDArray[np.object_]) -> NDArray[np.bool_]:
    return np.fromiter((value is None for value in values), bool, len(values))


def _names_well(values: NDArray[np.object_]) -> NDArray[np.bool_]:
    known = {value for value in set(values) if value is not None and any(w in value.lower() for w in WELL_WORDS)}
    return np.fromiter((value in known for value in values), bool, len(values))


@dataclass(frozen=True)
class _Sections:
    circles: FloatArray
    boxes: FloatArray


def _plans(attributes: pa.Table, whole: NDArray[np.bool_]) -> tuple[pa.Table, _Sections, NDArray[np.bool_]]:
    """Sections of all wells, which of them are boxes, and the attributes with `estimated` filled."""
    length, width = numbers(attributes, "well_length_mm") * MM, numbers(attributes, "well_width_mm") * MM
    diameter = numbers(attributes, "well_diameter_mm") * MM
    is_box = np.isnan(diameter) & np.isfinite(length) & np.isfinite(width)
    guessed = whole & ~is_box & np.isnan(diameter)
    if guessed.any() or "estimated" in attributes.column_names:
        marks = words(attributes, "estimated")
        marks[guessed] = "well_diameter_mm"
        attributes = with_column(attributes, "estimated", marks, pa.string())
    circles = round_section(np.where(np.isnan(diameter), DIAMETER_M, diameter))
    turn = np.deg2rad(np.nan_to_num(numbers(attributes, "rotation_deg")))[:, None]
    # of a plumb shaft, «side» is east and «up» is south
    east, south = np.moveaxis(box_section(np.nan_to_num(length), np.nan_to_num(width)), 2, 0)
    boxes = np.stack([east * np.cos(turn) + south * np.sin(turn), south * np.cos(turn) - east * np.sin(turn)], axis=2)
    return attributes, _Sections(circles, boxes), is_box
