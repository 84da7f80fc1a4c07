"""Shares of areas that sheets, discs or sectors cover, and amounts of area, length or number, alone or by another one.

Areas are those on the ellipsoid; what several features cover counts once. A zone has of an area what lies in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import ellipsoid_area
from layers.errors import InvalidInput
from twin.analysis.coverage_indicators_area import covered, discs, sectors
from twin.analysis.coverage_indicators_zones import geodesic_lengths_m, lines_of
from twin.analysis.place import numbers
from twin.supervision.indicators.admin import Zones
from twin.supervision.indicators.amounts import Amounts, Items, counted, cut, place, slots, summed
from twin.supervision.indicators.source import NoData, Source

Shapes = NDArray[np.object_]
FloatArray = NDArray[np.float64]


def share_of_area(source: Source, zones: Zones, measure: Mapping[str, Any]) -> Amounts:
    """Of an area, the share that is covered. Devices with a missing number cover nothing and are listed."""
    area = _union(source, [measure["area"]])
    if area is None:
        layer = measure["area"]["layer"]
        raise NoData(f"图层 {layer} 没有面。", f"Layer {layer} has no areas.")
    cover, unknown = _cover(source, zones, measure["cover"])
    _, slot, part = cut(zones, np.array([area], dtype=object))
    inside, whole, left = covered(part, cover, source.city.crs)
    n = slots(zones)
    made = Amounts(
        summed(zones, slot, inside), summed(zones, slot, whole), np.zeros(n), np.zeros(n, np.int64),
        np.zeros(n, np.int64),
    )  # fmt: skip
    used = cover[~shapely.is_missing(cover)]
    if len(used) and len(part):
        made.n += counted(zones, slot[shapely.STRtree(used).query(part, predicate="intersects")[0]])
    is_open = ~shapely.is_empty(left)
    layer = str(measure["area"]["layer"])
    made.items.append(Items(layer, [""] * int(is_open.sum()), left[is_open], "no", slot[is_open]))
    for each in unknown:
        made.items.append(each)
        made.n_unknown += counted(zones, each.slot)
    made.facts |= {"areas": "CGCS2000 ellipsoid", "n_cover": len(used)}
    return made


def _union(source: Source, given: Sequence[Mapping[str, Any]]) -> shapely.Geometry | None:
    """All areas of some layers as one; None where there are none. NoData where a layer is missing."""
    shapes = [_areas(source.features(each["layer"], each.get("filter")).geometry) for each in given]
    every = np.concatenate(shapes)
    return None if not len(every) else shapely.union_all(every)


def _areas(shapes: Shapes) -> Shapes:
    flat = shapely.force_2d(shapes[shapely.get_dimensions(shapes) == 2])
    bad = ~shapely.is_valid(flat)
    flat[bad] = shapely.make_valid(flat[bad])
    return np.asarray(flat, dtype=object)


def _cover(source: Source, zones: Zones, cover: Mapping[str, Any]) -> tuple[Shapes, list[Items]]:
    """(n,) polygons in the city's CRS, None where a number is missing, and those devices."""
    kind = cover["kind"]
    if kind == "areas":
        shapes = [_areas(source.features(each["layer"], each.get("filter")).geometry) for each in cover["layers"]]
        return np.concatenate(shapes), []
    made: list[Shapes] = []
    unknown: list[Items] = []
    for each in cover["layers"]:
        found = source.features(each["layer"], each.get("filter"), ("azimuth_deg", "fov_deg", "range_m", "radius_m"))
        centres = shapely.centroid(shapely.force_2d(found.geometry))
        xy = np.column_stack([shapely.get_x(centres), shapely.get_y(centres)])
        try:
            drawn = _shapes(kind, cover, xy, {name: numbers(found, name) for name in _NUMBERS})
        except InvalidInput as error:
            raise InvalidInput(f"{each['layer']}: {error.problem}", error.hint) from error
        lost = np.flatnonzero(shapely.is_missing(drawn))
        if lost.size:
            ids = [found.ids[row] for row in lost.tolist()]
            unknown.append(Items(each["layer"], ids, found.geometry[lost], "unknown", place(zones, found)[lost]))
        made.append(drawn)
    return np.concatenate(made), unknown


_NUMBERS = ("azimuth_deg", "fov_deg", "range_m", "radius_m")


def _shapes(kind: str, cover: Mapping[str, Any], xy: FloatArray, told: Mapping[str, FloatArray]) -> Shapes:
    """Discs, or sectors where azimuth, field of view and range are there, else the disc of the radius that is told."""
    radius = np.where(np.isnan(told["radius_m"]), cover.get("radius_m", np.nan), told["radius_m"])
    if "radius_m" in cover and cover.get("is_override"):
        radius = np.full(len(xy), float(cover["radius_m"]))
    if kind == "discs":
        return discs(xy, radius)
    seen = sectors(xy, told["azimuth_deg"], told["fov_deg"], told["range_m"])
    is_round = shapely.is_missing(seen) & np.isnan(told["fov_deg"])
    seen[is_round] = discs(xy[is_round], radius[is_round])
    return seen


def amount(source: Source, zones: Zones, measure: Mapping[str, Any]) -> Amounts:
    """One quantity, in the unit of the indicator: `of` times `factor`."""
    made = _amount(source, zones, measure["of"])
    made.factor = float(measure.get("factor", 1.0))
    return made


def ratio(source: Source, zones: Zones, measure: Mapping[str, Any]) -> Amounts:
    """One quantity by another, `of` / `by`, times `factor`."""
    made = _amount(source, zones, measure["of"])
    by = _amount(source, zones, measure["by"])
    made.factor = float(measure.get("factor", 1.0))
    made.denominator, made.whole = by.numerator, None
    if by.whole is not None:
        made.whole = (float(made.numerator[: len(zones) + 1].sum()), by.whole[0])
    return made


def _amount(source: Source, zones: Zones, of: Mapping[str, Any]) -> Amounts:
    """m² on the ellipsoid, m along geodesics, the sum of an attribute, or people."""
    n = slots(zones)
    made = Amounts(np.zeros(n), None, np.zeros(n), np.zeros(n, np.int64), np.zeros(n, np.int64))
    quantity = of["quantity"]
    if quantity == "zone-area":
        return _zone_area(source, zones, made)
    if quantity == "population":
        return _population(zones, made)
    if quantity == "area":
        area = _union(source, of["layers"])
        shapes = np.array([area] if area is not None else [], dtype=object)
        _, slot, part = cut(zones, shapes)
        made.numerator = summed(zones, slot, ellipsoid_area.areas_m2(part, source.city.crs))
        return made
    for each in of["layers"]:
        columns = (of["attribute"],) if quantity == "sum" else ()
        found = source.features(each["layer"], each.get("filter"), columns)
        if quantity == "length":
            _, slot, part = cut(zones, lines_of(found.geometry))
            made.numerator += summed(zones, slot, geodesic_lengths_m(part, source.city.crs))
            continue
        slot = place(zones, found)
        values = np.ones(len(found)) if quantity == "count" else numbers(found, str(of["attribute"]))
        is_known = ~np.isnan(values)
        made.numerator += summed(zones, slot, np.where(is_known, values, 0.0))
        made.n += counted(zones, slot[is_known])
        made.n_unknown += counted(zones, slot[~is_known])
        ids = [found.ids[row] for row in np.flatnonzero(~is_known).tolist()]
        made.items.append(Items(each["layer"], ids, found.geometry[~is_known], "unknown", slot[~is_known]))
    return made


def _zone_area(source: Source, zones: Zones, made: Amounts) -> Amounts:
    if zones.whole is None:
        raise NoData("缺少行政区，面积未知。", "Without admin units the city's area is not known.")
    areas = zones.areas
    made.numerator[: len(areas)] = ellipsoid_area.areas_m2(areas, source.city.crs)
    return made


def _population(zones: Zones, made: Amounts) -> Amounts:
    """People by the units' own numbers; the city's is the sum of its zones where each of them has one."""
    if zones.whole is None:
        raise NoData("缺少行政区人口。", "Without admin units the population is not known.")
    made.numerator[: len(zones)] = zones.population
    own = zones.whole_population
    total = float(zones.population.sum()) if len(zones) and not np.isnan(zones.population).any() else own
    made.whole = (total, np.nan)
    if not np.isnan(own) and abs(total - own) > 0.5:
        made.facts["population_of_units_differs_by"] = own - total
    return made
