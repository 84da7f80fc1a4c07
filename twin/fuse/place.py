"""Source CRS -> city CRS, horizontally and in height, one call for a whole batch."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers import crs
from layers.certificate import Certificate
from layers.errors import InvalidInput, Unplaceable
from layers.frame import CityFrame
from layers.source import FeatureBatch
from twin.fuse.columns import numbers, with_column
from twin.fuse.datum import VerticalStep, is_modern, vertical_step

FloatArray = NDArray[np.float64]

BEYOND_AREA_DEG = 1.0
"""A city that lies across the edge of a 3-degree zone keeps one CRS; further out something is wrong."""


@dataclass(frozen=True)
class Placement:
    """The way of one layer into the city.

    Attributes
    ----------
    frame : the city's
    source_crs : horizontal CRS of the source; None when the layer has no geometry
    vertical : the step for heights
    assumption : what had to be assumed about the datums, a sentence, or empty
    """

    frame: CityFrame
    source_crs: str | None
    vertical: VerticalStep
    assumption: str = ""

    @property
    def is_identity(self) -> bool:
        """True if coordinates stay as they are."""
        return self.vertical.is_identity and (
            self.source_crs is None or crs.horizontal(self.source_crs) == self.frame.city_crs
        )

    @cached_property
    def limits(self) -> crs.Bounds | None:
        """Box in the city's CRS around its area of use, widened by a degree; None where it cannot be told."""
        area = crs.area_of_use(self.frame.city_crs)
        if area is None:
            return None
        west, south, east, north = area
        east += 360.0 if east < west else 0.0  # across 180 degrees
        wider = (west - BEYOND_AREA_DEG, max(south - 1, -89.0), east + BEYOND_AREA_DEG, min(north + 1, 89.0))
        try:
            return crs.transform_bounds(crs.WGS84, self.frame.city_crs, wider)
        except InvalidInput:  # a projection that cannot show its own area: only finiteness is checked then
            return None

    def points(self, xyz: FloatArray) -> FloatArray:
        """(n, 2) or (n, 3) of the source, east first -> the same shape in the city's CRS; inf where it cannot be."""
        out = np.array(xyz, np.float64)
        if self.is_identity or not len(out) or self.source_crs is None:
            return out
        x, y = out[:, 0].copy(), out[:, 1].copy()
        out[:, 0], out[:, 1] = crs.transform(self.source_crs, self.frame.city_crs, x, y)
        if out.shape[1] == 3 and not self.vertical.is_identity:
            known = np.isfinite(out[:, :2]).all(axis=1)
            lon, lat = crs.transform(self.source_crs, crs.WGS84, x[known], y[known])
            out[known, 2] = self.vertical.normal_m(lon, lat, out[known, 2])
        return out

    def geometries(self, geometry: NDArray[np.object_]) -> NDArray[np.object_]:
        """(n,) geometries of the source, or None -> the same in the city's CRS."""
        if self.is_identity:
            return geometry
        out = np.array(geometry, dtype=object)
        has_z = shapely.has_z(out)
        for chosen, with_z in ((~has_z, False), (has_z, True)):
            if chosen.any():
                out[chosen] = shapely.transform(out[chosen], self.points, include_z=with_z)
        return out

    def elevations(self, attributes: pa.Table, batch: FeatureBatch) -> tuple[pa.Table, NDArray[np.intp]]:
        """Columns `*_elev_m`, heights in the source's datum like z, in the city's; and rows without a place, left as
        they are where their conversion depends on it.

        The height anomaly is taken at the middle of the feature's box: it changes by centimetres a kilometre.
        """
        columns = [
            each.name for each in attributes.schema if each.name.endswith("_elev_m") and pa.types.is_floating(each.type)
        ]
        if self.vertical.is_identity or self.source_crs is None or not columns:
            return attributes, np.zeros(0, np.intp)
        boxes = np.asarray(shapely.bounds(batch.geometry), np.float64).reshape(-1, 4)
        x, y = boxes[:, [0, 2]].mean(axis=1), boxes[:, [1, 3]].mean(axis=1)
        for i in np.flatnonzero(np.isnan(x)) if batch.meshes is not None else ():
            mesh = batch.meshes[i] if batch.meshes is not None else None
            if mesh is not None and len(mesh.vertices):
                x[i], y[i] = mesh.vertices[0, :2]
        lon, lat = crs.transform(self.source_crs, crs.WGS84, x, y)
        has_place = np.isfinite(lon) & np.isfinite(lat)
        without: set[int] = set()
        for name in columns:
            values = numbers(attributes, name)
            chosen = np.flatnonzero(np.isfinite(values) & has_place)
            without |= set(np.flatnonzero(np.isfinite(values) & ~has_place).tolist())
            values = values.copy()
            values[chosen] = self.vertical.normal_m(lon[chosen], lat[chosen], values[chosen])
            attributes = with_column(attributes, name, values, attributes.schema.field(name).type)
        return attributes, np.array(sorted(without), np.intp)

    def is_outside(self, bounds: FloatArray) -> NDArray[np.bool_]:
        """(n, 4) boxes in the city's CRS -> (n,) True where one is not finite or leaves the CRS's area of use.

        A row of NaN is a feature without geometry, which lies nowhere and so not outside.
        """
        nowhere = np.isnan(bounds).all(axis=1)
        wild = ~np.isfinite(bounds).all(axis=1)
        if self.limits is not None:
            west, south, east, north = self.limits
            wild |= (bounds[:, 0] < west) | (bounds[:, 1] < south) | (bounds[:, 2] > east) | (bounds[:, 3] > north)
        return np.asarray(wild & ~nowhere)


def placement(frame: CityFrame, city_vertical: str, source_crs: str | None, source_vertical: str | None) -> Placement:
    """Decide how a layer gets to the city. Raises Unplaceable where a datum shift is unknown."""
    vertical = vertical_step(source_crs, source_vertical, city_vertical, frame.height_model)
    assumption = "" if source_crs is None else _datum_assumption(source_crs, frame.city_crs)
    return Placement(frame, source_crs, vertical, assumption)


def certify(read: Certificate, way: Placement, city_vertical: str) -> Certificate:
    """The reader's certificate, completed by where the layer was put and how."""
    source, city = way.source_crs, way.frame.city_crs
    same = source is None or crs.horizontal(source) == city
    horizontal = "none needed" if same or source is None else crs.description(source, city)
    accuracy = 0.0 if same or source is None else crs.accuracy_m(source, city)
    raised_m = read.parameters.get("vertical_offset_m")
    vertical = way.vertical.words if raised_m is None else f"{raised_m:+g} m, as told, to reach {city_vertical}"
    notes = (*read.contradictions, way.assumption) if way.assumption else read.contradictions
    return Certificate(
        method=read.method,
        source_crs=read.source_crs or source,
        source_vertical_crs=read.source_vertical_crs,
        city_crs=city,
        city_vertical_crs=city_vertical,
        transformation=f"horizontal: {horizontal}; vertical: {vertical}",
        accuracy_m=read.accuracy_m if accuracy is None or read.accuracy_m is not None else accuracy,
        parameters={**read.parameters, "height_model": way.frame.height_model.describe()},
        contradictions=notes,
    )


def _datum_assumption(source: str, city: str) -> str:
    if "ballpark" not in crs.description(source, city).lower() or crs.horizontal(source) == city:
        return ""
    names = crs.parse(crs.horizontal(source)).name, crs.parse(city).name
    if all(is_modern(each) for each in (source, city)):
        return f"The datums of {names[0]} and {names[1]} are taken as equal (they differ by some decimetres at most)."
    raise Unplaceable(
        f"No transformation with a known datum shift leads from {names[0]} to {names[1]}.",
        "Transform the file with control points first, or correct its CRS.",
        code="DATUM_SHIFT_UNKNOWN",
    )
