"""Devices on the map: the site each belongs to, the water whose level it measures, the house nearest to it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from twin import series as series_module
from twin.analysis import place
from twin.analysis.verdict import SAME
from twin.store.interface import Features, Query

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_TOLD = ("host_id", "kind", "name", "state")


@dataclass(frozen=True)
class Device:
    """A device with its place (None where it has none, or stands at 0, 0) and what its layer says of it."""

    id: str
    layer: str
    feature: str
    point: shapely.Point | None
    told: Mapping[str, str | None]


def devices(city: "City", wanted: Collection[str] | None) -> dict[str, Device]:
    """Devices by id, from the layers of points that name devices; first in layers of sensors and stations.

    None: all of them; one that has a name besides its id in its layer is known by both.
    """
    left, found = set(wanted or ()), dict[str, Device]()
    infos = [info for info in city.layers if series_module.names_devices(info.type)]
    first = series_module.FIRST
    infos.sort(key=lambda info: first.index(info.id) if info.id in first else len(first))
    for info in infos:
        name = series_module.names_devices(info.type)
        if name is None or (wanted is not None and not left):
            break
        known = tuple(each for each in (name, *_TOLD) if info.type.attribute(each))
        for batch in city.store.query(info.id, Query(properties=known), city.scope):
            for i, row in enumerate(batch.attributes.to_pylist()):
                own = {row[name], batch.ids[i]} - {None}
                keys = own - found.keys() if wanted is None else [row[name] if row[name] in left else batch.ids[i]]
                for key in keys if wanted is None else left.intersection(keys):
                    told = {each: None if row.get(each) is None else str(row[each]) for each in _TOLD}
                    found[key] = Device(key, info.id, batch.ids[i], _point(batch.geometry[i]), told)
        left -= found.keys()
    return found


def _point(shape: shapely.Geometry | None) -> shapely.Point | None:
    if shape is None or shapely.is_empty(shape):
        return None
    point = shape if shape.geom_type == "Point" else shapely.get_parts(shape)[0]
    return None if point.x == 0 and point.y == 0 else point


def join(points: NDArray[np.object_], areas: NDArray[np.object_], within_m: float) -> tuple[IntArray, FloatArray]:
    """(n,) points, None for no place -> (n,) row of the area each lies in, else the nearest within `within_m`, else -1.

    And (n,) distances in metres, 0 inside, NaN where there is none. Of several areas the first counts.
    """
    n = len(points)
    which, distance = np.full(n, -1, np.int64), np.full(n, np.nan)
    rows = np.flatnonzero(~shapely.is_missing(points))
    if not rows.size or not len(areas):
        return which, distance
    tree = shapely.STRtree(areas)
    point, area = tree.query(points[rows], "intersects")
    for p, a in sorted(zip(point.tolist(), area.tolist(), strict=True), reverse=True):
        which[rows[p]], distance[rows[p]] = a, 0.0
    rest = rows[which[rows] < 0]
    if rest.size:
        (point, area), metres = tree.query_nearest(
            points[rest], max_distance=within_m + 2 * SAME, return_distance=True, all_matches=True
        )
        keep = metres <= within_m + SAME
        for p, a, d in sorted(
            zip(point[keep].tolist(), area[keep].tolist(), metres[keep].tolist(), strict=True), reverse=True
        ):
            which[rest[p]], distance[rest[p]] = a, d
    return which, distance


@dataclass(frozen=True)
class Host:
    """Water that a device stands at: its limit, its name as `layer/id`, and its characteristic levels by state.

    `quiet_m`, `quiet_levels`: limit and levels outside the flood season, the same where no season counts. A limit that
    is not known is NaN.
    """

    limit_m: float
    feature: str
    levels: tuple[tuple[str, float], ...]
    quiet_m: float
    quiet_levels: tuple[tuple[str, float], ...]


def hosts(city: "City", known: Sequence[Mapping[str, Any]], found: Mapping[str, Device]) -> dict[str, Host]:
    """The water of each device from what `host_id` names: by id or code, in the layers that a rule lists."""
    wanted = {device.told.get("host_id") for device in found.values()} - {None}
    made: dict[str, Host] = {}
    for each in known:
        if each["layer"] not in city:
            continue
        names = {attribute.name for attribute in city.store.layer(each["layer"], city.scope).type.attributes}
        if each["limit"] not in names:
            continue
        states = {name: state for name, state in each.get("states", {}).items() if name in names}
        season = each.get("season", {})
        columns = tuple({each["code"], each["limit"], season.get("limit"), *states} & names)
        for batch in city.store.query(each["layer"], Query(properties=columns, with_geometry=False), city.scope):
            codes, limits = place.words(batch, each["code"]), place.numbers(batch, each["limit"])
            quiet = place.numbers(batch, season["limit"]) if season else limits
            levels = {state: place.numbers(batch, name) for name, state in states.items()}
            for i, name in enumerate(batch.ids):
                key = name if name in wanted else codes[i] if codes[i] in wanted else None
                if key is None or (np.isnan(limits[i]) and np.isnan(quiet[i])):
                    continue
                steps = tuple((state, float(m[i])) for state, m in levels.items() if not np.isnan(m[i]))
                calm = _quiet(steps, states.get(each["limit"]), season.get("state"), float(quiet[i]))
                host = Host(float(limits[i]), f"{each['layer']}/{name}", steps, float(quiet[i]), calm)
                made.setdefault(key, host)
    return {
        device.id: made[str(device.told["host_id"])] for device in found.values() if device.told.get("host_id") in made
    }


def _quiet(
    steps: tuple[tuple[str, float], ...], limit: str | None, state: str | None, level_m: float
) -> tuple[tuple[str, float], ...]:
    """Levels by state outside the flood season: that of the limit gives way to another one."""
    if state is None:
        return steps
    rest = tuple(each for each in steps if each[0] != limit)
    return rest if np.isnan(level_m) else (*rest, (state, level_m))


def is_station(device: Device, words: Collection[str]) -> bool:
    """Whether what a device stands at, or its kind, is a word for a public station."""
    return device.told.get("host_id") in words or device.told.get("kind") in words


def sensitive(city: "City", points: Sequence[shapely.Point], uses: Sequence[str], within_m: float) -> Features:
    """Buildings around points whose use is one of those that are sensitive."""
    if "building" not in city or not points:
        return place.collected(())
    region = shapely.union_all(
        [shapely.box(p.x - within_m, p.y - within_m, p.x + within_m, p.y + within_m) for p in points]
    )
    names = {each.name for each in city.store.layer("building", city.scope).type.attributes}
    if "use" not in names:
        return place.collected(())
    query = Query(region=region, properties=("use",))
    return place.collected(_used(city, query, uses), "building")


def _used(city: "City", query: Query, uses: Sequence[str]) -> Any:
    from twin.analysis.sunlight_place import chosen

    for batch in city.store.query("building", query, city.scope):
        words = [(each or "").lower() for each in place.words(batch, "use")]
        rows = [i for i, word in enumerate(words) if any(use.lower() in word for use in uses)]
        yield chosen(batch, np.array(rows, np.int64))


def nearest(
    point: shapely.Point, houses: NDArray[np.object_], within_m: float, *, wind_from_deg: float = np.nan,
    half_angle_deg: float = 45.0, turn_deg: float = 0.0,
) -> tuple[int, float, bool]:  # fmt: skip
    """The house nearest to a point: downwind where the wind is known and one lies there, else anywhere.

    Returns
    -------
    row (-1 for none within `within_m`), distance in metres, whether it lies downwind

    Notes
    -----
    Downwind: the bearing to the house's nearest point is within the half angle of where the wind blows to. Wind
    directions are from where it blows, from true north; `turn_deg` is grid north from true north.
    """
    if not len(houses):
        return -1, np.nan, False
    flat = shapely.force_2d(houses)
    distance = np.asarray(shapely.distance(flat, point))
    near = np.flatnonzero(distance <= within_m + SAME)
    if not near.size:
        return -1, np.nan, False
    if not np.isnan(wind_from_deg):
        ends = shapely.get_coordinates(shapely.shortest_line(shapely.force_2d(point), flat[near]))[1::2]
        bearing = np.degrees(np.arctan2(ends[:, 0] - point.x, ends[:, 1] - point.y)) + turn_deg
        off = np.abs((bearing - (wind_from_deg + 180.0) + 180.0) % 360.0 - 180.0)
        lee = near[(off <= half_angle_deg + SAME) | (distance[near] == 0)]
        if lee.size:
            row = int(lee[np.argmin(distance[lee])])
            return row, float(distance[row]), True
    row = int(near[np.argmin(distance[near])])
    return row, float(distance[row]), False
