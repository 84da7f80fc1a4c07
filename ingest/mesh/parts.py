"""What every mesh format is read into: named parts in metres, z up, and the arithmetic on them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.tileset.files import FolderFiles, Outside, read, resolved
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.mesh import Mesh, Texture

Float = NDArray[np.float64]

MAX_FILE_BYTES = 1 << 30
MAX_VERTICES = 50_000_000
MAX_PARTS = 200_000
MAX_MATERIALS = 255
MAX_IMAGE_BYTES = 128 << 20
GREY = (200, 200, 200, 255)
Y_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""(x, y, z) with y up -> (x, -z, y) with z up."""

_IMAGES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))


@dataclass(frozen=True)
class Part:
    """One object of a file: its name, its triangles, what else is known; `problem` says why it has no mesh."""

    name: str
    mesh: Mesh
    extra: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


@dataclass
class Model:
    """A whole file.

    Attributes
    ----------
    format : for reports
    parts : in the order of the file
    has_unit : the format says that its unit is the metre and y is up (the vertices are z up already)
    """

    format: str
    parts: list[Part]
    has_unit: bool = False
    issues: list[Issue] = field(default_factory=list)

    def mapped(self, move: Callable[[Float], Float]) -> "Model":
        """With every vertex moved; shared shapes stay in their own frame."""
        parts = [replace(part, mesh=replace(part.mesh, vertices=move(part.mesh.vertices))) for part in self.parts]
        return replace(self, parts=parts)


def checked(part: Part) -> Part:
    """With the reason where the mesh cannot be used: no triangles, no numbers, vertices that are not there."""
    mesh = part.mesh
    if part.problem:
        return part
    if not len(mesh.triangles):
        return replace(part, problem="It has no triangles.")
    if int(mesh.triangles.min()) < 0 or int(mesh.triangles.max()) >= len(mesh.vertices):
        return replace(part, problem="A triangle names a vertex that does not exist.")
    if not np.isfinite(mesh.vertices).all() or np.abs(mesh.vertices).max() > 1e12:
        return replace(part, problem="It has coordinates that are no numbers.")
    return part


def area_m2(mesh: Mesh) -> float:
    """Of all triangles."""
    a, b, c = (mesh.vertices[mesh.triangles[:, i]] for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def is_closed(mesh: Mesh) -> bool:
    """True if every edge is used once in each direction, vertices at one place being one."""
    _, same = np.unique(mesh.vertices, axis=0, return_inverse=True)
    corners = same.reshape(-1)[mesh.triangles]
    corners = corners[(corners != np.roll(corners, 1, axis=1)).all(axis=1)]
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    n_places = int(same.max()) + 1
    there, back = edges[:, 0] * n_places + edges[:, 1], edges[:, 1] * n_places + edges[:, 0]
    there.sort()
    back.sort()
    return bool(len(there) and (np.diff(there) > 0).all() and (there == back).all())


def cut_materials(mesh: Mesh) -> Mesh:
    """Only materials that are used, 255 at most; whatever is beyond takes the last one."""
    if mesh.material_ids is None or mesh.materials is None:
        return mesh
    used, ids = np.unique(mesh.material_ids, return_inverse=True)
    kept = used[:MAX_MATERIALS]
    textures = tuple(mesh.textures[i] for i in kept) if mesh.textures else ()
    textures = textures if any(textures) else ()
    return replace(
        mesh,
        material_ids=np.minimum(ids.reshape(-1), MAX_MATERIALS - 1).astype(np.uint8),
        materials=mesh.materials[kept],
        textures=textures,
        uv=mesh.uv if textures else None,
    )


def compact(
    vertices: Float,
    corners: NDArray[np.int64],
    uv: NDArray[np.float32] | None = None,
    uv_corners: NDArray[np.int64] | None = None,
) -> tuple[Float, NDArray[np.int64], NDArray[np.float32] | None]:
    """Vertices that (m, 3) corners use, with the texture coordinates of `uv_corners` (-1: none); one row a pair."""
    if uv is None or uv_corners is None or not len(uv):
        used, triangles = np.unique(corners, return_inverse=True)
        return vertices[used], triangles.reshape(-1, 3).astype(np.int64), None
    width = len(uv) + 1
    pairs, triangles = np.unique(corners.astype(np.int64) * width + uv_corners + 1, return_inverse=True)
    rows, places = np.divmod(pairs, width)
    taken = np.full((len(pairs), 2), np.nan, np.float32)
    taken[places > 0] = uv[places[places > 0] - 1]
    return vertices[rows], triangles.reshape(-1, 3).astype(np.int64), taken


class Beside:
    """Files beside a mesh file that it may refer to: in its own folder and below, never elsewhere."""

    def __init__(self, files: FolderFiles, name: str) -> None:
        self._files, self._name = files, name
        self.issues: list[Issue] = []
        self._textures: dict[tuple[str, str], Texture | None] = {}

    def data(self, uri: str, at_most_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """Bytes of a file, or None with an issue."""
        try:
            found = resolved(self._name, uri.replace("\\", "/"))
        except Outside as outside:
            self._lost(uri, f"{outside}: it is not read")
            return None
        if not self._files.has(found):
            self._lost(uri, "is not there")
            return None
        try:
            return read(self._files, found, at_most_bytes)
        except InvalidInput as error:
            self._lost(uri, error.problem)
            return None

    def texture(self, uri: str, wrap: str = "repeat", data: bytes | None = None) -> Texture | None:
        """An image as a texture; None with an issue where it is not there or of another format."""
        key = (uri, wrap)
        if key not in self._textures:
            found = self.data(uri, MAX_IMAGE_BYTES) if data is None else data
            self._textures[key] = None if found is None else self._image(uri, found, wrap)
        return self._textures[key]

    def _image(self, uri: str, data: bytes, wrap: str) -> Texture | None:
        media_type = next((kind for magic, kind in _IMAGES if data.startswith(magic)), None)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            media_type = "image/webp"
        if media_type is None:
            self._lost(uri, "is neither JPEG, PNG nor WebP")
            return None
        return Texture(media_type, data, wrap)  # type: ignore[arg-type]

    def _lost(self, uri: str, why: str) -> None:
        message = f"{uri[:200]!r} {why}; the model is shown without it."
        self.issues.append(Issue("MESH_FILE_MISSING", self._name, message, "Put it beside the model.", "warning"))


def broken(name: str, why: str, code: str = "MESH_BROKEN") -> InvalidInput:
    """The refusal of a damaged file."""
    return InvalidInput(f"{name}: {why}", "Copy or export it again.", code=code)
