"""Where a drawing lies: GEODATA's reference point, scale and north, else a CRS that was told and `$INSUNITS`.

Format: Autodesk DXF Reference, «GEODATA»: the design point (drawing) lies at the reference point (CRS, its units);
`horizontal_unit_scale` makes metres of drawing units; the north direction is a vector in the drawing.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layers import crs
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

UNIT_M = {
    1: 0.0254, 2: 0.3048, 3: 1609.344, 4: 0.001, 5: 0.01, 6: 1.0, 7: 1000.0, 8: 2.54e-8, 9: 2.54e-5, 10: 0.9144,
    11: 1e-10, 12: 1e-9, 13: 1e-6, 14: 0.1, 15: 10.0, 16: 100.0, 17: 1e9, 21: 1200 / 3937, 22: 100 / 3937,
    23: 3600 / 3937, 24: 6336000 / 3937,
}  # fmt: skip
"""`$INSUNITS` -> metres; 0 is «no unit»."""

_ALIAS = re.compile(r"<Alias\b([^>]*)>(.*?)</Alias>", re.DOTALL)
_LOCAL_GRID, _PROJECTED_GRID = 1, 2


@dataclass(frozen=True)
class DrawingPlace:
    """Drawing coordinates -> coordinates of the source's CRS.

    Attributes
    ----------
    crs : of GEODATA, or None when it is to be told
    matrix : (4, 4), to be multiplied with column vectors (x, y, z, 1)
    unit_m : metres of a drawing unit; 1 where nothing says
    issues : what was decided
    """

    crs: str | None
    matrix: NDArray[np.float64]
    unit_m: float
    issues: tuple[Issue, ...] = ()

    def apply(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 3) -> (n, 3)."""
        return np.asarray(xyz @ self.matrix[:3, :3].T + self.matrix[:3, 3])


def place(doc: Any, hints: Hints, name: str) -> DrawingPlace:
    """The place of a drawing. Raises InvalidInput for a CRS that does not exist."""
    geodata = doc.modelspace().get_geodata()
    issues: list[Issue] = []
    if geodata is not None:
        try:
            return _from_geodata(geodata)
        except ValueError as error:
            hint = "Give the drawing's own system as `crs` in city.toml, or georeference it again."
            message = f"The georeference of {name} is not used: {error}."
            issues.append(Issue("GEODATA_NOT_USED", name, message, hint, "warning"))
    return _from_units(doc, hints, name, issues)


def epsg_code(definition: str) -> int | None:
    """The EPSG alias of GEODATA's coordinate system definition (MapGuide dictionary XML), or None."""
    for attributes, content in _ALIAS.findall(definition):
        number = re.search(r"\bid\s*=\s*\"(\d{4,6})\"", attributes)
        if number and re.search(r"\"CoordinateSystem\"", attributes) and re.search(r">\s*EPSG Code\s*<", content):
            return int(number[1])
    return None


def _from_geodata(geodata: Any) -> DrawingPlace:
    dxf = geodata.dxf
    code = epsg_code(str(geodata.coordinate_system_definition))
    if code is None:
        raise ValueError("its coordinate system has no EPSG code")
    try:
        stated = crs.name(f"EPSG:{code}")
    except InvalidInput as error:
        raise ValueError(f"EPSG:{code} is not known") from error
    if crs.is_geographic(stated) or dxf.coordinate_type not in {_LOCAL_GRID, _PROJECTED_GRID}:
        raise ValueError("it is in degrees, not on a grid")
    up, north = dxf.up_direction, dxf.north_direction
    if abs(up.x) > 1e-9 or abs(up.y) > 1e-9 or up.z <= 0:
        raise ValueError("its up direction is not z")
    along, height_m = float(dxf.horizontal_unit_scale), float(dxf.vertical_unit_scale)
    length = math.hypot(north.x, north.y)
    if not (length > 0 and 0 < along < math.inf and 0 < height_m < math.inf):
        raise ValueError("its scale or north direction is zero")
    scale = along / crs.metres_per_unit(stated)
    cosine, sine = north.y / length, north.x / length  # the turn that brings north onto the y axis
    matrix = np.eye(4)
    matrix[:2, :2] = scale * np.array([[cosine, -sine], [sine, cosine]])
    matrix[2, 2] = height_m
    design = np.array([dxf.design_point.x, dxf.design_point.y, dxf.design_point.z])
    reference = np.array([dxf.reference_point.x, dxf.reference_point.y, dxf.reference_point.z])
    matrix[:3, 3] = reference - matrix[:3, :3] @ design
    return DrawingPlace(stated, matrix, along, tuple(_doubts(dxf)))


def _doubts(dxf: Any) -> list[Issue]:
    """Settings of GEODATA that would bend the drawing, and are not applied."""
    bent = [
        words
        for words, is_set in (
            ("a user scale factor", dxf.scale_estimation_method == 2 and not math.isclose(dxf.user_scale_factor, 1.0)),
            ("a sea level correction", bool(dxf.sea_level_correction)),
        )
        if is_set
    ]
    if not bent:
        return []
    message = f"GEODATA asks for {' and '.join(bent)}; it is not applied."
    return [Issue("GEODATA_PARTLY_USED", "GEODATA", message, "Compare a known point.", "warning")]


def _from_units(doc: Any, hints: Hints, name: str, issues: list[Issue]) -> DrawingPlace:
    unit = UNIT_M.get(int(doc.header.get("$INSUNITS", 0) or 0))
    chosen = hints.unit_scale or unit
    scale = 1.0
    if hints.crs and chosen and not crs.is_geographic(hints.crs):
        scale = chosen / crs.metres_per_unit(hints.crs)
    if not math.isclose(scale, 1.0, rel_tol=1e-12) and hints.unit_scale is None:
        message = f"A unit of {name} is {chosen:g} m ($INSUNITS); its coordinates were multiplied by {scale:.12g}."
        hint = "If it is drawn in another unit, give its metres as `unit_scale` in city.toml."
        issues.append(Issue("DRAWING_UNIT_APPLIED", name, message, hint, "warning"))
    return DrawingPlace(None, np.diag([scale, scale, scale * _unit_of(hints), 1.0]), chosen or 1.0, tuple(issues))


def _unit_of(hints: Hints) -> float:
    """Metres in a unit of the told CRS: heights are in metres whatever the plane is in."""
    return crs.metres_per_unit(hints.crs) if hints.crs and not crs.is_geographic(hints.crs) else 1.0
