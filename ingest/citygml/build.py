"""Raw city objects of one batch -> meshes, footprints and heights, all faces in one call."""

from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from ingest.citygml.appearance import Images
from ingest.citygml.findings import Findings
from ingest.citygml.geometry import Face, Float
from ingest.citygml.implicit import Instance
from ingest.citygml.mesh import Cut, cut, is_closed, metric, outline
from ingest.citygml.paint import Palette, paints_of
from ingest.citygml.raw import Raw, stacked
from ingest.citygml.store import Paint, SideStore
from layers.mesh import Mesh, SharedShape

CACHED_TEMPLATES = 200
NO_HEIGHT_M = (0.0, -9999.0)


@dataclass
class Built:
    """Geometry of one feature: its mesh, its outline in plan, and lowest and highest z (None without heights)."""

    mesh: Mesh | None = None
    outline: shapely.Geometry | None = None
    z_min: float | None = None
    z_max: float | None = None


class Builder:
    """Makes meshes of one layer.

    `is_degrees`: the CRS is geographic; `turns` counts solids outside out and closed ones inside out.
    """

    def __init__(self, store: SideStore, images: Images, findings: Findings, *, is_degrees: bool) -> None:
        self._store, self._images, self._findings, self._is_degrees = store, images, findings, is_degrees
        self._templates: OrderedDict[str, Mesh | None] = OrderedDict()
        self.turns = [0, 0]

    def build(self, raws: list[Raw]) -> list[Built]:
        """(n,) of n objects."""
        out = [Built() for _ in raws]
        filled = [i for i, raw in enumerate(raws) if raw.faces and raw.bad is None]
        if filled:
            made = self._meshes([raws[i] for i in filled])
            for i, each in zip(filled, made, strict=True):
                out[i] = each
        for raw, built in zip(raws, out, strict=True):
            if raw.bad is None:
                self._finish(raw, built)
        return out

    def _finish(self, raw: Raw, built: Built) -> None:
        for name in ("FootPrint", "RoofEdge"):
            faces = raw.outlines.get(name)
            if not faces or (name == "RoofEdge" and _has_ground(raw)):
                continue
            found = self._outline_of(faces)
            if found is not None:
                built.outline = found
                z = np.concatenate([face.rings[0][:, 2] for face in faces])
                if name == "FootPrint" and built.z_min is None and np.isfinite(z).all() and (z != 0).any():
                    built.z_min = float(z.min())
                break
        if raw.instances and not raw.faces:
            self._instances(raw, built)

    def _outline_of(self, faces: list[Face]) -> shapely.Geometry | None:
        points, ends, face_rings = stacked(faces)
        points = np.where(np.isfinite(points), points, 0.0)
        local, origin, scale = metric(points, np.array([0]), is_degrees=self._is_degrees)
        found = cut(local, ends, face_rings)
        shape = outline(_rings(local, ends, face_rings), found.normals, np.ones(len(faces), bool))
        return None if shape is None else _back(shape, origin[0], scale[0])

    def _meshes(self, raws: list[Raw]) -> list[Built]:
        faces = [face for raw in raws for face in raw.faces]
        points, ends, face_rings = stacked(faces)
        heightless = ~np.isfinite(points[:, 2])
        points[heightless, 2] = 0.0
        n_points = np.array([raw.n_points for raw in raws])
        starts = np.concatenate([[0], np.cumsum(n_points)[:-1]]).astype(np.int64)
        local, origin, scale = metric(points, starts, is_degrees=self._is_degrees)
        found = cut(local, ends, face_rings)
        self._note(faces, found)
        owner = np.repeat(np.arange(len(raws)), [len(raw.faces) for raw in raws])
        uv, paints = paints_of(self._store, faces, ends, len(points))
        objects = np.repeat(np.arange(len(raws)), n_points)
        first, unified = _unify(points, uv, objects)
        order = np.argsort(owner[found.faces], kind="stable")
        triangles, of_face = unified[found.triangles[order]], found.faces[order]
        cuts = np.searchsorted(owner[of_face], np.arange(len(raws) + 1))
        vertex_cuts = np.searchsorted(objects[first], np.arange(len(raws) + 1))
        face_cuts = np.concatenate([[0], np.cumsum([len(raw.faces) for raw in raws])])
        rings = _rings(local, ends, face_rings)
        volumes = _volumes(local[first], triangles, owner[of_face], len(raws))
        out = []
        for i, raw in enumerate(raws):
            own = slice(int(vertex_cuts[i]), int(vertex_cuts[i + 1]))
            mine = slice(int(cuts[i]), int(cuts[i + 1]))
            span = slice(int(face_cuts[i]), int(face_cuts[i + 1]))
            shape = outline(rings[span], found.normals[span], _wanted(raw))
            built = Built(outline=None if shape is None else _back(shape, origin[i], scale[i]))
            vertices = points[first[own]]
            z = vertices[:, 2]
            if np.isin(z, NO_HEIGHT_M).all():
                self._findings.note("HEIGHTS_EMPTY", raw.where)
            elif mine.stop > mine.start:
                solid = triangles[mine] - own.start
                if volumes[i] < 0 and uv is None and is_closed(solid):
                    self._findings.note("SOLID_INSIDE_OUT", f"{raw.where} {raw.id or ''}")
                    self.turns[1] += 1
                    solid = solid[:, ::-1]
                elif volumes[i] > 0:
                    self.turns[0] += 1
                own_uv = None if uv is None else uv[first[own]]
                plain = Mesh(vertices, solid, uv=own_uv)
                built.mesh = self._mesh(raw, plain, of_face[mine] - span.start, paints[span])
                built.z_min, built.z_max = float(z.min()), float(z.max())
            out.append(built)
        return out

    def _note(self, faces: list[Face], found: Cut) -> None:
        for i in found.degenerate.tolist():
            self._findings.note("FACE_DEGENERATE", faces[i].line)
        for i, off_m in found.bent.items():
            self._findings.note("FACE_BENT", f"{faces[i].line} ({off_m:.2f} m)")

    def _mesh(self, raw: Raw, mesh: Mesh, of_face: NDArray[np.int64], paints: list[Paint | None]) -> Mesh:
        """With its materials; `of_face` is the face of each triangle, `mesh` has the texture coordinates."""
        if not any(paints) and not any(face.kind for face in raw.faces):
            return replace(mesh, uv=None)
        palette = Palette(self._images, self._findings, raw.where)
        pairs = zip(raw.faces, paints, strict=True)
        material = np.array([palette.material(face, paint) for face, paint in pairs], np.uint8)
        colours, textures = palette.arrays()
        uv = mesh.uv if textures and mesh.uv is not None and np.isfinite(mesh.uv).any() else None
        return replace(mesh, material_ids=material[of_face], materials=colours, uv=uv, textures=textures)

    def _instances(self, raw: Raw, built: Built) -> None:
        meshes = [mesh for each in raw.instances if (mesh := self._instance(each)) is not None]
        if not meshes:
            return
        built.mesh = meshes[0] if len(meshes) == 1 else _joined(meshes)
        low, high = built.mesh.vertices.min(axis=0), built.mesh.vertices.max(axis=0)
        built.z_min, built.z_max = float(low[2]), float(high[2])
        if built.outline is None:
            hull = shapely.convex_hull(shapely.multipoints(built.mesh.vertices[:, :2]))
            built.outline = shapely.multipolygons([hull]) if hull.geom_type == "Polygon" else None

    def _instance(self, each: Instance) -> Mesh | None:
        if not each.faces:
            return None
        if each.key not in self._templates:
            raw = Raw(None, "", None, each.key, faces=list(each.faces))
            inner = Builder(self._store, self._images, self._findings, is_degrees=False)
            self._templates[each.key] = inner._meshes([raw])[0].mesh
            if len(self._templates) > CACHED_TEMPLATES:
                self._templates.popitem(last=False)
        template = self._templates[each.key]
        if template is None:
            return None
        vertices = each.place(template.vertices, is_degrees=self._is_degrees)
        return replace(template, vertices=vertices, shared=SharedShape(each.key, template.vertices))


def _joined(meshes: list[Mesh]) -> Mesh:
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    triangles = [mesh.triangles + offset for mesh, offset in zip(meshes, offsets, strict=True)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(triangles))


def _has_ground(raw: Raw) -> bool:
    return any(face.kind == "GroundSurface" for face in raw.faces)


def _wanted(raw: Raw) -> NDArray[np.bool_]:
    ground = np.array([face.kind == "GroundSurface" for face in raw.faces], bool)
    bare = np.array([face.is_bare for face in raw.faces], bool)
    return ground | bare if ground.any() else np.ones(len(raw.faces), bool)


def _rings(points: Float, ends: NDArray[np.int64], face_rings: NDArray[np.int64]) -> list[list[Float]]:
    rings = np.split(points, ends[:-1])
    last = np.cumsum(face_rings).tolist()
    return [rings[stop - int(n) : stop] for stop, n in zip(last, face_rings, strict=True)]


def _back(shape: shapely.Geometry, origin: Float, scale: Float) -> shapely.Geometry:
    return shapely.transform(shape, lambda xy: xy / scale[:2] + origin[:2])


def _unify(
    points: Float, uv: NDArray[np.float32] | None, objects: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Equal points of one object become one vertex: point of each vertex, by object, and vertex of each point."""
    keys: list[NDArray[np.floating]] = [points[:, 2], points[:, 1], points[:, 0]]
    if uv is not None:
        plain = np.nan_to_num(uv, nan=-1e6)
        keys = [plain[:, 1], plain[:, 0], *keys]
    order = np.lexsort([*keys, objects])
    same = np.ones(len(order), bool)
    same[:1] = False
    for key in (*keys, objects):
        same[1:] &= key[order[1:]] == key[order[:-1]]
    number = np.cumsum(~same) - 1
    vertex = np.empty(len(order), np.int64)
    vertex[order] = number
    return order[~same], vertex


def _volumes(vertices: Float, triangles: NDArray[np.int64], owner: NDArray[np.int64], n: int) -> Float:
    """(n,) signed volumes about each object's middle."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    return np.bincount(owner, np.einsum("ij,ij->i", a, np.cross(b, c)) / 6, minlength=n)
