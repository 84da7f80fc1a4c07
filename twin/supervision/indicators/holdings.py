"""Measures of what the city holds rather than of where things are: categories, datasets; departments on one grid."""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy  # its parts load when they are first asked
import shapely
from numpy.typing import NDArray

from layers import catalogue
from twin.analysis.place import words
from twin.store.cql2_parse import from_text
from twin.store.interface import Query
from twin.supervision.indicators.admin import Zones
from twin.supervision.indicators.amounts import Amounts, slots
from twin.supervision.indicators.source import NoData, Source

FINDING = "finding"
SAME_CELL_M2 = 1.0
_BETWEEN = re.compile(r"[,，、;；|/]")


def _of_city(zones: Zones, numerator: float, denominator: float | None, n: int, facts: dict[str, Any]) -> Amounts:
    """Amounts of the city as a whole: no zone has a part of them."""
    none = np.zeros(slots(zones))
    counts = np.zeros(slots(zones), np.int64)
    counts[len(zones)] = n
    whole = (numerator, np.nan if denominator is None else denominator)
    empty = None if denominator is None else none.copy()
    return Amounts(none, empty, none.copy(), counts, counts * 0, facts=facts, whole=whole)


def share_of_categories(source: Source, zones: Zones, measure: Mapping[str, Any]) -> Amounts:  # noqa: ARG001
    """Of the seven categories of CIM data, the share that has at least one layer with something in it.

    Fused models count as CIM products: a layer with models of its features is served as 3D Tiles. The list of sources
    is about data and counts for none.
    """
    found: dict[str, list[str]] = {each: [] for each in catalogue.CATEGORIES}
    for info in source.city.layers:
        if info.count and info.id != catalogue.SOURCE:
            found.setdefault(info.type.category, []).append(info.id)
            if info.mesh_count:
                found["cim_product"].append(f"{info.id} (3D)")
    known = catalogue.load()
    for asset in source.city.store.assets(source.city.scope):
        if asset.layer in known:
            found[known[asset.layer].category].append(asset.layer)
    held = {name: sorted(set(layers)) for name, layers in found.items()}
    n = sum(bool(held[each]) for each in catalogue.CATEGORIES)
    missing = [each for each in catalogue.CATEGORIES if not held[each]]
    return _of_city(zones, n, len(catalogue.CATEGORIES), n, {"by_category": held, "missing": missing})


def share_of_datasets(source: Source, zones: Zones, measure: Mapping[str, Any]) -> Amounts:
    """`sources`: of the files read in, those that are served; `collections`: of those that may be public, the open."""
    return _sources(source, zones) if measure["of"] == "sources" else _collections(source, zones)


def _sources(source: Source, zones: Zones) -> Amounts:
    found = source.features(catalogue.SOURCE, None, ("status", "layers"))
    known = catalogue.load()
    status, layers = words(found, "status"), words(found, "layers")
    served, closed, waiting = 0, [], []
    for row, each in enumerate(found.ids):
        names = [entry.get("layer") if isinstance(entry, dict) else entry for entry in json.loads(layers[row] or "[]")]
        if names and all(name in known and known[name].access == "restricted" for name in names):
            closed.append(each)
        elif status[row] == "parked":
            waiting.append(each)
        else:
            served += 1
    facts = {"not_shared": waiting, "restricted": closed}
    return _of_city(zones, served, served + len(waiting), served + len(waiting), facts)


def _collections(source: Source, zones: Zones) -> Amounts:
    city = source.city
    opened: list[str] = []
    shared: list[str] = []
    closed: list[str] = []
    for info in city.layers:
        if not info.count or info.id in {catalogue.SOURCE, FINDING}:
            continue
        restricted, partly = info.type.access == "restricted", info.type.access == "shared"
        if info.type.attribute("access") is not None and not restricted:
            n_closed = city.store.count(info.id, Query(filter=from_text("access = 'restricted'")), city.scope)
            n_shared = city.store.count(info.id, Query(filter=from_text("access = 'shared'")), city.scope)
            restricted, partly = n_closed == info.count, partly or n_closed + n_shared > 0
        (closed if restricted else shared if partly else opened).append(info.id)
    known = catalogue.load()
    for name in sorted({asset.layer for asset in city.store.assets(city.scope)}):
        access = known[name].access if name in known else "open"
        {"open": opened, "shared": shared}.get(access, closed).append(name)
    facts = {"open": opened, "not_open": shared, "restricted": closed}
    total = len(opened) + len(shared)
    return _of_city(zones, len(opened), total, total, facts)


def departments_on_one_grid(source: Source, zones: Zones, measure: Mapping[str, Any]) -> Amounts:
    """Departments whose cells are the same ones: the largest number of them that share all of their cells.

    Cells are the same where they differ by at most 1 m². A cell may name several departments.
    """
    layer = measure["layers"][0]
    found = source.features(layer["layer"], layer.get("filter"), (measure["attribute"],))
    told = words(found, measure["attribute"])
    usable = (shapely.get_dimensions(found.geometry) == 2) & np.array([bool(each) for each in told], bool)
    rows = np.flatnonzero(usable)
    if not rows.size:
        raise NoData(
            f"图层 {layer['layer']} 没有带部门的网格。", f"Layer {layer['layer']} has no cells with a department."
        )
    label = same_cells(shapely.make_valid(shapely.force_2d(found.geometry[rows])))
    cells: dict[str, set[int]] = {}
    for row, cell in zip(rows.tolist(), label.tolist(), strict=True):
        for name in _BETWEEN.split(told[row] or ""):
            if name.strip():
                cells.setdefault(name.strip(), set()).add(cell)
    groups: dict[frozenset[int], list[str]] = {}
    for name, own in cells.items():
        groups.setdefault(frozenset(own), []).append(name)
    best = max(groups.values(), key=len)
    facts = {
        "sharing": sorted(best), "grids": [sorted(each) for each in groups.values()],
        "n_cells_without_department": int(len(found) - rows.size),
    }  # fmt: skip
    return _of_city(zones, float(len(best)), None, len(cells), facts)


def same_cells(cells: NDArray[np.object_], same_m2: float = SAME_CELL_M2) -> NDArray[np.int32]:
    """(n,) areas -> (n,) label; equal labels for areas whose symmetric difference is at most `same_m2`."""
    first, second = shapely.STRtree(cells).query(cells, predicate="intersects")
    keep = (first < second) & (np.abs(shapely.area(cells[first]) - shapely.area(cells[second])) <= same_m2)
    first, second = first[keep], second[keep]
    differ = shapely.area(shapely.symmetric_difference(cells[first], cells[second]))
    first, second = first[differ <= same_m2], second[differ <= same_m2]
    graph = scipy.sparse.coo_array((np.ones(len(first)), (first, second)), shape=(len(cells), len(cells)))
    label: NDArray[np.int32] = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
    return label
