"""P20 flood-inundation: what is under water when it stands at a level and comes from where it is said to come from.

Water spreads from its seeds over cells whose ground lies below the level, by their sides (4 neighbours): low ground
behind a dyke stays dry. A cell without height is a wall, and the answer says where the water reaches one or the rim.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis import features_input, place, raster_out
from twin.analysis.elevation import Elevation, Grid, elevation
from twin.analysis.flood_inundation_cells import seed_cells
from twin.analysis.flood_inundation_exposed import Exposed, exposed, spread
from twin.analysis.flood_inundation_parameters import DESCRIPTION, INPUTS, OUTPUTS, TITLE
from twin.analysis.flood_inundation_water import FLOODED, STRIP, Water, depth_strips, depths, tolerance_m, water
from twin.analysis.process import Process
from twin.analysis.progress import SILENT, Progress
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City

WHY_DRY = {
    0: "its ground is at or above the level",
    2: "it has no height",
    4: "it has no height",
    255: "outside the heights",
}
CONNECTED, PLAIN = "connected", "plain-threshold"
MOST_SEEDS = 10_000
MOST_SIDES = 2_000_000
"""Sides of cells in an outline that is told: some 100 MB of GeoJSON."""


def flood_inundation(
    city: "City",
    *,
    level_m: float,
    seeds: Mapping[str, Any] | None = None,
    method: str = CONNECTED,
    dem: dict[str, Any] | None = None,
    region: Mapping[str, Any] | None = None,
    cell_m: float | None = None,
    exposed_layers: Sequence[Mapping[str, Any]] = (),
    homes: Mapping[str, Any] | None = None,
    population: Mapping[str, Any] | None = None,
    deeper_than_m: float = 0.15,
    with_depth: bool = True,
    with_outline: bool = True,
    crs: str | None = None,
    keep_as: str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Area, volume and depth of water at a level, and what stands in it; see `PROCESS` for the words of the answer.

    Raises
    ------
    InvalidInput
        Named after the input: no seed with the connected method, seeds outside the city, homes without population.
    """
    _check_numbers(level_m=level_m, cell_m=cell_m, deeper_than_m=deeper_than_m)
    if (population is None) != (homes is None):
        absent = "homes" if homes is None else "population"
        raise InvalidInput(f"{absent} is missing: people of areas are spread over homes.", "Give both or none.")
    place.answer_crs(city, crs)
    around = None if region is None else _union(place.features(city, "region", region, kinds=place.AREAS))
    heights = elevation(city, "dem", dem, region=around, cell_m=cell_m)
    found, which, names = _seeds(city, seeds, method, heights.grid)
    made = water(heights.read, heights.grid, level_m, found, progress.part(0, 50))
    answer = _numbers(made, heights, level_m, method) | _seed_words(made, which, names)
    looked_at = [_looked_at(city, number, given, made, heights.grid) for number, given in enumerate(exposed_layers)]
    grid, state = heights.grid, made.state
    if looked_at or homes is not None:
        depth = depths(heights.read, grid, level_m, state, progress.part(50, 65))
        answer |= _exposure(city, looked_at, depth, grid, limit_m=deeper_than_m + tolerance_m(level_m), crs=crs)
        progress(70.0, "exposed")
        if homes is not None and population is not None:
            answer["people"] = _people(city, homes, population, depth, grid)
        del depth
    if with_depth or keep_as is not None:
        told = progress.part(75, 95)
        answer["depth"] = raster_out.cog(
            told, "depth", grid, depth_strips(heights.read, grid, level_m, state, told), unit="m"
        )
        raster_out.keep(city, answer["depth"], keep_as, f"{level_m:g} m", PROCESS.id)
    if with_outline:
        answer |= _outline(city, made, grid, level_m, crs)
    progress(100.0)
    return answer


def _outline(city: "City", made: Water, grid: Grid, level_m: float, crs: str | None) -> dict[str, Any]:
    if n_sides(made.state) > MOST_SIDES:
        return {"outline_left_out": f"It has more than {MOST_SIDES} sides: ask for a smaller region."}
    shape = np.array([outline(made.state, grid)], dtype=object)
    return {"outline": place.geojson(city, shape, [{"level_m": level_m, "area_m2": made.area_m2}], target=crs)}


def _check_numbers(**given: float | None) -> None:
    for name, value in given.items():
        if value is not None and not np.isfinite(value):
            raise InvalidInput(f"{name} is no number.")


def n_sides(state: NDArray[np.uint8]) -> int:
    """Sides of cells between flooded and others."""
    n = 0
    for top in range(0, len(state), STRIP):
        is_wet = np.pad(state[max(top - 1, 0) : top + STRIP] == FLOODED, ((0, 0), (1, 1)))
        n += int(np.count_nonzero(is_wet[1:] != is_wet[:-1]))
        n += int(np.count_nonzero(is_wet[min(top, 1) :, 1:] != is_wet[min(top, 1) :, :-1]))
    return n + int(np.count_nonzero(state[0] == FLOODED) + np.count_nonzero(state[-1] == FLOODED))


def outline(state: NDArray[np.uint8], grid: Grid) -> shapely.Geometry:
    """(rows, columns) states -> the flooded cells as a multipolygon along their sides, in the grid's CRS."""
    from affine import Affine
    from rasterio.features import shapes

    is_wet = state == FLOODED
    rows, columns = np.flatnonzero(is_wet.any(axis=1)), np.flatnonzero(is_wet.any(axis=0))
    if not rows.size:
        return shapely.MultiPolygon()
    top, left = int(rows[0]), int(columns[0])
    part = is_wet[top : rows[-1] + 1, left : columns[-1] + 1]
    there = grid.cut(top, left, *part.shape)
    found = shapes(part.astype(np.uint8), mask=part, connectivity=4, transform=Affine(*there.transform()))
    polygons = [
        shapely.polygons(rings[0], [shapely.linearrings(hole) for hole in rings[1:]] or None)
        for rings in (shape["coordinates"] for shape, _ in found)
    ]
    return shapely.multipolygons(polygons)


def _union(found: Features) -> shapely.Geometry:
    return shapely.union_all(found.geometry)


def _seeds(
    city: "City", given: Mapping[str, Any] | None, method: str, grid: Grid
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64], list[str]]:
    """(k, 2) cells of all seeds (None for the plain threshold), (k,) the seed of each, and the seeds' ids."""
    if method == PLAIN:
        if given is not None:
            raise InvalidInput("seeds have no meaning with plain-threshold.", "Leave them out, or use connected.")
        return None, np.empty(0, np.int64), []
    if given is None:
        raise InvalidInput("seeds is missing: the connected method needs where the water comes from.")
    found = place.features(city, "seeds", given, properties=(), most=MOST_SEEDS)
    cells = [seed_cells(shape, grid) for shape in found.geometry]
    which = np.repeat(np.arange(len(cells)), [len(each) for each in cells])
    return np.concatenate([*cells, np.empty((0, 2), np.int64)]), which, found.ids


def _seed_words(made: Water, which: NDArray[np.int64], ids: list[str]) -> dict[str, Any]:
    """Seeds that start nothing, each with its reason; and the reason of an empty answer."""
    dry = []
    for number, name in enumerate(ids):
        states = made.seed_state[which == number]
        if not (states == FLOODED).any():
            reasons = [WHY_DRY[state] for state in (0, 2, 4, 255) if (states == state).any()]
            dry.append({"id": name, "reason": reasons[0] if reasons else "it has no geometry"})
    told: dict[str, Any] = {"dry_seeds": dry}
    if ids and len(dry) == len(ids):
        told["reason"] = (
            f"No water: seeds {dry[0]['id']!r}"
            + (f" and {len(dry) - 1} more start none; of the first, " if len(dry) > 1 else ": ")
            + dry[0]["reason"]
            + "."
        )
    return told


def _numbers(made: Water, heights: Elevation, level_m: float, method: str) -> dict[str, Any]:
    return {
        "level_m": level_m, "method": method, "n_cells": made.n_cells, "cell_m": [heights.grid.dx, heights.grid.dy],
        "is_native": heights.is_native, "area_plane_m2": made.area_plane_m2, "area_m2": made.area_m2,
        "volume_m3": made.volume_m3, "max_depth_m": made.max_depth_m, "is_open": made.is_open,
        "n_void_cells": made.n_void, "n_rim_cells": made.n_rim,
    }  # fmt: skip


def _looked_at(city: "City", number: int, given: Mapping[str, Any], made: Water, grid: Grid) -> tuple[str, Features]:
    """Name and features of an input; of a whole layer only what is near the water is read."""
    name = f"exposed_layers/{number}"
    if set(given) == {"collection"} and made.n_cells:
        rows = np.flatnonzero((made.state == FLOODED).any(axis=1))
        box = grid.cut(int(rows[0]), 0, int(rows[-1] - rows[0] + 1), grid.width).bounds
        given = {**given, "bbox": list(box), "crs": "city"}
    found = place.collected(features_input.read(city, name, given), name)
    place.check_inside(city, name, found.geometry)
    return str(given.get("collection", name)), found


def _exposure(
    city: "City", layers: list[tuple[str, Features]], depth: NDArray[np.float32], grid: Grid, *, limit_m: float,
    crs: str | None,
) -> dict[str, Any]:  # fmt: skip
    if not layers:
        return {}
    table, shapes, rows, ids = [], [], [], []
    for name, found in layers:
        wet = exposed(found.geometry, depth, grid, limit_m)
        at = np.flatnonzero(wet.is_wet)
        table.append(_summary(name, found, wet))
        shapes.append(found.geometry[at])
        words = place.words(found, "name")
        rows += [
            {"layer": name, "name": words[i], "depth_m": round(float(wet.depth_m[i]), 3),
             "length_m": round(float(wet.length_m[i]), 3), "deep_length_m": round(float(wet.deep_m[i]), 3)}
            for i in at.tolist()
        ]  # fmt: skip
        ids += [f"{name}/{found.ids[i]}" for i in at.tolist()]
    return {"exposure": table, "exposed": place.geojson(city, np.concatenate(shapes), rows, ids, crs)}


def _summary(name: str, found: Features, wet: Exposed) -> dict[str, Any]:
    row: dict[str, Any] = {
        "layer": name, "n_exposed": int(wet.is_wet.sum()), "length_m": float(wet.length_m.sum()),
        "deep_length_m": float(wet.deep_m.sum()),
        "max_depth_m": float(np.nanmax(wet.depth_m)) if wet.is_wet.any() else 0.0,
    }  # fmt: skip
    if "population" in found.attributes.column_names:
        people = place.numbers(found, "population", name)[wet.is_wet]
        row["population"] = None if np.isnan(people).any() else float(people.sum())
        row["n_population_unknown"] = int(np.isnan(people).sum())
    return row


def _people(
    city: "City", homes: Mapping[str, Any], population: Mapping[str, Any], depth: NDArray[np.float32], grid: Grid
) -> dict[str, Any]:
    """People who live in homes that stand in water, from the people of areas; None where that is not known."""
    areas = place.features(city, "population", population, kinds=place.AREAS, properties=("population",))
    found = place.features(city, "homes", homes, kinds=place.AREAS, properties=("gfa_m2",))
    floor = place.numbers(found, "gfa_m2", "homes")
    by = "footprint" if np.isnan(floor).any() else "gfa_m2"
    weights = shapely.area(found.geometry) if by == "footprint" else floor
    made = spread(areas.geometry, place.numbers(areas, "population", "population"), found.geometry, weights)
    people = made.people[exposed(found.geometry, depth, grid).is_wet]
    unknown = int(np.isnan(people).sum())
    return {
        "value": None if unknown else float(people.sum()), "known": float(np.nansum(people)), "n_homes": len(people),
        "n_homes_unknown": unknown, "spread_by": by,
        "areas_without_homes": [areas.ids[row] for row in made.without_home.tolist()],
    }  # fmt: skip


PROCESS = Process(
    id="flood-inundation", title=TITLE, description=DESCRIPTION, inputs=INPUTS, outputs=OUTPUTS,
    function=flood_inundation, keywords=("flood", "inundation", "depth", "exposure"),
)  # fmt: skip
