"""GML geometry of a city object -> faces (rings of coordinates), lines and points, in the order of the file's axes.

GML 3.1.1 (OGC 03-105r1, clause 10) and 3.2 (OGC 07-036r1): `posList`, `pos`, `coordinates`; solids, surfaces and
their aggregates; `OrientableSurface` turned over; geometry shared by `xlink:href` is resolved, each once an object.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.citygml.store import SideStore
from ingest.citygml.stream import XLINK_HREF, Element, gml_id, line_of, local

Float = NDArray[np.float64]

MAX_FACES = 3_000_000
"""Of one object."""

FARTHEST = 1e9
"""No coordinate on Earth is greater, in any unit; much greater ones overflow."""

MAX_HOPS = 32
"""References that lead on to references."""

_FACES = frozenset({"Polygon", "Triangle", "Rectangle", "PolygonPatch"})
_LINES = frozenset({"LineString", "LineStringSegment", "LinearRing"})


class BadGeometry(Exception):
    """Why one object cannot be used; becomes a Reject, never seen outside."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.sentence = code, sentence


@dataclass
class Face:
    """One planar polygon.

    Attributes
    ----------
    rings : (n, 3) each, outer first, the first point not repeated; axes in the file's order, NaN z where there is none
    ids : `gml:id` of each ring, None where it has none
    names : `gml:id` of the polygon and of the surfaces around it, for appearances
    kind : semantic class (`WallSurface` …) or empty
    is_turned : an OrientableSurface turned it over: its rings are reversed here already
    line : place in the file
    is_bare : of a part without any GroundSurface, so that all its faces tell its outline
    """

    rings: list[Float]
    ids: list[str | None]
    names: tuple[str, ...]
    kind: str
    is_turned: bool
    line: str
    is_bare: bool = False


class Links:
    """Resolves `#id` inside the member, then among what was kept of others."""

    def __init__(self, top: Element, store: SideStore) -> None:
        self._top, self._store = top, store
        self._own: dict[str, Element] | None = None

    def __call__(self, name: str) -> Element | None:
        """The element of that id, or None."""
        if self._own is None:
            self._own = {found: each for each in self._top.iter() if (found := gml_id(each)) is not None}
        found = self._own.get(name)
        return self._store.link(name) if found is None else found


@dataclass
class Found:
    """Geometry of one property, and what was seen on the way."""

    faces: list[Face] = field(default_factory=list)
    lines: list[Float] = field(default_factory=list)
    points: list[Float] = field(default_factory=list)
    implicit: list[Element] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)
    too_short: list[str] = field(default_factory=list)


class Geometry:
    """Reads the properties of one object; elements that several of them share are taken once."""

    def __init__(self, resolve: Links, dimension: int) -> None:
        self._resolve, self._dimension = resolve, dimension
        self._seen: dict[tuple[int, bool], Element] = {}  # the elements are held: lxml would reuse their identity
        self._of_surface: dict[int, Face] = {}
        self.found = Found()

    def read(self, prop: Element, kind: str) -> None:
        """All geometry below a property (or one that it names). Raises BadGeometry."""
        stack: list[tuple[Element, bool, tuple[str, ...], int]] = [(prop, False, (), 0)]
        while stack:
            element, turned, names, hops = stack.pop()
            href = element.get(XLINK_HREF)
            if href and not len(element):
                self._follow(href, turned, names, hops, stack)
                continue
            name = local(element)
            if (id(element), turned) in self._seen:
                continue
            own = gml_id(element)
            if own is not None:
                names = (*names[-8:], own)
            if name in _FACES:
                self._seen[id(element), turned] = element
                self._face(element, turned, names, kind)
            elif name in _LINES:
                self._line(element)
            elif name == "Point":
                self.found.points.append(self._coordinates(element)[:1])
            elif name == "ImplicitGeometry":
                self.found.implicit.append(element)
            elif name == "OrientableSurface":
                flips = element.get("orientation", "+").strip() == "-"
                stack += [(child, turned != flips, names, hops) for child in reversed(element)]
            elif name not in {"Envelope", "metaDataProperty", "description", "name"}:
                stack += [(child, turned, names, hops) for child in reversed(element)]

    def _follow(
        self,
        href: str,
        turned: bool,
        names: tuple[str, ...],
        hops: int,
        stack: list[tuple[Element, bool, tuple[str, ...], int]],
    ) -> None:
        target = self._resolve(href[1:]) if href.startswith("#") else None
        if target is None or hops >= MAX_HOPS:
            self.found.unresolved.append(href)
        elif (id(target), turned) not in self._seen:
            if local(target) not in _FACES:
                self._seen[id(target), turned] = target
                stack += [(child, turned != _flips(target), names, hops + 1) for child in reversed(target)]
            else:
                stack.append((target, turned, names, hops + 1))

    def _face(self, element: Element, turned: bool, names: tuple[str, ...], kind: str) -> None:
        known = None if kind else self._of_surface.pop(id(element), None)
        if known is not None:  # a solid turns over the face of a boundary surface: the solid is right
            if known.is_turned != turned:
                known.rings, known.is_turned = [ring[::-1] for ring in known.rings], turned
            return
        rings: list[Float] = []
        ids: list[str | None] = []
        for boundary in element:
            is_outer = local(boundary) in {"exterior", "outerBoundaryIs"}
            if not is_outer and local(boundary) not in {"interior", "innerBoundaryIs"}:
                continue
            for ring in boundary:
                points = self._ring(ring, element)
                if points is None:
                    if is_outer:
                        return
                    continue
                rings.insert(0, points) if is_outer else rings.append(points)
                ids.insert(0, gml_id(ring)) if is_outer else ids.append(gml_id(ring))
        if not rings:
            self.found.too_short.append(_spot(element))
            return
        if turned:
            rings = [ring[::-1] for ring in rings]
        face = Face(rings, ids, names, kind, turned, _spot(element))
        self.found.faces.append(face)
        if kind:
            self._of_surface[id(element)] = face
        if len(self.found.faces) > MAX_FACES:
            raise BadGeometry("CG_TOO_LARGE", f"It has more than {MAX_FACES:,} faces.")

    def _ring(self, ring: Element, face: Element) -> Float | None:
        """Points without the repeated last one; None for fewer than three different ones."""
        points = self._coordinates(ring)
        if len(points) and (points[0] == points[-1]).all():
            points = points[:-1]
        elif len(points):
            self.found.unclosed.append(_spot(face))
        if len(points) < 3:
            self.found.too_short.append(_spot(face))
            return None
        return points

    def _line(self, element: Element) -> None:
        points = self._coordinates(element)
        if len(points) < 2:
            self.found.too_short.append(_spot(element))
        else:
            self.found.lines.append(points)

    def _coordinates(self, element: Element) -> Float:
        """(n, 3) of everything below, in the order of the file. Raises BadGeometry."""
        pieces = [self._numbers(each) for each in _coordinate_elements(element)]
        if not pieces:
            return np.zeros((0, 3))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _numbers(self, element: Element) -> Float:
        text = element.text or ""
        if local(element) == "coordinates":
            text = text.replace(element.get("cs", ","), " ")
        try:
            values = np.array(text.split(), np.float64)
        except ValueError as error:
            raise BadGeometry("CG_BAD_COORDINATES", f"{_spot(element)}: {error}.") from error
        if not (np.abs(values) < FARTHEST).all() or "_" in text:
            raise BadGeometry(
                "CG_BAD_COORDINATES", f"{_spot(element)}: a coordinate is no number that can be on Earth."
            )
        n = _dimension(element) or self._dimension
        if local(element) == "pos" and len(values) in {2, 3}:
            n = len(values)
        if len(values) % n:
            sentence = f"{_spot(element)}: {len(values)} numbers are no points of {n} coordinates."
            raise BadGeometry("CG_BAD_COORDINATES", sentence)
        points = values.reshape(-1, n)
        return points if n == 3 else np.column_stack([points, np.full(len(points), np.nan)])


def _flips(element: Element) -> bool:
    return local(element) == "OrientableSurface" and element.get("orientation", "+").strip() == "-"


def _coordinate_elements(element: Element) -> Iterator[Element]:
    children = list(element)
    if len(children) == 1 and local(children[0]) == "posList":  # nearly always
        yield children[0]
        return
    for each in element.iter():
        if local(each) in {"posList", "pos", "coordinates"}:
            yield each


def _dimension(element: Element) -> int | None:
    """`srsDimension` of a coordinate list or of what is around it, up to its surface."""
    at: Element | None = element
    for _ in range(6):
        if at is None:
            return None
        stated = at.get("srsDimension")
        if stated is not None:
            if stated.strip() not in {"2", "3"}:
                raise BadGeometry("CG_BAD_COORDINATES", f"{_spot(element)}: srsDimension is {stated!r}.")
            return int(stated)
        at = at.getparent()
    return None


def _spot(element: Element) -> str:
    """Line, and the nearest `gml:id`."""
    at: Element | None = element
    for _ in range(8):
        if at is None:
            break
        if name := gml_id(at):
            return f"{line_of(element)}, {local(at)} {name}"
        at = at.getparent()
    return f"{line_of(element)}, {local(element)}"
