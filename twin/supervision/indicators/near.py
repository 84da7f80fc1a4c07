"""Distances as measures: how closely stations stand, facilities with a live device, people within reach of places."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.coverage_indicators_reach import network, straight_m, walking_m
from twin.analysis.coverage_indicators_spacing import distinct, largest_gap, nearest_m
from twin.analysis.place import numbers, words
from twin.analysis.verdict import SAME
from twin.store.interface import Features
from twin.supervision.indicators import condition
from twin.supervision.indicators.admin import Zones
from twin.supervision.indicators.amounts import Amounts, Items, counted, cut, place, slots, summed
from twin.supervision.indicators.condition import FALSE, TRUE, UNKNOWN
from twin.supervision.indicators.source import NoData, Source, first_there, names

Shapes = NDArray[np.object_]
FloatArray = NDArray[np.float64]


def spacing(source: Source, zones: Zones, measure: Mapping[str, Any]) -> Amounts:
    """Mean distance to the nearest other station inside the area: a sum over stations by their number, so that zones
    add up. The other two metrics stand in `facts`.
    """
    area_layer, station_layer = measure["area"], measure["stations"]
    areas = source.features(area_layer["layer"], area_layer.get("filter")).geometry
    areas = areas[shapely.get_dimensions(areas) == 2]
    if not len(areas):
        raise NoData(f"图层 {area_layer['layer']} 没有面。", f"Layer {area_layer['layer']} has no areas.")
    area = shapely.union_all(shapely.make_valid(shapely.force_2d(areas)))
    found = source.features(station_layer["layer"], station_layer.get("filter"))
    points = shapely.centroid(shapely.force_2d(found.geometry))
    shapely.prepare(area)
    is_in = shapely.dwithin(points, area, SAME) & ~shapely.is_missing(points)
    xy = np.column_stack([shapely.get_x(points[is_in]), shapely.get_y(points[is_in])])
    kept = distinct(xy)
    rows = np.flatnonzero(is_in)[kept]
    near, slot = nearest_m(xy[kept]), place(zones, found)[rows]
    has_near = ~np.isnan(near)
    n = slots(zones)
    made = Amounts(
        summed(zones, slot[has_near], near[has_near]), counted(zones, slot[has_near]).astype(float), np.zeros(n),
        counted(zones, slot), np.zeros(n, np.int64),
    )  # fmt: skip
    made.facts |= _metrics(zones, xy[kept], area, slot, near)
    outside = np.flatnonzero(~is_in & ~shapely.is_missing(points))
    made.facts |= {
        "n_outside": len(outside), "n_without_place": int(shapely.is_missing(points).sum()),
        "n_coincident": len(xy) - len(kept), "primary": "mean-nearest",
        "stations_outside": [found.ids[row] for row in outside.tolist()][:1000],
    }  # fmt: skip
    return made


def _metrics(zones: Zones, xy: FloatArray, area: shapely.Geometry, slot: NDArray[np.int64], near: FloatArray) -> Any:
    """Of the city and of each zone: mean nearest distance, sqrt(A / N), largest gap, all in m; None where unknown."""
    by_zone: dict[str, dict[str, Any]] = {}
    _, part_slot, part = cut(zones, np.array([area], dtype=object))
    for each in np.unique(part_slot[part_slot < len(zones)]).tolist():
        piece = shapely.union_all(part[part_slot == each])
        by_zone[zones.codes[each]] = _three(piece, xy, int((slot == each).sum()), near[slot == each])
    return {"city": _three(area, xy, len(xy), near), "by_zone": by_zone}


def _three(area: shapely.Geometry, xy: FloatArray, n: int, near: FloatArray) -> dict[str, Any]:
    gap, where = largest_gap(xy, area)
    known = near[~np.isnan(near)]
    return {
        "n_stations": n,
        "mean_nearest_m": float(known.mean()) if len(known) else None,
        "area_based_m": float(np.sqrt(shapely.area(area) / n)) if n else None,
        "largest_gap_m": None if np.isnan(gap) else gap,
        "gap_at": None if where is None else [where.x, where.y],
    }


def share_near(source: Source, zones: Zones, measure: Mapping[str, Any]) -> Amounts:
    """Of facilities, the share that has a live device within a distance, or one that names it as its host."""
    first_there(source, measure["layers"])
    there = [each for each in measure["layers"] if source.has(each["layer"])]
    live, maybe = devices(source, measure["devices"])
    n = slots(zones)
    made = Amounts(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, np.int64), np.zeros(n, np.int64))
    for each in there:
        found = source.features(each["layer"], each.get("filter"))
        truth = is_near(found, each["layer"], live, maybe, float(measure["distance_m"]))
        slot = place(zones, found)
        is_known = truth != UNKNOWN
        made.numerator += summed(zones, slot, (truth == TRUE).astype(float))
        made.denominator = (0.0 if made.denominator is None else made.denominator) + summed(
            zones, slot, is_known.astype(float)
        )
        made.unknown += summed(zones, slot, (~is_known).astype(float))
        made.n += counted(zones, slot[is_known])
        made.n_unknown += counted(zones, slot[~is_known])
        for state, code in (("no", FALSE), ("unknown", UNKNOWN)):
            rows = np.flatnonzero(truth == code)
            ids = [found.ids[row] for row in rows.tolist()]
            made.items.append(Items(each["layer"], ids, found.geometry[rows], state, slot[rows]))
    made.facts["distance_m"] = float(measure["distance_m"])
    return made


Devices = tuple[Shapes, set[str]]
"""Places of devices, and what they name as their hosts."""


def devices(source: Source, given: Sequence[Mapping[str, Any]]) -> tuple[Devices, Devices]:
    """Devices that are alive, and those of which that is not known. NoData where no layer of them is there."""
    first_there(source, given)
    there = [each for each in given if source.has(each["layer"])]
    places: dict[int, list[Shapes]] = {TRUE: [], UNKNOWN: []}
    hosts: dict[int, set[str]] = {TRUE: set(), UNKNOWN: set()}
    for each in there:
        columns = [*condition.told_by(each, "live", "known"), "host_id"]
        found = source.features(each["layer"], each.get("filter"), columns)
        truth = condition.told(each, "live", found.attributes, len(found))
        told = words(found, "host_id")
        for code, shapes in places.items():
            rows = np.flatnonzero(truth == code)
            shapes.append(found.geometry[rows])
            hosts[code] |= {host for row in rows.tolist() if (host := told[row])}
    return (np.concatenate(places[TRUE]), hosts[TRUE]), (np.concatenate(places[UNKNOWN]), hosts[UNKNOWN])


def is_near(found: Features, layer: str, live: Devices, maybe: Devices, distance_m: float) -> condition.Truth:
    """(n,) whether each facility has a device: 1, 0, or -1 where it is of unknown state, or the facility without place.

    The distance is to the nearest point of the facility; equal to the limit counts.
    """
    own = names(found, layer)
    made = np.full(len(found), FALSE, np.int8)
    for code, (places, hosts) in ((UNKNOWN, maybe), (TRUE, live)):
        near = straight_m(shapely.force_2d(found.geometry), shapely.force_2d(places))
        with np.errstate(invalid="ignore"):
            made[near <= distance_m + SAME] = code
        made[[not each.isdisjoint(hosts) for each in own]] = code
    homeless = shapely.is_missing(found.geometry) & (made == FALSE)
    made[homeless] = UNKNOWN
    return made


def share_reached(source: Source, zones: Zones, measure: Mapping[str, Any]) -> Amounts:
    """Of people or dwellings, the share within reach of the nearest place: on foot along roads, or straight."""
    demand = first_there(source, measure["demand"])
    columns = (demand["weight"],) if "weight" in demand else ()
    found = source.features(demand["layer"], demand.get("filter"), columns)
    weight = numbers(found, demand["weight"]) if columns else np.ones(len(found))
    first_there(source, measure["places"])
    there = [each for each in measure["places"] if source.has(each["layer"])]
    places = np.concatenate([source.features(each["layer"], each.get("filter")).geometry for each in there])
    reached, facts = _reached(source, measure, found.geometry, places)
    slot = place(zones, found)
    is_known = ~np.isnan(weight) & ~shapely.is_missing(found.geometry)
    weight = np.where(np.isnan(weight), 0.0, weight)
    made = Amounts(
        summed(zones, slot, np.where(is_known & reached, weight, 0.0)),
        summed(zones, slot, np.where(is_known, weight, 0.0)),
        summed(zones, slot, np.where(is_known, 0.0, weight)),
        counted(zones, slot[is_known]), counted(zones, slot[~is_known]),
    )  # fmt: skip
    for state, rows in (("no", np.flatnonzero(is_known & ~reached)), ("unknown", np.flatnonzero(~is_known))):
        ids = [found.ids[row] for row in rows.tolist()]
        made.items.append(Items(demand["layer"], ids, found.geometry[rows], state, slot[rows]))
    made.facts |= facts | {"demand": demand["layer"], "weight": demand.get("weight", "count"), "n_places": len(places)}
    return made


def _reached(
    source: Source, measure: Mapping[str, Any], things: Shapes, places: Shapes
) -> tuple[NDArray[np.bool_], dict[str, Any]]:
    """(n,) within reach, and by which model."""
    walk = measure.get("walk")
    if walk is not None and source.has(walk["layer"]):
        roads = network(source.features(walk["layer"], walk.get("filter")).geometry)
        if len(roads.a):
            most_m = float(walk["minutes"]) * 60.0 * float(walk["speed_m_s"])
            far = walking_m(things, places, roads, most_m)
            facts = {
                "distance_model": "network", "network": walk["layer"], "minutes": walk["minutes"],
                "speed_m_s": walk["speed_m_s"], "reach_m": most_m, "n_joined_ends": roads.n_joined,
            }  # fmt: skip
            return np.nan_to_num(far, nan=np.inf) <= most_m + SAME, facts
    radius = float(measure["radius_m"])
    far = straight_m(shapely.force_2d(things), shapely.force_2d(places))
    return np.nan_to_num(far, nan=np.inf) <= radius + SAME, {"distance_model": "radius", "reach_m": radius}
