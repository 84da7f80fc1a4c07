"""Painted polygons -> one triangle mesh with a palette; several meshes of one feature -> one."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ingest.cityjson.appearance import Colour
from ingest.cityjson.geometry import Painted
from ingest.surfaces import Float, triangulate_all
from layers.mesh import MAX_MATERIALS, Mesh, Texture

MATERIALS: dict[str, Colour] = {
    "WallSurface": (222, 214, 200, 255),
    "RoofSurface": (170, 88, 70, 255),
    "GroundSurface": (120, 120, 120, 255),
    "": (205, 200, 192, 255),
}
"""Colours by semantic surface; the last one is for every other kind."""

WHITE: Colour = (255, 255, 255, 255)
"""Under a texture, which is multiplied with it."""


@dataclass
class Paint:
    """What the indices of painted polygons mean: colours of materials, textures, texture coordinates."""

    colours: Sequence[Colour | None] = ()
    textures: Sequence[Texture | None] = ()
    uv: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))

    def texture(self, surface: Painted) -> Texture | None:
        """The image of a polygon, where it has one and all its coordinates are there."""
        if surface.texture is None or surface.uv is None or surface.texture >= len(self.textures):
            return None
        highest = max((index for ring in surface.uv for index in ring), default=0)
        return self.textures[surface.texture] if highest < len(self.uv) else None

    def colour(self, surface: Painted) -> Colour | None:
        """The polygon's material, else the colour of its semantic type; None where it has neither."""
        if surface.material is not None and surface.material < len(self.colours):
            given = self.colours[surface.material]
            if given is not None:
                return given
        return MATERIALS.get(surface.kind, MATERIALS[""]) if surface.kind else None


@dataclass(frozen=True)
class Corners:
    """Polygons of one feature ready to be cut: (2, k) vertex and texture index of each corner, their paint."""

    vertices: Float
    corners: NDArray[np.int64]
    sizes: list[list[int]]
    ids: list[int]
    palette: dict[tuple[Colour | None, Texture | None], int]
    uv: NDArray[np.float32]


def corners_of(vertices: Float, surfaces: Sequence[Painted], paint: Paint) -> Corners:
    """Gather the corners of all polygons that have three or more."""
    palette: dict[tuple[Colour | None, Texture | None], int] = {}
    flat: list[int] = []
    uv: list[int] = []
    sizes, ids = [], []
    for surface in surfaces:
        texture = paint.texture(surface)
        rings = _corners(surface, flat, uv, is_textured=texture is not None)
        if rings:
            sizes.append(rings)
            colour = WHITE if texture is not None else paint.colour(surface)
            ids.append(palette.setdefault((colour, texture), len(palette)))
    return Corners(vertices, np.array([flat, uv], np.int64), sizes, ids, palette, paint.uv)


def meshes_of(given: Sequence[Corners]) -> list[Mesh | None]:
    """A mesh for each feature; None where every polygon is degenerate. All are cut at once, which is much quicker."""
    if not any(each.sizes for each in given):
        return [None] * len(given)
    points = np.concatenate([each.vertices[each.corners[0]] for each in given])
    triangles, owner = triangulate_all(points, [size for each in given for size in each.sizes])
    first_corner = np.cumsum([0, *(each.corners.shape[1] for each in given)])
    first_polygon = np.cumsum([0, *(len(each.sizes) for each in given)])
    cuts = np.searchsorted(owner, first_polygon)
    out: list[Mesh | None] = []
    for i, each in enumerate(given):
        own = slice(cuts[i], cuts[i + 1])
        out.append(_made(each, triangles[own] - first_corner[i], owner[own] - first_polygon[i]))
    return out


def _made(given: Corners, triangles: NDArray[np.int64], owner: NDArray[np.int64]) -> Mesh | None:
    """One feature's mesh. More than 255 paints fall on the common colour."""
    if not len(triangles):
        return None
    used, compact = _compact(given.corners, triangles)
    made = Mesh(given.vertices[used[0]], compact)
    if list(given.palette) == [(None, None)]:
        return made
    made = _coloured(made, given.palette, np.array(given.ids)[owner])
    if not made.textures:
        return made
    uv = np.concatenate([given.uv, np.full((1, 2), np.nan, np.float32)])
    return replace(made, uv=uv[used[1]])


def _corners(surface: Painted, flat: list[int], uv: list[int], *, is_textured: bool) -> list[int]:
    """Append a polygon's vertex and texture indices (-1 for none), without repeats; returns the sizes of its rings."""
    sizes: list[int] = []
    first = len(flat)
    for number, ring in enumerate(surface.rings):
        begin = len(flat)
        given = surface.uv[number] if is_textured and surface.uv is not None else None
        for i, index in enumerate(ring):
            if index != ring[i - 1]:
                flat.append(index)
                uv.append(-1 if given is None else given[i])
        if len(flat) - begin >= 3:
            sizes.append(len(flat) - begin)
            continue
        del flat[begin:], uv[begin:]
        if number == 0:
            break
    if not sizes:
        del flat[first:], uv[first:]
    return sizes


def _compact(corners: NDArray[np.int64], triangles: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(2, k) distinct pairs of vertex and texture index that triangles use, and the triangles on them."""
    n_uv = int(corners[1].max()) + 2
    keys = corners[0] * n_uv + corners[1] + 1
    used, compact = np.unique(keys[triangles], return_inverse=True)
    return np.stack([used // n_uv, used % n_uv - 1]), compact.reshape(-1, 3).astype(np.int64)


def _coloured(mesh: Mesh, palette: dict[tuple[Colour | None, Texture | None], int], ids: NDArray[np.int64]) -> Mesh:
    entries = list(palette)
    if len(entries) > MAX_MATERIALS:
        entries = [*entries[: MAX_MATERIALS - 1], (MATERIALS[""], None)]
        ids = np.minimum(ids, MAX_MATERIALS - 1)
    colours = np.array([MATERIALS[""] if colour is None else colour for colour, _ in entries], np.uint8)
    textures = tuple(texture for _, texture in entries)
    return replace(
        mesh, material_ids=ids.astype(np.uint8), materials=colours, textures=textures if any(textures) else ()
    )


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several; colours and textures are kept, up to 255."""
    if len(meshes) == 1:
        return meshes[0]
    palette: dict[tuple[Colour | None, Texture | None], int] = {}
    triangles, ids, uv = [], [], []
    n_vertices = 0
    for mesh in meshes:
        own = _entries(mesh)
        numbers = np.array([palette.setdefault(entry, len(palette)) for entry in own])
        given = np.zeros(len(mesh.triangles), np.int64) if mesh.material_ids is None else mesh.material_ids
        ids.append(numbers[np.minimum(given, len(numbers) - 1)])
        triangles.append(mesh.triangles + n_vertices)
        uv.append(np.full((len(mesh.vertices), 2), np.nan, np.float32) if mesh.uv is None else mesh.uv)
        n_vertices += len(mesh.vertices)
    made = Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(triangles))
    if list(palette) == [(None, None)]:
        return made
    made = _coloured(made, palette, np.concatenate(ids))
    return replace(made, uv=np.concatenate(uv)) if made.textures else made


def _entries(mesh: Mesh) -> list[tuple[Colour | None, Texture | None]]:
    if mesh.materials is None or not len(mesh.materials):
        return [(None, None)]
    textures = mesh.textures or (None,) * len(mesh.materials)
    return [
        ((int(r), int(g), int(b), int(a)), texture)
        for (r, g, b, a), texture in zip(mesh.materials, textures, strict=True)
    ]
