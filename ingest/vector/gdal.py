"""Tables of a file as GDAL (through pyogrio) gives them: opened without writing, without network, streamed as Arrow.

Bounded memory: one batch of 10,000 features at a time.
"""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest import markup, scratch, wkb
from ingest.scratch import Scratch
from ingest.stream import BATCH_ROWS
from ingest.vector import shapefile
from layers.errors import InvalidInput
from layers.issue import Issue

FORMATS = {
    "GPKG": "GeoPackage", "ESRI Shapefile": "Shapefile", "GeoJSON": "GeoJSON", "FlatGeobuf": "FlatGeobuf",
    "GML": "GML", "LIBKML": "KML", "KML": "KML", "MapInfo File": "MapInfo", "OpenFileGDB": "File geodatabase",
    "OSM": "OpenStreetMap", "ESRIJSON": "Esri JSON", "TopoJSON": "TopoJSON", "GeoJSONSeq": "GeoJSON sequence",
}  # fmt: skip
"""Drivers that may read a file, and their formats' names; any other driver is a trick or a mistake."""

_ORDERS = (b"<OGRVRT", b"<VRTDataset", b"gdal_streamed_alg", b"<OGRWFS", b"<GDAL_WMS", b"<GDAL_WMTS")
"""Files whose content makes GDAL open other files or addresses, whatever their name."""

_HEAD_BYTES = 65536


@dataclass(frozen=True)
class Table:
    """One table of a file, as pyogrio describes it.

    Attributes
    ----------
    path : the source
    opened : what GDAL opens: the source, or what stands for it in a scratch folder
    name : of the layer made of it
    info : of `pyogrio.read_info`, with the table's own name under `layer`
    schema : attribute columns
    only : the file has no other table
    is_multipatch : polygons are the faces of bodies, not areas
    scratch : kept as long as the table
    """

    path: Path
    opened: Path
    name: str
    info: dict[str, Any]
    encoding: str | None
    schema: pa.Schema
    has_geometry: bool
    only: bool
    is_multipatch: bool = False
    scratch: Scratch | None = None
    heard: list[str] = field(default_factory=list)

    @property
    def geometry_type(self) -> str:
        """Declared simple-features name; `Unknown`, or `none` without geometry."""
        return str(self.info["geometry_type"] or "none") if self.has_geometry else "none"

    @property
    def driver(self) -> str:
        """GDAL's name for the format."""
        return str(self.info["driver"])


def tables(path: Path, encoding: str | None) -> tuple[list[Table], list[Issue]]:
    """Every table of a file, and what was found on opening it. Raises InvalidInput."""
    import pyogrio
    from pyogrio.errors import DataLayerError, DataSourceError

    configure()
    issues: list[Issue] = []
    if path.suffix.lower() in {".shp", ".dbf"}:
        issues += shapefile.check(path)
        encoding, more = shapefile.encoding(path, encoding)
        issues += more
    _check_content(path)
    heard: list[str] = []
    found: list[tuple[Path, str, dict[str, Any]]] = []
    places, held = _places(path)
    try:
        with hearing(heard):
            for place in places:
                listed = [str(row[0]) for row in pyogrio.list_layers(place)]
                found += [(place, name, pyogrio.read_info(place, layer=name, encoding=encoding)) for name in listed]
    except (DataSourceError, DataLayerError, UnicodeDecodeError) as error:
        problem = f"{path.name} cannot be read: {sentence(error)}"
        raise InvalidInput(problem, "Open it in QGIS and export it again.", code="FILE_UNREADABLE") from error
    except UnboundLocalError as error:  # what pyogrio makes of a CRS whose text is no UTF-8
        problem = f"{path.name} cannot be read: its CRS (of a .prj, for instance) is no text in UTF-8."
        raise InvalidInput(problem, "Write the CRS again, as WKT in ASCII.", code="CRS_UNREADABLE") from error
    except (ValueError, RuntimeError, OSError) as error:
        problem = f"{path.name} cannot be read: {sentence(error)}"
        raise InvalidInput(problem, "Export it again.", code="FILE_UNREADABLE") from error
    if not found:
        raise InvalidInput(f"{path.name} has no tables.", "Export it again.", code="FILE_EMPTY")
    for _, _, info in found:
        if info["driver"] not in FORMATS:
            problem = f"{path.name} is not what its name says: it is of the kind {info['driver']}."
            raise InvalidInput(problem, "Give it the suffix of its format, or convert it.", code="FORMAT_UNKNOWN")
    made, names = [], set[str]()
    for place, name, info in found:
        own = name if name not in names else f"{place.stem}_{name}"
        names.add(own)
        plain = Table(path, place, own, {**info, "layer": name}, encoding, pa.schema([]), False, len(found) == 1)
        made.append(_described(replace(plain, scratch=held)))
    return made, issues


@lru_cache(maxsize=1)
def configure() -> None:
    """Settings of GDAL that make it read everything, write beside nothing and download nothing."""
    import pyogrio

    pyogrio.set_gdal_config_options(
        {
            "OSM_USE_CUSTOM_INDEXING": "NO",  # else files whose nodes are not sorted give no lines, without an error
            "CPL_TMPDIR": tempfile.gettempdir(),
            "GML_DOWNLOAD_SCHEMA": "NO",
        }
    )


def _check_content(path: Path) -> None:
    if path.is_dir():
        return
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if any(order in head for order in _ORDERS):
        problem = f"{path.name} is no data, but an order to read other files or addresses."
        raise InvalidInput(problem, "Export the data themselves.", code="FORMAT_UNKNOWN")
    if path.suffix.lower() == ".kml" and path.stat().st_size > scratch.KML_BYTES:
        problem = f"{path.name} has more than {scratch.KML_BYTES} bytes of KML."
        raise InvalidInput(problem, "Split or convert it to GeoPackage.", code="FILE_TOO_LARGE")
    if path.suffix.lower() in {".gml", ".kml"}:
        markup.check(path)


def _places(path: Path) -> tuple[list[Path], Scratch | None]:
    """What is opened instead of the source, and the folder that it lies in."""
    suffix = path.suffix.lower()
    if suffix == ".gml":
        held = Scratch()
        return [held.link(path, (".gfs", ".xsd"))], held
    if suffix == ".kmz":
        held = Scratch()
        return list(scratch.unpacked_kmz(path, held)), held
    if path.name.lower().endswith(".gdb.zip"):
        held = Scratch()
        return [scratch.unpacked_gdb(path, held)], held
    if suffix == ".shp" and shapefile.part(path, ".shx") is None:
        held = Scratch()
        return [_with_index(held.link(path, (".dbf", ".prj", ".cpg")))], held
    if suffix == ".gpkg" and scratch.is_live_database(path):
        held = Scratch()
        return [held.copy(path, ("-wal", "-journal"))], held
    return [path], None


def _with_index(path: Path) -> Path:
    """Let GDAL write the .shx that a shapefile in a scratch folder lacks."""
    import pyogrio

    pyogrio.set_gdal_config_options({"SHAPE_RESTORE_SHX": "YES"})
    try:
        with hearing([]):
            pyogrio.read_info(path)
    except (RuntimeError, OSError, ValueError) as error:
        problem = f"{path.name} has no .shx, and it cannot be made again: {sentence(error)}"
        raise InvalidInput(problem, "Copy all files of the set into the folder.", code="SHP_PART_MISSING") from error
    finally:
        pyogrio.set_gdal_config_options({"SHAPE_RESTORE_SHX": None})
    return path


@contextmanager
def hearing(heard: list[str]) -> Iterator[None]:
    """Keep GDAL's warnings as words for the report instead of letting them fall on the terminal."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    heard.extend(str(each.message) for each in caught if str(each.message) not in heard)


def said(name: str, heard: list[str]) -> list[Issue]:
    """GDAL's warnings as issues."""
    return [Issue("GDAL_WARNING", name, f"GDAL says: {words}", "", "info") for words in heard]


def sentence(error: Exception) -> str:
    """The words of a library's error, ended with one full stop."""
    return str(error)[:300].rstrip(".") + "."


def _described(table: Table) -> Table:
    """The table with its columns, its name and what its geometry is."""
    from pyogrio.errors import DataLayerError, DataSourceError
    from pyogrio.raw import open_arrow

    path, info = table.path, table.info
    options = {"encoding": table.encoding} if table.encoding else {}
    try:
        with (
            hearing([]),
            open_arrow(
                table.opened, layer=info["layer"], batch_size=1, use_pyarrow=True, datetime_as_string=True, **options
            ) as (meta, reader),
        ):
            geometry_name = meta["geometry_name"] or "wkb_geometry"
            fields = [each for each in reader.schema if each.name != geometry_name]
            has_geometry = len(fields) < len(reader.schema)
    except (DataLayerError, DataSourceError, pa.ArrowException, RuntimeError, OSError, ValueError) as error:
        problem = f"{path.name}, table {table.name!r}, cannot be read: {sentence(error)}"
        raise InvalidInput(problem, "Open it in QGIS and export it again.", code="FILE_UNREADABLE") from error
    faces = path.suffix.lower() == ".shp" and shapefile.is_multipatch(path)
    faces = faces or (table.driver == "OpenFileGDB" and str(info["geometry_type"]).startswith("GeometryCollection"))
    return replace(
        table,
        name=path.name.split(".")[0] if table.only else table.name,
        schema=pa.schema([(each.name, each.type) for each in fields]),
        has_geometry=has_geometry and info["geometry_type"] is not None,
        is_multipatch=faces,
    )


def _arrow(table: Table, **options: Any) -> Any:
    from pyogrio.raw import open_arrow

    if table.encoding:
        options["encoding"] = table.encoding
    return open_arrow(
        table.opened,
        layer=table.info["layer"],
        batch_size=BATCH_ROWS,
        use_pyarrow=True,
        datetime_as_string=True,
        **options,
    )


def stream(table: Table, **options: Any) -> Iterator[tuple[pa.RecordBatch, str]]:
    """Record batches and the name of the geometry column; what GDAL cannot go on reading is InvalidInput."""
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError

    n_rows = 0
    try:
        with ExitStack() as stack:
            with hearing(table.heard):
                meta, reader = stack.enter_context(_arrow(table, **options))
            while True:
                with hearing(table.heard):
                    batch = next(reader, None)
                if batch is None:
                    return
                n_rows += batch.num_rows
                yield batch, meta["geometry_name"] or "wkb_geometry"
    except (
        DataLayerError,
        DataSourceError,
        FeatureError,
        GeometryError,
        pa.ArrowException,
        RuntimeError,
        OSError,
    ) as error:
        problem = f"{table.path.name}, table {table.name!r}, cannot be read beyond feature {n_rows}: {sentence(error)}"
        raise InvalidInput(problem, "The file is damaged or cut off: export it again.", code="TRUNCATED") from error


def straight(table: Table, raw: list[bytes | None], fids: list[int]) -> list[bytes | None]:
    """WKB with arcs replaced by GDAL's chords (4° steps); everything else as it is."""
    curved = [row for row, value in enumerate(raw) if value and wkb.is_curved(value)]
    if curved:
        from pyogrio.raw import read as read_rows

        rows = read_rows(
            table.opened, layer=table.info["layer"], fids=[fids[row] for row in curved], columns=[], return_fids=True
        )
        chords = dict(zip(rows[1].tolist(), rows[2], strict=True))
        for row in curved:
            raw[row] = chords.get(fids[row], raw[row])
    return raw
