"""GeoTIFF, ASCII grid, IMAGINE, images with world files -> raster assets: where the cells lie, in which CRS, of what.

Formats: OGC 19-008r4 (GeoTIFF), OGC 21-026 (COG). What the file leaves open (CRS, control points, unit of the heights,
nodata) comes from `hints`; `raster_cog` writes the result block by block.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest import place, units
from ingest.raster import kind as raster_kind
from ingest.raster import view as raster_view
from ingest.raster.cog import write_cog
from ingest.raster.view import Grid, View
from ingest.vector.reader import ids_name
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, Hints, Reading

SUFFIXES = (".tif", ".tiff", ".asc", ".img", ".png", ".jpg", ".jpeg")

MAX_PIXELS = 1 << 36
"""A header that claims more is taken for damaged."""


def read(path: Path, hints: Hints) -> Reading:
    """The raster as an asset. Raises InvalidInput, or CrsMissing when neither the file nor `hints` names a CRS."""
    from rasterio.errors import RasterioError

    name = ids_name(path, hints)
    try:
        with raster_view.dataset(path) as source:
            _refuse(source, name)
            grid, stated, fit, issues = _placed(source, hints, name)
            facts = _facts(source, grid)
            epoch = hints.epoch or raster_kind.epoch(path.stem, source.tags())
            unit = source.units[0]
    except (RasterioError, OSError) as error:
        raise InvalidInput(
            f"{name} cannot be read as a raster: {_sentence(error)}", "Export it again.", code="FILE_UNREADABLE"
        ) from error
    certificate, found = place.certificate(stated, hints, name, grid.bounds)
    if fit:
        certificate = _fitted(certificate, fit, given=bool(hints.control_points))
    layer_type, about_type = raster_kind.layer_type(path, facts, hints, name)
    is_height = layer_type != "dom"
    view = View(
        grid,
        crs_wkt=None if stated and not hints.control_points else _wkt(certificate.source_crs or ""),
        nodata=_number(hints.values, "nodata", name),
        scale=_scale(hints, unit, certificate, name) if is_height else 1.0,
        has_gcps=bool(fit),
    )
    layer = AssetLayer(
        name=path.name.split(".")[0],
        kind="raster",
        layer_type=layer_type,
        crs=certificate.source_crs or "",
        bounds=grid.bounds,
        meta=facts,
        write=lambda target: write_cog(path, target, name, view, is_image=not is_height),
        suffix=".tif",
        vertical_crs=certificate.source_vertical_crs,
        epoch=epoch,
        priority=hints.priority,
        height_offset_m=hints.vertical_offset_m if is_height else None,
    )
    return Reading(path, str(facts["driver"]), [layer], certificate, [*issues, *found, *about_type])


def _sentence(error: BaseException) -> str:
    text = str(error.__cause__ or error)
    return text.rstrip(".") + "."


def _refuse(source: Any, name: str) -> None:
    if source.count == 0:
        raise InvalidInput(f"{name} has no bands.", "Name one of its subdatasets.", code="RASTER_EMPTY")
    if source.width * source.height > MAX_PIXELS:
        raise InvalidInput(
            f"{name} claims {source.width} × {source.height} pixels.", "Cut it into sheets.", code="RASTER_TOO_BIG"
        )


def _placed(source: Any, hints: Hints, name: str) -> tuple[Grid, str | None, dict[str, Any], list[Issue]]:
    """Grid, CRS as WKT where the file names one, facts of a fit (empty for none), and what was decided."""
    transform, stated = tuple(source.transform)[:6], source.crs.to_wkt() if source.crs else None
    fit: dict[str, Any] = {}
    if hints.control_points:
        points = hints.control_points
        cells = np.array([each.source[:2] for each in points], np.float64)
        if not source.transform.is_identity:
            a, b, c, d, e, f = transform
            cells = np.linalg.solve(np.array([[a, b], [d, e]]), (cells - (c, f)).T).T
        transform, fit = _fit(cells, np.array([each.true[:2] for each in points], np.float64), name)
        stated = None
    elif source.transform.is_identity and source.gcps[0]:
        points, gcp_crs = source.gcps
        transform, fit = _fit(np.array([(p.col, p.row) for p in points]), np.array([(p.x, p.y) for p in points]), name)
        stated = stated or (gcp_crs.to_wkt() if gcp_crs else None)
    elif source.transform.is_identity:
        hint = "Put its world file (.tfw) beside it, give control_points in city.toml, or georeference it in QGIS."
        if source.rpcs is not None:
            hint = "It has a sensor model (RPC): orthorectify it with a terrain model first: gdalwarp -rpc."
        raise InvalidInput(f"{name} has no georeference (no transform, no world file).", hint, code="RASTER_NOT_PLACED")
    grid = raster_view.grid(transform, source.width, source.height)
    return grid, stated, fit, _turned(grid, name)


def _fit(
    cells: NDArray[np.float64], places: NDArray[np.float64], name: str
) -> tuple[tuple[float, ...], dict[str, Any]]:
    try:
        transform, rms_cells = raster_view.from_control_points(cells, places)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error.problem}", error.hint, code="CONTROL_POINTS_DEGENERATE") from error
    a, b, _, d, e, _ = transform
    rms = rms_cells * math.sqrt(abs(a * e - b * d))
    if rms_cells > raster_view.MAX_GCP_RMS_CELLS:
        problem = f"{name}: its {len(cells)} control points miss an affine map by {rms_cells:.1f} cells (RMS)."
        raise InvalidInput(problem, "Rectify it first: gdalwarp -tps IN OUT.", code="RASTER_NOT_AFFINE")
    return transform, {"model": "affine", "points": len(cells), "rms": rms, "rms_cells": rms_cells}


def _turned(grid: Grid, name: str) -> list[Issue]:
    a, _, _, d, e, _ = grid.source
    if grid.is_resampled:
        angle = math.degrees(math.atan2(d, a))
        message = f"It is rotated by {angle:.3f}°; its cells were resampled (bilinear) on a north-up grid."
        return [Issue("RASTER_RESAMPLED", name, message, "", "info")]
    if grid.is_turned:
        ways = [way for way, is_so in (("from south to north", e > 0), ("from east to west", a < 0)) if is_so]
        message = f"It runs {' and '.join(ways)}; its rows were put into the usual order, no value has changed."
        return [Issue("RASTER_TURNED", name, message, "", "info")]
    return []


def _fitted(certificate: Certificate, fit: dict[str, Any], *, given: bool) -> Certificate:
    key = "control_points" if given else "ground_control_points"
    return replace(
        certificate,
        method="control-points",
        accuracy_m=fit["rms"] if given else certificate.accuracy_m,
        parameters={**certificate.parameters, key: fit},
    )


def _wkt(text: str) -> str:
    from rasterio.crs import CRS

    return str(CRS.from_user_input(text).to_wkt())


def _number(values: Any, key: str, name: str) -> float | None:
    if key not in values:
        return None
    try:
        return float(values[key])
    except (TypeError, ValueError) as error:
        problem = f"{name}: values.{key} must be a number, not {values[key]!r}."
        raise InvalidInput(problem, "Correct it in city.toml.", code="CITY_TOML_WRONG") from error


def _scale(hints: Hints, unit: str | None, certificate: Certificate, name: str) -> float:
    """Stored value -> metres: from `units = {height = …}`, else the band's own unit.

    A vertical CRS that is stated says the unit itself, and the step to the city's datum converts it.
    """
    told = hints.units.get("height")
    if told is None and (not unit or certificate.source_vertical_crs is not None):
        return 1.0
    factor = units.factor(told or unit or "m", "m")
    if factor is None:
        problem = f"{name}: its heights are in {told or unit!r}, which is no known unit of length."
        raise InvalidInput(problem, 'Write into city.toml: units = {height = "m"}.', code="UNIT_UNKNOWN")
    return factor


def _facts(source: Any, grid: Grid) -> dict[str, Any]:
    return {
        "driver": source.driver,
        "width": grid.width,
        "height": grid.height,
        "bands": source.count,
        "dtype": source.dtypes[0],
        "nodata": None if source.nodata is None else float(source.nodata),
        "cell_m": list(grid.cell),
        "colors": [color.name for color in source.colorinterp],
        "compression": source.compression.name if source.compression else None,
        "pixel_is_point": source.tags().get("AREA_OR_POINT") == "Point",
        "unit": source.units[0],
    }
