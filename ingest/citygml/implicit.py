"""ImplicitGeometry: a template shape, a matrix and a reference point (OGC 12-019, clause 8.3; OGC 20-010, 7.2).

The matrix (4 × 4, by rows) turns and scales the template about its own origin; the reference point is then added.
Template axes are taken as east, north, up, in metres, also where the CRS has north first or degrees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ingest.citygml.findings import Findings
from ingest.citygml.geometry import FARTHEST, BadGeometry, Face, Geometry, Links
from ingest.citygml.stream import XLINK_HREF, Element, gml_id, line_of, local

Float = NDArray[np.float64]

A_M, E2 = 6378137.0, 0.00669438002290
"""Semi-major axis and squared eccentricity of GRS 80; another ellipsoid changes a 100 m shape by less than 0.02 m."""


@dataclass
class Instance:
    """One place of a template.

    Attributes
    ----------
    key : of the template; the same for all that share it
    matrix : (4, 4)
    point : (3,) reference point
    faces : of the template, empty when it cannot be read
    """

    key: str
    matrix: Float
    point: Float
    faces: Sequence[Face]

    def place(self, local_m: Float, *, is_degrees: bool) -> Float:
        """(n, 3) of the template -> the CRS, east first."""
        turned = local_m @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        if is_degrees:
            lat = np.radians(self.point[1])
            w = np.sqrt(1 - E2 * np.sin(lat) ** 2)
            north_m, east_m = A_M * (1 - E2) / w**3, A_M / w * max(np.cos(lat), 1e-9)
            turned = turned * np.degrees([1 / east_m, 1 / north_m, np.radians(1.0)])
        return np.asarray(turned + self.point)


def instance(element: Element, links: Links, dimension: int, findings: Findings) -> Instance | None:
    """Read one ImplicitGeometry; None, and a finding, without reference point. Raises BadGeometry."""
    matrix, point = np.eye(4), None
    faces: list[Face] = []
    key = ""
    where = f"{line_of(element)}, ImplicitGeometry"
    for prop in element:
        name = local(prop)
        if name == "transformationMatrix":
            matrix = _matrix(prop.text or "", where)
        elif name == "referencePoint":
            found = Geometry(links, dimension)
            found.read(prop, "")
            point = found.found.points[0][0] if found.found.points and len(found.found.points[0]) else None
        elif name in {"relativeGMLGeometry", "relativeGeometry"}:
            shape = Geometry(links, 3)
            shape.read(prop, "")
            faces = shape.found.faces
            key = _key(prop, faces)
    if not faces:
        findings.note("IMPLICIT_NOT_READ", where)
    if point is None:
        return None
    return Instance(key, matrix, np.where(np.isfinite(point), point, 0.0), faces)


def _matrix(text: str, where: str) -> Float:
    try:
        values = np.array(text.split(), np.float64)
    except ValueError as error:
        raise BadGeometry("CG_BAD_MATRIX", f"{where}: {error}.") from error
    if values.shape != (16,) or not (np.abs(values) < FARTHEST).all():
        raise BadGeometry("CG_BAD_MATRIX", f"{where}: the matrix does not have 16 finite numbers.")
    return values.reshape(4, 4)


def _key(prop: Element, faces: list[Face]) -> str:
    href = prop.get(XLINK_HREF, "")
    if href.startswith("#"):
        return href[1:]
    named = next((name for child in prop if (name := gml_id(child)) is not None), None)
    if named is not None:
        return named
    digest = blake2b(digest_size=8)
    for face in faces:
        for ring in face.rings:
            digest.update(ring.tobytes())
    return digest.hexdigest()
