"""One layer of one source, batch by batch: placed, stood on the ground, given its mesh, ready for the store."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.catalogue import LayerType
from layers.certificate import Certificate
from layers.frame import CityFrame
from layers.issue import Issue, Reject
from layers.mesh import StoredMesh
from layers.source import FeatureBatch, VectorLayer
from twin import checks
from twin.fuse import buildings, manholes, pipes
from twin.fuse import drape as draping
from twin.fuse.columns import numbers, with_column, with_constant
from twin.fuse.given import PlacedMeshes, place_meshes
from twin.fuse.instances import Instances
from twin.fuse.notes import Notes
from twin.fuse.place import certify, placement
from twin.fuse.roof import RoofSampler
from twin.store.interface import Rows
from twin.terrain import Terrain


@dataclass(frozen=True)
class Fused:
    """Rows for the store with the features they come from, and the features that could not be placed."""

    rows: Rows
    batch: FeatureBatch
    rejects: list[Reject] = field(default_factory=list)


class LayerFuser:
    """Puts the batches of one layer into the city.

    Parameters
    ----------
    layer : as its reader describes it
    layer_type : the catalogue's entry
    frame, city_vertical, terrain : the city
    read : certificate of the file
    roofs : where heights come from that nobody states
    drape : areas that are given no mesh otherwise get a thin surface on the ground

    Raises Unplaceable where the layer's datum cannot be converted.
    """

    def __init__(
        self,
        layer: VectorLayer,
        layer_type: LayerType,
        *,
        frame: CityFrame,
        city_vertical: str,
        terrain: Terrain,
        read: Certificate,
        roofs: RoofSampler | None = None,
        drape: bool = False,
    ) -> None:
        self._type, self._source_crs = layer_type, layer.crs
        self._frame = frame
        self._terrain, self._roofs = terrain, roofs
        self._drapes = drape and layer_type.solid in {None, "given"}
        self._notes = Notes()
        self._way = placement(frame, city_vertical, layer.crs, layer.vertical_crs)
        self._instances = Instances(layer_type, frame, terrain, self._notes)
        self.certificate = certify(layer.certificate or read, self._way, city_vertical)
        self.used_terrain = False
        stated = layer.vertical_crs is not None or read.parameters.get("vertical_offset_m") is not None
        self._unit_m = 1.0 if stated else _plane_unit_m(self.certificate)

    def issues(self) -> list[Issue]:
        """What was noted so far."""
        return [*self._notes.issues(), *self._instances.issues()]

    def fuse(self, batch: FeatureBatch) -> Fused:
        """One batch. Features outside the area of use of the city's CRS, or without finite place, are rejected."""
        self._doubt_heights(batch)
        geometry = self._way.geometries(batch.geometry)
        given = place_meshes(batch.meshes, self._way) if batch.meshes is not None else None
        outside = self._way.is_outside(np.asarray(shapely.bounds(geometry), np.float64).reshape(-1, 4))
        if given is not None:
            outside |= self._way.is_outside(given.bounds[:, [0, 1, 3, 4]])
        if not outside.any():
            return Fused(self._stored(batch, geometry, given), batch)
        rejects = [_rejected(batch, int(i), self._frame.city_crs) for i in np.flatnonzero(outside)]
        kept = _take(batch, np.flatnonzero(~outside))
        return Fused(self._again(kept), kept, rejects)

    def _doubt_heights(self, batch: FeatureBatch) -> None:
        """Heights without a datum count as metres: say so, once, where the plane coordinates are in feet."""
        if self._unit_m == 1:
            return
        z = shapely.get_coordinates(batch.geometry[shapely.has_z(batch.geometry)], include_z=True)[:, 2]
        if batch.meshes is None and not (np.isfinite(z) & (z != 0)).any():
            return
        words = (
            f"Its heights name no datum and are taken as metres; its coordinates are in units of {self._unit_m:.7g} m."
        )
        hint = 'If heights are too, write vertical_crs into city.toml, such as "EPSG:6360" (NAVD88, US survey feet).'
        self._notes.add("HEIGHT_UNIT_UNKNOWN", batch.ids[:1], [words], hint, "warning")
        self._unit_m = 1.0

    def _again(self, batch: FeatureBatch) -> Rows:
        given = place_meshes(batch.meshes, self._way) if batch.meshes is not None else None
        return self._stored(batch, self._way.geometries(batch.geometry), given)

    def _stored(self, batch: FeatureBatch, geometry: NDArray[np.object_], given: PlacedMeshes | None) -> Rows:
        checks.rows(self._type, batch, self._source_crs, self._notes)
        (attributes, left), meshes = self._way.elevations(batch.attributes, batch), None
        if left.size:
            words = "Its elevations stay in the source's height datum: it has no place to convert them at."
            names = [batch.ids[i] for i in left.tolist()]
            self._notes.add("ELEVATION_NOT_CONVERTED", names, [words] * len(names), "Give it a geometry.", "warning")
        if given is not None:
            geometry = _with_outlines(geometry, given)
        if not len(batch):
            pass
        elif self._type.solid == "extrude":
            built = buildings.stand(
                batch.ids,
                geometry,
                attributes,
                given=given,
                terrain=self._terrain,
                roofs=self._roofs,
                frame=self._frame,
                notes=self._notes,
            )
            attributes, meshes = built.attributes, built.meshes
            self.used_terrain = True
        elif self._type.solid == "tube" and given is None:
            laid = pipes.lay(
                batch.ids, geometry, attributes, batch.extra,
                terrain=self._terrain, frame=self._frame, notes=self._notes,
            )  # fmt: skip
            geometry, attributes, meshes = laid.geometry, laid.attributes, laid.meshes
            self.used_terrain |= laid.used_terrain
        elif self._type.solid == "well" and given is None:
            wells = manholes.sink(
                batch.ids, geometry, attributes, terrain=self._terrain, frame=self._frame, notes=self._notes
            )
            geometry, attributes, meshes = wells.geometry, wells.attributes, wells.meshes
            self.used_terrain |= wells.used_terrain
        elif self._type.solid == "instance":
            attributes, meshes = self._with_instances(batch.ids, geometry, attributes, given)
        elif self._drapes and given is None:
            meshes = draping.drape(batch.ids, geometry, terrain=self._terrain, frame=self._frame, notes=self._notes)
            self.used_terrain = True
        elif given is not None:
            box = given.bounds
            attributes = self._with_extent(attributes, box)
            meshes = given.encoded(self._frame, np.isfinite(box).all(axis=1))
        return Rows(batch.ids, geometry, self._common(attributes), batch.extra, meshes)

    def _with_instances(
        self, ids: list[str], geometry: NDArray[np.object_], attributes: pa.Table, given: PlacedMeshes | None
    ) -> tuple[pa.Table, list[StoredMesh | None]]:
        """Meshes that the source brings, and a shape for every other point."""
        brought: list[StoredMesh | None] = [None] * len(ids)
        if given is not None:
            box = given.bounds
            attributes = self._with_extent(attributes, box)
            brought = given.encoded(self._frame, np.isfinite(box).all(axis=1))
        wanted = np.array([mesh is None for mesh in brought], bool)
        made = self._instances.stand(ids, geometry, attributes, wanted)
        self.used_terrain |= self._instances.used_terrain
        return attributes, [own if own is not None else new for own, new in zip(brought, made, strict=True)]

    def _with_extent(self, attributes: pa.Table, box: NDArray[np.float64]) -> pa.Table:
        """Bottom and top elevation of a mesh, where the type has room for them and the source left them open."""
        for name, column in (("base_elev_m", 2), ("top_elev_m", 5)):
            if self._type.attribute(name) is not None:
                given = numbers(attributes, name)
                values = np.where(np.isfinite(given), given, box[:, column])
                attributes = with_column(attributes, name, values, pa.float64())
        return attributes

    def _common(self, attributes: pa.Table) -> pa.Table:
        """CIM category, level, access and the constants of the type, where the source gives none."""
        fixed: dict[str, Any] = {
            "cim_category": self._type.category,
            "cim_level": self._type.level[0],
            "access": self._type.access,
            **self._type.values,
        }
        for name, value in fixed.items():
            kind = self._type.attribute(name)
            if kind is not None:
                attributes = with_constant(attributes, name, value, kind.arrow_type)
        return attributes


def _plane_unit_m(read: Certificate) -> float:
    """Metres in a unit of the coordinates as the file has them; 1 where the reader made metres of its heights (IFC)."""
    source = read.source_crs
    if source is None or read.method not in {"file-crs", "given-crs"} or not crs.parse(source).is_projected:
        return 1.0
    unit_m = crs.metres_per_unit(source)
    return 1.0 if abs(unit_m - 1) < 1e-9 else unit_m


def _with_outlines(geometry: NDArray[np.object_], given: PlacedMeshes) -> NDArray[np.object_]:
    """A feature that only has a mesh gets its outline in plan, so that a map shows it."""
    bare = np.flatnonzero(shapely.is_missing(geometry) & (np.diff(given.start) > 0))
    if not bare.size:
        return geometry
    out = np.array(geometry, dtype=object)
    for i in bare.tolist():
        out[i] = given.outline(i)
    return out


def _take(batch: FeatureBatch, rows: NDArray[np.int64]) -> FeatureBatch:
    chosen = rows.tolist()
    return FeatureBatch(
        ids=[batch.ids[i] for i in chosen],
        geometry=batch.geometry[rows],
        attributes=batch.attributes.take(pa.array(rows)),
        extra=[batch.extra[i] for i in chosen],
        meshes=None if batch.meshes is None else [batch.meshes[i] for i in chosen],
    )


def content(batch: FeatureBatch, i: int) -> dict[str, Any]:
    """A feature as it was read, for a report: attributes, what the schema does not know, geometry as WKT."""
    given = {key: value for key, value in batch.attributes.slice(i, 1).to_pylist()[0].items() if value is not None}
    extra = batch.extra[i]
    shape = batch.geometry[i]
    return {
        "id": batch.ids[i],
        **given,
        **({"extra": json.loads(extra)} if extra else {}),
        **({} if shape is None else {"geometry": shapely.to_wkt(shape, rounding_precision=6)}),
    }


def _rejected(batch: FeatureBatch, i: int, city_crs: str) -> Reject:
    return Reject(
        "PLACED_OUTSIDE",
        batch.ids[i],
        f"It would lie outside the area where {city_crs} holds: it belongs to another city, or its declared CRS is "
        "not the true one.",
        content(batch, i),
    )
