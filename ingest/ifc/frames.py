"""Placements of IFC as 4 x 4 matrices in project units, in plain numbers: quick for many small questions.

IfcAxis2Placement3D (IFC 4.3.2): z is Axis, x is RefDirection made perpendicular to it, y completes them; both default
to the axes of the frame around.
"""

import math
from typing import Any

from ingest.ifc.relations import get

Matrix = tuple[tuple[float, float, float, float], ...]
_Vector = tuple[float, float, float]
_MAX_DEPTH = 200

IDENTITY: Matrix = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def axis_placement(placement: Any) -> Matrix:
    """Of an IfcAxis2Placement3D or 2D; raises ValueError or TypeError where it is not one."""
    x0, y0, z0 = _three(placement.Location.Coordinates)
    axis, reference = get(placement, "Axis"), placement.RefDirection
    z = (0.0, 0.0, 1.0) if axis is None else _unit(_three(axis.DirectionRatios))
    x = (1.0, 0.0, 0.0) if reference is None else _three(reference.DirectionRatios)
    if reference is None and abs(z[0]) > 0.999999:
        x = (0.0, 0.0, 1.0)
    along = sum(a * b for a, b in zip(x, z, strict=True))
    x = _unit((x[0] - along * z[0], x[1] - along * z[1], x[2] - along * z[2]))
    y = (z[1] * x[2] - z[2] * x[1], z[2] * x[0] - z[0] * x[2], z[0] * x[1] - z[1] * x[0])
    return ((x[0], y[0], z[0], x0), (x[1], y[1], z[1], y0), (x[2], y[2], z[2], z0), (0.0, 0.0, 0.0, 1.0))


def local_placement(placement: Any, memory: dict[int, Matrix], depth: int = 0) -> Matrix:
    """Of an IfcLocalPlacement, in the frame of the model; `memory` keeps what many share."""
    number = placement.id()
    if number not in memory:
        if depth > _MAX_DEPTH:
            raise ValueError("the placements are nested without end")
        above = placement.PlacementRelTo
        relative = axis_placement(placement.RelativePlacement)
        memory[number] = relative if above is None else product(local_placement(above, memory, depth + 1), relative)
    return memory[number]


def product(a: Matrix, b: Matrix) -> Matrix:
    """The matrix product."""
    rows: list[tuple[float, float, float, float]] = []
    for i in range(4):
        one, two, three, four = (sum((a[i][k] * b[k][j] for k in range(4)), 0.0) for j in range(4))
        rows.append((one, two, three, four))
    return tuple(rows)


def _three(values: Any) -> _Vector:
    found = [float(each) for each in values[:3]]
    return (found[0], found[1], found[2] if len(found) > 2 else 0.0)


def _unit(vector: _Vector) -> _Vector:
    length = math.sqrt(sum(each * each for each in vector))
    if not (math.isfinite(length) and length > 0):
        raise ValueError("a direction has no length")
    return (vector[0] / length, vector[1] / length, vector[2] / length)
