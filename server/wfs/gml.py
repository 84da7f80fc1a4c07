"""Features -> GML 3.2 and 3.1.1 (simple features, OGC 10-100r3), batch by batch.

Coordinates are within 0.1 mm: 9 decimals of a degree, 4 of a metre. The id of a feature is its layer's and its public
id (`building.B00001`).
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.errors import InvalidInput
from server import ows
from server.formats.selection import Selection
from server.wfs.reference_systems import Reference
from server.wfs.versions import NAMESPACE, PREFIX, V2, XSI, Version, ncname
from twin.store.interface import Features

_POLYGONS, _LINES, _POINTS = {3, 6}, {1, 2, 5}, {0, 4}


@dataclass(frozen=True)
class Collection:
    """What stands around the features.

    Attributes
    ----------
    matched, returned : numbers that the head states
    schema : address of the features' XML schema
    time : of the answer, RFC 3339
    """

    version: Version
    reference: Reference
    matched: int
    returned: int
    schema: str
    time: str

    def head(self) -> str:
        """The start of the collection."""
        v = self.version
        counts = f'numberMatched="{self.matched}" numberReturned="{self.returned}"'
        if v is not V2:
            counts = f'numberOfFeatures="{self.returned}"'
        located = f"{NAMESPACE} {self.schema}"
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<wfs:FeatureCollection xmlns:wfs="{v.wfs}" xmlns:gml="{v.gml}" '
            f'xmlns:{PREFIX}="{NAMESPACE}" xmlns:xsi="{XSI}" xsi:schemaLocation={quoteattr(located)} '
            f'timeStamp="{self.time}" {counts}>\n'
        )


def write(selection: Selection, around: Collection) -> Generator[bytes]:
    """The collection in pieces, one a batch."""
    yield around.head().encode()
    opened, closed = ("<wfs:member>", "</wfs:member>\n")
    if around.version is not V2:
        opened, closed = ("", "\n")
        yield b"<gml:featureMembers>\n"
    for batch in selection.batches():
        yield "".join(f"{opened}{each}{closed}" for each in _features(batch, selection, around)).encode()
    yield b"</wfs:FeatureCollection>\n" if around.version is V2 else b"</gml:featureMembers></wfs:FeatureCollection>\n"


def _features(batch: Features, selection: Selection, around: Collection) -> Iterable[str]:
    layer = ncname(selection.info.id)
    shapes = _placed(batch, selection, around.reference)
    writer = _Geometry(around, is_multi=selection.info.type.geometry.lower().startswith("multi"))
    columns = [
        (f"{PREFIX}:{ncname(name)}", batch.attributes.column(name).to_pylist())
        for name in batch.attributes.column_names
    ]
    for row, (feature_id, shape) in enumerate(zip(batch.ids, shapes, strict=True)):
        gml_id = ncname(f"{selection.info.id}.{feature_id}")
        own = [f'<{PREFIX}:{layer} gml:id="{gml_id}">']
        if shape is not None:
            own.append(f"<{PREFIX}:geometry>{writer.text(shape, gml_id)}</{PREFIX}:geometry>")
        own.append(f"<{PREFIX}:id>{escape(ows.clean(feature_id))}</{PREFIX}:id>")
        own += [f"<{tag}>{_text(column[row])}</{tag}>" for tag, column in columns if column[row] is not None]
        own.append(f"</{PREFIX}:{layer}>")
        yield "".join(own)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float):
        return repr(value)
    return escape(ows.clean(str(value)))


def _placed(batch: Features, selection: Selection, reference: Reference) -> NDArray[np.object_]:
    placed = crs.transform_geometries(selection.city.city.config.crs, reference.name, batch.geometry)
    if not np.isfinite(shapely.get_coordinates(placed)).all():
        raise InvalidInput("A coordinate cannot be expressed in the srsName asked for.", "Ask for another one.")
    return crs.swap_axes(placed) if reference.is_north_first else placed


class _Geometry:
    """Writes geometries of one answer. The property of a multi layer always holds a multi geometry."""

    def __init__(self, around: Collection, *, is_multi: bool) -> None:
        self._is_multi = is_multi
        self._with_ids = around.version is V2
        self._decimals = 9 if crs.is_geographic(around.reference.name) else 4
        self._srs = f" srsName={quoteattr(around.reference.written)}"

    def text(self, shape: Any, gml_id: str) -> str:
        """A geometry with its CRS."""
        has_z = bool(shapely.has_z(shape))
        head = f'{self._srs} srsDimension="{3 if has_z else 2}"'
        kind = shapely.get_type_id(shape)
        if kind in _POLYGONS and (self._is_multi or kind == 6):
            return self._many(("MultiSurface", "surfaceMember"), self._polygon, shape, head, f"{gml_id}.g")
        if kind in _LINES and (self._is_multi or kind == 5):
            return self._many(("MultiCurve", "curveMember"), self._line, shape, head, f"{gml_id}.g")
        if kind in _POINTS and (self._is_multi or kind == 4):
            return self._many(("MultiPoint", "pointMember"), self._point, shape, head, f"{gml_id}.g")
        return self._any(shape, head, f"{gml_id}.g")

    def _any(self, shape: Any, head: str, gml_id: str) -> str:
        single = {0: self._point, 1: self._line, 2: self._line, 3: self._polygon}.get(int(shapely.get_type_id(shape)))
        if single is None:
            return self._many(("MultiGeometry", "geometryMember"), self._any, shape, head, gml_id)
        return single(shape, head, gml_id)

    def _many(self, tags: tuple[str, str], part: Any, shape: Any, head: str, gml_id: str) -> str:
        tag, member = tags
        parts = "".join(
            f"<gml:{member}>{part(each, '', f'{gml_id}.{at}')}</gml:{member}>"
            for at, each in enumerate(shapely.get_parts(shape))
        )
        return f"<gml:{tag}{self._id(gml_id)}{head}>{parts}</gml:{tag}>"

    def _polygon(self, shape: Any, head: str, gml_id: str) -> str:
        rings = [shapely.get_exterior_ring(shape), *shapely.get_rings(shape)[1:]]
        if shapely.is_empty(shape):
            rings = []
        text = "".join(
            f"<gml:{side}><gml:LinearRing><gml:posList>{self._positions(ring)}</gml:posList></gml:LinearRing></gml:{side}>"
            for side, ring in zip(["exterior"] + ["interior"] * len(rings), rings, strict=False)
        )
        return f"<gml:Polygon{self._id(gml_id)}{head}>{text}</gml:Polygon>"

    def _line(self, shape: Any, head: str, gml_id: str) -> str:
        positions = f"<gml:posList>{self._positions(shape)}</gml:posList>"
        return f"<gml:LineString{self._id(gml_id)}{head}>{positions}</gml:LineString>"

    def _point(self, shape: Any, head: str, gml_id: str) -> str:
        return f"<gml:Point{self._id(gml_id)}{head}><gml:pos>{self._positions(shape)}</gml:pos></gml:Point>"

    def _id(self, gml_id: str) -> str:
        return f' gml:id="{gml_id}"' if self._with_ids else ""

    def _positions(self, shape: Any) -> str:
        xyz = shapely.get_coordinates(shape, include_z=bool(shapely.has_z(shape)))
        out = np.round(xyz, self._decimals)
        out[:, 2:] = np.round(xyz[:, 2:], 4)
        return orjson.dumps(out.ravel(), option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].replace(",", " ")
