"""A coverage as netCDF-3 (64-bit offset), CF-1.8: what each number means stands beside it.

Spec: OGC 10-090r3, CF conventions 1.8 (coordinate variables, grid mapping, `_FillValue`, packed data).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from layers import crs
from tiles.coverage import read, units
from tiles.coverage.grid import Grid
from tiles.coverage.sheets import Coverage, Field

MEDIA_TYPE = "application/x-netcdf"
KEPT = {"int8", "int16", "int32", "float32", "float64"}
"""Types of cells that netCDF-3 has; others are written in the next wider one."""
WIDER = {"uint8": "int16", "uint16": "int32", "uint32": "float64", "int64": "float64", "uint64": "float64"}


def write(
    path: Path, coverage: Coverage, frame: Grid, fields: Sequence[Field], about: Mapping[str, str] | None = None
) -> None:
    """Write the file; `about`: what a field means, in a sentence."""
    from scipy.io import netcdf_file

    values, valid = read.whole(coverage, frame, fields)
    kind = coverage.dtype if coverage.dtype in KEPT else WIDER[coverage.dtype]
    is_degrees = crs.is_geographic(frame.crs)
    x_name, y_name = ("lon", "lat") if is_degrees else ("x", "y")
    with netcdf_file(path, "w", version=2) as out:
        out.Conventions = "CF-1.8"
        out.title = coverage.layer
        _axes(out, frame, x_name, y_name, is_degrees=is_degrees)
        _mapping(out, frame)
        for i, each in enumerate(fields):
            fill = _fill(coverage, kind)
            data = values[i].astype(kind)
            void = ~valid if coverage.nodata is None else ~valid | (values[i] == coverage.nodata)
            data[void] = fill
            variable = out.createVariable(each.name, np.dtype(kind), (y_name, x_name))
            variable[:] = data
            told = {"_FillValue": fill, "grid_mapping": "crs", "long_name": (about or {}).get(each.name, each.title.en)}
            _tell(variable, told | _packing(coverage, each))


def _fill(coverage: Coverage, kind: str) -> Any:
    """A number that is free: the coverage's nodata value, else NaN or the lowest of the (wider) type."""
    if coverage.nodata is not None:
        return np.array(coverage.nodata, kind)
    return np.array(np.nan, kind) if np.dtype(kind).kind == "f" else np.array(np.iinfo(kind).min, kind)


def _axes(out: Any, frame: Grid, x_name: str, y_name: str, *, is_degrees: bool) -> None:
    kinds = ("longitude", "latitude") if is_degrees else ("projection_x_coordinate", "projection_y_coordinate")
    names = ("degrees_east", "degrees_north") if is_degrees else ("m", "m")
    for name, standard, unit, centres in zip((x_name, y_name), kinds, names, frame.centres(), strict=True):
        out.createDimension(name, len(centres))
        axis = out.createVariable(name, np.dtype("float64"), (name,))
        axis[:] = centres
        axis.standard_name, axis.units = standard, unit
        axis.axis = "X" if name == x_name else "Y"


def _mapping(out: Any, frame: Grid) -> None:
    mapping = out.createVariable("crs", np.dtype("int32"), ())
    plain = {key: value for key, value in crs.parse(frame.crs).to_cf().items() if isinstance(value, (str, int, float))}
    # the last two in GDAL's own words, for its reader and those that follow it
    place = f"{frame.west!r} {frame.dx!r} 0 {frame.north!r} 0 {-frame.dy!r}"
    _tell(mapping, plain | {"spatial_ref": crs.parse(frame.crs).to_wkt(), "GeoTransform": place})


def _tell(variable: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        setattr(variable, name, value.encode() if isinstance(value, str) else np.asarray(value))


def _packing(coverage: Coverage, each: Field) -> dict[str, Any]:
    scale, offset = coverage.scales[each.band - 1], coverage.offsets[each.band - 1]
    found: dict[str, Any] = {"units": units.ucum(each.unit) or each.unit} if each.unit else {}
    return found if (scale, offset) == (1.0, 0.0) else found | {"scale_factor": scale, "add_offset": offset}
