"""Pipes against what stands or runs over them: buildings beside (table 4.1.9), culverts and railways above (4.1.14)."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis import pipe_distance, place
from twin.analysis.pipe_clearance_pairs import MARGIN_M, Clearances, Measured, half_sizes, is_buried, joined, judged
from twin.analysis.pipe_joints import ends
from twin.analysis.pipe_limits import Table, classes
from twin.analysis.pipes import Pipes
from twin.store.interface import Features
from twin.supervision.rules import Rule

FloatArray = NDArray[np.float64]
ObjectArray = NDArray[np.object_]
KINDS = ("building", "culvert", "rail")
PROPERTIES = ("kind", "base_elev_m")
_NO_FACTS = {"dn_mm": None, "pressure": None, "burial": None, "voltage_kv": None}


@dataclass(frozen=True)
class Structures:
    """(n,) areas or lines in the city's CRS, one of `KINDS` each, with the height of their base (NaN unknown)."""

    names: list[str]
    geometry: ObjectArray
    kind: ObjectArray
    base_m: FloatArray

    def __len__(self) -> int:
        return len(self.names)


def from_features(found: Features, layer: str | None = None, name: str = "structures") -> Structures:
    """Features -> structures: `kind` and `base_elev_m`; a layer of buildings needs neither."""
    kind = np.array(place.words(found, "kind"), object)
    if layer == "building":
        kind[:] = "building"
    bad = [row for row, each in enumerate(kind) if each not in KINDS]
    if bad:
        said = "no kind" if kind[bad[0]] is None else f"kind {kind[bad[0]][:40]!r}"
        raise InvalidInput(f"{name}: {found.ids[bad[0]]!r} has {said}.", f"Use {', '.join(KINDS)}.")
    names = [f"{layer}/{each}" for each in found.ids] if layer is not None else list(found.ids)
    return Structures(names, found.geometry, kind, place.numbers(found, "base_elev_m", name))


def clearances(pipes: Pipes, structures: Structures, horizontal: Rule, vertical: Rule) -> Clearances:
    """Pairs of a pipe (`a`) and a structure (`b`), as `pipe_clearance_pairs.clearances`.

    A pipe that ends in a building or at its wall serves it, and is left out.
    """
    number, facts = classes(pipes)
    facts = [*facts, *({"": kind, **_NO_FACTS} for kind in KINDS)]
    of = np.array([len(facts) - len(KINDS) + KINDS.index(each) for each in structures.kind], np.int64)
    half = half_sizes(pipes, horizontal)
    beside, above = Table(horizontal, facts), Table(vertical, facts)
    return joined(
        _beside(pipes, structures, beside, (number, of), half[0]),
        _above(pipes, structures, above, (number, of), half[1]),
    )


def _beside(
    pipes: Pipes, structures: Structures, table: Table, classed: tuple[NDArray[np.int64], NDArray[np.int64]],
    half: FloatArray,
) -> Clearances:  # fmt: skip
    of_buildings = np.flatnonzero(structures.kind == "building")
    lines = shapely.force_2d(pipes.geometry)
    reach = table.largest + half + MARGIN_M
    a, at = shapely.STRtree(structures.geometry[of_buildings]).query(lines, predicate="dwithin", distance=reach)
    b = of_buildings[at]
    feet = shapely.points(ends(pipes)[:, :, :2])[a]
    serves = (shapely.distance(feet, structures.geometry[b][:, None]) <= pipe_distance.TOUCH_M).any(axis=1)
    keep = ~serves & is_buried(pipes)[a]
    a, b = a[keep], b[keep]
    plan = shapely.distance(lines[a], structures.geometry[b])
    place_ = shapely.shortest_line(lines[a], shapely.force_2d(structures.geometry[b]))
    none = np.full(len(a), np.nan)
    made = Measured(
        a, b, plan - pipes.width_m[a] / 2, plan - half[a], np.full(len(a), "od", object), place_, none,
        is_vertical=False,
    )  # fmt: skip
    return judged(made, table, classed[0][a], classed[1][b])


def _above(
    pipes: Pipes, structures: Structures, table: Table, classed: tuple[NDArray[np.int64], NDArray[np.int64]],
    half: FloatArray,
) -> Clearances:  # fmt: skip
    """Base of the structure - outer top of the pipe, at the highest place of the pipe below it."""
    of = np.flatnonzero(structures.kind != "building")
    a, at = shapely.STRtree(structures.geometry[of]).query(pipes.geometry, predicate="intersects")
    keep = is_buried(pipes)[a]
    a, b = a[keep], of[at[keep]]
    under = shapely.intersection(pipes.geometry[a], shapely.force_2d(structures.geometry[b]))
    xyz, owner = shapely.get_coordinates(under, include_z=True, return_index=True)
    axis = np.full(len(a), -np.inf)
    np.maximum.at(axis, owner, np.where(np.isnan(xyz[:, 2]), np.inf, xyz[:, 2]))
    axis = np.where(pipes.has_axis[a] & np.isfinite(axis), axis, np.nan)
    base = structures.base_m[b]
    with np.errstate(invalid="ignore"):
        below = ~((structures.kind[b] == "culvert") & (axis > base))  # a pipe over a culvert is not of this table
    a, b, axis, base, under = a[below], b[below], axis[below], base[below], under[below]
    gap = base - axis
    at_least = np.where(np.isnan(gap), -np.inf, gap - half[a])
    missing = np.where(np.isnan(gap), "height", "od").astype(object)
    none = np.full(len(a), np.nan)
    places = np.asarray(shapely.point_on_surface(under), object)
    made = Measured(a, b, gap - pipes.crown_m[a], at_least, missing, places, none, is_vertical=True)
    return judged(made, table, classed[0][a], classed[1][b])
