"""One DXF entity -> WKB in the drawing's world coordinates, or faces for bodies.

Format: Autodesk DXF Reference, «ENTITIES section»; object coordinates after «Arbitrary axis algorithm». Arcs become
chords whose sagitta is at most the tolerance, or a millionth of the entity's size where that is more.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import shapely
from ezdxf.math import Vec2, Vec3, bulge_to_arc
from numpy.typing import NDArray

Points = list[tuple[float, float, float]]

SIZE_SHARE = 1e-6
MIN_BULGE = 1e-9
N_POINTS = 1_000_000
"""So many vertices may one entity have."""

LABELS = {"TEXT", "MTEXT", "ATTRIB", "ATTDEF"}


class NotRead(ValueError):
    """An entity of a kind, or with values, that give no shape."""


def shape(entity: Any, tolerance: float) -> shapely.Geometry | list[Points]:
    """A geometry with z, or a list of faces. Raises NotRead for kinds that have no place here."""
    kind = entity.dxftype()
    maker = _MAKERS.get(kind)
    if maker is None:
        raise NotRead(kind)
    return maker(entity, tolerance)


def text(entity: Any) -> str | None:
    """What a label says, without formatting codes."""
    kind = entity.dxftype()
    if kind == "MTEXT":
        return str(entity.plain_text())
    if kind in LABELS:
        return str(entity.plain_text()) if hasattr(entity, "plain_text") else str(entity.dxf.text)
    return None


def _xyz(points: Iterable[Vec3]) -> Points:
    return [(point.x, point.y, point.z) for point in points]


def _line(points: Points, *, is_closed: bool) -> shapely.Geometry:
    """A line, or an area where it is closed and has one; repeated points go."""
    clean = [point for i, point in enumerate(points) if i == 0 or point != points[i - 1]]
    if len(clean) > 1 and clean[0] == clean[-1]:
        is_closed, clean = True, clean[:-1]
    if len(clean) > N_POINTS:
        raise NotRead(f"an entity of {len(clean)} vertices")
    if not clean:
        raise NotRead("an entity without vertices")
    if len(clean) == 1:
        return shapely.Point(clean[0])
    if is_closed and len(clean) >= 3:
        return shapely.Polygon(clean)
    return shapely.LineString([*clean, clean[0]] if is_closed else clean)


def _sagitta(radius: float, tolerance: float) -> float:
    return max(tolerance, 2 * abs(radius) * SIZE_SHARE)


def _arc(
    center: tuple[float, float], radius: float, start: float, end: float, tolerance: float
) -> list[tuple[float, float]]:
    """Points on a circle from one angle to another (radians, counter-clockwise), both ends included."""
    span = (end - start) % (2 * math.pi) or 2 * math.pi
    cosine = max(-1.0, 1 - _sagitta(radius, tolerance) / radius) if radius > 0 else -1.0
    n = max(math.ceil(span / (2 * math.acos(cosine))), math.ceil(span / (math.pi / 4)), 1)
    angles = start + span * np.arange(n + 1) / n
    return [(center[0] + radius * math.cos(angle), center[1] + radius * math.sin(angle)) for angle in angles.tolist()]


def _bulged(
    vertices: Sequence[tuple[float, float, float]], *, is_closed: bool, tolerance: float
) -> list[tuple[float, float]]:
    """(x, y, bulge) -> points of the line with its arcs, ends included."""
    out: list[tuple[float, float]] = []
    n = len(vertices)
    for i, (x, y, bulge) in enumerate(vertices):
        out.append((x, y))
        following = vertices[(i + 1) % n]
        if abs(bulge) < MIN_BULGE or (i == n - 1 and not is_closed) or (x, y) == following[:2]:
            continue
        a, b = Vec2(x, y), Vec2(following[:2])
        center, start, end, radius = bulge_to_arc(a, b, bulge)
        middle = _arc((center.x, center.y), radius, start, end, tolerance)[1:-1]
        out += middle if bulge > 0 else middle[::-1]
    return out


def _wcs(entity: Any, points: Iterable[tuple[float, float]], elevation: float) -> Points:
    return _xyz(entity.ocs().points_to_wcs([Vec3(x, y, elevation) for x, y in points]))


def _point(entity: Any, _: float) -> shapely.Geometry:
    return shapely.Point(*_xyz([entity.dxf.location]))


def _segment(entity: Any, _: float) -> shapely.Geometry:
    return _line(_xyz([entity.dxf.start, entity.dxf.end]), is_closed=False)


def _lwpolyline(entity: Any, tolerance: float) -> shapely.Geometry:
    vertices = [(float(x), float(y), float(bulge)) for x, y, bulge in entity.get_points("xyb")]
    flat = _bulged(vertices, is_closed=entity.closed, tolerance=tolerance)
    return _line(_wcs(entity, flat, entity.dxf.elevation), is_closed=entity.closed)


def _polyline(entity: Any, tolerance: float) -> shapely.Geometry | list[Points]:
    if entity.is_poly_face_mesh or entity.is_polygon_mesh:
        from ezdxf.render import MeshBuilder

        mesh = MeshBuilder.from_polyface(entity)
        return [_xyz(face) for face in mesh.faces_as_vertices()]
    if entity.is_3d_polyline:
        return _line(_xyz(entity.points()), is_closed=entity.is_closed)
    vertices = [(v.dxf.location.x, v.dxf.location.y, float(v.dxf.get("bulge", 0.0))) for v in entity.vertices]
    flat = _bulged(vertices, is_closed=entity.is_closed, tolerance=tolerance)
    return _line(_wcs(entity, flat, entity.dxf.get("elevation", Vec3()).z), is_closed=entity.is_closed)


def _circle(entity: Any, tolerance: float) -> shapely.Geometry:
    center, radius = entity.dxf.center, abs(entity.dxf.radius)
    flat = _arc((center.x, center.y), radius, 0.0, 2 * math.pi, tolerance)[:-1]
    return _line(_wcs(entity, flat, center.z), is_closed=True)


def _open_arc(entity: Any, tolerance: float) -> shapely.Geometry:
    center, dxf = entity.dxf.center, entity.dxf
    start, end = math.radians(dxf.start_angle), math.radians(dxf.end_angle)
    flat = _arc((center.x, center.y), abs(dxf.radius), start, end, tolerance)
    return _line(_wcs(entity, flat, center.z), is_closed=False)


def _ellipse(entity: Any, tolerance: float) -> shapely.Geometry:
    tool = entity.construction_tool()
    points = _xyz(tool.flattening(_sagitta(tool.major_axis.magnitude, tolerance), segments=16))
    span = (tool.end_param - tool.start_param) % (2 * math.pi)
    is_whole = math.isclose(span, 0.0, abs_tol=1e-9) or math.isclose(span, 2 * math.pi, abs_tol=1e-9)
    return _line(points[:-1] if is_whole else points, is_closed=is_whole)


def _spline(entity: Any, tolerance: float) -> shapely.Geometry:
    tool = entity.construction_tool()
    size = max((point.distance(tool.control_points[0]) for point in tool.control_points), default=0.0)
    points = _xyz(tool.flattening(_sagitta(size / 2, tolerance), segments=4))
    return _line(points, is_closed=bool(entity.closed))


def _hatch(entity: Any, tolerance: float) -> shapely.Geometry:
    """The area by the even-odd rule over all of its boundary paths."""
    elevation = entity.dxf.get("elevation", Vec3()).z
    whole: shapely.Geometry = shapely.Polygon()
    for path in entity.paths:
        if hasattr(path, "vertices"):
            corners = [(float(x), float(y), float(bulge)) for x, y, bulge in path.vertices]
            flat = _bulged(corners, is_closed=True, tolerance=tolerance)
        else:
            flat = [point for edge in path.edges for point in _edge(edge, tolerance)]
        if len(set(flat)) < 3:
            continue
        ring = shapely.make_valid(shapely.Polygon(flat), method="structure", keep_collapsed=False)
        whole = shapely.symmetric_difference(whole, ring)
    areas = [part for part in shapely.get_parts(whole) if part.geom_type == "Polygon"]
    if not areas:
        raise NotRead("a HATCH without area")
    ocs = entity.ocs()

    def lift(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array(_xyz(ocs.points_to_wcs([Vec3(x, y, elevation) for x, y in xy.tolist()])))

    rings = [[lift(shapely.get_coordinates(ring)) for ring in (each.exterior, *each.interiors)] for each in areas]
    return shapely.multipolygons([shapely.Polygon(outer, holes) for outer, *holes in rings])


def _edge(edge: Any, tolerance: float) -> list[tuple[float, float]]:
    kind = type(edge).__name__
    if kind == "LineEdge":
        return [(edge.start.x, edge.start.y), (edge.end.x, edge.end.y)]
    if kind == "ArcEdge":
        start, end = math.radians(edge.start_angle), math.radians(edge.end_angle)
        points = _arc((edge.center.x, edge.center.y), abs(edge.radius), start, end, tolerance)
        return points if edge.ccw else points[::-1]
    tool = edge.construction_tool()
    size = tool.major_axis.magnitude if kind == "EllipseEdge" else max(abs(p.x) + abs(p.y) for p in tool.control_points)
    points = [(p.x, p.y) for p in tool.flattening(_sagitta(size if kind == "EllipseEdge" else 0.0, tolerance))]
    return points if getattr(edge, "ccw", True) else points[::-1]


def _face(entity: Any, _: float) -> list[Points]:
    return [_xyz(entity.wcs_vertices())]


def _solid(entity: Any, _: float) -> shapely.Geometry:
    return _line(_xyz(entity.wcs_vertices()), is_closed=True)


def _mesh(entity: Any, _: float) -> list[Points]:
    vertices = [(float(v[0]), float(v[1]), float(v[2])) for v in entity.vertices]
    return [[vertices[int(i)] for i in face] for face in entity.faces]


def _label(entity: Any, _: float) -> shapely.Geometry:
    at = entity.dxf.insert
    flat = entity.dxftype() != "MTEXT"  # MTEXT is in world coordinates already
    return shapely.Point(*_xyz(entity.ocs().points_to_wcs([at]) if flat else [at]))


def _image(entity: Any, _: float) -> shapely.Geometry:
    return _line(_xyz(entity.boundary_path_wcs()), is_closed=True)


_MAKERS = {
    "POINT": _point, "LINE": _segment, "LWPOLYLINE": _lwpolyline, "POLYLINE": _polyline, "CIRCLE": _circle,
    "ARC": _open_arc, "ELLIPSE": _ellipse, "SPLINE": _spline, "HATCH": _hatch, "MPOLYGON": _hatch, "3DFACE": _face,
    "SOLID": _solid, "TRACE": _solid, "MESH": _mesh, "TEXT": _label, "MTEXT": _label, "ATTRIB": _label,
    "ATTDEF": _label, "IMAGE": _image,
}  # fmt: skip
