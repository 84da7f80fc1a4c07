"""Wavefront OBJ with its MTL and textures (Wavefront Advanced Visualizer, appendices B1 and B2).

Read are v, vt, f (any polygon, also concave; negative numbers), o, g, usemtl, mtllib; of materials Kd, d, Tr, map_Kd.
Normals and smoothing are dropped; lines, points and free-form surfaces are counted and told.
"""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ingest.mesh.parts import GREY, MAX_PARTS, MAX_VERTICES, Beside, Float, Model, Part, broken, compact, cut_materials
from ingest.surfaces import triangulate
from layers.issue import Issue
from layers.mesh import Mesh, Texture

MTL_BYTES = 16 << 20
LINE_BYTES = 16 << 20
_DROPPED = {
    "vn",
    "s",
    "vp",
    "lod",
    "shadow_obj",
    "trace_obj",
    "bevel",
    "c_interp",
    "d_interp",
    "mg",
    "usemap",
    "maplib",
}
_OPTIONS = {"-blendu": 1, "-blendv": 1, "-boost": 1, "-mm": 2, "-texres": 1, "-clamp": 1, "-bm": 1, "-imfchan": 1,
            "-type": 1, "-cc": 1}  # fmt: skip


@dataclass
class _Group:
    name: str
    corners: "array[int]" = field(default_factory=lambda: array("q"))
    uvs: "array[int]" = field(default_factory=lambda: array("q"))
    materials: "array[int]" = field(default_factory=lambda: array("q"))


class _Reader:
    def __init__(self, name: str, beside: Beside) -> None:
        self.name, self.beside = name, beside
        self.vertices, self.uv = array("d"), array("d")  # three and two numbers a row
        self.n_vertices = self.n_uv = 0
        self.groups: dict[str, _Group] = {}
        self.object = self.group = ""
        self.has_objects = False
        self.current: _Group | None = None
        self.material = 0
        self.material_names = {"": 0}
        self.colours: dict[str, tuple[int, int, int, int]] = {}
        self.textures: dict[str, Texture | None] = {}
        self.others: Counter[str] = Counter()
        self.bad_faces = 0

    def line(self, number: int, words: list[str]) -> None:
        key, rest = words[0], words[1:]
        try:
            if key == "v":
                self.vertices.extend([float(each) for each in rest[:3]])
                self.n_vertices += 1
                if len(rest) < 3 or self.n_vertices > MAX_VERTICES:
                    problem = f"line {number} has {len(rest)} numbers, or there are more than {MAX_VERTICES} vertices."
                    raise broken(self.name, problem)
            elif key == "vt":
                self.uv.extend((float(rest[0]), float(rest[1]) if len(rest) > 1 else 0.0))
                self.n_uv += 1
            elif key == "f":
                self.face(rest)
            elif key in {"o", "g"}:
                self.has_objects |= key == "o"
                if key == "o":
                    self.object = " ".join(rest)
                else:
                    self.group = " ".join(rest)
                self.current = None
            elif key == "usemtl":
                self.use(" ".join(rest))
            elif key == "mtllib":
                self.library(" ".join(rest))
            elif key not in _DROPPED:
                self.others[key[:20]] += 1
        except (ValueError, IndexError) as error:
            raise broken(self.name, f"line {number} cannot be read: {error}.") from error

    def use(self, name: str) -> None:
        self.material = self.material_names.setdefault(name, len(self.material_names))

    def face(self, rest: list[str]) -> None:
        ring, uvs = [], []
        for each in rest:
            first, _, tail = each.partition("/")
            index, place = int(first), tail.partition("/")[0]
            ring.append(index - 1 if index > 0 else self.n_vertices + index)
            mapped = int(place) if place else 0
            uvs.append(mapped - 1 if mapped > 0 else self.n_uv + mapped if mapped < 0 else -1)
        if len(ring) < 3 or min(ring) < 0 or max(ring) >= self.n_vertices or max(uvs) >= self.n_uv:
            self.bad_faces += 1
            return
        group = self.current or self.here()
        for a, b, c in self.triangles(ring):
            group.corners.extend((ring[a], ring[b], ring[c]))
            group.uvs.extend((uvs[a], uvs[b], uvs[c]))
            group.materials.append(self.material)

    def triangles(self, ring: list[int]) -> list[tuple[int, int, int]]:
        if len(ring) == 3:
            return [(0, 1, 2)]
        points = np.array([self.vertices[3 * each : 3 * each + 3] for each in ring], np.float64)
        cut = triangulate(points, [list(range(len(ring)))])
        return [(int(a), int(b), int(c)) for a, b, c in cut]

    def here(self) -> _Group:
        key = f"{self.object}\0{self.group}"
        if key not in self.groups:
            if len(self.groups) >= MAX_PARTS:
                raise broken(self.name, f"it has more than {MAX_PARTS} groups.", "MESH_TOO_LARGE")
            self.groups[key] = _Group(key)
        self.current = self.groups[key]
        return self.current

    def library(self, file: str) -> None:
        data = self.beside.data(file, MTL_BYTES)
        name = ""
        for line in (data or b"").decode("utf8", "replace").splitlines():
            words = line.split()
            if len(words) < 2 or words[0].startswith("#"):
                continue
            key, rest = words[0].lower(), words[1:]
            try:
                if key == "newmtl":
                    name = " ".join(rest)
                    self.colours[name], self.textures[name] = GREY, None
                elif key == "kd" and name:
                    rgb = [min(255, max(0, round(255 * float(each)))) for each in rest[:3]]
                    self.colours[name] = (rgb[0], rgb[1], rgb[2], self.colours[name][3])
                elif key in {"d", "tr"} and name:
                    opacity = float(rest[-1]) if key == "d" else 1 - float(rest[-1])
                    self.colours[name] = (*self.colours[name][:3], min(255, max(0, round(255 * opacity))))
                elif key == "map_kd" and name:
                    self.texture(name, rest)
            except (ValueError, IndexError):
                self.others[f"{file}: {key}"] += 1

    def texture(self, name: str, rest: list[str]) -> None:
        clamp = "-clamp on" in " ".join(rest)
        while rest and rest[0] in {*_OPTIONS, "-o", "-s", "-t"}:
            n_values = _OPTIONS.get(rest[0])
            option, rest = rest[0], rest[1:]
            if n_values is None:  # one to three numbers
                n_values = next((i for i, each in enumerate(rest[:3]) if not _is_number(each)), 3)
                self.others[f"map_Kd {option}"] += 1
            rest = rest[n_values:]
        self.textures[name] = self.beside.texture(" ".join(rest), "clamp" if clamp else "repeat")
        if self.textures[name] is not None:  # the image brings the colour
            self.colours[name] = (255, 255, 255, self.colours[name][3])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_obj(path: Path, name: str, beside: Beside) -> Model:
    """One part for each object or group. Raises InvalidInput for a file that is no OBJ."""
    reader = _Reader(name, beside)
    with path.open("rb") as file:
        pending = b""
        for number, raw in enumerate(iter(lambda: file.readline(LINE_BYTES + 1), b""), 1):
            if len(raw) > LINE_BYTES:
                raise broken(name, f"line {number} is longer than 16 MB.")
            line = pending + raw.rstrip(b"\r\n")
            pending = line[:-1] + b" " if line.endswith(b"\\") and len(line) < 1 << 24 else b""
            if pending or b"\0" in line:
                if b"\0" in line:
                    raise broken(name, f"line {number} is not text.")
                continue
            words = line.decode("utf8", "replace").split()
            if words and not words[0].startswith("#"):
                reader.line(number, words)
    if not reader.groups:
        raise broken(name, "it has no faces.", "MESH_EMPTY")
    vertices = np.array(reader.vertices, np.float64).reshape(-1, 3)
    parts = [_part(reader, vertices, group) for group in reader.groups.values()]
    return Model("Wavefront OBJ", parts, issues=[*_issues(reader), *beside.issues])


def _part(reader: _Reader, vertices: Float, group: _Group) -> Part:
    object_, _, name = group.name.partition("\0")
    uv = np.array(reader.uv, np.float32).reshape(-1, 2) if reader.uv else None
    corners, uvs = (np.array(each, np.int64).reshape(-1, 3) for each in (group.corners, group.uvs))
    used, triangles, mapped = compact(vertices, corners, uv, uvs)
    names = list(reader.material_names)
    colours = np.array([reader.colours.get(each, GREY) for each in names], np.uint8)
    textures = tuple(reader.textures.get(each) for each in names)
    ids = np.array(group.materials, np.int64)
    mesh = cut_materials(Mesh(used, triangles, ids, colours, mapped, textures))  # type: ignore[arg-type]
    materials = [names[i] for i in np.unique(ids).tolist() if names[i]]
    extra = {"materials": materials} if materials else {}
    if object_ and name:
        extra["group"] = name  # type: ignore[assignment]
    return Part(object_ or name, mesh, extra)


def _issues(reader: _Reader) -> list[Issue]:
    issues = []
    if reader.bad_faces:
        message = f"{reader.bad_faces} faces name vertices that do not exist; they are left out."
        issues.append(Issue("MESH_FACES_BAD", reader.name, message, "Export it again.", "error"))
    if reader.others:
        told = ", ".join(f"{key} ({n})" for key, n in reader.others.most_common(8))
        issues.append(Issue("MESH_PARTLY_READ", reader.name, f"Statements that are not read: {told}.", "", "info"))
    return issues
