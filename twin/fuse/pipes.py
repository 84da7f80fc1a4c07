"""Pipes from lines and numbers to tubes in the ground.

Each end takes its height from `start_elev_m`/`end_elev_m`, else from z of the line, else from ground - depth. What the
height refers to (`z_ref`: outer top, axis, inner bottom) must be known; then the axis is straight between the ends
along the line's length (or follows the line's own z). Size: `od_mm`, else `width_mm` x `height_mm`, else `dn_mm`,
which is noted. Nothing else is assumed: a pipe that lacks one of these is stored without a mesh, and an issue says why.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.frame import CityFrame
from layers.mesh import StoredMesh
from twin.fuse.blobs import encode_all
from twin.fuse.columns import numbers, only, words
from twin.fuse.extrude import FloatArray, IntArray, Solids
from twin.fuse.notes import Notes
from twin.fuse.tube import box_section, round_section, tubes
from twin.terrain import Terrain

MM = 0.001


@dataclass(frozen=True)
class Pipes:
    """What is stored: lines with z on the axis where it is known, meshes, and whether the ground was asked."""

    geometry: NDArray[np.object_]
    meshes: list[StoredMesh | None]
    used_terrain: bool


@dataclass(frozen=True)
class _Size:
    """Outer width and height in metres, NaN where unknown; `inner_m` is the height of the clear section."""

    width_m: FloatArray
    height_m: FloatArray
    inner_m: FloatArray
    is_box: NDArray[np.bool_]


def lay(
    ids: list[str],
    geometry: NDArray[np.object_],
    attributes: pa.Table,
    *,
    terrain: Terrain,
    frame: CityFrame,
    notes: Notes,
) -> Pipes:
    """(n,) LineStrings in the city's CRS, with or without z -> axes and tubes."""
    names = np.array(ids, dtype=object)
    size = _size(names, attributes, notes)
    is_line = np.asarray(shapely.get_type_id(geometry) == 1)
    xyz, line = shapely.get_coordinates(only(geometry, is_line), include_z=True, return_index=True)
    reference, used_terrain = _reference(names, attributes, xyz, line, is_line=is_line, terrain=terrain, notes=notes)
    shift = _to_axis(names, words(attributes, "z_ref"), size, notes)
    axis = xyz.copy()
    axis[:, 2] = reference + shift[line]

    known = is_line & (np.bincount(line, weights=~np.isfinite(axis[:, 2]), minlength=len(ids)) == 0)
    out = np.array(geometry, dtype=object)
    if known.any():
        number = np.cumsum(known) - 1
        on = known[line]
        out[known] = shapely.linestrings(axis[on], indices=number[line[on]])
    sized = np.isfinite(size.width_m) & np.isfinite(size.height_m)
    meshes: list[StoredMesh | None] = [None] * len(ids)
    for chosen, is_box in ((known & sized & ~size.is_box, False), (known & sized & size.is_box, True)):
        for i, mesh in zip(
            np.flatnonzero(chosen), _meshes(axis, line, chosen, size, is_box=is_box, frame=frame), strict=True
        ):
            meshes[int(i)] = mesh
    return Pipes(out, meshes, used_terrain)


def _meshes(
    axis: FloatArray, line: IntArray, chosen: NDArray[np.bool_], size: _Size, *, is_box: bool, frame: CityFrame
) -> list[StoredMesh | None]:
    if not chosen.any():
        return []
    width, height = size.width_m[chosen], size.height_m[chosen]
    sections = box_section(width, height) if is_box else round_section(width)
    on = chosen[line]
    number = (np.cumsum(chosen) - 1)[line[on]]
    made = tubes(axis[on], number, sections)
    vertices = frame.to_enu(made.vertices) if len(made.vertices) else made.vertices
    return encode_all(Solids(vertices, made.triangles, made.n_vertices, made.n_triangles))


def _size(names: NDArray[np.object_], attributes: pa.Table, notes: Notes) -> _Size:
    od, dn = numbers(attributes, "od_mm") * MM, numbers(attributes, "dn_mm") * MM
    wide, high = numbers(attributes, "width_mm") * MM, numbers(attributes, "height_mm") * MM
    od, dn, wide, high = (np.where(value > 0, value, np.nan) for value in (od, dn, wide, high))
    is_box = np.isnan(od) & np.isfinite(wide) & np.isfinite(high)
    by_dn = np.isnan(od) & ~is_box & np.isfinite(dn)
    notes.add("OD_FROM_DN", names[by_dn], [f"No outer diameter: drawn with dn {value * 1000:.0f} mm."
              for value in dn[by_dn]], "Give od_mm; clearances are short by the wall until then.", "info")  # fmt: skip
    outer = np.where(by_dn, dn, od)
    none = np.isnan(outer) & ~is_box
    notes.add("PIPE_SIZE_MISSING", names[none], ["No diameter and no section: stored without a mesh."]
              * int(none.sum()), "Give od_mm or dn_mm, or width_mm and height_mm.", "warning")  # fmt: skip
    inner = np.where(is_box, high, np.fmin(dn, outer))
    return _Size(np.where(is_box, wide, outer), np.where(is_box, high, outer), inner, is_box)


def _to_axis(names: NDArray[np.object_], z_ref: NDArray[np.object_], size: _Size, notes: Notes) -> FloatArray:
    """(n,) what must be added to the stated height to reach the axis; NaN where nobody says what it refers to."""
    shift = np.full(len(names), np.nan)
    shift[z_ref == "centre"] = 0.0
    crown, invert = z_ref == "crown", z_ref == "invert"
    shift[crown] = -size.height_m[crown] / 2
    shift[invert] = size.inner_m[invert] / 2
    unknown = ~(crown | invert | (z_ref == "centre"))
    notes.add("PIPE_Z_REF_UNKNOWN", names[unknown],
              [f"z_ref is {value!r}: whether heights are of the top, the axis or the bottom is not known; no mesh."
               for value in z_ref[unknown]],
              'Give z_ref (crown, centre or invert), for a whole file as values = {z_ref = "crown"}.',
              "warning")  # fmt: skip
    return shift


def _reference(
    names: NDArray[np.object_],
    attributes: pa.Table,
    xyz: FloatArray,
    line: IntArray,
    *,
    is_line: NDArray[np.bool_],
    terrain: Terrain,
    notes: Notes,
) -> tuple[FloatArray, bool]:
    """(p,) stated height at each point of each line, NaN where unknown; and whether the ground was asked."""
    n = len(names)
    first = np.searchsorted(line, np.arange(n))[is_line]
    last = np.searchsorted(line, np.arange(n), side="right")[is_line] - 1
    ends = np.full((n, 2), np.nan)
    stated = np.stack([numbers(attributes, "start_elev_m"), numbers(attributes, "end_elev_m")], axis=1)
    depth = np.stack([numbers(attributes, "start_depth_m"), numbers(attributes, "end_depth_m")], axis=1)
    own = np.full((n, 2), np.nan)
    own[is_line, 0], own[is_line, 1] = xyz[first, 2], xyz[last, 2]
    ends = np.where(np.isfinite(stated), stated, own)
    asks = is_line[:, None] & np.isnan(ends) & np.isfinite(depth)
    if asks.any():
        points = np.full((n, 2, 2), np.nan)
        points[is_line, 0], points[is_line, 1] = xyz[first, :2], xyz[last, :2]
        ends[asks] = terrain.height(*points[asks].T) - depth[asks]
    missing = is_line & np.isnan(ends).any(axis=1)
    notes.add("PIPE_ELEV_MISSING", names[missing],
              [f"Its height is not known at {'either end' if both else 'one end'}: no mesh." for both in
               np.isnan(ends[missing]).all(axis=1)],
              "Give both elevations, both depths (with a DEM under them) or z of the line.", "warning")  # fmt: skip

    step = np.zeros(len(xyz))
    step[1:] = np.hypot(*np.diff(xyz[:, :2], axis=0).T) * (line[1:] == line[:-1])
    run = np.cumsum(step)
    begin, total = np.zeros(n), np.ones(n)
    begin[is_line] = run[first]
    total[is_line] = np.maximum(run[last] - run[first], 1e-9)
    share = (run - begin[line]) / total[line]
    straight = ends[line, 0] * (1 - share) + ends[line, 1] * share
    follows_own = np.isnan(stated).all(axis=1) & np.isfinite(own).all(axis=1)
    return np.where(follows_own[line], xyz[:, 2], straight), bool(asks.any())
