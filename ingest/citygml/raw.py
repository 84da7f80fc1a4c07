"""City objects taken out of the XML: attributes, faces, points and lines, east first. The tree may go afterwards."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lxml import etree
from numpy.typing import NDArray

from ingest.citygml.attributes import TooManyValues, attributes
from ingest.citygml.findings import Findings
from ingest.citygml.geometry import BadGeometry, Face, Float, Found, Geometry, Links
from ingest.citygml.implicit import Instance, instance
from ingest.citygml.objects import CityObject, Place, Region, chosen
from ingest.citygml.stream import gml_id, local

MAX_CONTENT_BYTES = 1_000_000
"""A rejected object's XML is kept up to this length."""


@dataclass
class Raw:
    """One feature before its mesh is made.

    Attributes
    ----------
    faces : of the highest LoD, east first, rings as (n, 3)
    outlines : faces of `lod0FootPrint`, `lod0RoofEdge` or LoD 0, by that name
    instances : places of templates
    lod : of the faces, or None
    bad : code and sentence, when it cannot be stored
    content : of a bad one: its XML
    """

    id: str | None
    object_type: str
    parent_id: str | None
    where: str
    attributes: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)
    outlines: dict[str, list[Face]] = field(default_factory=dict)
    lines: list[Float] = field(default_factory=list)
    points: list[Float] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    lod: int | None = None
    bad: tuple[str, str] | None = None
    content: str = ""

    @property
    def n_points(self) -> int:
        """Size, for the length of a batch."""
        return sum(len(ring) for face in self.faces for ring in face.rings)


def take(made: CityObject, links: Links, dimension: int, *, swapped: bool, findings: Findings) -> Raw:
    """Everything of one object; a bad one has `bad` set and its XML kept."""
    raw = Raw(made.id, made.object_type, made.parent_id, made.where)
    try:
        raw.attributes = attributes(made.element)
        for region in made.regions[1:]:
            if found := attributes(region.element):
                raw.parts[gml_id(region.element) or f"part {len(raw.parts) + 1}"] = found
        for region in made.regions:
            before = len(raw.faces)
            _region(raw, region, links, dimension, findings)
            if local(region.element).endswith("Part"):
                _mark_bare(raw.faces[before:])
    except BadGeometry as error:
        raw.bad = (error.code, error.sentence)
    except TooManyValues as error:
        raw.bad = (error.code, error.problem)
    if raw.bad is None and not (raw.faces or raw.outlines or raw.lines or raw.points or raw.instances):
        raw.bad = ("CG_NO_GEOMETRY", "It has no geometry that can be read in any LoD.")
    if raw.bad is not None:
        raw.content = etree.tostring(made.element, encoding="unicode", with_tail=False)[:MAX_CONTENT_BYTES]
    if swapped:
        _swap(raw)
    return raw


def _mark_bare(faces: list[Face]) -> None:
    """A part in LoD 1 beside others in LoD 2 has no GroundSurface, but stands on the ground all the same."""
    if not any(face.kind == "GroundSurface" for face in faces):
        for face in faces:
            face.is_bare = True


def _region(raw: Raw, region: Region, links: Links, dimension: int, findings: Findings) -> None:
    places = chosen(region)
    geometry = Geometry(links, dimension)
    for each in [*(p for p in places if p.kind), *(p for p in places if not p.kind)]:  # what says the kind comes first
        geometry.read(each.element, each.kind)
    found = geometry.found
    is_outline = bool(places) and all(each.role in {"FootPrint", "RoofEdge"} for each in places)
    if is_outline:
        raw.outlines.setdefault(_best_outline(places), []).extend(found.faces)
    else:
        raw.faces += _without_copies(found.faces)
        _outlines(raw, region, links, dimension)
    raw.lines += found.lines
    raw.points += found.points
    raw.instances += [made for each in found.implicit if (made := instance(each, links, dimension, findings))]
    if places and (found.faces or found.lines or found.points or found.implicit):
        raw.lod = max(raw.lod or 0, *(each.lod for each in places))
    _note(found, findings)


def _best_outline(places: list[Place]) -> str:
    return "FootPrint" if any(each.role == "FootPrint" for each in places) else "RoofEdge"


def _outlines(raw: Raw, region: Region, links: Links, dimension: int) -> None:
    """Outlines of LoD 0 beside the solid, for the footprint."""
    for each in region.places:
        role = each.role
        if role == "MultiSurface" and each.lod == 0 and each.kind in {"", "GroundSurface", "RoofSurface"}:
            role = "RoofEdge" if each.kind == "RoofSurface" else "FootPrint"
        if role in {"FootPrint", "RoofEdge"}:
            geometry = Geometry(links, dimension)
            geometry.read(each.element, each.kind)
            if geometry.found.faces:
                raw.outlines.setdefault(role, []).extend(geometry.found.faces)


def _without_copies(faces: list[Face]) -> list[Face]:
    """A solid whose faces are copies (not references) of the boundary surfaces has each face twice: keep one.

    The solid's face stays, because its orientation counts, and takes the kind of its copy.
    """
    kinds = {_key(face): face for face in faces if face.kind}
    own = [face for face in faces if not face.kind]
    if not kinds or not own:
        return faces
    gone: set[int] = set()
    for face in own:
        copy = kinds.get(_key(face))
        if copy is not None:
            face.kind = copy.kind
            face.names = (*copy.names, *face.names)
            if not any(face.ids) and all(map(np.array_equal, face.rings, copy.rings)):
                face.ids = copy.ids
            gone.add(id(copy))
    return [face for face in faces if id(face) not in gone]


def _key(face: Face) -> tuple[frozenset[tuple[float, ...]], int]:
    return frozenset(map(tuple, face.rings[0].tolist())), len(face.rings)


def _note(found: Found, findings: Findings) -> None:
    for code, places in (
        ("RING_NOT_CLOSED", found.unclosed), ("RING_TOO_SHORT", found.too_short), ("LINK_UNRESOLVED", found.unresolved),
    ):  # fmt: skip
        for each in places:
            findings.note(code, each)


def _swap(raw: Raw) -> None:
    order = [1, 0, 2]
    done: set[int] = set()
    for faces in (raw.faces, *raw.outlines.values()):
        for face in faces:
            if id(face) not in done:
                done.add(id(face))
                face.rings = [ring[:, order] for ring in face.rings]
    raw.lines = [line[:, order] for line in raw.lines]
    raw.points = [point[:, order] for point in raw.points]
    for each in raw.instances:
        each.point = each.point[order]


def stacked(faces: list[Face]) -> tuple[Float, NDArray[np.int64], NDArray[np.int64]]:
    """Points of all rings one after the other, where each ring ends, and how many rings each face has."""
    rings = [ring for face in faces for ring in face.rings]
    points = np.concatenate(rings) if rings else np.zeros((0, 3))
    ends = np.cumsum([len(ring) for ring in rings]).astype(np.int64)
    return points, ends, np.array([len(face.rings) for face in faces], np.int64)
