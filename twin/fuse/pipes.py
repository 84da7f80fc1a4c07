"""Pipes from lines and numbers to closed solids in the ground.

Each end takes its height from `start_elev_m`/`end_elev_m`, else from z of the line, else from ground - depth. What the
height refers to (`z_ref`: outer top, axis, inner bottom) must be known; then the axis is straight between the ends
along the line's length (or follows the line's own z). Size: `pipe_size`. Nothing else is assumed: a pipe that lacks
one of these is stored without a mesh, and an issue says why. The parts of a line with gaps are a closed solid each.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.frame import CityFrame
from layers.mesh import StoredMesh
from twin.fuse import pipe_size
from twin.fuse.blobs import encode_all
from twin.fuse.columns import numbers, only, words
from twin.fuse.extrude import FloatArray, IntArray, Solids
from twin.fuse.notes import Notes
from twin.fuse.pipe_size import BOX, EGG, ROUND, Size
from twin.fuse.tube import box_section, egg_section, round_section, tubes
from twin.terrain import Terrain

GRAVITY = ("WS", "YS", "HS", "PS")
"""Codes of networks that flow by slope: sewage, rain, combined, drainage (CJJ 61-2017)."""
FLOWS_BACK = ("1", "-", "逆", "反", "逆向", "反向")
"""Flow directions that mean from end to start; all others, and none, mean from start to end."""
LEVEL_M = 0.001

MULTI = 5
"""Type number of MultiLineString in GEOS."""


@dataclass(frozen=True)
class Pipes:
    """What is stored: lines with z on the axis where it is known, sizes, meshes, and whether the ground was asked."""

    geometry: NDArray[np.object_]
    attributes: pa.Table
    meshes: list[StoredMesh | None]
    used_terrain: bool


@dataclass(frozen=True)
class _Course:
    """Points of all lines: (p, 3) coordinates, (p,) part and (p,) pipe of each; (n,) which pipes are lines."""

    xyz: FloatArray
    part: IntArray
    pipe: IntArray
    is_line: NDArray[np.bool_]


def lay(
    ids: list[str],
    geometry: NDArray[np.object_],
    attributes: pa.Table,
    extra: list[str | None],
    *,
    terrain: Terrain,
    frame: CityFrame,
    notes: Notes,
) -> Pipes:
    """(n,) LineStrings or MultiLineStrings in the city's CRS, with or without z -> axes and solids."""
    names = np.array(ids, dtype=object)
    attributes = pipe_size.read_sections(names, attributes, extra, notes)
    size = pipe_size.size(names, attributes, notes)
    course = _course(names, geometry, notes)
    reference, used_terrain = _reference(names, attributes, course, terrain=terrain, notes=notes)
    _tell_reverse(names, attributes, course, reference, notes)
    shift = _to_axis(names, words(attributes, "z_ref"), size, notes)
    axis = course.xyz.copy()
    axis[:, 2] = reference + shift[course.pipe]

    unknown = np.bincount(course.pipe, weights=~np.isfinite(axis[:, 2]), minlength=len(ids))
    known = course.is_line & (unknown == 0)
    out = _with_axes(geometry, replace(course, xyz=axis), known)
    drawn = known & np.isfinite(size.width_m) & np.isfinite(size.height_m)
    meshes: list[StoredMesh | None] = [None] * len(ids)
    for shape in (ROUND, BOX, EGG):
        chosen = drawn & (size.shape == shape)
        made = _meshes(replace(course, xyz=axis), chosen, size, shape, frame)
        for i, mesh in zip(np.flatnonzero(chosen).tolist(), made, strict=True):
            meshes[i] = mesh
    return Pipes(out, attributes, meshes, used_terrain)


def as_stated(geometry: NDArray[np.object_], attributes: pa.Table, extra: list[str | None]) -> NDArray[np.object_]:
    """Lines as `lay` has stored them, with z on the axis -> with z on what `z_ref` names, as a source states it."""
    names, notes = np.arange(len(geometry)).astype(object), Notes()
    size = pipe_size.size(names, pipe_size.read_sections(names, attributes, extra, notes), notes)
    shift = _to_axis(names, words(attributes, "z_ref"), size, notes)
    chosen = np.flatnonzero(shapely.has_z(geometry) & np.isfinite(shift))
    xyz, owner = shapely.get_coordinates(geometry[chosen], include_z=True, return_index=True)
    unknown = np.bincount(owner, weights=~np.isfinite(xyz).all(axis=1), minlength=chosen.size)
    moved = np.where(unknown[owner] == 0, shift[chosen[owner]], 0.0)  # else no axis was found: stored as it came
    xyz[:, 2] -= moved
    out = np.array(geometry, dtype=object)
    out[chosen] = shapely.set_coordinates(np.array(geometry[chosen], dtype=object), xyz)
    return out


def _course(names: NDArray[np.object_], geometry: NDArray[np.object_], notes: Notes) -> _Course:
    kinds = shapely.get_type_id(geometry)
    is_line = np.isin(kinds, (1, MULTI))
    gaps = np.flatnonzero(kinds == MULTI)
    notes.add("PIPE_HAS_GAPS", names[gaps], [f"It has {n} separate parts; each is a solid of its own."
              for n in shapely.get_num_geometries(geometry[gaps])], "Split it into one pipe a part.",
              "warning")  # fmt: skip
    parts, owner = shapely.get_parts(only(geometry, is_line), return_index=True)
    xyz, part = shapely.get_coordinates(parts, include_z=True, return_index=True)
    return _Course(xyz, part, owner[part], is_line)


def _with_axes(geometry: NDArray[np.object_], course: _Course, known: NDArray[np.bool_]) -> NDArray[np.object_]:
    out = np.array(geometry, dtype=object)
    if not known.any():
        return out
    on = known[course.pipe]
    _, number = np.unique(course.part[on], return_inverse=True)
    lines = shapely.linestrings(course.xyz[on], indices=number)
    owner = course.pipe[on][np.r_[True, number[1:] != number[:-1]]]
    is_multi = shapely.get_type_id(geometry[owner]) == MULTI
    out[owner[~is_multi]] = lines[~is_multi]
    if is_multi.any():
        pipes, group = np.unique(owner[is_multi], return_inverse=True)
        out[pipes] = shapely.multilinestrings(lines[is_multi], indices=group)
    return out


def _meshes(
    course: _Course, chosen: NDArray[np.bool_], size: Size, shape: int, frame: CityFrame
) -> list[StoredMesh | None]:
    if not chosen.any():
        return []
    on = chosen[course.pipe]
    _, number = np.unique(course.part[on], return_inverse=True)
    owner = course.pipe[on][np.r_[True, number[1:] != number[:-1]]]
    width, height = size.width_m[owner], size.height_m[owner]
    if shape == ROUND:
        sections = round_section(width)
    else:
        sections = box_section(width, height) if shape == BOX else egg_section(width, height)
    made = tubes(course.xyz[on], number, sections, level=shape != ROUND)
    merged = _merged(made, (np.cumsum(chosen) - 1)[owner], int(chosen.sum()))
    vertices = frame.to_enu(merged.vertices) if len(merged.vertices) else merged.vertices
    return encode_all(replace(merged, vertices=vertices))


def _merged(parts: Solids, owner: IntArray, n: int) -> Solids:
    """Solids of parts as solids of their (n) owners; `owner` ascends."""
    if len(owner) == n:
        return parts
    before = np.cumsum(parts.n_vertices) - parts.n_vertices
    offset = before - before[np.searchsorted(owner, owner)]
    triangles = parts.triangles + np.repeat(offset, parts.n_triangles)[:, None]
    n_vertices = np.bincount(owner, weights=parts.n_vertices, minlength=n).astype(np.int64)
    n_triangles = np.bincount(owner, weights=parts.n_triangles, minlength=n).astype(np.int64)
    return Solids(parts.vertices, triangles, n_vertices, n_triangles)


def _tell_reverse(
    names: NDArray[np.object_], attributes: pa.Table, course: _Course, reference: FloatArray, notes: Notes
) -> None:
    """Gravity pipes whose end, in the direction of flow, is higher than their beginning."""
    gravity = course.is_line & np.isin(words(attributes, "type_code"), GRAVITY)
    if not gravity.any():
        return
    first = np.searchsorted(course.pipe, np.arange(len(names)))
    last = np.searchsorted(course.pipe, np.arange(len(names)), side="right") - 1
    rise = np.full(len(names), np.nan)
    rise[gravity] = reference[last[gravity]] - reference[first[gravity]]
    rise = np.where(np.isin(words(attributes, "flow_dir"), FLOWS_BACK), -rise, rise)
    uphill = rise > LEVEL_M
    notes.add("SEWER_REVERSE_SLOPE", names[uphill], [f"It rises by {value:.3f} m in the direction of its flow."
              for value in rise[uphill]], "Check both elevations and flow_dir.", "warning")  # fmt: skip


def _to_axis(names: NDArray[np.object_], z_ref: NDArray[np.object_], size: Size, notes: Notes) -> FloatArray:
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
    names: NDArray[np.object_], attributes: pa.Table, course: _Course, *, terrain: Terrain, notes: Notes
) -> tuple[FloatArray, bool]:
    """(p,) stated height at each point of each line, NaN where unknown; and whether the ground was asked."""
    n, xyz, pipe, is_line = len(names), course.xyz, course.pipe, course.is_line
    first = np.searchsorted(pipe, np.arange(n))[is_line]
    last = np.searchsorted(pipe, np.arange(n), side="right")[is_line] - 1
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
    step[1:] = np.hypot(*np.diff(xyz[:, :2], axis=0).T) * (course.part[1:] == course.part[:-1])
    run = np.cumsum(step)
    begin, total = np.zeros(n), np.ones(n)
    begin[is_line] = run[first]
    total[is_line] = np.maximum(run[last] - run[first], 1e-9)
    share = (run - begin[pipe]) / total[pipe]
    straight = ends[pipe, 0] * (1 - share) + ends[pipe, 1] * share
    follows_own = np.isnan(stated).all(axis=1) & np.isfinite(own).all(axis=1)
    return np.where(follows_own[pipe], xyz[:, 2], straight), bool(asks.any())
