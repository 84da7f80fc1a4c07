"""STL, binary and ASCII (3D Systems, Stereolithography Interface Specification, 1989): bare triangles."""

import re
from pathlib import Path

import numpy as np

from ingest.mesh.parts import Float, Model, Part, broken
from layers.mesh import Mesh

_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf|-inf"
_VERTEX = re.compile(rb"vertex\s+(" + _NUMBER + rb")\s+(" + _NUMBER + rb")\s+(" + _NUMBER + rb")", re.IGNORECASE)
_SOLID = re.compile(rb"^[ \t]*solid\b[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def read_stl(path: Path, name: str) -> Model:
    """One part for each solid. Raises InvalidInput for a file that is cut off or no STL."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(65536)
    n_triangles = int.from_bytes(head[80:84], "little")
    is_binary = size >= 84 and size == 84 + 50 * n_triangles
    if not is_binary and (not head[:512].lstrip().lower().startswith(b"solid") or b"\0" in head):
        problem = f"its header claims {n_triangles} triangles ({84 + 50 * n_triangles} bytes), it has {size} bytes."
        raise broken(name, problem, "TRUNCATED")
    data = path.read_bytes()
    if len(data) != size:
        raise broken(name, "it changed while it was read.")
    if is_binary:
        records = np.frombuffer(data, _RECORD, n_triangles, 84)
        if not n_triangles:
            raise broken(name, "it has no triangles.", "MESH_EMPTY")
        return Model("STL (binary)", [_part("", records["corners"].reshape(-1, 3).astype(np.float64))])
    starts = [*_SOLID.finditer(data)]
    parts = []
    for match, end in zip(starts, [*(each.start() for each in starts[1:]), len(data)], strict=True):
        corners = np.array(_VERTEX.findall(data, match.end(), end), "S40").astype(np.float64)
        n_faces = len(re.findall(rb"endfacet", data[match.end() : end], re.IGNORECASE))
        if len(corners) != 3 * n_faces:
            raise broken(name, f"{n_faces} facets have {len(corners)} vertices; it is cut off or damaged.", "TRUNCATED")
        if n_faces:
            parts.append(_part(match[1].decode("utf8", "replace").strip()[:200], corners.reshape(-1, 3)))
    if not parts:
        raise broken(name, "it has no triangles.", "MESH_EMPTY")
    return Model("STL (ASCII)", parts)


def _part(name: str, corners: Float) -> Part:
    """Corners at one place become one vertex."""
    vertices, triangles = np.unique(corners, axis=0, return_inverse=True)
    return Part(name, Mesh(vertices, triangles.reshape(-1, 3).astype(np.int64)))
