"""Features as OGC Features and Geometries JSON 1.0 (21-045): GeoJSON with solids, any CRS, and when it was so.

`place` is in the CRS asked for (without `crs` in the city's) and in its axis order; of a feature with a model it is a
Polyhedron, MultiPolyhedron or, where the model is not closed, a MultiPolygon of its faces, to 0.1 mm. `geometry` stays
what GeoJSON has, in CRS84. A plain geometry in CRS84 has no `place` (21-045, /req/core/place-geometries).
"""

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.errors import InvalidInput
from server import geojson
from server.formats import models
from server.formats.form import after
from server.formats.models import Grid
from server.formats.selection import Selection
from server.serving import CRS84H
from tiles.solids import Body, Face
from twin.store.interface import Features

MEDIA_TYPE = "application/fg+json"
CLASSES = ("json-fg-1/1.0/conf/core", "json-fg-1/1.0/conf/polyhedra", "json-fg-1/1.0/conf/types-schemas")
_SPEC = "http://www.opengis.net/spec/"
STEP_M = 0.0001
BATCH = 1000
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY
_DIMENSIONS = {0: 0, 4: 0, 1: 1, 2: 1, 5: 1, 3: 2, 6: 2}
SOLID = 3
_PLAIN = (crs.CRS84, CRS84H)
"""CRSs that `geometry` is for: `place` has only solids in them."""


def write(selection: Selection) -> Generator[bytes]:
    """The FeatureCollection in pieces; what is only known at the end stands at the end."""
    places = _Places(selection)
    head = orjson.dumps(_head(selection, places.reference))[:-1] + b',"features":['
    return after(head, _features(selection, places))


def _features(selection: Selection, places: "_Places") -> Generator[bytes]:
    returned, dimensions = 0, set[int]()
    for batch in selection.batches(BATCH):
        texts = geojson.geometries(batch, selection.city.city.config.crs, crs.CRS84)
        rows = geojson.properties(batch)
        for start, found in places.of(batch):
            lines = []
            for row, (place, dimension) in enumerate(found, start):
                dimensions.add(_dimension(batch.geometry[row]) if place is None else dimension)
                lines.append(_feature(batch, row, rows[row], texts[row], place))
            yield (b"," if returned else b"") + b",".join(lines)
            returned += len(lines)
    tail: dict[str, Any] = {"numberReturned": returned, "links": [*selection.links, _PROFILE]}
    if len(dimensions) == 1 and min(dimensions) >= 0:
        tail["geometryDimension"] = dimensions.pop()
    yield b"]," + orjson.dumps(tail)[1:]


_PROFILE = {
    "rel": "profile", "title": "JSON-FG, geometry for every reader of GeoJSON",
    "href": "http://www.opengis.net/def/profile/OGC/0/jsonfg-plus",
}  # fmt: skip


def _head(selection: Selection, reference: str | list[str] | None) -> dict[str, Any]:
    head: dict[str, Any] = {
        "type": "FeatureCollection",
        "conformsTo": [_SPEC + each for each in CLASSES],
        "featureType": selection.info.id,
        "featureSchema": f"{selection.address}/schema",
        "numberMatched": selection.matched,
        "timeStamp": geojson.now(),
    }
    return head | ({"coordRefSys": reference} if reference else {})


def _feature(batch: Features, row: int, properties: dict[str, Any], geometry: str | None, place: Any) -> bytes:
    return orjson.dumps(
        {
            "type": "Feature",
            "id": batch.ids[row],
            "time": {"interval": [batch.valid_from[row] or "..", batch.valid_to[row] or ".."]},
            "place": place,
            "geometry": None if geometry is None else orjson.Fragment(geometry),
            "properties": properties,
        },
        option=_OPTIONS,
    )


def _dimension(geometry: Any) -> int:
    """0 for points, 1 for curves, 2 for surfaces; -1 for mixtures and for nothing."""
    return _DIMENSIONS.get(int(shapely.get_type_id(geometry)), -1)


class _Places:
    """What stands in `place`, and the CRS of all of it."""

    def __init__(self, selection: Selection) -> None:
        self.selection, self.target = selection, selection.asked.crs
        self.has_models = models.has_any(selection.city, selection.info) and selection.asked.query.with_geometry
        self.is_high = self.has_models or selection.shape.has_z
        self.reference = self._reference()
        self.grid = models.grid(selection, self.target, STEP_M)
        self.decimals = 9 if crs.is_geographic(self.target) else 4

    def _reference(self) -> str | list[str] | None:
        """`coordRefSys`: the CRS, with heights as an ad-hoc compound of two; None where nothing has a `place`."""
        if not self.selection.shape.kind or (self.target in _PLAIN and not self.has_models):
            return None
        across = crs.uri(self.target)
        if not self.is_high or self.target == CRS84H:  # which has heights of its own
            return across
        try:
            return [across, crs.uri(self.selection.city.city.config.vertical_crs)]
        except InvalidInput:  # heights of a place's own, without a code
            return across

    def of(self, batch: Features) -> Iterator[tuple[int, list[tuple[Any, int]]]]:
        """First row, and of it and those behind it `place` and its dimension."""
        plain = self._plain(batch)
        if not self.has_models:
            yield 0, plain
            return
        for portion in models.read(self.selection, batch.fids, self.grid):
            rows = range(portion.start, portion.stop)
            yield portion.start, [self._solid(portion.bodies[r]) if r in portion.bodies else plain[r] for r in rows]

    def _plain(self, batch: Features) -> list[tuple[Any, int]]:
        """Geometries that are not solids; none in CRS84, and none without heights beside others that have them."""
        if self.target in _PLAIN or self.reference is None:
            return [(None, -1)] * len(batch)
        flat = ~shapely.has_z(batch.geometry) if self.is_high else np.zeros(len(batch), bool)
        texts = geojson.geometries(batch, self.selection.city.city.config.crs, self.target)
        return [
            (None, -1) if text is None or flat[row] else (orjson.Fragment(text), _dimension(batch.geometry[row]))
            for row, text in enumerate(texts)
        ]

    def _solid(self, body: Body) -> tuple[Any, int]:
        if not body.shells:
            return None, -1
        points = _positions(body, self.grid, self.decimals)

        def polygons(faces: list[Face]) -> list[Any]:
            return [[[points[vertex] for vertex in (*ring, ring[0])] for ring in face.rings] for face in faces]

        found = body.solids
        if found is None:
            return {"type": "MultiPolygon", "coordinates": polygons(body.faces)}, 2
        made = [[polygons(shell.faces) for shell in solid] for solid in found]
        if len(made) == 1:
            return {"type": "Polyhedron", "coordinates": made[0]}, SOLID
        return {"type": "MultiPolyhedron", "coordinates": made}, SOLID


def _positions(body: Body, grid: Grid, decimals: int) -> list[list[float]]:
    """Coordinates in the axis order on the wire."""
    values: NDArray[np.float64] = grid.values(body.vertices)
    values[:, :2] = np.round(values[:, :2], decimals)
    values[:, 2] = np.round(values[:, 2], 4)
    if crs.is_north_first(grid.crs):
        values = values[:, [1, 0, 2]]
    listed: list[list[float]] = values.tolist()
    return listed
