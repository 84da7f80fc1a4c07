"""Geometry templates of a city model, cut into triangles once; and the paint that indices of polygons stand for.

Spec: https://www.cityjson.org/specs/2.0.1/#geometry-templates . An instance is the template's vertices under its 4 x 4
matrix (rows first), then moved to its reference point.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.cityjson import appearance as appearances
from ingest.cityjson.appearance import Images
from ingest.cityjson.geometry import (
    LINES,
    POINTS,
    Broken,
    Painted,
    indices_of,
    kind_of,
    lines_of,
    lod_of,
    points_of,
    surfaces_of,
)  # fmt: skip
from ingest.cityjson.mesh import Paint, corners_of, meshes_of
from ingest.cityjson.objects import Part, json_object, template
from ingest.surfaces import Float
from layers.mesh import Mesh, SharedShape


@dataclass(frozen=True)
class Template:
    """A geometry template in its own frame, indices on its own vertices."""

    kind: int
    lod: tuple[float, str]
    vertices: Float
    surfaces: list[Painted]
    lines: list[NDArray[np.int64]]
    mesh: Mesh | None
    shared: SharedShape | None


class Templates:
    """Templates and appearances of one file, made when they are wanted and kept while they are the same."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._templates: dict[int, Template] = {}
        self._header: dict[str, Any] | None = None
        self._template_vertices: Float = np.zeros((0, 3))
        self._paints: tuple[dict[str, Any], Paint] | None = None

    def get(self, part: Part, number: int, path: str) -> Template:
        """The template of that number. Raises Broken."""
        if part.header is not self._header:
            self._header, self._templates = part.header, {}
            self._template_vertices = _template_vertices(part.header, path)
        if number not in self._templates:
            self._templates[number] = self._made(part.header, number, f"/geometry-templates/templates/{number}")
        return self._templates[number]

    def _made(self, header: dict[str, Any], number: int, path: str) -> Template:
        shape = template(header, number)
        if shape is None:
            raise Broken("CJ_TEMPLATE_MISSING", path, "There is no such template.")
        kind, lod, vertices = kind_of(shape), lod_of(shape), self._template_vertices
        if kind == LINES:
            return Template(kind, lod, vertices, [], lines_of(shape, len(vertices), path), None, None)
        if kind == POINTS:
            chosen = points_of(shape, len(vertices), path)
            return Template(kind, lod, vertices[chosen], [], [], None, None)
        own = json_object(header.get("appearance"))
        surfaces = surfaces_of(shape, appearances.themes(own), path)
        flat = indices_of(surfaces, len(vertices), path)
        used, surfaces = compacted(flat, surfaces)
        [mesh] = meshes_of([corners_of(vertices[used], surfaces, self.paint(own))])
        shared = None if mesh is None else SharedShape(f"template {number}", mesh.vertices)
        return Template(kind, lod, vertices[used], surfaces, [], mesh, shared)

    def paint(self, appearance: dict[str, Any]) -> Paint:
        """What an appearance says; kept for the next object that has the same."""
        if self._paints is not None and self._paints[0] is appearance:
            return self._paints[1]
        given = appearance.get("textures")
        textures = _Lazy(self._images, given if isinstance(given, list) else [])
        paint = Paint(appearances.colours(appearance), textures, appearances.coordinates(appearance))
        self._paints = (appearance, paint)
        return paint


class _Lazy(list[Any]):
    """Textures of an appearance, read when one is asked for."""

    def __init__(self, images: Images, given: list[Any]) -> None:
        super().__init__(given)
        self._images = images

    def __getitem__(self, number: Any) -> Any:
        return self._images.texture(super().__getitem__(number))


def compacted(flat: NDArray[np.int64], surfaces: list[Painted]) -> tuple[NDArray[np.int64], list[Painted]]:
    """Vertices that polygons use, and the polygons on these alone."""
    used, inverse = np.unique(flat, return_inverse=True)
    numbers = iter(inverse.tolist())

    def ring(given: list[int]) -> list[int]:
        return [next(numbers) for _ in given]

    return used, [
        Painted([ring(each) for each in one.rings], one.kind, one.material, one.texture, one.uv) for one in surfaces
    ]


def moved(vertices: Float, matrix: Float, point: Float) -> Float:
    """(n, 3) vertices of a template -> where an instance has them."""
    return np.asarray(vertices @ matrix[:3, :3].T + matrix[:3, 3] + point)


def instance(made: Template, matrix: Float, point: Float) -> Mesh | None:
    """A template's mesh in its place; where the matrix mirrors, triangles are turned so that they face outwards."""
    own = made.mesh
    if own is None:
        return None
    vertices = moved(own.vertices, matrix, point)
    is_mirrored = np.linalg.det(matrix[:3, :3]) < 0
    triangles = own.triangles[:, ::-1] if is_mirrored else own.triangles
    shared = None if is_mirrored else made.shared
    return Mesh(vertices, triangles, own.material_ids, own.materials, own.uv, own.textures, shared)


def matrix_of(given: Any, path: str) -> Float:
    """(4, 4) of an instance. Raises Broken for anything but 16 finite numbers of an affine map."""
    try:
        matrix = np.asarray(given, np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.zeros(0)
    if matrix.shape != (16,) or not np.isfinite(matrix).all():
        raise Broken("CJ_INVALID", path, "Its transformationMatrix is not 16 numbers.")
    matrix = matrix.reshape(4, 4)
    if not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise Broken("CJ_INVALID", path, "The last row of its transformationMatrix is not 0, 0, 0, 1.")
    return matrix


def _template_vertices(header: dict[str, Any], path: str) -> Float:
    given = header.get("geometry-templates")
    given = given.get("vertices-templates") if isinstance(given, dict) else None
    try:
        array = np.asarray(given, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros(0)
    if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
        raise Broken("CJ_INVALID", path, "/geometry-templates/vertices-templates is not a list of three numbers each.")
    return array
