"""Buildings onto the ground: base, height and closed solid.

Clamp rule: a footprint that brings no base stands on the lowest ground under its corners and its centroid, so that no
part of it floats. A surveyed base is kept; if it lies more than 0.5 m off the ground there, that is noted. Where no
raster has ground under it, it stands on the nearest known ground, is noted, and its base is marked as estimated.

Where no height is stated it is measured in a surface model or a point cloud (`twin.fuse.roof`), else taken as 3 m a
storey; `estimated` then names it and `height_source` says how. Where nothing tells, nothing is guessed: the building is
drawn as its plot, a plate from the base to just over the highest ground under it, so that it can be seen and picked in
3D; `height_m` stays empty.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.frame import CityFrame
from layers.mesh import StoredMesh
from twin.fuse.blobs import encode_all
from twin.fuse.columns import numbers, only, with_column, words
from twin.fuse.extrude import FloatArray, Solids, extrude
from twin.fuse.given import PlacedMeshes
from twin.fuse.notes import Notes
from twin.fuse.roof import RoofSampler
from twin.terrain import Terrain

STOREY_M = 3.0
"""Height of a storey where only their number is known; such a height is listed in the attribute `estimated`."""

PLATE_M = 0.1
"""How far the plate of a building without a known height rises over its ground."""

HIGHEST_M, MOST_FLOORS = 1000.0, 250

LOWEST_ROOF_M = 1.8
"""A surface that rises less over the base shows no building there: it was not yet built, or is gone."""

STOREY_RANGE_M = (2.0, 10.0)
"""Storeys outside this range mean that height and number of storeys contradict each other."""

OFF_TERRAIN_M = 0.5


@dataclass(frozen=True)
class Buildings:
    """What is stored: attributes with base and height filled, and a mesh where there could be one."""

    attributes: pa.Table
    meshes: list[StoredMesh | None]


def ground_under(geometry: NDArray[np.object_], terrain: Terrain) -> tuple[FloatArray, FloatArray]:
    """(n,) footprints in the city's CRS -> lowest and highest ground under corners and centroid; NaN without ground."""
    xy, owner = shapely.get_coordinates(geometry, return_index=True)
    centre = shapely.get_coordinates(shapely.centroid(geometry))
    with_centre = np.flatnonzero(~(shapely.is_missing(geometry) | shapely.is_empty(geometry)))
    owner = np.concatenate([owner, with_centre])
    xy = np.concatenate([xy, centre])
    ground = terrain.height(xy[:, 0], xy[:, 1])
    low, high = np.full(len(geometry), np.nan), np.full(len(geometry), np.nan)
    np.fmin.at(low, owner, ground)
    np.fmax.at(high, owner, ground)
    return low, high


def stand(
    ids: list[str],
    geometry: NDArray[np.object_],
    attributes: pa.Table,
    *,
    given: PlacedMeshes | None,
    terrain: Terrain,
    roofs: RoofSampler | None = None,
    frame: CityFrame,
    notes: Notes,
) -> Buildings:
    """Fill `base_elev_m`, `height_m`, `estimated` and `height_source`, and make the solids.

    A mesh that the source brings is kept as it is; its own lowest and highest point then give what the attributes
    leave open.
    """
    names = np.array(ids, dtype=object)
    base, height = numbers(attributes, "base_elev_m"), numbers(attributes, "height_m")
    has_mesh = np.zeros(len(ids), bool)
    if given is not None:
        box = given.bounds
        has_mesh = np.isfinite(box).all(axis=1)
        base = np.where(np.isfinite(base), base, box[:, 2])
        height = np.where(np.isfinite(height), height, box[:, 5] - box[:, 2])
    base, ground, is_flat = _base(names, geometry, base, terrain, notes)
    floors = numbers(attributes, "floors")
    found = _heights(
        names, geometry, base=base, height=height, floors=floors, has_mesh=has_mesh, roofs=roofs, notes=notes
    )
    height = found.height_m

    is_known = np.isfinite(height) & (height > 0) & (height <= HIGHEST_M)
    top = np.where(is_known, base + height, np.fmax(base, ground) + PLATE_M)
    can = np.isfinite(base) & ~has_mesh & ~shapely.is_missing(geometry)
    solids = extrude(only(geometry, can), np.nan_to_num(base), np.nan_to_num(top))
    failed = names[can & (solids.n_triangles == 0)]
    notes.add("MESH_FAILED", failed, ["The footprint could not be cut into triangles: no solid."] * len(failed),
              "Check its outline for edges that touch or cross.", "warning")  # fmt: skip
    meshes = encode_all(_enu(solids, frame))
    if given is not None:
        brought = given.encoded(frame, has_mesh)
        meshes = [own if own is not None else made for own, made in zip(brought, meshes, strict=True)]

    estimated = _marked(attributes, {"height_m": found.source != "", "base_elev_m": is_flat})
    table = with_column(attributes, "base_elev_m", base, pa.float64())
    table = with_column(table, "height_m", height, pa.float64())
    said = words(attributes, "height_source")
    source = np.where(found.source != "", found.source, said)
    table = with_column(table, "height_source", source, pa.string())
    return Buildings(with_column(table, "estimated", estimated, pa.string()), meshes)


@dataclass(frozen=True)
class _Heights:
    """(n,) heights, NaN where nothing tells, and how those were found that nobody states; empty where stated."""

    height_m: FloatArray
    source: NDArray[np.object_]


def _heights(
    names: NDArray[np.object_],
    geometry: NDArray[np.object_],
    *,
    base: FloatArray,
    height: FloatArray,
    floors: FloatArray,
    has_mesh: NDArray[np.bool_],
    roofs: RoofSampler | None,
    notes: Notes,
) -> _Heights:
    """Heights as stated where they can be true; else measured in a surface, else from the storeys, else none."""
    usable = np.isfinite(height) & (height > 0) & (height <= HIGHEST_M)
    odd = np.isfinite(height) & ~usable & ~has_mesh
    notes.add("HEIGHT_IMPOSSIBLE", names[odd], [f"A height of {h:g} m cannot be; it is not used." for h in height[odd]],
              f"Correct it; it lies above 0 and up to {HIGHEST_M:.0f} m.", "warning")  # fmt: skip
    storey_m = np.divide(height, floors, out=np.full(len(height), np.nan), where=floors >= 1)
    low, high = STOREY_RANGE_M
    unlikely = usable & ((storey_m < low) | (storey_m > high))
    notes.add("HEIGHT_FLOORS_DISAGREE", names[unlikely],
              [f"{h:g} m with {f:.0f} storeys: {s:.1f} m each. The height is used." for h, f, s in
               zip(height[unlikely], floors[unlikely], storey_m[unlikely], strict=True)],
              "Correct the one that is wrong.", "info")  # fmt: skip
    out, source = np.where(odd, np.nan, height), np.full(len(height), "", object)
    asked = np.flatnonzero(np.isnan(out) & ~has_mesh & np.isfinite(base) & ~shapely.is_missing(geometry))
    if roofs is not None and asked.size:
        rows, rise, surface = _measured(asked, geometry, base, roofs)
        out[rows], source[rows] = rise, surface
    wanted = np.isnan(out) & ~has_mesh
    from_floors = wanted & (floors >= 1) & (floors <= MOST_FLOORS)
    out[from_floors] = floors[from_floors] * STOREY_M
    source[from_floors] = f"floors × {STOREY_M:g} m"
    none = wanted & ~from_floors
    notes.add("HEIGHT_MISSING", names[none],
              ["Neither height nor number of storeys, and no surface model or point cloud shows it: drawn as its plot."]
              * int(none.sum()), "Give height_m or floors, or add a surface model.", "warning")  # fmt: skip
    return _Heights(out, source)


def _measured(
    rows: NDArray[np.int64], geometry: NDArray[np.object_], base: FloatArray, roofs: RoofSampler
) -> tuple[NDArray[np.int64], FloatArray, NDArray[np.object_]]:
    """Those of the rows over which a surface rises like a building, its rise over the base, and which surface."""
    found = roofs.roofs(geometry[rows])
    rise = found.elev_m - base[rows]
    good = (rise >= LOWEST_ROOF_M) & (rise <= HIGHEST_M)
    return rows[good], rise[good], found.source[good]


def _base(
    names: NDArray[np.object_], geometry: NDArray[np.object_], base: FloatArray, terrain: Terrain, notes: Notes
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Bases by the clamp rule, the highest ground under each, and where the ground had to be taken as 0 m because the
    city has no terrain at all.
    """
    missing = np.isnan(base)
    if terrain.is_empty:
        if missing.any():
            notes.add("NO_TERRAIN", names[missing], ["No elevation raster in the city: it stands at 0 m."]
                      * int(missing.sum()), "Add a DEM; the next build puts them on it.", "warning")  # fmt: skip
        base = np.where(missing, 0.0, base)
        return base, base, missing
    low, high = ground_under(geometry, terrain)
    off = np.where(base < low, base - low, np.where(base > high, base - high, 0.0))
    far = ~missing & (np.abs(off) > OFF_TERRAIN_M)
    notes.add("BASE_OFF_TERRAIN", names[far],
              [f"Its base is {b:.2f} m, {abs(d):.2f} m {'above' if d > 0 else 'below'} the ground; the surveyed value "
               "is kept." for b, d in zip(base[far], off[far], strict=True)],
              "Compare the height datums of the two sources.", "info")  # fmt: skip
    base = np.where(missing, low, base)
    off_ground = np.flatnonzero(np.isnan(base) & ~shapely.is_missing(geometry))
    centre = shapely.get_coordinates(shapely.centroid(geometry[off_ground]))
    near, distance = terrain.nearest(centre[:, 0], centre[:, 1])
    base[off_ground], high[off_ground] = near, near
    found = np.isfinite(near)
    notes.add("GROUND_NEAREST", names[off_ground[found]],
              [f"No elevation raster has ground under it: it stands at {h:.2f} m, the ground {d:.0f} m away."
               for h, d in zip(near[found], distance[found], strict=True)],
              "Add a DEM that covers it, or base_elev_m.", "warning")  # fmt: skip
    nowhere = off_ground[~found]
    notes.add("BASE_MISSING", names[nowhere], ["No elevation raster has ground near it: no solid is made."]
              * len(nowhere), "Add a DEM that covers it, or base_elev_m.", "warning")  # fmt: skip
    is_estimated = np.zeros(len(base), bool)
    is_estimated[off_ground] = True
    return base, high, is_estimated


def _enu(solids: Solids, frame: CityFrame) -> Solids:
    vertices = frame.to_enu(solids.vertices) if len(solids.vertices) else solids.vertices
    return Solids(vertices, solids.triangles, solids.n_vertices, solids.n_triangles)


def _marked(attributes: pa.Table, derived: dict[str, NDArray[np.bool_]]) -> list[str | None]:
    """The attribute `estimated`: comma-separated names of what was not measured."""
    out = list(words(attributes, "estimated"))
    for name, rows in derived.items():
        for i in np.flatnonzero(rows).tolist():
            out[i] = ",".join([*(part for part in (out[i] or "").split(",") if part and part != name), name])
    return out
