"""Which kernel meshes which product, inside the worker: measured rules, and the quick way for whole groups.

`manifold` is 3-60 times faster than `opencascade` and gives the same volumes (0.1 %) and boxes (1 mm) for solids with
flat faces: extruded polygons, faceted breps, face sets, with their openings cut out. It loses circle profiles in
silence, divides curves more coarsely, leaves boolean results uncut and kills its process on surface models with
openings. So only flat items go to it; walls cut by half-spaces are made of flat solids by `ingest.ifc.cut`; everything
else, and whatever one of these ways failed on or complained about, goes to `opencascade`.
"""

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import ifcopenshell
import ifcopenshell.geom
import numpy as np

from ingest.ifc import cut as ifc_cut
from ingest.ifc import facts as ifc_facts
from ingest.ifc import paint as ifc_paint
from ingest.ifc.relations import relations

Geometry = dict[str, Any]
Made = tuple[dict[str, Geometry], list[tuple[int, str, Any, str]]]

FLUSH_S = 0.25
FLUSH_SHAPES = 64

_FLAT = {"IfcFacetedBrep", "IfcFacetedBrepWithVoids", "IfcTriangulatedFaceSet", "IfcPolygonalFaceSet"}
_SURFACES = {"IfcFaceBasedSurfaceModel", "IfcShellBasedSurfaceModel"}
_ERRORS = (RuntimeError, ValueError, MemoryError, TypeError, ifcopenshell.Error)


def settings() -> Any:
    """Shapes in the product's own frame, metres, with the file's colours only."""
    found = ifcopenshell.geom.settings()
    found.set("apply-default-materials", False)
    found.set("no-normals", True)
    return found


def warm() -> None:
    """Load what the kernels and the parser load at their first use, with a small model of our own."""
    for schema in ("IFC2X3", "IFC4", "IFC4X3_ADD2"):
        model = ifcopenshell.file(schema=schema)
        model.create_entity("IfcSIUnit", UnitType="LENGTHUNIT", Name="METRE")
    point = model.create_entity("IfcCartesianPoint", (0.0, 0.0, 0.0))
    frame = model.create_entity("IfcAxis2Placement3D", point)
    context = model.create_entity("IfcGeometricRepresentationContext", None, "Model", 3, 1e-5, frame)
    up = model.create_entity("IfcDirection", (0.0, 0.0, 1.0))
    profile = model.create_entity("IfcRectangleProfileDef", "AREA", None, None, 1.0, 1.0)
    solid = model.create_entity("IfcExtrudedAreaSolid", profile, frame, up, 1.0)
    body = model.create_entity("IfcShapeRepresentation", context, "Body", "SweptSolid", [solid])
    definition = model.create_entity("IfcProductDefinitionShape", None, None, [body])
    place = model.create_entity("IfcLocalPlacement", None, frame)
    guid = "0000000000000000000000"
    wall = model.create_entity("IfcWall", guid, None, None, None, None, place, definition)
    for kernel in ("manifold", "opencascade"):
        list(_iterate(model, [wall], kernel, _Outbox(), set()))
    ifc_facts.rows(model, [wall.id()])
    ifc_facts.survey(model)


def group(model: Any, ids: list[int]) -> Iterator[Made]:
    """Shapes of products, some at a time; what could not be made this way is simply not among them."""
    chosen: dict[str, list[Any]] = {"cut": [], "manifold": [], "opencascade": []}
    memory: dict[int, str] = {}
    for each in ids:
        product = model.by_id(each)
        chosen[way(model, product, memory)].append(product)
    outbox = _Outbox()
    for product in chosen.pop("cut"):
        made = ifc_cut.cut(model, product)
        if made is None:
            chosen["opencascade"].append(product)
        else:
            yield from outbox.add(product.id(), *made, "half-spaces")
    for kernel, products in chosen.items():
        done: set[int] = set()
        if products:
            yield from _iterate(model, products, kernel, outbox, done)
        if kernel == "manifold":
            chosen["opencascade"] += [each for each in products if each.id() not in done]
    yield from outbox.flush()


def _iterate(model: Any, products: list[Any], kernel: str, outbox: "_Outbox", done: set[int]) -> Iterator[Made]:
    ifcopenshell.get_log()  # reading the log empties it
    doubted: set[str] = set()
    wanted = {each.id() for each in products}
    iterator = ifcopenshell.geom.iterator(settings(), model, 1, include=products, geometry_library=kernel)
    going = iterator.initialize()
    while going:
        made = iterator.get()
        key = str(made.geometry.id)
        if complaint(ifcopenshell.get_log()):
            doubted.add(key)
        if made.id in wanted and key not in doubted:
            geometry = outbox.known(kernel, key) or ifc_paint.painted(model, model.by_id(made.id), plain(made.geometry))
            if not suspicion(geometry):
                done.add(made.id)
                yield from outbox.add(made.id, geometry, matrix(made), kernel, key)
        going = iterator.next()


def single(model: Any, each: int, kernel: str) -> tuple[Made | None, str]:
    """One product by one kernel, or why not."""
    product = model.by_id(each)
    if kernel == "manifold" and (found := way(model, product, {})) != "manifold":
        return None, f"not asked: not a solid with flat faces ({found})"
    ifcopenshell.get_log()
    try:
        made = ifcopenshell.geom.create_shape(settings(), product, geometry_library=kernel)
        geometry = ifc_paint.painted(model, product, plain(made.geometry))
        reason = suspicion(geometry) or complaint(ifcopenshell.get_log())
    except _ERRORS as error:
        return None, f"{type(error).__name__}: {error}"[:300]
    if reason:
        return None, reason
    key = digest(geometry)
    return ({key: geometry}, [(each, key, matrix(made), kernel)]), ""


class _Outbox:
    """Shapes on their way: each geometry is sent once, known by its content."""

    def __init__(self) -> None:
        self._sent: set[str] = set()
        self._by_name: dict[tuple[str, str], Geometry] = {}
        self._keys: dict[int, str] = {}
        self._geometries: dict[str, Geometry] = {}
        self._places: list[tuple[int, str, Any, str]] = []
        self._since = time.monotonic()

    def known(self, kernel: str, name: str) -> Geometry | None:
        """A geometry that this kernel made before under this name."""
        return self._by_name.get((kernel, name))

    def add(self, product: int, geometry: Geometry, place: Any, kernel: str, name: str = "") -> Iterator[Made]:
        """Put one shape in; gives a parcel when there is enough for one."""
        if name:
            self._by_name[kernel, name] = geometry
        key = self._keys.get(id(geometry)) if name else None
        if key is None:
            key = digest(geometry)
            if name:
                self._keys[id(geometry)] = key  # it is kept in _by_name, so its id stays its own
        if key not in self._sent:
            self._sent.add(key)
            self._geometries[key] = geometry
        self._places.append((product, key, place, kernel))
        if len(self._places) >= FLUSH_SHAPES or time.monotonic() - self._since > FLUSH_S:
            yield from self.flush()

    def flush(self) -> Iterator[Made]:
        """What is left."""
        if self._places:
            yield self._geometries, self._places
        self._geometries, self._places, self._since = {}, [], time.monotonic()


def way(model: Any, product: Any, memory: dict[int, str]) -> str:
    """`cut`, `manifold` or `opencascade`."""
    openings = [model.by_id(each) for each in relations(model).openings.get(product.id(), ())]
    own = {_kind(item, memory) for item in ifc_facts.items(product)}
    cut = {_kind(item, memory) for each in openings for item in ifc_facts.items(each)}
    if "other" in own | cut or "boolean" in cut or ("surface" in own and openings):
        return "opencascade"
    if "boolean" in own:
        return "cut" if ifc_cut.suits(product) else "opencascade"
    return "manifold"


def _kind(item: Any, memory: dict[int, str]) -> str:
    number = item.id()
    if number not in memory:
        memory[number] = _kind_of(item)
    return memory[number]


def _kind_of(item: Any) -> str:
    name = item.is_a()
    if name in {"IfcBooleanResult", "IfcBooleanClippingResult"}:
        return "boolean"
    if name == "IfcExtrudedAreaSolid":
        return "flat" if is_polygon(item.SweptArea) else "other"
    if name in _FLAT or name == "IfcMappedItem":
        return "flat"
    if name in _SURFACES:
        return "surface"
    shapeless = item.is_a("IfcCurve") or name in {"IfcGeometricCurveSet", "IfcBoundingBox"}
    return "flat" if shapeless or (name == "IfcGeometricSet" and _curves_only(item)) else "other"


def _curves_only(item: Any) -> bool:
    return all(each.is_a("IfcCurve") or each.is_a("IfcPoint") for each in item.Elements)


def is_polygon(profile: Any) -> bool:
    """True for a profile whose edges are all straight."""
    name = profile.is_a()
    if name == "IfcRectangleProfileDef":
        return True
    if name == "IfcArbitraryClosedProfileDef":
        return is_straight(profile.OuterCurve)
    if name == "IfcArbitraryProfileDefWithVoids":
        return all(map(is_straight, (profile.OuterCurve, *profile.InnerCurves)))
    return False


def is_straight(curve: Any) -> bool:
    """True for a curve of straight segments only."""
    if curve.is_a("IfcIndexedPolyCurve"):
        return not curve.Segments or all(each.is_a("IfcLineIndex") for each in curve.Segments)
    return bool(curve.is_a() == "IfcPolyline")


def plain(geometry: Any) -> Geometry:
    """A kernel's triangulation as arrays: metres in the product's own frame."""
    colours = [(*each.diffuse.components, 1.0 - _finite(each.transparency)) for each in geometry.materials]
    return {
        "vertices": np.frombuffer(geometry.verts_buffer, np.float64).reshape(-1, 3).copy(),
        "triangles": np.frombuffer(geometry.faces_buffer, np.int32).reshape(-1, 3).astype(np.int64),
        "material_ids": np.frombuffer(geometry.material_ids_buffer, np.int32).astype(np.int64),
        "colours": np.array(colours, np.float64).reshape(-1, 4),
    }


def matrix(made: Any) -> Any:
    """The product's placement, metres, as 4 x 4."""
    return np.array(made.transformation.matrix, np.float64).reshape(4, 4).T


def digest(geometry: Geometry) -> str:
    """The same for the same vertices, triangles and colours."""
    found = hashlib.blake2b(digest_size=16)
    for name in ("vertices", "triangles", "material_ids", "colours"):
        found.update(np.ascontiguousarray(geometry[name]).data)
        found.update(str(len(geometry[name])).encode())
    return found.hexdigest()


def complaint(log: str) -> str:
    """The kernel's own warning that it left something out of a shape that it returned all the same."""
    said = (line for line in log.splitlines() if "Manifold kernel: failed" in line)
    return next((line.split("] ")[-1][:300] for line in said), "")


def suspicion(shape: Geometry) -> str:
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


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else 0.0
