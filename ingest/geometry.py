"""Geometries of a file -> the geometry type of a layer: finite, valid, of one kind; what cannot be is rejected.

Validity is OGC 06-103r4 (simple features), as GEOS checks it. Repair is GEOS' `make_valid` with the structure method.
"""

from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from ingest import surfaces, wkb
from layers.mesh import Mesh

Geometries = NDArray[np.object_]

AREA_TOLERANCE = 0.01
"""A repair that changes the area by more than this share is refused: nobody knows which part was meant."""

NO_HEIGHT_M = (0.0, -9999.0)
"""Heights that exporters write when they have none."""

_KIND = {0: "Point", 4: "Point", 1: "LineString", 2: "LineString", 5: "LineString", 3: "Polygon", 6: "Polygon"}
_NAMES = (
    "Point", "LineString", "LinearRing", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon",
    "GeometryCollection",
)  # fmt: skip


@dataclass
class Conformed:
    """Geometries that fit, and why the others do not.

    Attributes
    ----------
    geometry : (n,) as given, changed where that was needed; None where rejected
    rejected : row -> (code, sentence)
    repaired : row -> share of the area that the repair changed
    flattened : rows whose heights were all 0 or -9999, or not numbers, and were dropped
    """

    geometry: Geometries
    rejected: dict[int, tuple[str, str]] = field(default_factory=dict)
    repaired: dict[int, float] = field(default_factory=dict)
    flattened: list[int] = field(default_factory=list)

    def reject(self, rows: NDArray[np.int64], code: str, sentence: str) -> None:
        """Take rows out; the first reason stays."""
        for row in rows:
            self.rejected.setdefault(int(row), (code, sentence))
        self.geometry[rows] = None


def kind(geometry_type: str) -> str:
    """`Point`, `LineString` or `Polygon` for a simple-features name with or without Multi and Z; else the name."""
    plain = geometry_type.replace(" ", "").removeprefix("2.5D").removeprefix("3D").removeprefix("Multi")
    plain = plain.removesuffix("ZM").removesuffix("Z").removesuffix("M")
    return {"LinearRing": "LineString"}.get(plain, plain)


def from_wkb(values: list[bytes | None]) -> Conformed:
    """(n,) WKB -> geometries; null, empty, unreadable ones and those with NaN or inf are rejected."""
    given = np.array([value is not None for value in values], dtype=bool)
    array = np.asarray(_parsed(np.array(values, dtype=object)), dtype=object).reshape(-1)
    out = Conformed(array)
    _close_rings(values, out)
    missing = np.asarray(shapely.is_missing(array))
    out.reject(np.flatnonzero(missing & ~given), "GEOMETRY_NULL", "The feature has no geometry.")
    sentence = "Its geometry is not a simple feature (a TIN, a curve or broken bytes)."
    out.reject(np.flatnonzero(missing & given), "GEOMETRY_UNREADABLE", sentence)
    return check(out)


def _close_rings(values: list[bytes | None], out: Conformed) -> None:
    """Polygons whose rings do not end where they begin are closed, and count as repaired."""
    for row in np.flatnonzero(shapely.is_missing(out.geometry)).tolist():
        value = values[row]
        if value is None:
            continue
        try:
            with np.errstate(invalid="ignore"):
                closed = shapely.from_wkb(value, on_invalid="fix")
        except (shapely.errors.ShapelyError, NotImplementedError):
            continue
        if closed is not None and _KIND.get(shapely.get_type_id(closed)) == "Polygon" and closed.is_valid:
            out.geometry[row], out.repaired[row] = closed, 0.0


def with_meshes(values: list[bytes | None], *, as_faces: bool = False) -> tuple[Conformed, list[Mesh | None] | None]:
    """(n,) WKB -> geometries as `from_wkb`, and a mesh for each TIN, polyhedral surface or triangle (None for no one).

    The geometry of such a surface is its outline seen from above. `as_faces`: polygons are the faces of bodies too.
    """
    bodies = [value is not None and (wkb.has_surface(value) or (as_faces and _has_area(value))) for value in values]
    if not any(bodies):
        return from_wkb(values), None
    meshes: list[Mesh | None] = [None] * len(values)
    flat = list(values)
    reasons: dict[int, str] = {}
    for row in np.flatnonzero(bodies).tolist():
        value = values[row]
        try:
            outline, meshes[row] = body(value or b"")
        except wkb.BrokenWkb as error:
            flat[row], reasons[row] = None, f"Its surface is not read: {error}."
            continue
        flat[row] = shapely.to_wkb(outline)
        if outline.is_empty:
            flat[row], meshes[row], reasons[row] = None, None, "All its faces are vertical: it covers no ground."
    out = from_wkb(flat)
    for row, why in reasons.items():
        out.rejected[row] = ("GEOMETRY_UNREADABLE", why)
    return out, meshes


def _has_area(value: bytes) -> bool:
    return "Polygon" in wkb.kinds(value)


def body(value: bytes) -> tuple[shapely.Geometry, Mesh]:
    """A TIN, polyhedral surface, triangle or collection of faces -> outline from above (MultiPolygon), and its mesh.

    Vertices in the source's CRS; equal ones are joined. Raises wkb.BrokenWkb for bytes that are no such thing, or
    coordinates that are not finite.
    """
    found = wkb.faces(value)
    points = [ring[:-1] if len(ring) > 1 and (ring[0] == ring[-1]).all() else ring for face in found for ring in face]
    if not points or not all(np.isfinite(ring).all() for ring in points):
        raise wkb.BrokenWkb("it has no faces, no heights, or coordinates that are not finite")
    vertices, index = np.unique(np.concatenate(points), axis=0, return_inverse=True)
    rings = iter(np.split(index.reshape(-1), np.cumsum([len(ring) for ring in points])[:-1]))
    sides = [surfaces.Surface([next(rings).tolist() for _ in face]) for face in found]
    triangles = [surfaces.triangulate(vertices, side.rings) for side in sides]
    mesh = Mesh(vertices, np.concatenate([np.zeros((0, 3), np.int64), *triangles]))
    return surfaces.footprint(vertices, sides), mesh


def _parsed(values: Geometries) -> Geometries:
    try:
        with np.errstate(invalid="ignore"):  # NaN is rejected in `check`, with words
            return np.asarray(shapely.from_wkb(values, on_invalid="ignore"), dtype=object)
    except NotImplementedError:  # one curve spoils the whole call: take them one by one
        return np.array([_parsed_one(value) for value in values], dtype=object)


def _parsed_one(value: bytes | None) -> shapely.Geometry | None:
    try:
        return shapely.from_wkb(value, on_invalid="ignore")
    except NotImplementedError:
        return None


def check(out: Conformed) -> Conformed:
    """Reject what is missing or empty, or has a coordinate that is not finite; drop heights that say nothing."""
    array = out.geometry
    out.reject(np.flatnonzero(np.asarray(shapely.is_missing(array))), "GEOMETRY_NULL", "The feature has no geometry.")
    out.reject(np.flatnonzero(np.asarray(shapely.is_empty(array))), "GEOMETRY_EMPTY", "Its geometry is empty.")
    xy, rows = shapely.get_coordinates(array, return_index=True)
    wild = np.unique(rows[~np.isfinite(xy).all(axis=1)])
    out.reject(wild, "COORDINATE_NOT_FINITE", "A coordinate is NaN or infinite.")
    _drop_empty_heights(out)
    return out


def _drop_empty_heights(out: Conformed) -> None:
    with_z = np.asarray(shapely.has_z(out.geometry))
    if not with_z.any():
        return
    xyz, rows = shapely.get_coordinates(out.geometry, include_z=True, return_index=True)
    z = xyz[:, 2]
    n = len(out.geometry)
    says_nothing = np.isin(z, NO_HEIGHT_M) | ~np.isfinite(z)
    vertices = np.bincount(rows, minlength=n)
    silent = np.bincount(rows[says_nothing], minlength=n)
    unknown = np.bincount(rows[~np.isfinite(z) | (z == NO_HEIGHT_M[1])], minlength=n)
    flat = np.flatnonzero(with_z & (vertices > 0) & ((silent == vertices) | (unknown > 0)))
    out.geometry[flat] = shapely.force_2d(out.geometry[flat])
    out.flattened.extend(int(row) for row in flat)


def conform(out: Conformed, geometry_type: str) -> Conformed:
    """Make every geometry valid and of the layer's type (`MultiPolygonZ` …); heights are kept where there are any."""
    wanted = kind(geometry_type)
    multi = geometry_type.startswith("Multi")
    _of_kind(out, wanted)
    if wanted == "Polygon":
        _repair(out)
    types = shapely.get_type_id(out.geometry)
    is_multi = np.isin(types, (4, 5, 6))
    if multi:
        _promote(out, np.flatnonzero((types >= 0) & ~is_multi), wanted)
    else:
        _single(out, np.flatnonzero(is_multi), wanted)
    return out


def _of_kind(out: Conformed, wanted: str) -> None:
    types = shapely.get_type_id(out.geometry)
    for type_id in np.unique(types[types >= 0]):
        if _KIND.get(int(type_id)) == wanted:
            continue
        rows = np.flatnonzero(types == type_id)
        out.reject(rows, "GEOMETRY_TYPE", f"It is a {_NAMES[type_id]}, but the layer holds {wanted}s.")


def _repair(out: Conformed) -> None:
    array = out.geometry
    broken = np.flatnonzero(~np.asarray(shapely.is_valid(array)) & ~np.asarray(shapely.is_missing(array)))
    if not broken.size:
        return
    before = shapely.area(array[broken])
    fixed = shapely.make_valid(array[broken], method="structure", keep_collapsed=False)
    after = shapely.area(fixed)
    for row, shape, old, new in zip(broken, fixed, before, after, strict=True):
        change = abs(new - old) / max(new, old, 1e-12)
        reason = shapely.is_valid_reason(array[row])
        if change > AREA_TOLERANCE or shape.is_empty or _KIND.get(shapely.get_type_id(shape)) != "Polygon":
            sentence = f"{reason}; repairing it would change its area from {old:.6g} to {new:.6g}."
            out.reject(np.array([row]), "GEOMETRY_INVALID", sentence)
        else:
            array[row] = shape
            out.repaired[int(row)] = float(change)


def _promote(out: Conformed, rows: NDArray[np.int64], wanted: str) -> None:
    make = {"Point": shapely.multipoints, "LineString": shapely.multilinestrings, "Polygon": shapely.multipolygons}
    if rows.size:
        out.geometry[rows] = make[wanted](out.geometry[rows].reshape(-1, 1))


def _single(out: Conformed, rows: NDArray[np.int64], wanted: str) -> None:
    if not rows.size:
        return
    if wanted == "LineString":  # parts that touch end to end are one line
        out.geometry[rows] = shapely.line_merge(out.geometry[rows])
    parts = shapely.get_num_geometries(out.geometry[rows])
    alone = rows[parts == 1]
    out.geometry[alone] = shapely.get_geometry(out.geometry[alone], 0)
    if wanted == "LineString":
        return  # a line with gaps stays one feature; what needs one course says so itself
    sentence = f"It has several separate parts, but the layer holds one {wanted} a feature."
    out.reject(rows[parts != 1], "GEOMETRY_MULTIPART", sentence)
