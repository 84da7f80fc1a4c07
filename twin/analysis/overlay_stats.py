"""P02 overlay-stats: how much of a layer lies in each zone, by class: area, length, count, and shares of a number.

Areas and lengths are those on the ellipsoid. What lies in no zone and what has no place are rows of their own, so that
the rows of zones that do not overlap add up to the total. Overlaps, of zones and inside the layer, are reported and
not resolved: such land counts as often as it is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import land_codes
from layers.catalogue import Title
from layers.ellipsoid_area import MU_M2, areas_m2, lengths_m
from layers.errors import InvalidInput
from twin.analysis import place
from twin.analysis.features_input import SCHEMA
from twin.analysis.land_classes import FIELDS, SYSTEM, Classes, classes, known_properties
from twin.analysis.overlay import Pieces, self_overlaps
from twin.analysis.overlay_stats_shares import OUTSIDE, Shares, shares
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_COLLECTION = shapely.GeometryType.GEOMETRYCOLLECTION.value


@dataclass(frozen=True)
class Groups:
    """(n,) rows into groups: which one each is in, the groups' names in order (None for no value)."""

    of: IntArray
    names: list[str | None]


def groups(values: Sequence[str | None]) -> Groups:
    """Values into groups, ascending, those without a value last."""
    names: list[str | None] = [*sorted({each for each in values if each is not None})]
    names += [None] if None in values else []
    number = {name: i for i, name in enumerate(names)}
    return Groups(np.array([number[each] for each in values], np.int64), names)


def overlay_stats(
    city: "City",
    *,
    zones: Mapping[str, Any],
    layer: Mapping[str, Any],
    zone_field: str | None = None,
    class_field: str | None = None,
    class_digits: int | None = None,
    value_field: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Features of `layer` among `zones`, by the values of `class_field`; the numbers of `value_field` are shared out
    by area, length or count.
    """
    ground = place.features(
        city, "zones", zones, kinds=place.AREAS, is_dense=True,
        properties=_wanted(city, "zones", zones, (zone_field,)),
    )  # fmt: skip
    land = (class_field, SYSTEM) if class_field in FIELDS else (class_field,)
    things = place.features(
        city, "layer", layer, is_dense=True, properties=_wanted(city, "layer", layer, (*land, value_field))
    )
    _check_kinds(things)
    listed = None if class_field not in FIELDS else classes("layer", things, class_field)
    by_class = groups(_classes(things, class_field, class_digits, listed))
    by_zone = groups(ground.ids if zone_field is None else _values("zones", ground, zone_field))
    values = None if value_field is None else _numbers(things, value_field)
    found = shares(things.geometry, ground.geometry, city.crs, progress.part(0, 80))
    overlaps = {
        "zones": _overlap(self_overlaps(ground.geometry, city.crs), ground),
        "layer": _overlap(_own(things, city.crs, progress.part(80, 100)), things),
    }
    table = _table(found, by_zone, by_class, values)
    unlocated = _unlocated(things, by_class, values)
    return {
        "table": [_named(row, listed) for row in [*table, *unlocated]],
        "total": _total(things, city.crs, values),
        "overlaps": overlaps,
        "class_system": None if listed is None else listed.system,
        "unknown_codes": {} if listed is None else listed.unknown,
    }


def _wanted(
    city: "City", name: str, given: Mapping[str, Any], fields: tuple[str | None, ...]
) -> tuple[str, ...] | None:
    asked = tuple(each for each in fields if each is not None)
    known = known_properties(city, name, given, asked)
    if known is not None:
        for each in asked:
            if each not in known and each != SYSTEM:
                where = {"zones": "zone_field"}.get(name, "class_field or value_field")
                words = f"{name}: {given['collection']} has no attribute {each!r}."
                raise InvalidInput(words, f"See its queryables and {where}.")
    return known


def _values(name: str, found: Features, field: str) -> list[str | None]:
    if field not in found.attributes.column_names:
        where = {"zones": "zone_field"}.get(name, "class_field")
        raise InvalidInput(
            f"{where}: {name} has no attribute {field!r}.", f"It has {', '.join(found.attributes.column_names)}."
        )
    return place.words(found, field)


def _classes(found: Features, field: str | None, digits: int | None, listed: Classes | None) -> list[str | None]:
    if listed is None:
        if digits is not None:
            raise InvalidInput(
                "class_digits is of land class codes.", f"Name one of {', '.join(FIELDS)} as class_field."
            )
        return [None] * len(found) if field is None else _values("layer", found, field)
    if digits is None:
        return listed.codes
    return [shortened(code, listed.system, digits) for code in listed.codes]


def shortened(code: str | None, system: str, digits: int) -> str | None:
    """A plain land class code by its first digits; by two it is the first class of its list."""
    if code is None:
        return None
    return land_codes.first_class(code, system) if digits == 2 else code[:digits]


def _numbers(found: Features, field: str) -> FloatArray:
    _values("layer", found, field)
    return place.numbers(found, field, "value_field")


def _check_kinds(found: Features) -> None:
    bad = np.flatnonzero(shapely.get_type_id(found.geometry) == _COLLECTION)
    if bad.size:
        raise InvalidInput(f"layer: {found.ids[bad[0]]!r} is a GeometryCollection.", "Give areas, lines or points.")


def _own(found: Features, source: str, progress: Progress) -> Pieces:
    return self_overlaps(_of_dimension(found, 2), source, progress=progress, message="overlaps")


def _of_dimension(found: Features, dimension: int) -> NDArray[np.object_]:
    """(n,) shapes without heights, None for those of another dimension."""
    flat = np.array(shapely.force_2d(found.geometry), object)
    flat[shapely.get_dimensions(flat) != dimension] = None
    return flat


def _overlap(pairs: Pieces, found: Features) -> dict[str, Any]:
    told: dict[str, Any] = {"n": len(pairs), "area_m2": float(pairs.areas_m2.sum()), "largest": None}
    if len(pairs):
        worst = int(np.argmax(pairs.areas_m2))
        names = [found.ids[pairs.left[worst]], found.ids[pairs.right[worst]]]
        told["largest"] = {"ids": names, "area_m2": float(pairs.areas_m2[worst])}
    return told


def _table(found: Shares, by_zone: Groups, by_class: Groups, values: FloatArray | None) -> list[dict[str, Any]]:
    """Rows of zones, then those outside; every zone has at least one."""
    n_zones, n_classes = len(by_zone.names), len(by_class.names)
    zone = np.where(found.zone == OUTSIDE, n_zones, by_zone.of[found.zone])
    key = zone * n_classes + by_class.of[found.feature]
    size = (n_zones + 1) * n_classes
    sums = {name: np.bincount(key, weights=getattr(found, name), minlength=size)
            for name in ("area_m2", "length_m", "count")}  # fmt: skip
    pairs = np.unique(np.column_stack([key, found.feature]), axis=0)[:, 0]
    n_features = np.bincount(pairs, minlength=size)
    value = unknown = None
    if values is not None:
        is_known = ~np.isnan(values)[found.feature]
        shared = np.where(is_known, values[found.feature] * found.fraction, 0.0)
        value = np.bincount(key, weights=shared, minlength=size)
        lacks = np.unique(np.column_stack([key, found.feature])[~is_known], axis=0)[:, 0]
        unknown = np.bincount(lacks, minlength=size)
    rows = []
    for i in range(size):
        at, of = divmod(i, n_classes)
        is_first = of == 0 and at < n_zones and not n_features[at * n_classes : (at + 1) * n_classes].any()
        if n_features[i] or is_first:
            name = by_zone.names[at] if at < n_zones else None
            kind = "zone" if at < n_zones else "outside"
            row: dict[str, Any] = {"kind": kind, "zone": name, "class": None if is_first else by_class.names[of]}
            row |= _amounts(sums["area_m2"][i], sums["length_m"][i], sums["count"][i], int(n_features[i]))
            if value is not None and unknown is not None:
                row |= {"value": float(value[i]), "n_without_value": int(unknown[i])}
            rows.append(row)
    return rows


def _unlocated(found: Features, by_class: Groups, values: FloatArray | None) -> list[dict[str, Any]]:
    """Rows of features without a place, by class."""
    lost = np.flatnonzero(shapely.is_missing(found.geometry) | shapely.is_empty(found.geometry))
    rows = []
    for i in np.unique(by_class.of[lost]).tolist():
        mine = lost[by_class.of[lost] == i]
        row: dict[str, Any] = {"kind": "unlocated", "zone": None, "class": by_class.names[i]}
        row |= _amounts(0.0, 0.0, 0.0, len(mine))
        if values is not None:
            row |= {"value": float(np.nansum(values[mine])), "n_without_value": int(np.isnan(values[mine]).sum())}
        rows.append(row)
    return rows


def _amounts(area_m2: float, length_m: float, count: float, n_features: int) -> dict[str, Any]:
    area_m2, length_m = float(area_m2), float(length_m)
    return {
        "n_features": n_features, "count": round(count), "length_m": length_m, "area_m2": area_m2,
        "area_ha": area_m2 / 10_000.0, "area_mu": area_m2 / MU_M2,
    }  # fmt: skip


def _total(found: Features, source: str, values: FloatArray | None) -> dict[str, Any]:
    row = _amounts(
        areas_m2(_of_dimension(found, 2), source).sum(),
        lengths_m(_of_dimension(found, 1), source).sum(),
        shapely.get_num_coordinates(_of_dimension(found, 0)).sum(),
        len(found),
    )
    if values is not None:
        row |= {"value": float(np.nansum(values)), "n_without_value": int(np.isnan(values).sum())}
    return row


def _named(row: dict[str, Any], listed: Classes | None) -> dict[str, Any]:
    return row if listed is None else row | {"class_name": listed.title(row["class"])}


_AMOUNTS: dict[str, Any] = {
    "n_features": {"type": "integer"}, "count": {"type": "integer", "description": "Of points."},
    "length_m": {"type": "number", "x-unit": "m"}, "area_m2": {"type": "number", "x-unit": "m2"},
    "area_ha": {"type": "number", "x-unit": "har"}, "area_mu": {"type": "number", "x-unit": "mu"},
    "value": {"type": "number"}, "n_without_value": {"type": "integer"},
}  # fmt: skip
_ROW: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["zone", "outside", "unlocated"]}, "zone": {"type": ["string", "null"]},
        "class": {"type": ["string", "null"]}, "class_name": {"type": ["string", "null"]}, **_AMOUNTS,
    },
}  # fmt: skip
_FIELD: dict[str, Any] = {"type": "string", "minLength": 1}

PROCESS = Process(
    id="overlay-stats",
    title=Title("叠加统计", "Overlay statistics"),
    description=Title(
        "按分区和类别统计图层的面积（椭球面积：平方米、公顷、亩）、长度和个数；区外和无位置的要素单列，各分区之和等于总量。",
        "Area (on the ellipsoid: m², ha, mu), length and count of a layer by zone and class; what lies outside or has "
        "no place are rows of their own, and the zones add up to the total.",
    ),
    inputs={
        "zones": Parameter(Title("分区", "Zones"), SCHEMA),
        "layer": Parameter(Title("被统计图层", "Layer"), SCHEMA),
        "zone_field": Parameter(Title("分区字段", "Attribute that names a zone"), _FIELD, False,
                                Title("缺省为要素标识", "The feature's id when absent")),
        "class_field": Parameter(Title("类别字段", "Attribute to group by"), _FIELD, False,
                                 Title("地类代码须有 code_system", "Land class codes need a code_system")),
        "class_digits": Parameter(Title("地类代码位数", "Digits of land class codes"),
                                  {"type": "integer", "enum": [2, 4, 6]}, False),
        "value_field": Parameter(Title("数值字段", "Attribute to add up"), _FIELD, False,
                                 Title("按面积、长度或个数分摊", "Shared out by area, length or count")),
    },
    outputs={
        "table": Parameter(Title("统计表", "Table"), {"type": "array", "items": _ROW}),
        "total": Parameter(Title("总量", "Total of the layer"), {"type": "object", "properties": _AMOUNTS}),
        "overlaps": Parameter(
            Title("分区之间和图层内部的重叠", "Overlaps among zones and inside the layer"),
            {"type": "object", "description": "For zones and layer: number of pairs, area_m2 together, the largest."},
        ),
        "class_system": Parameter(Title("分类体系", "Code system of the classes"), {"type": ["string", "null"]}),
        "unknown_codes": Parameter(Title("未知代码", "Codes the list does not have, how often"), {"type": "object"}),
    },
    function=overlay_stats,
    keywords=("overlay", "zonal", "叠加", "分区统计", "面积"),
)  # fmt: skip
