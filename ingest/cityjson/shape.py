"""The shape of one city object: footprint, lines or point, and its mesh, from the highest level of detail it has.

Spec: https://www.cityjson.org/specs/2.0.1/#geometry-objects .
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

from ingest.cityjson import appearance as appearances
from ingest.cityjson.appearance import Images
from ingest.cityjson.geometry import (
    LINES,
    SURFACES,
    Broken,
    Painted,
    checked,
    indices_of,
    kind_of,
    lines_of,
    lod_of,
    points_of,
    surfaces_of,
)  # fmt: skip
from ingest.cityjson.mesh import Corners, corners_of, joined, meshes_of
from ingest.cityjson.objects import Feature, Part, template
from ingest.cityjson.template import Template, Templates, compacted, instance, matrix_of, moved
from ingest.surfaces import Float, footprint
from layers.mesh import Mesh

_SOLIDS = {"Solid", "MultiSolid", "CompositeSolid"}


@dataclass(frozen=True)
class Shape:
    """What a feature gets: geometry by its kind (None where there is nothing), mesh, level of detail as written."""

    geometry: shapely.Geometry | None
    mesh: Mesh | None
    lod: str


NOTHING = Shape(None, None, "")


@dataclass
class _Pieces:
    """What was gathered for one feature, at one level of detail for each object of its family."""

    lod: tuple[float, str] = (0.0, "")
    surfaces: list[Painted] = field(default_factory=list)
    placed: list[tuple[Template, Float, Float]] = field(default_factory=list)
    lines: list[Float] = field(default_factory=list)
    points: list[Float] = field(default_factory=list)


@dataclass(frozen=True)
class Draft:
    """A shape whose polygons are not cut into triangles yet; or a finished one, without polygons."""

    finished: Shape
    pieces: _Pieces | None = None
    surfaces: list[Painted] = field(default_factory=list)
    corners: Corners | None = None
    is_point: bool = False


class ShapeMaker:
    """Shapes of the features of one file, in the order in which they are read."""

    def __init__(self, images: Images) -> None:
        self._templates = Templates(images)

    def draft(self, feature: Feature, bodies: dict[str, dict[str, Any]], *, is_point: bool) -> Draft:
        """Shape of a feature; `is_point`: its layer has a point and a mesh. Raises Broken with the JSON path."""
        base = feature.where.rsplit("/", 1)[0]
        candidates = {
            key: self._candidates(feature.part, body, f"{base}/{key}/geometry") for key, body in bodies.items()
        }
        kinds = [kind for found in candidates.values() for kind, _, _, _ in found]
        if not kinds:
            return Draft(NOTHING)
        kind = max(kinds)
        best = max(lod[0] for found in candidates.values() for own, lod, _, _ in found if own == kind)
        pieces = _Pieces()
        for found in candidates.values():
            self._gather(feature.part, [each for each in found if each[0] == kind], best, pieces)
        if kind == SURFACES:
            flat = indices_of(pieces.surfaces, len(feature.part.vertices), base)
            used, surfaces = compacted(flat, pieces.surfaces)
            corners = corners_of(
                feature.part.vertices.at(used), surfaces, self._templates.paint(feature.part.appearance)
            )
            return Draft(NOTHING, pieces, surfaces, corners, is_point)
        if kind == LINES:
            lines = [shapely.linestrings(each) for each in pieces.lines]
            return Draft(Shape(shapely.multilinestrings(lines) if lines else None, None, pieces.lod[1]))
        points = np.concatenate(pieces.points) if pieces.points else np.zeros((0, 3))
        if not len(points):
            return Draft(NOTHING)
        single = shapely.points(points[0]) if len(points) == 1 and is_point else shapely.multipoints(points)
        return Draft(Shape(single, None, pieces.lod[1]))

    def _candidates(
        self, part: Part, body: dict[str, Any], path: str
    ) -> list[tuple[int, tuple[float, str], dict[str, Any], str]]:
        """(kind, level of detail, geometry, place) of each geometry that is of a known type."""
        given = body.get("geometry")
        out = []
        for number, shape in enumerate(given if isinstance(given, list) else ()):
            if not isinstance(shape, dict):
                continue
            source = template(part.header, shape.get("template")) if shape.get("type") == "GeometryInstance" else shape
            if source is None:
                raise Broken(
                    "CJ_TEMPLATE_MISSING", f"{path}/{number}", f"There is no template {shape.get('template')!r}."
                )
            if kind_of(source):
                out.append((kind_of(source), lod_of(source), shape, f"{path}/{number}"))
        return out

    def _gather(
        self, part: Part, found: list[tuple[int, tuple[float, str], dict[str, Any], str]], best: float, pieces: _Pieces
    ) -> None:
        """The highest level of detail of one object that is not empty; outlines (LoD 0) only where all have no more."""
        for level in sorted({lod for _, lod, _, _ in found}, reverse=True):
            if level[0] < 1 <= best:
                return
            here = [(shape, path) for _, lod, shape, path in found if lod == level]
            if any(shape.get("type") in _SOLIDS for shape, _ in here):  # the same object as surfaces too, in some files
                here = [(shape, path) for shape, path in here if shape["type"] in _SOLIDS | {"GeometryInstance"}]
            taken = [self._take(part, shape, path, pieces) for shape, path in here]
            if any(taken):
                pieces.lod = max(pieces.lod, level)
                return

    def _take(self, part: Part, shape: dict[str, Any], path: str, pieces: _Pieces) -> bool:
        """Add one geometry; False where it is empty."""
        n_vertices = len(part.vertices)
        if shape["type"] == "GeometryInstance":
            return self._take_instance(part, shape, path, pieces)
        kind = kind_of(shape)
        if kind == SURFACES:
            surfaces = surfaces_of(shape, appearances.themes(part.appearance), path)
            indices_of(surfaces, n_vertices, path)
            pieces.surfaces += surfaces
            return bool(surfaces)
        if kind == LINES:
            lines = lines_of(shape, n_vertices, path)
            pieces.lines += [part.vertices.at(each) for each in lines]
            return bool(lines)
        points = points_of(shape, n_vertices, path)
        pieces.points.append(part.vertices.at(points))
        return bool(len(points))

    def _take_instance(self, part: Part, shape: dict[str, Any], path: str, pieces: _Pieces) -> bool:
        made = self._templates.get(part, shape["template"], path)
        given = shape.get("boundaries")
        reference = checked(given if isinstance(given, list) else [given], len(part.vertices), path)
        if len(reference) != 1:
            raise Broken("CJ_INVALID", path, "An instance needs one reference point in its boundaries.")
        matrix = matrix_of(shape.get("transformationMatrix"), path)
        point = part.vertices.at(reference)[0]
        placed = moved(made.vertices, matrix, point)
        if made.kind == SURFACES:
            pieces.placed.append((made, matrix, point))
        elif made.kind == LINES:
            pieces.lines += [placed[each] for each in made.lines]
        else:
            pieces.points.append(placed)
        return bool(len(placed))


def shapes_of(drafts: Sequence[Draft]) -> list[Shape]:
    """Finish many shapes at once."""
    rows = [row for row, draft in enumerate(drafts) if draft.corners is not None]
    out = [draft.finished for draft in drafts]
    for row, mesh in zip(rows, meshes_of([each.corners for each in drafts if each.corners is not None]), strict=True):
        out[row] = _solid(drafts[row], mesh)
    return out


def _solid(draft: Draft, own: Mesh | None) -> Shape:
    pieces, corners = draft.pieces, draft.corners
    if pieces is None or corners is None:
        return draft.finished
    made = [mesh for mesh in (own, *(instance(*each) for each in pieces.placed)) if mesh is not None]
    mesh = joined(made) if made else None
    if draft.is_point:
        return Shape(_point(mesh, pieces), mesh, pieces.lod[1])
    everything, polygons = corners.vertices, list(draft.surfaces)
    for each, matrix, point in pieces.placed:
        shift = len(everything)
        polygons += [
            Painted([[index + shift for index in ring] for ring in one.rings], one.kind) for one in each.surfaces
        ]
        everything = np.concatenate([everything, moved(each.vertices, matrix, point)])
    return Shape(footprint(everything, polygons), mesh, pieces.lod[1]) if polygons else NOTHING


def _point(mesh: Mesh | None, pieces: _Pieces) -> shapely.Geometry | None:
    """The reference point of a single instance; else the middle of the shape, at its lowest height."""
    if len(pieces.placed) == 1 and not pieces.surfaces:
        return shapely.points(pieces.placed[0][2])
    if mesh is None:
        return None
    west, south, low, east, north, _ = mesh.bounds()
    return shapely.points([(west + east) / 2, (south + north) / 2, low])


def unknown_types(bodies: Iterator[dict[str, Any]]) -> set[str]:
    """Types of geometry that no one knows."""
    given = [body.get("geometry") for body in bodies]
    shapes = [shape for each in given if isinstance(each, list) for shape in each if isinstance(shape, dict)]
    return {
        str(shape.get("type"))[:40]
        for shape in shapes
        if shape.get("type") != "GeometryInstance" and not kind_of(shape)
    }
