"""PLY, ASCII and binary (G. Turk, The PLY Polygon File Format, 1994): polygons with colours or one texture.

A PLY without faces is a point cloud and is read elsewhere.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ingest.mesh.parts import MAX_VERTICES, Beside, Float, Model, Part, broken, compact, cut_materials
from ingest.surfaces import triangulate
from layers.issue import Issue
from layers.mesh import Mesh

HEADER_BYTES = 1 << 16
TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
COLOUR_STEPS = 6
"""Levels of each colour channel that triangles are given: 216 materials at most."""


@dataclass(frozen=True)
class Property:
    """A scalar, or a list where `count` is the type of its length."""

    name: str
    type: str
    count: str = ""


@dataclass
class Element:
    """Rows of one kind."""

    name: str
    n_rows: int
    properties: list[Property] = field(default_factory=list)


@dataclass
class Header:
    """`order` is `<`, `>` or empty for ASCII."""

    order: str
    elements: list[Element]
    comments: list[str]
    n_bytes: int

    def rows(self, name: str) -> int:
        """Rows of an element; 0 without it."""
        return next((each.n_rows for each in self.elements if each.name == name), 0)


def header(path: Path, name: str) -> Header:
    """Raises InvalidInput for what is no PLY, or claims more rows than it has bytes."""
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    end = head.find(b"end_header")
    if not head.startswith(b"ply") or end < 0:
        raise broken(name, "it does not begin with a PLY header.")
    newline = head.find(b"\n", end)
    lines = head[:end].decode("latin-1").splitlines()
    made = Header("?", [], [], newline + 1)
    for line in lines[1:]:
        words = line.split()
        try:
            if words[:1] == ["format"]:
                made.order = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}[words[1]]
            elif words[:1] == ["element"]:
                made.elements.append(Element(words[1], int(words[2])))
            elif words[:2] == ["property", "list"]:
                made.elements[-1].properties.append(Property(words[4], TYPES[words[3]], TYPES[words[2]]))
            elif words[:1] == ["property"]:
                made.elements[-1].properties.append(Property(words[2], TYPES[words[1]]))
            elif words[:1] == ["comment"]:
                made.comments.append(line.removeprefix("comment").strip())
        except (KeyError, IndexError, ValueError) as error:
            raise broken(name, f"its header line {line[:80]!r} cannot be read.") from error
    size = path.stat().st_size
    if made.order == "?" or newline < 0 or any(not 0 <= each.n_rows <= size for each in made.elements):
        raise broken(name, "its header claims more than the file can hold.", "TRUNCATED")
    return made


class _Rows:
    """Reads elements one after the other."""

    def __init__(self, file: IO[bytes], head: Header, name: str) -> None:
        self.file, self.head, self.name = file, head, name

    def plain(self, element: Element) -> dict[str, NDArray[Any]]:
        """Columns of an element without lists."""
        if not self.head.order:
            rows = [self.words() for _ in range(element.n_rows)]
            if any(len(row) < len(element.properties) for row in rows):
                raise broken(self.name, f"a row of {element.name} is too short.")
            values = np.array([row[: len(element.properties)] for row in rows], "S40")
            values = values.reshape(element.n_rows, len(element.properties)).astype(np.float64)
            return {each.name: values[:, i] for i, each in enumerate(element.properties)}
        dtype = np.dtype([(f"{i}", self.head.order + each.type) for i, each in enumerate(element.properties)])
        table = np.frombuffer(self.take(dtype.itemsize * element.n_rows), dtype)
        return {each.name: table[f"{i}"] for i, each in enumerate(element.properties)}

    def lists(self, element: Element) -> list[dict[str, NDArray[Any]]]:
        """Rows of an element with lists."""
        return [self.ascii_row(element) if not self.head.order else self.row(element) for _ in range(element.n_rows)]

    def row(self, element: Element) -> dict[str, NDArray[Any]]:
        out = {}
        for each in element.properties:
            n_values = 1
            if each.count:
                kind = np.dtype(self.head.order + each.count)
                n_values = int(np.frombuffer(self.take(kind.itemsize), kind)[0])
            kind = np.dtype(self.head.order + each.type)
            if n_values < 0:
                raise broken(self.name, "a list has a negative length.")
            out[each.name] = np.frombuffer(self.take(kind.itemsize * n_values), kind)
        return out

    def ascii_row(self, element: Element) -> dict[str, NDArray[Any]]:
        words, out, at = self.words(), {}, 0
        for each in element.properties:
            n_values = 1
            if each.count:
                n_values, at = int(words[at]), at + 1
            out[each.name] = np.array([float(word) for word in words[at : at + n_values]])
            at += n_values
            if len(out[each.name]) != n_values:
                raise broken(self.name, f"a row of {element.name} is too short.")
        return out

    def triangles(self, element: Element) -> NDArray[np.int64] | None:
        """(m, 3) in one go where every row of a binary file is one list of three; else None, with nothing read."""
        (only,) = element.properties if len(element.properties) == 1 else (Property("", "u1"),)
        if not self.head.order or not only.count:
            return None
        start = self.file.tell()
        dtype = np.dtype([("n", self.head.order + only.count), ("corners", self.head.order + only.type, 3)])
        data = self.file.read(dtype.itemsize * element.n_rows)
        if len(data) == dtype.itemsize * element.n_rows:
            rows = np.frombuffer(data, dtype)
            if (rows["n"] == 3).all():
                return rows["corners"].astype(np.int64)
        self.file.seek(start)
        return None

    def take(self, n_bytes: int) -> bytes:
        data = self.file.read(n_bytes)
        if len(data) < n_bytes:
            raise broken(self.name, "it ends before its rows do.", "TRUNCATED")
        return data

    def words(self) -> list[bytes]:
        while line := self.file.readline(1 << 20):
            if words := line.split():
                return words
        raise broken(self.name, "it ends before its rows do.", "TRUNCATED")


def read_ply(path: Path, name: str, beside: Beside) -> Model:
    """One part. Raises InvalidInput for a file that is cut off or damaged."""
    head = header(path, name)
    vertices, faces = {}, None
    with path.open("rb") as file:
        file.seek(head.n_bytes)
        rows = _Rows(file, head, name)
        try:
            for element in head.elements:
                has_lists = any(each.count for each in element.properties)
                if element.name == "vertex" and not has_lists:
                    vertices = rows.plain(element)
                elif element.name == "face" and has_lists:
                    faces = _faces(rows, element, vertices)
                elif has_lists:
                    rows.lists(element)
                else:
                    rows.plain(element)
        except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
            raise broken(name, f"its rows cannot be read: {error}.") from error
    if faces is None or not {"x", "y", "z"} <= set(vertices):
        raise broken(name, "it has no vertices with x, y, z, or no faces.", "MESH_EMPTY")
    points = np.stack([vertices[axis].astype(np.float64) for axis in "xyz"], axis=1)
    if len(points) > MAX_VERTICES:
        raise broken(name, "it has too many vertices.", "MESH_TOO_LARGE")
    if not len(faces.corners) or int(faces.corners.min()) < 0 or int(faces.corners.max()) >= len(points):
        raise broken(name, "it has no faces, or they name vertices that do not exist.", "MESH_EMPTY")
    image = next((each.split(None, 1)[1] for each in head.comments if each.startswith("TextureFile ")), None)
    mesh, issues = _mesh(points, vertices, faces, image, beside)
    kind = {"": "ASCII", "<": "binary", ">": "binary, big-endian"}[head.order]
    return Model(f"PLY ({kind})", [Part("", mesh)], issues=[*issues, *beside.issues])


@dataclass
class _Faces:
    corners: NDArray[np.int64]
    uv: NDArray[np.float32] | None = None


def _faces(rows: _Rows, element: Element, vertices: dict[str, NDArray[Any]]) -> _Faces:
    quick = rows.triangles(element)
    if quick is not None:
        return _Faces(quick)
    points = np.stack([vertices[axis].astype(np.float64) for axis in "xyz"], axis=1)
    corners: list[list[int]] = []
    mapped: list[Float] = []
    for row in rows.lists(element):
        ring = next((row[key] for key in ("vertex_indices", "vertex_index") if key in row), np.zeros(0))
        ring = ring.astype(np.int64)
        if len(ring) < 3 or ring.min() < 0 or ring.max() >= len(points):
            continue
        place = row.get("texcoord")
        place = None if place is None or len(place) != 2 * len(ring) else place.reshape(-1, 2)
        cut = [[0, 1, 2]] if len(ring) == 3 else triangulate(points[ring], [list(range(len(ring)))]).tolist()
        for triangle in cut:
            corners.append(ring[triangle].tolist())
            mapped.append(np.full((3, 2), np.nan) if place is None else place[triangle])
    uv = np.array(mapped, np.float32).reshape(-1, 2) if any(np.isfinite(each).all() for each in mapped) else None
    return _Faces(np.array(corners, np.int64).reshape(-1, 3), uv)


def _mesh(
    points: Float, columns: dict[str, NDArray[Any]], faces: _Faces, image: str | None, beside: Beside
) -> tuple[Mesh, list[Issue]]:
    names = ("texture_u", "texture_v"), ("s", "t"), ("u", "v")
    pair = next((each for each in names if set(each) <= set(columns)), None)
    uv, uv_corners = faces.uv, np.arange(len(faces.corners) * 3).reshape(-1, 3)
    if uv is None and pair is not None:
        uv = np.stack([columns[each].astype(np.float32) for each in pair], axis=1)
        uv_corners = faces.corners
    texture = beside.texture(image) if image and uv is not None else None
    if texture is not None:
        used, triangles, mapped = compact(points, faces.corners, uv, uv_corners)
        ids, white = np.zeros(len(triangles), np.uint8), np.array([[255, 255, 255, 255]], np.uint8)
        return Mesh(used, triangles, ids, white, mapped, (texture,)), []
    used, triangles, _ = compact(points, faces.corners)
    if not {"red", "green", "blue"} <= set(columns):
        return Mesh(used, triangles), []
    rgb = np.stack([columns[each].astype(np.float64) for each in ("red", "green", "blue")], axis=1)
    rgb = rgb * 255 if rgb.max(initial=0) <= 1 and rgb.dtype.kind == "f" and columns["red"].dtype.kind == "f" else rgb
    steps = np.rint(rgb[faces.corners].mean(axis=1) / 255 * (COLOUR_STEPS - 1)).clip(0, COLOUR_STEPS - 1)
    palette, chosen = np.unique(steps, axis=0, return_inverse=True)
    colours = np.column_stack([palette * 255 / (COLOUR_STEPS - 1), np.full(len(palette), 255)]).astype(np.uint8)
    mesh = cut_materials(Mesh(used, triangles, chosen.reshape(-1).astype(np.uint8), colours))
    message = f"Colours of vertices are kept as one of {COLOUR_STEPS**3} colours for each triangle."
    return mesh, [Issue("MESH_VERTEX_COLOURS", "vertex", message, "Use a texture where that is too coarse.", "info")]
