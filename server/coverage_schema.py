"""What a raster collection says of itself as a coverage: JSON Schema of its fields, its grid, CRSs and epochs.

OGC API Common part 3 (23-058r2) for the keywords of fields, Common part 2 (20-024) for `grid`.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from layers import crs
from layers.catalogue import Title
from layers.errors import CityTwinError
from server.serving import Snapshot
from tiles.coverage import covjson, epochs, units
from tiles.coverage.grid import Grid
from tiles.coverage.sheets import HEIGHTS, Coverage, Field, coverage
from twin.store.interface import Asset

HEIGHT_URI = "http://qudt.org/vocab/quantitykind/Height"
RASTER = "raster"
KIND = {"layerDataType": "Coverage"}
"""What GDAL's driver of features leaves such a collection out by; without it, it asks for its items."""
LOG = logging.getLogger("citytwin.server")


def has(city: Snapshot, layer_id: str) -> bool:
    """True for a collection of rasters."""
    return layer_id in city.files and city.files[layer_id].assets[0].kind == RASTER


def whole(city: Snapshot, layer_id: str) -> Coverage:
    """All rasters of a layer as one coverage."""
    assets = city.files[layer_id].assets
    key = ("coverage", layer_id, tuple(each.id for each in assets))
    return city.make(key, lambda: coverage(city.city.folder, city.city.config, layer_id, assets))


def readable(city: Snapshot, layer_id: str) -> Coverage | None:
    """The coverage, for documents that list many; None, and a line in the log, where one of its files is damaged."""
    try:
        return whole(city, layer_id)
    except CityTwinError as error:
        LOG.warning("%s", error)
        return None


def document(city: Snapshot, layer_id: str, language: str, address: str) -> dict[str, Any]:
    """Fields as a JSON Schema: a logical one, whatever the format of the coverage."""
    found = whole(city, layer_id)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{address}/collections/{layer_id}/schema",
        "title": getattr(city.type_of(layer_id).title, language),
        "type": "object",
        "properties": {each.name: _field(found, each, number, language) for number, each in enumerate(found.fields, 1)},
    }


def _field(found: Coverage, each: Field, number: int, language: str) -> dict[str, Any]:
    is_real = np.dtype(found.dtype).kind == "f" or found.scales[each.band - 1] != 1.0
    made: dict[str, Any] = {
        "title": getattr(each.title, language),
        "type": "number" if is_real else "integer",
        "x-ogc-propertySeq": number,
        "x-ogc-variableType": each.kind,
    }
    about = description(found, each)
    if about is not None:
        made["description"] = getattr(about, language)
    if each.unit:
        made |= {"x-ogc-unit": units.ucum(each.unit) or each.unit}
    if found.layer in HEIGHTS:
        made["x-ogc-definition"] = HEIGHT_URI
    if found.nodata is not None and np.isfinite(found.nodata):
        made["x-ogc-nullValues"] = [found.nodata if is_real else int(found.nodata)]
    return made


def description(found: Coverage, each: Field) -> Title | None:
    """What a field's numbers mean; of heights, the datum."""
    if found.vertical_crs is None:
        return None
    name = crs.parse(found.vertical_crs).name
    said = f"{found.vertical_crs} ({name})"
    return Title(f"{each.title.zh}，单位米，高程基准 {said}", f"{each.title.en} in metres, vertical datum {said}")


def parameters(found: Coverage, fields: Sequence[Field]) -> dict[str, Any]:
    """The fields as CoverageJSON parameters."""
    about = HEIGHT_URI if found.layer in HEIGHTS else None
    return {
        each.name: covjson.parameter(each.title, each.unit, description=description(found, each), about=about)
        for each in fields
    }


def offered_crs(city: Snapshot, found: Coverage) -> list[str]:
    """What a coverage can be asked in, the native one first."""
    return list(dict.fromkeys((found.grid.crs, *city.crs_names)))


def members(city: Snapshot, layer_id: str) -> dict[str, Any]:
    """What the collection of a raster layer says beside its links."""
    if not has(city, layer_id):
        return {}
    found = readable(city, layer_id)
    if found is None:
        return KIND
    spatial = {"storageCrsBbox": [on_the_wire(found.grid)], "grid": _grid(found.grid)}
    extent: dict[str, Any] = {"spatial": spatial}
    made = times(city.files[layer_id].assets)
    if made:
        extent["temporal"] = {
            "interval": [[made[0], made[-1]]],
            "trs": "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian",
            "grid": {"cellsCount": len(made), "coordinates": made},
        }
    return KIND | {
        "crs": [covjson.identifier(each) for each in offered_crs(city, found)],
        "storageCrs": covjson.identifier(found.grid.crs),
        "extent": extent,
    }


def times(assets: Sequence[Asset]) -> list[str]:
    """First instants of the epochs of rasters, each once, ascending."""
    return sorted({instant(known[0]) for each in assets if (known := epochs.made(each))})


def instant(moment: datetime) -> str:
    """As RFC 3339, in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def on_the_wire(grid: Grid) -> list[float]:
    """Bounds of a grid in the axis order that its CRS says."""
    west, south, east, north = grid.bounds
    return [south, west, north, east] if crs.is_north_first(grid.crs) else [west, south, east, north]


def _grid(grid: Grid) -> list[dict[str, Any]]:
    """One object an axis of the storage CRS, in its order; coordinates are those of cells' centres."""
    west, south, _, _ = grid.bounds
    half = [-0.5, 0.5]
    x = {"cellsCount": grid.width, "resolution": grid.dx, "firstCoordinate": west + grid.dx / 2, "relativeBounds": half}
    y = {"cellsCount": grid.height, "resolution": grid.dy, "firstCoordinate": south + grid.dy / 2} | {
        "relativeBounds": half
    }
    return [y, x] if crs.is_north_first(grid.crs) else [x, y]
