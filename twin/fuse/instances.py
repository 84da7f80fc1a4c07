"""Things told as points (trees, lamps, hydrants) -> copies of shared shapes, standing on the ground.

A copy's matrix is a translation, a rotation (up is the plumb line there, then a turn about it) and a scale along the
shape's own axes, so that it decomposes into translation, rotation and scale. A point with z stands there, another on
the terrain. Sizes that the source does not give are those of a usual thing of the kind; the report counts them.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers import shapes
from layers.catalogue import LayerType
from layers.frame import CityFrame
from layers.issue import Issue
from layers.mesh import StoredMesh
from layers.mesh_copy import COPY, Pattern, applied, pattern
from layers.shapes import LayerShapes, Shape
from twin.fuse.columns import numbers, words
from twin.fuse.extrude import FloatArray
from twin.fuse.notes import Notes
from twin.terrain import Terrain

POINT = 0
GOLDEN = 0.6180339887498949
"""Trees are turned by a share of the circle that follows from their place, so that rows of them do not look alike."""

_AT_ONCE = 5000


@dataclass(frozen=True)
class _Places:
    """(k,) things: row in the batch, foot (k, 3) in the city's CRS, height, width in metres, turn in radians."""

    rows: NDArray[np.intp]
    foot: FloatArray
    height_m: FloatArray
    width_m: FloatArray
    turn_rad: FloatArray


class Instances:
    """Makes the meshes of one layer's points, batch by batch."""

    def __init__(self, layer_type: LayerType, frame: CityFrame, terrain: Terrain, notes: Notes) -> None:
        self._type, self._frame, self._terrain, self._notes = layer_type, frame, terrain, notes
        self._color = str(layer_type.style.get("color", "#888888"))
        self._patterns: dict[str, Pattern] = {}
        self._guessed: Counter[tuple[str, str, float]] = Counter()
        self.used_terrain = False

    def stand(
        self, ids: list[str], geometry: NDArray[np.object_], attributes: pa.Table, wanted: NDArray[np.bool_]
    ) -> list[StoredMesh | None]:
        """(n,) features in the city's CRS -> a mesh for each point that is `wanted`, None for all others."""
        out: list[StoredMesh | None] = [None] * len(ids)
        told = shapes.of_layer(self._type.id)
        rows = np.flatnonzero(wanted & (shapely.get_type_id(geometry) == POINT) & ~shapely.is_empty(geometry))
        if told is None or not rows.size:
            return out
        foot = self._feet(np.array(ids, dtype=object)[rows], geometry[rows])
        standing = np.isfinite(foot).all(axis=1)
        rows, foot = rows[standing], foot[standing]
        some = attributes.take(pa.array(rows))
        chosen = _choose(told, some)
        turn = _turns(told, some, foot)
        for number, choice in enumerate(told.choices):
            at = np.flatnonzero(chosen == number)
            if at.size:
                height, width = self._sizes(choice.shape, told, some.take(pa.array(at)))
                places = _Places(rows[at], foot[at], height, width, turn[at])
                for row, mesh in zip(places.rows.tolist(), self._copies(choice.shape, places), strict=True):
                    out[row] = mesh
        return out

    def issues(self) -> list[Issue]:
        """One for each size that had to be taken from the shape."""
        hint = "Give it in the source, where it is known."
        told = "{:,} features do not say their {}: drawn with {:g} m, as a usual one measures ({})."
        return [
            Issue("SIZE_ESTIMATED", self._type.id, told.format(n, what, size, shape), hint, "info")
            for (shape, what, size), n in sorted(self._guessed.items())
        ]

    def _feet(self, names: NDArray[np.object_], points: NDArray[np.object_]) -> FloatArray:
        """(k, 3) where they stand; NaN where there is no ground."""
        foot = shapely.get_coordinates(points, include_z=True)
        bare = np.flatnonzero(np.isnan(foot[:, 2]))
        if not bare.size:
            return foot
        self.used_terrain = True
        if self._terrain.is_empty:
            message = ["No elevation raster in the city: it stands at 0 m."] * bare.size
            self._notes.add("NO_TERRAIN", names[bare], message, "Add a DEM; the next build puts them on it.", "warning")
            foot[bare, 2] = 0.0
            return foot
        foot[bare, 2] = self._terrain.height(foot[bare, 0], foot[bare, 1])
        off = bare[np.isnan(foot[bare, 2])]
        if off.size:
            foot[off, 2] = self._nearest(names[off], foot[off])
        return foot

    def _nearest(self, names: NDArray[np.object_], foot: FloatArray) -> FloatArray:
        """(k,) height of the nearest known ground; NaN where there is none."""
        near, distance = self._terrain.nearest(foot[:, 0], foot[:, 1])
        found = np.isfinite(near)
        told = "No elevation raster has ground under it: it stands at {:.2f} m, the ground {:.0f} m away."
        messages = [told.format(h, d) for h, d in zip(near[found], distance[found], strict=True)]
        self._notes.add("GROUND_NEAREST", names[found], messages, "Add a DEM that covers it.", "warning")
        return near

    def _sizes(self, shape: Shape, told: LayerShapes, attributes: pa.Table) -> tuple[FloatArray, FloatArray]:
        """Height and width as stated; one that is missing follows the other, or both are the usual ones."""
        n = attributes.num_rows
        height = numbers(attributes, told.height) if told.height else np.full(n, np.nan)
        width = numbers(attributes, told.width) if told.width else np.full(n, np.nan)
        height, width = (np.where(value > 0, value, np.nan) for value in (height, width))
        slim = shape.width_m / shape.height_m
        both = np.isnan(height) & np.isnan(width)
        if both.any():
            self._guessed[shape.name, "height", shape.height_m] += int(both.sum())
        height = np.where(both, shape.height_m, np.where(np.isnan(height), width / slim, height))
        # furniture does not grow wider with its height; crowns do
        usual = height * slim if told.width else np.full(n, shape.width_m)
        return height, np.where(np.isnan(width), usual, width)

    def _copies(self, shape: Shape, places: _Places) -> list[StoredMesh]:
        if shape.name not in self._patterns:
            mesh = shape.mesh(self._color)
            self._patterns[shape.name] = pattern(mesh, mesh.vertices)
        made = self._patterns[shape.name]
        matrices = self._matrices(places)
        head = COPY + bytes.fromhex(made.stored.key)
        out: list[StoredMesh] = []
        for start in range(0, len(matrices), _AT_ONCE):
            some = matrices[start : start + _AT_ONCE]
            placed = applied(some, made.vertices)
            bounds = np.concatenate([placed.min(axis=1), placed.max(axis=1)], axis=1).tolist()
            data = np.ascontiguousarray(some, "<f8")
            out += [
                StoredMesh(head + one.tobytes(), (box[0], box[1], box[2], box[3], box[4], box[5]), (), made.stored)
                for one, box in zip(data, bounds, strict=True)
            ]
        return out

    def _matrices(self, places: _Places) -> FloatArray:
        """(k, 3, 4): the shape's frame -> ENU, x east and y north of the grid before the turn."""
        foot = self._frame.to_enu(places.foot)
        up = _unit(self._frame.to_enu(places.foot + np.array([0.0, 0.0, 1.0])) - foot)
        east = self._frame.to_enu(places.foot + np.array([1.0, 0.0, 0.0])) - foot
        east = _unit(east - up * np.einsum("ij,ij->i", east, up)[:, None])
        north = np.cross(up, east)
        cos, sin = np.cos(places.turn_rad)[:, None], np.sin(places.turn_rad)[:, None]
        out = np.empty((len(foot), 3, 4))
        out[:, :, 0] = (east * cos + north * sin) * places.width_m[:, None]
        out[:, :, 1] = (north * cos - east * sin) * places.width_m[:, None]
        out[:, :, 2] = up * places.height_m[:, None]
        out[:, :, 3] = foot
        return out


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _turns(told: LayerShapes, attributes: pa.Table, foot: FloatArray) -> FloatArray:
    """(k,) radians against the clock: a stated direction, else one that follows from the place."""
    by_place = np.mod((np.floor(foot[:, 0] * 100) + 7 * np.floor(foot[:, 1] * 100)) * GOLDEN, 1.0) * (2 * np.pi)
    if not told.direction:
        return by_place
    stated = -np.radians(numbers(attributes, told.direction))
    return np.where(np.isfinite(stated), stated, by_place)


def _choose(told: LayerShapes, attributes: pa.Table) -> NDArray[np.int64]:
    """(k,) number of each feature's shape: the first of which a word is found, else the one without words."""
    out = np.full(attributes.num_rows, next(i for i, each in enumerate(told.choices) if not each.words))
    for name in reversed(told.words_in):
        values = words(attributes, name)
        numbers_of = {value: _number(told, value) for value in set(values) if value is not None}
        found = np.array([numbers_of.get(value, -1) for value in values], np.int64)
        out = np.where(found >= 0, found, out)
    return out


def _number(told: LayerShapes, value: str) -> int:
    text = value.casefold()
    return next((i for i, each in enumerate(told.choices) if any(word in text for word in each.words)), -1)
