"""Geohazard zones: buildings that stand in them, and how much of their ground is steep."""

from collections.abc import Iterator

import numpy as np
import shapely

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from layers.errors import InvalidInput, NotFound
from twin.analysis.elevation import Surrounded, surrounded
from twin.analysis.parcel_intensity_buildings import chosen, standing
from twin.analysis.terrain_measures import inside
from twin.analysis.terrain_slope import blocks
from twin.store.interface import Features
from twin.supervision.check import Check, Context, Finding, Passed, finding

LAYER = "geohazard"
MOST_CELLS = 4_000_000
"""Of one zone; a larger one is looked at with wider cells, whose side is told."""

SAME_DEG = 1e-3
"""Heights are float32 numbers: slopes on paper equal differ so much on cells of a metre."""


def run(context: Context) -> Iterator[Finding | Passed]:
    """Each zone that meets the place."""
    zones = context.read(LAYER, properties=("kind", "grade"))
    rows = np.flatnonzero(shapely.get_dimensions(zones.geometry) == 2) if len(zones) else np.empty(0, np.int64)
    if len(rows):
        zones = chosen(zones, rows)
        yield from _buildings(context, zones)
        yield from _slopes(context, zones)


def _buildings(context: Context, zones: Features) -> Iterator[Finding | Passed]:
    """A finding for each building and zone; zones where none stands are counted."""
    rule = context.rules["geohazard-building"]
    if not context.has("building"):
        note = Title("缺少 building 图层", "The layer building is missing.")
        for name, shape in zip(zones.ids, zones.geometry, strict=True):
            yield finding(rule, (f"{LAYER}/{name}",), None, shape, note=note)
        return
    houses = context.read("building", properties=("phase", "same_as"))
    houses = chosen(houses, standing(houses))
    zone, house = shapely.STRtree(houses.geometry).query(zones.geometry, predicate="intersects")
    both = shapely.intersection(zones.geometry[zone], houses.geometry[house])
    size_m2 = areas_m2(both, context.city.crs)
    hits = np.flatnonzero(size_m2 > float(rule.parameters["sliver_m2"]))
    for row in hits[np.lexsort((house[hits], zone[hits]))].tolist():
        objects = (f"building/{houses.ids[house[row]]}", f"{LAYER}/{zones.ids[zone[row]]}")
        evidence = f"/collections/{LAYER}/items/{zones.ids[zone[row]]}"
        yield finding(rule, objects, float(size_m2[row]), both[row], evidence=evidence)
    n_free = len(zones) - len(np.unique(zone[hits]))
    if n_free:
        yield Passed(rule.id, n_free)


def _slopes(context: Context, zones: Features) -> Iterator[Finding | Passed]:
    rule = context.rules["geohazard-slope"]
    for name, shape in zip(zones.ids, zones.geometry, strict=True):
        context.progress(0, "slopes")
        said = f"/collections/{LAYER}/items/{name}"
        try:
            ground = surrounded(context.city, "dem", None, region=shape, cell_m=_cell(shape, context))
        except (NotFound, InvalidInput) as error:
            why = Title("该处没有地形高程", error.problem)
            yield finding(rule, (f"{LAYER}/{name}",), None, shape, note=why, evidence=said)
            continue
        n_steep, n_known, n = steep(ground, shape, float(rule.parameters["steep_over_deg"]))
        # cells without a slope may be steep or not: the share lies between these
        low, high = (100.0 * n_steep / n, 100.0 * (n_steep + n - n_known) / n) if n else (0.0, 100.0)
        is_sure = n > 0 and rule.judged(low) == rule.judged(high)
        note: Title | None = rule.note
        if not is_sure or n_known < n:
            share = 100.0 * (1 - n_known / n) if n else 100.0
            note = Title(f"{share:.1f} % 的格网无坡度", f"{share:.1f} % of its cells have no slope.")
        elif ground.grid.dx > _own_cell(context):
            note = Title(f"按 {ground.grid.dx:.1f} m 格网", f"On cells of {ground.grid.dx:.1f} m.")
        yield finding(rule, (f"{LAYER}/{name}",), low if is_sure else None, shape, note=note, evidence=said)


def _own_cell(context: Context) -> float:
    return context.city.terrain.cell_m or 1.0


def _cell(shape: shapely.Geometry, context: Context) -> float | None:
    west, south, east, north = shapely.bounds(shape).tolist()
    cells = (east - west) * (north - south) / _own_cell(context) ** 2
    return None if cells <= MOST_CELLS else float(np.ceil(np.sqrt((east - west) * (north - south) / MOST_CELLS)))


def steep(ground: Surrounded, area: shapely.Geometry, over_deg: float) -> tuple[int, int, int]:
    """Cells whose centre lies in an area: steeper than `over_deg`, with a slope, all that there should be.

    What of the area lies beyond the grid counts as cells without a slope.
    """
    grid = ground.grid
    n_steep = n_known = n = 0
    for top, slope in blocks(ground, grid.shape, "slope_deg", (grid.dx, grid.dy)):
        values = slope[inside(area, grid, top, len(slope))]
        n += values.size
        n_known += int((~np.isnan(values)).sum())
        n_steep += int((values > over_deg + SAME_DEG).sum())
    return n_steep, n_known, n + grid.cells_beyond(area)


CHECKS = (
    Check(
        id="geohazard",
        supervision="one-map",
        title=Title("地质灾害区", "Geohazard zones"),
        rules=("geohazard-building", "geohazard-slope"),
        needs=(LAYER,),
        run=run,
    ),
)
