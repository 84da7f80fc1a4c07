"""How far buildings stand from the line of their parcel and from other lines. Plane geometry, no city."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.parcel_intensity_areas import TOUCH_M2, parts

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Geometries = NDArray[np.object_]


@dataclass(frozen=True)
class Distances:
    """One row for each pair that was measured: rows of building and line, metres, and the shortest way (a line)."""

    building: IntArray
    other: IntArray
    distance_m: FloatArray
    way: Geometries

    def only(self, keep: NDArray[np.bool_]) -> "Distances":
        """Some of the pairs."""
        return Distances(self.building[keep], self.other[keep], self.distance_m[keep], self.way[keep])


def setbacks(footprints: Geometries, parcels: Geometries) -> Distances:
    """Distance of (n,) footprints from the outline of each of (m,) parcels that they stand in.

    Plane metres between the nearest points. A building across the line has distance 0. One that shares no more than
    0.01 m² with a parcel does not stand in it. Holes of a parcel are none of its land: their outline counts.
    """
    met = parts(parcels, footprints)
    keep = met.area_m2 > TOUCH_M2
    building, parcel = met.item[keep], met.parcel[keep]
    line = shapely.boundary(parcels[parcel])
    shapely.prepare(parcels)
    is_inside = shapely.covers(parcels[parcel], footprints[building])
    # a footprint across the line meets it, also where it goes round a hole
    distance = np.where(is_inside, shapely.distance(footprints[building], line), 0.0)
    return Distances(building, parcel, distance, np.asarray(shapely.shortest_line(footprints[building], line), object))


def within_reach(footprints: Geometries, lines: Geometries, reach_m: FloatArray) -> Distances:
    """Distance of (n,) footprints from (m,) lines or areas nearer than each one's own reach (m,); 0 where they meet."""
    usable = np.flatnonzero(reach_m > 0)
    tree = shapely.STRtree(footprints)
    line, building = tree.query(lines[usable], predicate="dwithin", distance=reach_m[usable])
    order = np.lexsort((line, building))
    building, other = building[order].astype(np.int64), usable[line[order]]
    distance = np.asarray(shapely.distance(footprints[building], lines[other]), np.float64)
    way = np.asarray(shapely.shortest_line(footprints[building], lines[other]), object)
    return Distances(building, other, distance, way)
