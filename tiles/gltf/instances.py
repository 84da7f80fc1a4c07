"""Copies of shared shapes -> nodes that draw a shape many times (EXT_mesh_gpu_instancing, EXT_instance_features).

A copy's matrix must be a rotation after a scale along the shape's own axes to within 1 mm at the shape's outermost
vertex (map projections skew by some 1e-5), else the copy is drawn as a mesh of its own. Translations are float32 about
the node's translation, rotations float32 quaternions; together a vertex is off by less than 2.5 mm. CesiumJS reads
float32 for all three, and builds the matrices on the CPU where there are rotations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from layers.errors import InvalidInput
from layers.mesh_copy import is_copy, read_copies
from tiles.gltf import compact
from tiles.gltf.compat import y_up
from tiles.gltf.container import Container
from tiles.gltf.materials import Materials
from tiles.gltf.soup import HEAD_WORDS, Soup, read
from tiles.gltf.surface import surface

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_TRIANGLES_SAVED = 64
"""A shape is drawn by instances where they save at least that many triangles: a node of its own takes about 1 KB."""
MAX_SKEW_M = 0.001
"""What the nearest rotation and scale may be off from a copy's matrix, at the outermost vertex."""
_STEP_M = 2.0**-10
_SAVES = 160
_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""East, north, up -> glTF's x, y, z."""


@dataclass(frozen=True)
class Group:
    """The copies of one shape: (k,) rows of features, ascending, and (k, 3, 4) matrices to the ENU frame."""

    blob: bytes
    rows: Ints
    matrices: Floats


def groups(blobs: Sequence[bytes], shapes: dict[str, bytes], colours: NDArray[np.uint8]) -> list[Group]:
    """What is worth drawing by instances. A shape without colours of its own has a group for each style colour."""
    copies = [row for row, blob in enumerate(blobs) if is_copy(blob)]
    if not copies:
        return []
    keys, matrices = read_copies([blobs[row] for row in copies])
    reach = {key: _reach_m(shape(shapes, key)) for key in set(keys)}
    straight = _skew(matrices) * np.array([reach[key] for key in keys]) <= MAX_SKEW_M
    members: dict[tuple[str, bytes], list[int]] = {}
    for at, key in enumerate(keys):
        if straight[at]:
            plain = colours[copies[at]].tobytes() if _counts(shapes[key])[2] == 0 else b""
            members.setdefault((key, plain), []).append(at)
    rows = np.array(copies)
    return [
        Group(shapes[key], rows[chosen], matrices[chosen])
        for (key, _), chosen in members.items()
        if (len(chosen) - 1) * _counts(shapes[key])[1] >= MIN_TRIANGLES_SAVED
    ]


def shape(shapes: dict[str, bytes], key: str) -> bytes:
    """The blob of a shape; InvalidInput where it is missing."""
    if key not in shapes:
        raise InvalidInput(f"The shape {key} of a stored copy is missing.", "Build the twin again.")
    return shapes[key]


def add(
    chosen: list[Group],
    colours: NDArray[np.uint8],
    prepare: Callable[[Soup], Soup],
    materials: Materials,
    out: Container,
) -> list[int]:
    """Write the shapes and a node for each group; the numbers of the nodes.

    `prepare` resolves the images and colours of the shapes.
    """
    origin = np.rint(np.median(np.concatenate([group.matrices[:, :, 3] for group in chosen]), axis=0))
    soup = read([group.blob for group in chosen], np.arange(len(chosen)), colours[[group.rows[0] for group in chosen]])
    soup, centres = _centred(prepare(soup), len(chosen))
    n_materials = len(soup.colours)
    of_shape = soup.features[soup.triangles[:, 0]] * n_materials + soup.materials
    made = surface(replace(soup, materials=of_shape), np.ones(len(chosen), bool))
    if not len(made):
        return []
    order, indices = compact.ordered(made)
    attributes, positions = _shape_attributes(soup, made.vertices[order], chosen, out)
    attributes |= compact.common(soup, made, order, out)
    primitives = compact.runs(soup, made, compact.VertexData(attributes, positions, indices), materials, out)
    places = _Places(chosen, centres, origin, out)
    nodes = []
    for number, group in enumerate(chosen):
        own = [primitives[run] for run in np.flatnonzero(made.materials // n_materials == number)]
        if own:
            node: dict[str, Any] = {"mesh": out.member("meshes", {"primitives": own})}
            node |= {"translation": y_up(origin[None])[0].tolist(), "extensions": places.of(number, len(group.rows))}
            nodes.append(out.member("nodes", node))
    out.extensions_used |= {"EXT_mesh_gpu_instancing", "EXT_instance_features"}
    out.extensions_required.add("EXT_mesh_gpu_instancing")
    return nodes


def _counts(blob: bytes) -> Ints:
    """Vertices, triangles and materials of a blob (layout: `layers.mesh`)."""
    return np.frombuffer(blob, "<u4", 3, 28).astype(np.int64)


def _reach_m(blob: bytes) -> float:
    """From the middle of a shape to its outermost vertex."""
    local = np.frombuffer(blob, "<f4", 3 * int(_counts(blob)[0]), 4 * HEAD_WORDS).reshape(-1, 3)
    return float(np.linalg.norm(local, axis=1).max(initial=0))


def _turns_and_scales(linear: Floats) -> tuple[Floats, Floats]:
    """(k, 3, 3) nearest rotations and (k, 3) scales before them; a mirroring matrix has none (NaN)."""
    scales = np.linalg.norm(linear, axis=1)
    proper = (np.linalg.det(linear) > 0) & (scales > 0).all(axis=1)
    axes = np.where(proper[:, None, None], linear / np.where(scales > 0, scales, 1)[:, None, :], np.eye(3))
    u, _, v = np.linalg.svd(axes)
    return np.where(proper[:, None, None], u @ v, np.nan), scales


def _skew(matrices: Floats) -> Floats:
    """(k,) how far a vertex at distance 1 is at most moved by taking a rotation and scale for the matrix."""
    linear = matrices[:, :, :3]
    turns, scales = _turns_and_scales(linear)
    off = np.linalg.norm(turns * scales[:, None, :] - linear, axis=(1, 2))
    return np.where(np.isnan(off), np.inf, off)


def _centred(soup: Soup, n_shapes: int) -> tuple[Soup, Floats]:
    """Vertices about the middle of their own shape, and (n, 3) those middles in the shapes' frames."""
    starts = np.searchsorted(soup.features, np.arange(n_shapes))
    low, high = (bound.reduceat(soup.vertices, starts, axis=0) for bound in (np.minimum, np.maximum))
    middles = (low + high) / 2
    return replace(soup, vertices=soup.vertices - middles[soup.features]), middles + soup.origin


def _shape_attributes(
    soup: Soup, vertices: Ints, chosen: list[Group], out: Container
) -> tuple[dict[str, compact.Attribute], NDArray[np.float32]]:
    scale = max(float(np.linalg.norm(group.matrices[:, :, :3], axis=1).max()) for group in chosen)
    exponent = int(np.floor(np.log2(_STEP_M / max(scale, 1.0))))
    positions = y_up(soup.vertices[vertices])
    rows = compact.exponential(positions, exponent)
    stored = np.ldexp(np.rint(np.ldexp(positions, -exponent)), exponent).astype("<f4")
    view = compact.packed(rows, out, "EXPONENTIAL")
    return {"POSITION": compact.Attribute(view, np.dtype("<f4"), 3, 12)}, stored


class _Places:
    """Where the copies of all groups stand: four buffer views, an accessor into each for a group."""

    def __init__(self, chosen: list[Group], centres: Floats, origin: Floats, out: Container) -> None:
        self._out = out
        sizes = [len(group.rows) for group in chosen]
        self._starts = np.cumsum([0, *sizes])
        matrices = np.concatenate([group.matrices for group in chosen])
        linear = matrices[:, :, :3]
        middles = np.repeat(centres, sizes, axis=0)
        places = (linear @ middles[..., None])[..., 0] + matrices[:, :, 3] - origin
        upright = _UP @ linear @ _UP.T
        turns, scales = _turns_and_scales(upright)
        rows = np.concatenate([group.rows for group in chosen])
        self._views = {
            "TRANSLATION": self._view(y_up(places).astype("<f4")),
            "ROTATION": self._view(Rotation.from_matrix(turns).as_quat().astype("<f4")),
            "SCALE": self._view(scales.astype("<f4")),
            "_FEATURE_ID_0": self._view(rows.astype("<f4")[:, None]),
        }

    def of(self, number: int, count: int) -> dict[str, Any]:
        """The node's extensions of a group."""
        begin = int(self._starts[number])
        accessors = {
            name: self._out.accessor(view, np.dtype("<f4"), width, count, begin * width * 4)
            for name, (view, width) in self._views.items()
        }
        ids = {"featureCount": count, "attribute": 0, "propertyTable": 0}
        return {
            "EXT_mesh_gpu_instancing": {"attributes": accessors},
            "EXT_instance_features": {"featureIds": [ids]},
        }

    def _view(self, rows: NDArray[np.float32]) -> tuple[int, int]:
        view = self._out.packed_if(rows, saves=_SAVES)
        return (self._out.view(rows) if view is None else view), rows.shape[1]
