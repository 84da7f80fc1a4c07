"""P26, the numbers: cover, slope, inverts, and velocity and flow at full bore of pipes."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis import pipe_cover, pipe_hydraulics
from twin.analysis.pipe_cover import Cover, Ground, Squares
from twin.analysis.pipe_distance import Segments, segments
from twin.analysis.pipe_joints import ends
from twin.analysis.pipes import Pipes
from twin.analysis.progress import SILENT, Progress
from twin.supervision.rules import RuleBook
from twin.terrain import Terrain

FloatArray = NDArray[np.float64]
MATERIALS = "drain-material"


@dataclass(frozen=True)
class Drains:
    """(n,) numbers of pipes; NaN is unknown.

    Attributes
    ----------
    on_road, off_road : cover of the parts under carriageways and elsewhere
    slope : fall in the direction of flow by length in plan
    rise_m : the largest rise between neighbouring points in the direction of flow
    invert_m : (n, 2) inner bottom at the first and last point
    n : Manning's
    velocity_m_s, flow_m3_s : at full bore
    is_n_given : whether n was given, not taken by material
    """

    on_road: Cover
    off_road: Cover
    length_m: FloatArray
    slope: FloatArray
    rise_m: FloatArray
    invert_m: FloatArray
    material: NDArray[np.object_]
    n: FloatArray
    velocity_m_s: FloatArray
    flow_m3_s: FloatArray
    is_n_given: bool


def drains(
    pipes: Pipes,
    terrain: Terrain | None,
    carriageways: NDArray[np.object_] | None,
    book: RuleBook,
    *,
    manning_n: float | None = None,
    progress: Progress = SILENT,
) -> Drains:
    """Numbers of pipes. Without terrain no cover is known; `manning_n` counts for all, else by material."""
    crown = _crown(pipes)
    ground, squares = ground_of(terrain)
    on_road, off_road = pipe_cover.least_cover(crown, ground, squares, carriageways, progress=progress)
    points = ends(pipes)
    length = shapely.length(pipes.geometry)
    slope = pipe_cover.slopes(points[:, 0, 2], points[:, 1, 2], length, pipes.is_reversed)
    facts = book[MATERIALS].parameters
    material = np.array([pipe_hydraulics.material_class(each, facts["words"]) for each in pipes.material], object)
    by_material = np.array([facts["manning_n"].get(each, np.nan) for each in material], np.float64)
    n = by_material if manning_n is None else np.full(len(pipes), manning_n)
    velocity, flow = pipe_hydraulics.manning_full(pipes.inner_width_m, pipes.inner_m, pipes.is_round, slope, n)
    return Drains(
        on_road, off_road, length, slope, _rises(pipes), points[:, :, 2] - pipes.inner_m[:, None] / 2, material, n,
        velocity, flow, manning_n is not None,
    )  # fmt: skip


def ground_of(terrain: Terrain | None) -> tuple[Ground, Squares]:
    """Heights at points, and the lines on which they bend."""
    if terrain is None or terrain.is_empty:
        return _no_ground, Squares(0.0, 0.0, 1e9, 1e9)
    own = terrain.own_grid()
    if own is None:
        half = (terrain.cell_m or 1.0) / 2
        return terrain.height, Squares(0.0, 0.0, half, half)
    return terrain.height, Squares(own.west + own.dx / 2, own.north - own.dy / 2, own.dx, own.dy)


def _crown(pipes: Pipes) -> Segments:
    made = segments(pipes.geometry, pipes.has_axis)
    for part in (made.first, made.last):
        part[:, 2] += pipes.crown_m[made.line]
    return made


def _rises(pipes: Pipes) -> FloatArray:
    xyz, owner = shapely.get_coordinates(pipes.geometry, include_z=True, return_index=True)
    heights = np.split(xyz[:, 2], np.flatnonzero(np.diff(owner)) + 1)
    return np.where(pipes.has_axis, pipe_cover.rises(heights, pipes.is_reversed), np.nan)


def _no_ground(x: FloatArray, y: FloatArray) -> FloatArray:
    return np.full(np.broadcast(x, y).shape, np.nan)


def full_bore(pipes: Pipes, book: RuleBook) -> FloatArray:
    """(n,) velocity at full bore by material, m/s; NaN where a size, material height or fall is missing."""
    points = ends(pipes)
    length = shapely.length(pipes.geometry)
    slope = pipe_cover.slopes(points[:, 0, 2], points[:, 1, 2], length, pipes.is_reversed)
    facts = book[MATERIALS].parameters
    material = [pipe_hydraulics.material_class(each, facts["words"]) for each in pipes.material]
    n = np.array([facts["manning_n"].get(each, np.nan) for each in material], np.float64)
    return pipe_hydraulics.manning_full(pipes.inner_width_m, pipes.inner_m, pipes.is_round, slope, n)[0]
