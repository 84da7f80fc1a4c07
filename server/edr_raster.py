"""EDR queries on raster collections: heights between cells, other values of the cell, cells of an area, profiles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from layers import crs
from layers.catalogue import Title
from layers.errors import InvalidInput
from server import coverage_schema
from server.edr_formats import Samples
from server.edr_request import Asked, chosen, in_crs
from server.serving import Snapshot
from tiles.coverage import covjson, epochs, points, read
from tiles.coverage.grid import Grid
from tiles.coverage.sheets import HEIGHTS, Coverage, Field, coverage
from twin.store.interface import Asset
from twin.terrain import Terrain, from_assets

QUERIES = ("position", "trajectory", "area", "radius", "cube")
MAX_CELLS = 1_000_000
"""Values of an area in CoverageJSON."""
MAX_ROWS = 100_000
"""Of GeoJSON and CSV."""
MAX_STEPS = 10_000
"""Places along a line."""
DISTANCE = "distance"


def sampled(city: Snapshot, layer: str, asked: Asked) -> Samples | None:
    """Values at points or along a line; None where there is none at all."""
    found, fields, assets = _source(city, layer, asked)
    shape = in_crs(asked, city.city.crs)
    if asked.kind == "trajectory":
        xy, along = _along(shape, _step_m(found), city.city.crs)
    else:
        xy, along = shapely.get_coordinates(shape), None
    if layer in HEIGHTS and len(found.fields) == 1:
        heights = _terrain(city, layer, assets).height(xy[:, 0], xy[:, 1])
        values: dict[str, Any] = {found.fields[0].name: np.asarray(heights, np.float64)}
    else:
        taken = points.at(found, city.city.crs, xy[:, 0], xy[:, 1], fields)
        values = {each.name: taken[i] for i, each in enumerate(fields)}
    if all(np.isnan(each).all() for each in values.values()):
        return None
    x, y = crs.transform(city.city.crs, asked.crs, xy[:, 0], xy[:, 1])
    if asked.kind == "position":  # as it was asked, not as it came back
        own = shapely.get_coordinates(asked.shape)
        x, y = own[:, 0], own[:, 1]
    parameters = coverage_schema.parameters(found, fields)
    extra: dict[str, Any] = {}
    if along is not None:
        extra = {DISTANCE: along}
        said = Title("沿线距离（椭球面）", "distance along the line, on the ellipsoid")
        parameters[DISTANCE] = covjson.parameter(said, "m")
    domain = "Trajectory" if along is not None else "Point" if asked.shape.geom_type == "Point" else "MultiPoint"
    return Samples(asked.crs, x, y, values, parameters, domain, _time(assets), extra)


def gridded(city: Snapshot, layer: str, asked: Asked) -> tuple[Grid, dict[str, Any], dict[str, Any], str | None] | None:
    """Cells of an area: frame, values by field (NaN outside), parameters, time; None where there is none at all.

    The frame is the raster's own grid, or GDAL's in the CRS asked for; a cell is in where its centre is.
    """
    found, fields, assets = _source(city, layer, asked)
    # points are placed anywhere without touching their values; a grid has to be made anew
    is_native = "crs" not in asked.given or asked.format != "CoverageJSON"
    target = found.grid.crs if is_native else asked.crs
    frame = found.grid if target == found.grid.crs else found.grid.within(target)
    inside = _disc(asked, target) if asked.kind == "radius" else in_crs(asked, target)
    part = frame.trimmed(inside.bounds)
    if part is None:
        return None
    limit = MAX_CELLS if asked.format == "CoverageJSON" else MAX_ROWS * 10
    if part.cells * len(fields) > limit:
        raise InvalidInput(
            f"The area has {part.cells} cells of {len(fields)} fields; {limit} values are possible.",
            f"Ask for a smaller one, or for /collections/{layer}/coverage with scale-factor.", code="AREA_TOO_LARGE",
        )  # fmt: skip
    values, valid = read.whole(found, part, fields)
    real = read.real(found, values, valid, fields)
    real[:, ~_covered(asked, inside, part)] = np.nan
    if np.isnan(real).all():
        return None
    kind = np.float32 if values.dtype == np.float32 and found.scales[0] == 1.0 else np.float64
    return (
        part, {each.name: real[i].astype(kind) for i, each in enumerate(fields)},
        coverage_schema.parameters(found, fields), _time(assets),
    )  # fmt: skip


def as_samples(asked: Asked, cells: tuple[Grid, dict[str, Any], dict[str, Any], str | None]) -> Samples:
    """Cells as points at their centres, those with a value; the values are those of the raster's own cells."""
    part, values, parameters, time = cells
    known = ~np.all([np.isnan(each) for each in values.values()], axis=0)
    if known.sum() > MAX_ROWS:
        raise InvalidInput(
            f"The area has {int(known.sum())} cells with a value; {MAX_ROWS} are possible in this format.",
            "Ask for f=CoverageJSON or a smaller area.", code="AREA_TOO_LARGE",
        )  # fmt: skip
    x, y = np.meshgrid(*part.centres())
    e, n = crs.transform(part.crs, asked.crs, x[known], y[known])
    return Samples(asked.crs, e, n, {k: v[known] for k, v in values.items()}, parameters, time=time)


def _source(city: Snapshot, layer: str, asked: Asked) -> tuple[Coverage, tuple[Field, ...], list[Asset]]:
    assets: list[Asset] = list(city.files[layer].assets)
    if asked.datetime is not None:
        period, is_instant = epochs.asked(asked.datetime)
        assets = epochs.select(assets, period, is_instant=is_instant, layer=layer)
    key = ("coverage", layer, tuple(each.id for each in assets))
    found: Coverage = city.make(key, lambda: coverage(city.city.folder, city.city.config, layer, assets))
    known = {each.name: each for each in found.fields}
    return found, tuple(known[name] for name in chosen(asked, list(known))), assets


def _terrain(city: Snapshot, layer: str, assets: Sequence[Asset]) -> Terrain:
    """Heights of a layer's rasters, between cells; the city's own terrain where that is meant."""
    if layer == "dem" and list(assets) == list(city.files[layer].assets):
        return city.city.terrain
    key = ("heights", layer, tuple(each.id for each in assets))
    return city.make(key, lambda: from_assets(city.city.folder, assets, city.city.config))


def _time(assets: Sequence[Asset]) -> str | None:
    times = coverage_schema.times(assets)
    return times[0] if len(times) == 1 and all(epochs.made(each) for each in assets) else None


def _step_m(found: Coverage) -> float:
    """Places along a line are so far apart: the side of a cell."""
    side = min(found.grid.dx, found.grid.dy)
    return side * 111_320.0 if crs.is_geographic(found.grid.crs) else side * crs.metres_per_unit(found.grid.crs)


def _along(line: Any, step_m: float, city_crs: str) -> tuple[Any, Any]:
    """(n, 2) places along a line of the city's CRS, its own points among them; (n,) metres from the start."""
    step = max(step_m, line.length / (MAX_STEPS / 2))
    xy = shapely.get_coordinates(shapely.segmentize(line, step))
    lon, lat = crs.transform(city_crs, crs.WGS84, xy[:, 0], xy[:, 1])
    _, _, legs = crs.CGCS2000_GEOD.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])
    return xy, np.concatenate([[0.0], np.cumsum(legs)])


def _disc(asked: Asked, target: str) -> Any:
    """The circle on the ellipsoid as an outline of 360 points; what lies in it is measured, not taken from it."""
    x, y = crs.transform(asked.crs, crs.WGS84, *(np.array([v]) for v in (asked.shape.x, asked.shape.y)))
    bearing = np.arange(360.0)
    lon, lat, _ = crs.CGCS2000_GEOD.fwd(np.full(360, x[0]), np.full(360, y[0]), bearing, np.full(360, asked.radius_m))
    e, n = crs.transform(crs.WGS84, target, np.asarray(lon), np.asarray(lat))
    if not (np.isfinite(e).all() and np.isfinite(n).all()):
        raise InvalidInput("The circle does not fit into the raster's CRS.", "Mind the axis order of coords.")
    return shapely.Polygon(np.column_stack([e, n])).buffer(
        asked.radius_m * 1e-3 if not crs.is_geographic(target) else 1e-6
    )


def distances_m(asked: Asked, source: str, x: Any, y: Any) -> Any:
    """Metres on the ellipsoid from the query's point."""
    lon0, lat0 = crs.transform(asked.crs, crs.WGS84, *(np.array([v]) for v in (asked.shape.x, asked.shape.y)))
    lon, lat = crs.transform(source, crs.WGS84, np.ravel(x), np.ravel(y))
    finite = np.isfinite(lon) & np.isfinite(lat)
    out = np.full(lon.shape, np.inf)
    many = np.ones(int(finite.sum()))
    out[finite] = crs.CGCS2000_GEOD.inv(lon0[0] * many, lat0[0] * many, lon[finite], lat[finite])[2]
    return out.reshape(np.shape(x))


def _covered(asked: Asked, inside: Any, part: Grid) -> Any:
    if asked.kind == "cube":  # a box is trimmed to cells, as in a coverage
        return np.ones((part.height, part.width), bool)
    x, y = np.meshgrid(*part.centres())
    if asked.kind == "radius":
        return distances_m(asked, part.crs, x, y) <= asked.radius_m
    shapely.prepare(inside)
    return shapely.contains_xy(inside, x, y)
