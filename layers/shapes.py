"""Shapes of things that are told as points (trees, lamps, hydrants), described as data in `catalogue/shapes.yaml`.

A shape stands on z = 0 and is 1 high and 1 wide; a feature's copy is stretched to its own height and width. All parts
are closed and their triangles counter-clockwise seen from outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from layers.mesh import Mesh

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_BOX_CORNERS = np.array([[x, y, z] for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))])
_BOX = np.array([
    [0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4],
    [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7],
])  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A closed piece: (v, 3) vertices, (t, 3) triangles, `#rrggbb` or None for the layer's colour."""

    vertices: FloatArray
    triangles: IntArray
    color: str | None


@dataclass(frozen=True)
class Shape:
    """A shape 1 high and 1 wide, and what a usual one measures."""

    name: str
    height_m: float
    width_m: float
    parts: tuple[Part, ...]

    def mesh(self, layer_color: str) -> Mesh:
        """As one mesh with a material a colour."""
        colors = [part.color or layer_color for part in self.parts]
        materials = list(dict.fromkeys(colors))
        first = np.cumsum([0, *(len(part.vertices) for part in self.parts)])
        return Mesh(
            np.concatenate([part.vertices for part in self.parts]),
            np.concatenate([part.triangles + start for part, start in zip(self.parts, first, strict=False)]),
            np.concatenate([
                np.full(len(part.triangles), materials.index(color), np.uint8)
                for part, color in zip(self.parts, colors, strict=True)
            ]),
            np.array([[*bytes.fromhex(color[1:7]), 255] for color in materials], np.uint8),
        )  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """A shape and the words that ask for it, in lower case; without words it is for all that are left."""

    shape: Shape
    words: tuple[str, ...]


@dataclass(frozen=True)
class LayerShapes:
    """How the features of a layer get their shapes; `height`, `width`, `direction` name attributes, or are empty."""

    height: str
    width: str
    direction: str
    words_in: tuple[str, ...]
    choices: tuple[Choice, ...]


def turned(profile: Sequence[Sequence[float]], sides: int) -> tuple[FloatArray, IntArray]:
    """A profile of (radius, z) from the bottom up, turned around the z axis: vertices and triangles of a closed solid.

    Where it does not begin or end on the axis, a point is put there.
    """
    points = [(float(r), float(z)) for r, z in profile]
    if points[0][0] > 0:
        points.insert(0, (0.0, points[0][1]))
    if points[-1][0] > 0:
        points.append((0.0, points[-1][1]))
    angles = np.arange(sides) * (2 * np.pi / sides)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rings = [np.column_stack([r * circle, np.full(sides, z)]) for r, z in points[1:-1]]
    vertices = np.concatenate([[[0, 0, points[0][1]]], *rings, [[0, 0, points[-1][1]]]])
    here, there = np.arange(sides), (np.arange(sides) + 1) % sides
    bottom = np.stack([np.zeros(sides, int), 1 + there, 1 + here], axis=1)
    bands = [
        np.concatenate([
            np.stack([low + here, low + there, low + sides + there], axis=1),
            np.stack([low + here, low + sides + there, low + sides + here], axis=1),
        ])
        for low in range(1, 1 + sides * (len(rings) - 1), sides)
    ]  # fmt: skip
    top = 1 + sides * (len(rings) - 1)
    cap = np.stack([top + here, top + there, np.full(sides, len(vertices) - 1)], axis=1)
    return vertices, np.concatenate([bottom, *bands, cap])


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    text = (files("layers.catalogue") / "shapes.yaml").read_text("utf8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


@lru_cache(maxsize=1)
def load() -> dict[str, Shape]:
    """Every shape by name."""
    return {name: _shape(name, row) for name, row in _document()["shapes"].items()}


@lru_cache(maxsize=64)
def of_layer(layer_id: str) -> LayerShapes | None:
    """The shapes of a layer's features; None for a layer that has none."""
    row = _document()["layers"].get(layer_id)
    if row is None:
        return None
    choices = tuple(
        Choice(load()[each["shape"]], tuple(word.casefold() for word in each.get("words", ())))
        for each in row["shapes"]
    )
    height, width, direction = (str(row.get(name, "")) for name in ("height", "width", "direction"))
    return LayerShapes(height, width, direction, tuple(row["words_in"]), choices)


def _shape(name: str, row: dict[str, Any]) -> Shape:
    return Shape(name, float(row["height_m"]), float(row["width_m"]), tuple(_part(each) for each in row["parts"]))


def _part(row: dict[str, Any]) -> Part:
    if "turn" in row:
        vertices, triangles = turned(row["turn"], row["sides"])
    else:
        low, high = np.array(row["box"][:3], float), np.array(row["box"][3:], float)
        vertices, triangles = low + _BOX_CORNERS * (high - low), _BOX.astype(np.int64)
    return Part(vertices, triangles, row.get("color"))
