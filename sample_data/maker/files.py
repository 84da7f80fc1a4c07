"""Writing files so that the same input gives the same bytes: pinned dates, millimetre coordinates, no random ids."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely

from sample_data.maker import site

DATE = "2026-06-30T00:00:00.000Z"
MILLIMETRES = 3

Row = dict[str, Any]


def pin_dates() -> None:
    """Make GDAL write a fixed date instead of the clock's (gpkg_contents.last_change, DBF header)."""
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": DATE})


def frame(rows: list[Row], crs: str = site.CRS, digits: int = MILLIMETRES) -> gpd.GeoDataFrame:
    """Rows with a `geometry` each to a GeoDataFrame; coordinates rounded to `digits` decimals."""
    table = gpd.GeoDataFrame(rows, geometry="geometry", crs=crs)
    shapes = rounded(table.geometry.to_numpy(), digits)
    broken = ~shapely.is_valid(shapes)  # a spike thinner than the rounding step: snap these with their topology kept
    shapes[broken] = shapely.set_precision(table.geometry.to_numpy()[broken], 10.0**-digits)
    table["geometry"] = shapes
    return table


def rounded(geometry: Any, digits: int = MILLIMETRES) -> Any:
    """Round every coordinate; with z kept."""
    z = bool(np.any(shapely.has_z(geometry)))
    return shapely.transform(geometry, lambda c: np.round(c, digits), include_z=z)


def write_gpkg(path: Path, layers: dict[str, gpd.GeoDataFrame]) -> None:
    """Write each frame as one layer; a layer without geometry column is not accepted. Overwrites the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    for name, table in layers.items():
        pyogrio.write_dataframe(table, path, layer=name, driver="GPKG", append=path.exists(), VERSION="1.3")


def write_geojson(path: Path, table: gpd.GeoDataFrame, digits: int = 9) -> None:
    """GeoJSON in EPSG:4490, longitude first, with the `crs` member naming it (GDAL reads that member)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    geographic = table.to_crs("EPSG:4490")
    geographic["geometry"] = rounded(geographic.geometry.to_numpy(), digits)
    doc = json.loads(geographic.to_json(drop_id=True))
    doc = {
        "type": "FeatureCollection",
        "name": path.stem,
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::4490"}},
        "features": doc["features"],
    }
    write_json(path, doc, indent=None)


def write_json(path: Path, doc: Any, indent: int | None = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    separators = (",", ":") if indent is None else None
    path.write_text(
        json.dumps(doc, ensure_ascii=False, indent=indent, separators=separators, default=_plain) + "\n",
        encoding="utf-8",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def write_csv(path: Path, rows: list[Row], encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
