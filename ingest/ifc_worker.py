"""The process that touches IFC files: it parses one file and answers questions about it over a connection.

Started as `python -m ingest.ifc_worker FILE FD` by `ingest.ifc_geometry`. Parser and kernels are native code that may
crash, loop or print to standard output; here they can do all three without harm. Requests and answers are tuples:

    ("survey",)             -> ("survey", facts, log)
    ("missing", ids)        -> ("missing", ids that the parser did not keep)
    ("rows", ids)           -> ("rows", [row, ...])
    ("shapes", ids, kernel) -> for each id ("start", id) then ("shape", id, shape | None, reason); at the end ("done",)
    a failure               -> ("failed", kind, message, log)
"""

import os
import resource
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

MEMORY_HEADROOM = 4 << 30
"""Bytes that meshing may need on top of the parsed model; beyond it one element fails, not the machine."""


def main() -> None:
    """Serve one file until the other end hangs up."""
    path, descriptor = sys.argv[1], int(sys.argv[2])
    connection = Connection(descriptor)
    # the kernels write debug text to standard output and error; only Python's own tracebacks are let through
    sys.stderr = os.fdopen(os.dup(2), "w")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    import ifcopenshell

    from ingest import ifc_facts

    try:
        model = ifc_facts.open_model(path)
    except (ifcopenshell.Error, ifcopenshell.SchemaError, OSError, ValueError, RuntimeError) as error:
        connection.send(("failed", type(error).__name__, str(error), ifcopenshell.get_log()))
        return
    _limit_memory()
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        if request[0] == "survey":
            connection.send(("survey", ifc_facts.survey(model), ifcopenshell.get_log()))
        elif request[0] == "rows":
            connection.send(("rows", [ifc_facts.row(model.by_id(each)) for each in request[1]]))
        elif request[0] == "missing":
            connection.send(("missing", ifc_facts.missing(model, request[1])))
        else:
            _shapes(connection, model, *request[1:])


def _limit_memory() -> None:
    statm = Path("/proc/self/statm")
    if statm.exists():
        used = int(statm.read_text().split()[5]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = used + MEMORY_HEADROOM
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


def _shapes(connection: Connection, model: Any, ids: list[int], kernel: str) -> None:
    import ifcopenshell.geom

    from ingest import ifc_facts

    settings = ifcopenshell.geom.settings()
    settings.set("apply-default-materials", False)
    settings.set("no-normals", True)
    for each in ids:
        connection.send(("start", each))
        product = model.by_id(each)
        if kernel == "manifold" and ifc_facts.has_boolean(product):
            connection.send(("shape", each, None, "not asked: this kernel left boolean results uncut"))
            continue
        ifcopenshell.get_log()  # reading the log empties it
        try:
            made = ifcopenshell.geom.create_shape(settings, product, geometry_library=kernel)
            shape = _plain(made)
            reason = _suspicion(shape) or _complaint(ifcopenshell.get_log())
        except (RuntimeError, ValueError, MemoryError, TypeError, ifcopenshell.Error) as error:
            shape, reason = {}, f"{type(error).__name__}: {error}"[:300]
        connection.send(("shape", each, None if reason else shape, reason))
    connection.send(("done",))


def _plain(made: Any) -> dict[str, Any]:
    """Vertices in metres in the model's own frame, float64: the placement is applied here, after meshing."""
    geometry = made.geometry
    vertices = np.array(geometry.verts, np.float64).reshape(-1, 3)
    matrix = np.array(made.transformation.matrix, np.float64).reshape(4, 4).T
    colours = [(*each.diffuse.components, 1.0 - _finite(each.transparency)) for each in geometry.materials]
    return {
        "vertices": vertices @ matrix[:3, :3].T + matrix[:3, 3],
        "triangles": np.array(geometry.faces, np.int64).reshape(-1, 3),
        "material_ids": np.array(geometry.material_ids, np.int64),
        "colours": np.array(colours, np.float64).reshape(-1, 4),
    }


def _complaint(log: str) -> str:
    """The kernel's own warning that it left something out of a shape that it returned all the same."""
    said = (line for line in log.splitlines() if "Manifold kernel: failed" in line)
    return next((line.split("] ")[-1][:300] for line in said), "")


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else 0.0


def _suspicion(shape: dict[str, Any]) -> str:
    """Why a mesh should not be believed, or an empty string."""
    vertices, triangles = shape["vertices"], shape["triangles"]
    if not len(vertices) or not len(triangles):
        return "the mesh is empty"
    if not np.isfinite(vertices).all():
        return "the mesh has coordinates that are not finite"
    if int(triangles.max()) >= len(vertices) or int(triangles.min()) < 0:
        return "the mesh names vertices that do not exist"
    extent = vertices.max(axis=0) - vertices.min(axis=0)
    if extent.max() > 100_000:
        return f"the mesh is {extent.max() / 1000:.0f} km long"
    if extent.max() <= 0:
        return "the mesh has no extent"
    return ""


if __name__ == "__main__":
    main()
