"""Paint of faces -> the palette and texture coordinates of a mesh."""

import numpy as np
from numpy.typing import NDArray

from ingest.citygml.appearance import Images
from ingest.citygml.findings import Findings
from ingest.citygml.geometry import Face
from ingest.citygml.store import Paint, SideStore
from ingest.cityjson.appearance import Colour
from ingest.cityjson.mesh import MATERIALS
from layers.mesh import MAX_MATERIALS, Texture

WHITE: Colour = (255, 255, 255, 255)
"""Under a texture."""

_KINDS = list(MATERIALS)


def paints_of(
    store: SideStore, faces: list[Face], ends: NDArray[np.int64], n_points: int
) -> tuple[NDArray[np.float32] | None, list[Paint | None]]:
    """Texture coordinates of all points (None when there are none), and the paint of each face.

    `ends` : where each ring ends among the `n_points` points of all faces.
    """
    if not (store.n_rings or store.n_colours):
        return None, [None] * len(faces)
    paints = [store.paint(face.names, face.ids) for face in faces]
    if not any(paint and paint.uv for paint in paints):
        return None, paints
    uv = np.full((n_points, 2), np.nan, np.float32)
    ring = 0
    for face, paint in zip(faces, paints, strict=True):
        for number, points in enumerate(face.rings):
            given = paint.uv[number] if paint and number < len(paint.uv) else None
            if given is not None and len(given) in {len(points), len(points) + 1}:
                own = given[: len(points)]
                uv[int(ends[ring]) - len(points) : int(ends[ring])] = own[::-1] if face.is_turned else own
            ring += 1
    return uv, paints


class Palette:
    """Colours and textures of one mesh: first those of the boundary surfaces, then those of its appearances."""

    def __init__(self, images: Images, findings: Findings, where: str) -> None:
        self._images, self._findings, self._where = images, findings, where
        self.colours: list[Colour] = list(MATERIALS.values())
        self.textures: list[Texture | None] = [None] * len(self.colours)
        self._known: dict[object, int] = {}

    def material(self, face: Face, paint: Paint | None) -> int:
        """Index of a face's material."""
        base = _KINDS.index(face.kind) if face.kind in MATERIALS else len(_KINDS) - 1
        if paint is None:
            return base
        key: object = (paint.uri, paint.wrap, base) if paint.uri else paint.colour
        if key not in self._known:
            texture = self._images.texture(paint.uri, paint.wrap) if paint.uri else None
            if paint.uri and texture is None:
                self._known[key] = base
            elif len(self.colours) >= MAX_MATERIALS:
                self._findings.note("TOO_MANY_TEXTURES", self._where)
                return base
            else:
                self.colours.append(paint.colour or WHITE)
                self.textures.append(texture)
                self._known[key] = len(self.colours) - 1
        return self._known[key]

    def arrays(self) -> tuple[NDArray[np.uint8], tuple[Texture | None, ...]]:
        """(k, 4) colours, and k textures or none at all."""
        return np.array(self.colours, np.uint8), tuple(self.textures) if any(self.textures) else ()
