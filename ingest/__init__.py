"""File -> layers: one format, one module, each with `SUFFIXES` and `read(path, hints) -> Reading`.

`reader_for` names the module of a file; modules are imported only when they are needed, because some of them pull in
heavy libraries.
"""

import importlib
import json
import re
from pathlib import Path
from typing import Protocol, cast

from layers.errors import InvalidInput
from layers.source import Hints, Reading

READERS: dict[str, str] = {
    ".city.json": "cityjson.reader",
    ".city.jsonl": "cityjson.reader",
    ".cityjson": "cityjson.reader",
    ".citygml": "citygml.reader",
    ".copc.laz": "points.las",
    ".las": "points.las",
    ".laz": "points.las",
    ".e57": "points.e57",
    ".ptx": "points.ptx",
    ".ifc": "ifc.reader",
    ".ifczip": "ifc.reader",
    ".tif": "raster.reader",
    ".tiff": "raster.reader",
    ".asc": "raster.reader",
    ".img": "raster.reader",
    ".png": "raster.reader",
    ".jpg": "raster.reader",
    ".jpeg": "raster.reader",
    ".gpkg": "vector.reader",
    ".shp": "vector.reader",
    ".geojson": "vector.reader",
    ".fgb": "vector.reader",
    ".json": "vector.reader",
    ".gml": "vector.reader",
    ".kml": "vector.reader",
    ".kmz": "vector.reader",
    ".tab": "vector.reader",
    ".mif": "vector.reader",
    ".gdb": "vector.reader",
    ".gdb.zip": "vector.reader",
    ".osm.pbf": "vector.reader",
    ".dbf": "vector.reader",
    ".parquet": "geoparquet.reader",
    ".geoparquet": "geoparquet.reader",
    ".dxf": "dxf.reader",
    ".csv": "table.csv_reader",
    ".xlsx": "table.xlsx",
    ".xls": "table.xlsx",
    ".inp": "network.epanet",
    ".obj": "mesh.reader",
    ".ply": "mesh.reader",
    ".stl": "mesh.reader",
    ".gltf": "mesh.reader",
    ".glb": "mesh.reader",
    "tileset.json": "tileset.reader",
    ".3tz": "tileset.reader",
    ".b3dm": "tileset.reader",
    ".i3dm": "tileset.reader",
    ".pnts": "tileset.reader",
    ".cmpt": "tileset.reader",
}
"""Suffix -> module of this package; the longest suffix that fits wins."""

SNIFFED_BYTES = 65536
SEARCHED_BYTES = 256 << 20
"""How far a file is searched for what tells its format, in blocks."""
PARSED_BYTES = 8 << 20
"""JSON up to this size is parsed to learn what it is; 1 byte of it may become 25 bytes of objects."""
LONGEST_MATCH = 128

_INP_SECTION = re.compile(
    rb"\n[ \t\r]*\[(?:(?P<swmm>CONDUITS|SUBCATCHMENTS|RAINGAGES|OUTFALLS|XSECTIONS)"
    rb"|TANK[A-Z]*|RESE[A-Z]*|PIPE[A-Z]*)\]",
    re.IGNORECASE,
)
_JSON_KIND = re.compile(
    rb'(?:"CityObjects"\s{0,32}:|"type"\s{0,32}:\s{0,32}"(?:CityJSON|(?P<geojson>Feature|GeometryCollection)))'
)


class Reader(Protocol):
    """What every reader module offers."""

    SUFFIXES: tuple[str, ...]

    def read(self, path: Path, hints: Hints) -> Reading:
        """Read one file; see `layers.source`."""
        ...


def suffix_of(path: Path) -> str | None:
    """The longest known suffix that the name ends with, or None."""
    name = path.name.lower()
    return max((suffix for suffix in READERS if name.endswith(suffix)), key=len, default=None)


def reader_for(path: Path) -> Reader:
    """The reader module of a file. Raises InvalidInput for a format that nobody reads."""
    return cast("Reader", importlib.import_module(f"ingest.{module_of(path)}"))


def module_of(path: Path) -> str:
    """Name of the reader module of a file, from its name and, where that leaves a choice, its first bytes.

    Raises InvalidInput for a format that nobody reads, and for a pipe, socket or device.
    """
    check_is_file(path)
    suffix = suffix_of(path)
    if suffix is None and path.suffix.lower() == ".dwg":
        hint = "Save it as DXF (2018 or older) with its georeference, and put that into the folder."
        raise InvalidInput(f"{path.name} is a DWG, which is not read.", hint, code="FORMAT_UNKNOWN")
    if suffix is None:
        problem = f"{path.name} is of a format that is not read."
        raise InvalidInput(problem, f"These are: {', '.join(sorted(READERS))}.", code="FORMAT_UNKNOWN")
    module = READERS[suffix]
    if suffix == ".json":
        module = _json_module(path)
    if suffix == ".inp":
        module = "network.swmm" if _is_swmm(path) else "network.epanet"
    if suffix == ".gml":
        module = "citygml.reader" if _is_citygml(path) else "vector.reader"
    if suffix == ".ply":
        module = "mesh.reader" if _has_faces(path) else "points.ply"
    return module


def check_is_file(path: Path) -> None:
    """Raises InvalidInput for a pipe, socket or device: opening one may wait for ever, reading one may never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        problem = f"{path.name} is a pipe, a socket or a device, not a file."
        raise InvalidInput(problem, "Save its content as a file.", code="FILE_UNREADABLE")


def read(path: Path, hints: Hints) -> Reading:
    """Read a file with its reader, then do what was asked for to its coordinates: repairs and control points.

    Raises what the reader raises, and InvalidInput for control points that fit nothing.
    """
    from ingest.correct import moved

    return moved(reader_for(path).read(path, hints), hints)


def _is_citygml(path: Path) -> bool:
    """True if the namespace of CityGML's core (1.0 to 3.0) is declared near the beginning."""
    with path.open("rb") as file:
        return b"opengis.net/citygml/" in file.read(SNIFFED_BYTES)


def _has_faces(path: Path) -> bool:
    """False for a PLY whose header names vertices and no faces: a point cloud."""
    with path.open("rb") as file:
        head, end, _ = file.read(SNIFFED_BYTES).partition(b"end_header")
    faces = re.search(rb"^element\s+face\s+0*([1-9])", head, re.MULTILINE)
    return not end or faces is not None or b"element vertex" not in head


def _is_swmm(path: Path) -> bool:
    """True for a SWMM file: it has sections that EPANET lacks. Read in blocks up to the first section that tells."""
    found = _first(path, _INP_SECTION)
    return found is not None and found["swmm"] is not None


def _first(path: Path, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
    """The first match (of at most LONGEST_MATCH bytes) within SEARCHED_BYTES; a line break is put before them."""
    with path.open("rb") as file:
        before, left = b"\n", SEARCHED_BYTES
        while left > 0 and (block := file.read(1 << 20)):
            if match := pattern.search(before + block):
                return match
            before, left = (before + block)[-LONGEST_MATCH:], left - len(block)
    return None


def _json_module(path: Path) -> str:
    """`.json` may be CityJSON or GeoJSON: the value of its top-level `type` tells, wherever it stands."""
    with path.open("rb") as file:
        head = file.read(SNIFFED_BYTES)
    squeezed = b"".join(head.split())
    if b'"asset":{' in squeezed and b'"geometricError":' in squeezed:
        return "tileset.reader"
    if b'"type":"CityJSON' in squeezed or b'"CityObjects":' in squeezed:
        return "cityjson.reader"
    if b'"type":"Feature' in squeezed or b'"type":"GeometryCollection"' in squeezed:
        return "vector.reader"
    if b'"org.cuahsi.waterml.TimeSeriesResponseType"' in squeezed:
        return "sensor.waterml"
    if path.stat().st_size > PARSED_BYTES:
        if found := _first(path, _JSON_KIND):
            return "vector.reader" if found["geojson"] else "cityjson.reader"
        keys = None
    else:
        keys = _parsed(path)
    if isinstance(keys, dict) and ("CityObjects" in keys or str(keys.get("type", "")).startswith("CityJSON")):
        return "cityjson.reader"
    if isinstance(keys, dict) and "type" in keys:
        return "vector.reader"
    problem = f"{path.name} is JSON, but neither GeoJSON nor CityJSON."
    raise InvalidInput(
        problem, "Convert it to GeoJSON, or list it in city.toml with skip = true.", code="FORMAT_UNKNOWN"
    )


def _parsed(path: Path) -> object:
    try:
        return cast("object", json.loads(path.read_text("utf-8-sig")))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path.name} is not JSON: {error}.", "Export it again.", code="JSON_BROKEN") from error
