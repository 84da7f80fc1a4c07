"""What sunlight is computed on: windows and buildings of a city, with heights that are known or said to be unknown."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis import place, site_features
from twin.analysis.sunlight_shadow import Obstacles, facade, obstacles
from twin.store.interface import Features, Query

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]

BUILDING = "building"
COLUMNS = ("base_elev_m", "height_m", "top_elev_m", "estimated", "same_as", "use")
WINDOW_COLUMNS = ("elev_m", "floor_elev_m", "facing_deg", "base_elev_m", "same_as")
MOST_HEIGHT_M = 1000.0
"""The catalogue's tallest building."""
LONE_TALL_M = 50.0
"""Far away, a building without a base is looked at from this height on: the ground under it is asked then."""


@dataclass(frozen=True)
class Windows:
    """Points that sunlight is asked for.

    Attributes
    ----------
    points : (n, 3) city CRS and normal height, NaN height where it is not known
    facing_grid_deg : (n,) grid bearing they face, NaN for all round
    facing_deg : (n,) true azimuth they face where it was given, NaN otherwise
    ids : (n,) of the features; several points of a wall share it
    """

    points: FloatArray
    facing_grid_deg: FloatArray
    facing_deg: FloatArray
    ids: list[str]

    def __len__(self) -> int:
        return len(self.ids)


def windows(city: "City", found: Features, sill_m: float, spacing_m: float) -> Windows:
    """Points as they are; of outlines, points along the walls.

    The height of a point is its z, else `elev_m`, else `floor_elev_m` + sill; of an outline its base (or
    the ground) + sill.
    """
    if np.isin(shapely.get_type_id(found.geometry), (3, 6)).all():
        return _of_walls(city, found, sill_m, spacing_m)
    if not (shapely.get_type_id(found.geometry) == 0).all():
        raise InvalidInput("windows: points and outlines are mixed.", "Give points, or outlines of buildings.")
    points = shapely.get_coordinates(found.geometry, include_z=True)
    elev, floor = (site_features.numbers(found, "windows", each) for each in ("elev_m", "floor_elev_m"))
    height = np.where(np.isnan(points[:, 2]), np.where(np.isnan(elev), floor + sill_m, elev), points[:, 2])
    facing = site_features.numbers(found, "windows", "facing_deg", least=-360, most=360)
    return Windows(np.column_stack([points[:, :2], height]), np.full(len(found), np.nan), facing, found.ids)


def _of_walls(city: "City", found: Features, sill_m: float, spacing_m: float) -> Windows:
    site_features.numbers(found, "windows", "base_elev_m", least=-500, most=10_000)
    base = bases_m(city, found)
    made = [facade(shape, base[i] + sill_m, spacing_m) for i, shape in enumerate(found.geometry)]
    points = np.concatenate([each for each, _ in made])
    bearings = np.concatenate([each for _, each in made])
    ids = [found.ids[i] for i, (each, _) in enumerate(made) for _ in each]
    return Windows(points, bearings, np.full(len(ids), np.nan), ids)


def given_obstacles(city: "City", name: str, given: Mapping[str, Any]) -> Features:
    """Buildings of an input."""
    found = site_features.read(city, name, given, kinds=place.AREAS, columns=COLUMNS)
    for column, least in (("base_elev_m", -500.0), ("height_m", 0.0), ("top_elev_m", -500.0)):
        site_features.numbers(found, name, column, least=least, most=10_000.0)
    return found


def near_obstacles(
    city: "City",
    box: tuple[float, ...],
    near_m: float,
    far_m: float,
    top_m: float,
    *,
    at: datetime | None = None,
) -> Features:
    """Buildings of the layer `building` around a box: all within `near_m`, those with tops over `top_m` within `far_m`.

    `box` is west, south, east, north in the city's CRS.
    """
    if BUILDING not in city:
        raise InvalidInput("buildings: the city has no layer building.", "Give buildings, or build the city with some.")
    grow = np.array([-1.0, -1.0, 1.0, 1.0])
    names = {each.name for each in city.store.layer(BUILDING, city.scope).type.attributes}
    wanted = tuple(each for each in COLUMNS if each in names)
    near = Query(region=shapely.box(*(np.array(box) + grow * near_m)), properties=wanted, at=at)
    batches = list(city.store.query(BUILDING, near, city.scope))
    if far_m > near_m and {"base_elev_m", "height_m"} <= names:
        base, height = {"property": "base_elev_m"}, {"property": "height_m"}
        tall = {"op": ">", "args": [{"op": "+", "args": [base, height]}, float(top_m)]}
        lone = {"op": "and", "args": [{"op": "isNull", "args": [base]}, {"op": ">", "args": [height, LONE_TALL_M]}]}
        far = Query(
            region=shapely.box(*(np.array(box) + grow * far_m)), filter={"op": "or", "args": [tall, lone]},
            properties=wanted, at=at,
        )  # fmt: skip
        seen = {fid for batch in batches for fid in batch.fids.tolist()}
        for batch in city.store.query(BUILDING, far, city.scope):
            fresh = np.array([fid not in seen for fid in batch.fids.tolist()])
            batches.append(chosen(batch, np.flatnonzero(fresh)))
    return once(place.collected(batches, "buildings"))


def once(found: Features) -> Features:
    """Without features that say they are the same as another one that is here: a model of a footprint, for example."""
    ids = set(found.ids)
    twins = [name in ids and name != found.ids[i] for i, name in enumerate(place.words(found, "same_as"))]
    return chosen(found, np.flatnonzero(~np.array(twins, bool))) if any(twins) else found


def chosen(found: Features, rows: NDArray[np.integer[Any]]) -> Features:
    """Some of the features."""
    return Features(
        found.fids[rows], [found.ids[i] for i in rows], found.geometry[rows], found.attributes.take(rows),
        [found.extra[i] for i in rows], found.versions[rows], [found.valid_from[i] for i in rows],
        [found.valid_to[i] for i in rows],
    )  # fmt: skip


def bases_m(city: "City", found: Features) -> FloatArray:
    """(n,) heights on which buildings stand: `base_elev_m`, else the ground at a point inside; NaN where neither is."""
    base = place.numbers(found, "base_elev_m").copy()
    rows = np.flatnonzero(np.isnan(base) & ~shapely.is_empty(found.geometry) & ~shapely.is_missing(found.geometry))
    if rows.size:
        at = shapely.get_coordinates(shapely.point_on_surface(found.geometry[rows]))
        base[rows] = city.height(at[:, 0], at[:, 1])
    return base


def prisms(city: "City", found: Features, unknown_up_to_m: float, lowest_m: float) -> tuple[Obstacles, Obstacles]:
    """Buildings as prisms: those whose height is known, and all, each unknown one as high as it may be.

    A top is `top_elev_m`, else base + `height_m` (a height of 0 says nothing). An unknown one may reach
    `unknown_up_to_m` above its base, or above `lowest_m` where that is unknown too.
    """
    height, top = place.numbers(found, "height_m"), place.numbers(found, "top_elev_m")
    base = bases_m(city, found)
    known = np.where(np.isnan(top), base + np.where(height > 0, height, np.nan), top)
    as_is = obstacles(found.geometry, known)
    highest = np.where(np.isnan(known), np.where(np.isnan(base), lowest_m, base) + unknown_up_to_m, known)
    return as_is, Obstacles(as_is.edge_start, as_is.edges, as_is.boxes, highest)
