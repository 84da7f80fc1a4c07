"""Solids cut by half-spaces, such as walls under a roof, made from flat solids with exact plane cuts.

IfcBooleanClippingResult with IfcHalfSpaceSolid and IfcPolygonalBoundedHalfSpace (IFC 4.3.2): with AgreementFlag true
the half-space is the side that the plane's normal points away from; the bounded one is its part inside the prism over
the boundary in the x-y plane of Position. A chain of up to some hundred cuts costs milliseconds instead of seconds.
Each result is checked: closed, and its volume between what could be cut away at most and what was there. When
anything does not hold, the caller asks the exact kernel instead.
"""

from functools import lru_cache
from typing import Any

import ifcopenshell
import ifcopenshell.geom
import manifold3d
import mapbox_earcut
import numpy as np
from ifcopenshell.util import placement as placement_util
from ifcopenshell.util import unit as unit_util
from numpy.typing import NDArray

from ingest.ifc import facts as ifc_facts
from ingest.ifc import kernels as ifc_kernels
from ingest.ifc.relations import relations

_MAX_CUTS = 500
LEAST_M2 = 1e-6
_SPACES = {"IfcHalfSpaceSolid", "IfcPolygonalBoundedHalfSpace"}
_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, IndexError, MemoryError, ifcopenshell.Error)

FloatArray = NDArray[np.float64]


def suits(product: Any) -> bool:
    """True for a body that is one chain of half-space cuts of one flat solid, at an ordinary placement."""
    body = _body(product)
    at = product.ObjectPlacement
    return body is not None and at is not None and at.is_a("IfcLocalPlacement") and _chain(body[0]) is not None


def cut(model: Any, product: Any) -> tuple[dict[str, Any], FloatArray] | None:
    """Shape and 4 x 4 placement in metres of a product that suits; None where a check fails."""
    try:
        return _cut(model, product)
    except _ERRORS:
        return None


def _cut(model: Any, product: Any) -> tuple[dict[str, Any], FloatArray] | None:
    body = _body(product)
    chain = _chain(body[0]) if body else None
    if body is None or chain is None:
        return None
    unit_m = _unit_m(model)
    base, spaces = chain
    settings = ifc_kernels.settings()
    solid = _manifold(ifc_kernels.plain(ifcopenshell.geom.create_shape(settings, base, geometry_library="manifold")))
    if solid is None:
        return None
    at_most, loss = solid.volume(), 0.0
    for space in spaces:
        before = solid.volume()
        solid, removable = _without(solid, space, unit_m)
        loss += removable
        if not _is_between(solid, before - removable, before):
            return None
    solid = solid.transform(_metres(body[1], unit_m)[:3])
    place = _metres(placement_util.get_local_placement(product.ObjectPlacement), unit_m)
    for each in relations(model).openings.get(product.id(), ()):
        hole = _opening(model.by_id(each), place)
        if hole is None:
            return None
        solid, loss = solid - hole, loss + hole.volume()
    if not _is_between(solid, at_most - loss, at_most):
        return None
    return _shape(solid, product), place


@lru_cache(maxsize=1)
def _unit_m(model: Any) -> float:
    return float(unit_util.calculate_unit_scale(model))


def _body(product: Any) -> tuple[Any, FloatArray] | None:
    """The one item of the body, and the transformation of the map that it comes from (project units)."""
    if product.Representation is None:
        return None
    found = [
        item
        for each in product.Representation.Representations
        if each.RepresentationType not in ifc_facts.BODY_TYPES
        for item in each.Items
        if not item.is_a("IfcCurve") and not item.is_a("IfcBoundingBox")
    ]
    if len(found) != 1:
        return None
    if not found[0].is_a("IfcMappedItem"):
        return found[0], np.eye(4)
    inner = found[0].MappingSource.MappedRepresentation.Items
    if len(inner) != 1 or inner[0].is_a("IfcMappedItem"):
        return None
    return inner[0], np.asarray(placement_util.get_mappeditem_transformation(found[0]), np.float64)


def _chain(item: Any) -> tuple[Any, list[Any]] | None:
    spaces: list[Any] = []
    while item.is_a("IfcBooleanResult"):
        second = item.SecondOperand
        if item.Operator != "DIFFERENCE" or second.is_a() not in _SPACES or len(spaces) >= _MAX_CUTS:
            return None
        if not second.BaseSurface.is_a("IfcPlane"):
            return None
        if second.is_a() != "IfcHalfSpaceSolid" and not ifc_kernels.is_straight(second.PolygonalBoundary):
            return None
        spaces.append(second)
        item = item.FirstOperand
    flat = item.is_a("IfcExtrudedAreaSolid") and ifc_kernels.is_polygon(item.SweptArea)
    return (item, spaces[::-1]) if flat or item.is_a("IfcFacetedBrep") else None


def _manifold(geometry: dict[str, Any]) -> Any:
    """A closed mesh; None when it is not one."""
    vertices, first = np.unique(geometry["vertices"], axis=0, return_inverse=True)
    triangles = first.reshape(-1)[geometry["triangles"]].astype(np.uint64)
    solid = manifold3d.Manifold(manifold3d.Mesh64(vertices, triangles))
    sound = solid.status() == manifold3d.Error.NoError and not solid.is_empty() and solid.volume() > 0
    return solid if sound else None


def _without(solid: Any, space: Any, unit_m: float) -> tuple[Any, float]:
    """The solid without a half-space, and the volume that this may remove at most."""
    plane = _metres(placement_util.get_axis2placement(space.BaseSurface.Position), unit_m)
    normal, origin = plane[:3, 2], plane[:3, 3]
    if not space.AgreementFlag:
        normal = -normal
    if space.is_a() == "IfcHalfSpaceSolid":
        return solid.trim_by_plane(normal, float(normal @ origin)), solid.volume()
    frame = _metres(placement_util.get_axis2placement(space.Position), unit_m)
    prism = _prism(_outline(space.PolygonalBoundary) * unit_m, frame, solid)
    gone = prism.trim_by_plane(-normal, float(-normal @ origin))
    return solid - gone, gone.volume()


def _outline(curve: Any) -> FloatArray:
    if curve.is_a("IfcPolyline"):
        points = np.array([each.Coordinates[:2] for each in curve.Points], np.float64)
    else:
        points = np.array(curve.Points.CoordList, np.float64)[:, :2]
        if curve.Segments:
            order = [i for each in curve.Segments for i in each.wrappedValue]
            points = points[np.array(order) - 1]
    keep = np.ones(len(points), bool)
    keep[1:] = np.any(points[1:] != points[:-1], axis=1)
    points = points[keep]
    return points[:-1] if len(points) > 1 and np.array_equal(points[0], points[-1]) else points


def _prism(outline: FloatArray, frame: FloatArray, solid: Any) -> Any:
    """The boundary extruded along z of its frame beyond both ends of the solid."""
    box = np.array(solid.bounding_box(), np.float64).reshape(2, 3)
    corners = np.array([[box[i, 0], box[j, 1], box[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    heights = (corners - frame[:3, 3]) @ frame[:3, 2]
    reach = 1.0 + np.ptp(heights)
    low, high = heights.min() - reach, heights.max() + reach
    x, y = outline.T
    if (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() < 0:
        outline = outline[::-1]
    n = len(outline)
    caps = mapbox_earcut.triangulate_float64(outline, np.array([n], np.uint32)).reshape(-1, 3).astype(np.int64)
    ring = np.arange(n)
    after = np.roll(ring, -1)
    triangles = np.vstack(
        [
            caps[:, ::-1],
            caps + n,
            np.column_stack([ring, after, after + n]),
            np.column_stack([ring, after + n, ring + n]),
        ]
    )
    vertices = np.vstack([np.column_stack([outline, np.full(n, z)]) for z in (low, high)])
    vertices = vertices @ frame[:3, :3].T + frame[:3, 3]
    prism = _manifold({"vertices": vertices, "triangles": triangles})
    if prism is None:
        raise ValueError("the boundary is no simple polygon")
    return prism


def _opening(opening: Any, place: FloatArray) -> Any:
    made = ifcopenshell.geom.create_shape(ifc_kernels.settings(), opening, geometry_library="manifold")
    hole = _manifold(ifc_kernels.plain(made.geometry))
    return None if hole is None else hole.transform((np.linalg.inv(place) @ ifc_kernels.matrix(made))[:3])


def _is_between(solid: Any, low: float, high: float) -> bool:
    if solid.status() != manifold3d.Error.NoError or solid.is_empty():
        return False
    slack = 1e-6 * max(high, 1e-9)
    return bool(low - slack <= solid.volume() <= high + slack)


def _has_fins(solid: Any) -> bool:
    """True if two neighbouring faces lie back to back: cuts that nearly coincide may leave fins without volume."""
    mesh = solid.to_mesh64()
    points, t = np.array(mesh.vert_properties, np.float64)[:, :3], np.asarray(mesh.tri_verts, np.int64)
    normals = np.cross(points[t[:, 1]] - points[t[:, 0]], points[t[:, 2]] - points[t[:, 0]])
    lengths = np.linalg.norm(normals, axis=1)
    normals /= np.maximum(lengths, 1e-300)[:, None]
    normals[lengths < LEAST_M2] = 0.0
    edges = np.sort(np.vstack([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), axis=1)
    order = np.lexsort(edges.T)
    owner = np.tile(np.arange(len(t)), 3)[order]
    same = (edges[order][1:] == edges[order][:-1]).all(axis=1)
    cosine = np.einsum("ij,ij->i", normals[owner[1:]], normals[owner[:-1]])
    return bool((cosine[same] < -0.999999).any())


def _shape(solid: Any, product: Any) -> dict[str, Any]:
    """Arrays, with the colour that the first kernel found for the product (its geometry there is not used)."""
    if _has_fins(solid):
        raise ValueError("a fin without volume is left where two cuts meet")
    mesh = solid.to_mesh64()
    triangles = np.asarray(mesh.tri_verts, np.int64)
    made = ifcopenshell.geom.create_shape(ifc_kernels.settings(), product, geometry_library="manifold")
    named = ifc_kernels.plain(made.geometry)
    if len(np.unique(named["material_ids"])) > 1:
        raise ValueError("more than one colour")
    colour = int(named["material_ids"][0]) if len(named["material_ids"]) else -1
    return {
        "vertices": np.array(mesh.vert_properties, np.float64)[:, :3],
        "triangles": triangles,
        "material_ids": np.full(len(triangles), colour, np.int64),
        "colours": named["colours"],
    }


def _metres(matrix: FloatArray, unit_m: float) -> FloatArray:
    found = np.array(matrix, np.float64)
    found[:3, 3] *= unit_m
    return found
