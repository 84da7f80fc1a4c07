"""GeoTIFF, ASCII grid, ERDAS IMAGINE -> cloud-optimised GeoTIFF, every block really read before anything is kept.

Formats: OGC 19-008r4 (GeoTIFF), OGC 21-026 (COG). Streamed block by block.
"""

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ingest import place
from ingest.detect import name_words
from ingest.vector import ids_name
from layers import catalogue
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, Hints, Reading

SUFFIXES = (".tif", ".tiff", ".asc", ".img")

MAX_PIXELS = 1 << 36
"""A header that claims more is taken for damaged."""

_WINDOW = 1024
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])?(?:[-_.]?(0[1-9]|[12]\d|3[01]))?(?!\d)")


def read(path: Path, hints: Hints) -> Reading:
    """The raster as an asset. Raises InvalidInput, or CrsMissing when neither the file nor `hints` names a CRS."""
    from rasterio.errors import RasterioError

    name = ids_name(path, hints)
    try:
        with _opened(path) as source:
            _refuse(source, name)
            stated = source.crs.to_wkt() if source.crs else None
            facts = _facts(source)
            bounds = tuple(float(value) for value in source.bounds)
            epoch = hints.epoch or _epoch(path.stem, source.tags())
    except (RasterioError, OSError) as error:
        raise InvalidInput(
            f"{name} cannot be read as a raster: {_sentence(error)}", "Export it again.", code="FILE_UNREADABLE"
        ) from error
    west, south, east, north = bounds
    certificate, issues = place.certificate(stated, hints, name, (west, south, east, north))
    layer_type, found = _layer_type(path, facts, hints, name)
    layer = AssetLayer(
        name=path.name.split(".")[0],
        kind="raster",
        layer_type=layer_type,
        crs=certificate.source_crs or "",
        bounds=(west, south, east, north),
        meta=facts,
        write=lambda target: write_cog(path, target, name, certificate.source_crs or "", layer_type),
        suffix=".tif",
        vertical_crs=certificate.source_vertical_crs,
        epoch=epoch,
    )
    return Reading(path, str(facts["driver"]), [layer], certificate, [*issues, *found])


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
    if source.transform.is_identity:
        has_gcps = bool(source.gcps[0])
        what = "only ground control points" if has_gcps else "no georeference (no transform, no world file)"
        problem = f"{name} has {what}."
        hint = (
            "Rectify it first: gdalwarp IN OUT."
            if has_gcps
            else "Put its world file (.tfw) beside it, or georeference it in QGIS."
        )
        raise InvalidInput(problem, hint, code="RASTER_NOT_PLACED")
    a, b, _, d, e, _ = source.transform[:6]
    if abs(b) > 1e-9 * abs(a) or abs(d) > 1e-9 * abs(e):
        raise InvalidInput(
            f"{name} is rotated ({math.degrees(math.atan2(d, a)):.3f}°).",
            "Make it north-up first: gdalwarp IN OUT.",
            code="RASTER_ROTATED",
        )
    if a <= 0 or e >= 0:
        way = "from east to west" if a <= 0 else "from south to north"
        raise InvalidInput(f"{name} runs {way}.", "Make it north-up first: gdalwarp IN OUT.", code="RASTER_ROTATED")


def _facts(source: Any) -> dict[str, Any]:
    return {
        "driver": source.driver,
        "width": source.width,
        "height": source.height,
        "bands": source.count,
        "dtype": source.dtypes[0],
        "nodata": None if source.nodata is None else float(source.nodata),
        "cell_m": [abs(float(source.res[0])), abs(float(source.res[1]))],
        "colors": [color.name for color in source.colorinterp],
        "compression": source.compression.name if source.compression else None,
        "pixel_is_point": source.tags().get("AREA_OR_POINT") == "Point",
        "unit": source.units[0],
    }


def _epoch(stem: str, tags: dict[str, str]) -> str | None:
    """ISO date from the TIFF's DateTime tag or the file's name, as exact as it is stated."""
    stated = tags.get("TIFFTAG_DATETIME", "")
    match = re.match(r"^(\d{4}):(\d\d):(\d\d)", stated) or _DATE.search(stem)
    return "-".join(part for part in match.groups() if part) if match else None


def _layer_type(path: Path, facts: dict[str, Any], hints: Hints, name: str) -> tuple[str, list[Issue]]:
    if hints.layer is not None:
        if catalogue.layer_type(hints.layer).geometry != "raster":
            raise InvalidInput(
                f"Layer {hints.layer!r} does not hold rasters.",
                "Correct `layer` in city.toml.",
                code="LAYER_GEOMETRY_DIFFERS",
            )
        return hints.layer, []
    words = name_words(path.name.split(".")[0])
    for each in catalogue.load().values():
        if each.geometry == "raster" and any(
            f"_{token.lower()}_" in words or (not token.isascii() and token in words)
            for token in (each.id, *each.tokens)
        ):
            return each.id, []
    is_image = facts["dtype"] == "uint8" and facts["bands"] >= 3
    if is_image:
        return "dom", [
            Issue(
                "LAYER_TYPE_FROM_BANDS",
                name,
                f"{facts['bands']} bands of bytes are taken for an orthophoto.",
                "If it is none, give `layer` in city.toml.",
                "info",
            )
        ]
    if facts["bands"] == 1 and facts["dtype"] in {"float32", "float64", "int16", "int32"}:
        return "dem", [
            Issue(
                "LAYER_TYPE_FROM_BANDS",
                name,
                f"One band of {facts['dtype']} is taken for terrain heights.",
                "If it is a surface model or none at all, give `layer` in city.toml.",
                "warning",
            )
        ]
    problem = (
        f"{name} has {facts['bands']} band(s) of {facts['dtype']}: neither its name nor its bands say what it shows."
    )
    raise InvalidInput(
        problem,
        f"Write into city.toml (dem, dsm or dom):\n{place.toml_lines(name, layer='dem')}",
        code="LAYER_TYPE_UNKNOWN",
    )


def write_cog(path: Path, target: Path, name: str, crs_text: str, layer_type: str) -> list[Issue]:
    """Write a COG; raises InvalidInput that names the first block which cannot be read, and then leaves no file."""
    from rasterio.errors import RasterioError

    with _opened(path) as source:
        _read_all(source, name)
        try:
            _copy(source, target, crs_text, layer_type)
        except (RasterioError, OSError) as error:
            with suppress(FileNotFoundError):
                target.unlink()
            problem = f"{name} could not be written as a COG: {_sentence(error)}"
            raise InvalidInput(problem, "Check the disk's free space.", code="RASTER_NOT_WRITTEN") from error
    return []


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The dataset; without georeference it is refused in words, so rasterio's warning is not needed."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            yield source


def _read_all(source: Any, name: str) -> None:
    """Read every block once: a truncated file opens well and fails only here."""
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    block_rows, block_columns = source.block_shapes[0]
    rows = max(block_rows, _WINDOW // block_rows * block_rows)
    columns = max(block_columns, _WINDOW // block_columns * block_columns)
    for top in range(0, source.height, rows):
        for left in range(0, source.width, columns):
            window = Window(left, top, min(columns, source.width - left), min(rows, source.height - top))
            try:
                source.read(window=window)
            except (RasterioError, OSError) as error:
                place_ = (
                    f"rows {top} to {int(top + window.height) - 1}, columns {left} to {int(left + window.width) - 1}"
                )
                problem = f"{name} is damaged: {place_} cannot be read: {_sentence(error)}"
                hint = "It is cut off or broken: copy or export it again."
                raise InvalidInput(problem, hint, code="TRUNCATED") from error


def _copy(source: Any, target: Path, crs_text: str, layer_type: str) -> None:
    import rasterio
    from rasterio.crs import CRS
    from rasterio.io import MemoryFile
    from rasterio.shutil import copy

    is_image = layer_type == "dom"
    lossy = is_image and source.compression is not None and source.compression.name in {"jpeg", "webp"}
    options: dict[str, Any] = {"driver": "COG", "BLOCKSIZE": 512, "BIGTIFF": "IF_SAFER", "NUM_THREADS": 2}
    options |= {"COMPRESS": "JPEG", "QUALITY": 90} if lossy else {"COMPRESS": "DEFLATE", "PREDICTOR": "YES"}
    options["OVERVIEW_RESAMPLING"] = "AVERAGE" if is_image else "BILINEAR"
    if source.crs:
        copy(source, target, **options)
        return
    with MemoryFile(ext=".vrt") as memory:  # a view of the file that carries the CRS that was given for it
        copy(source, memory.name, driver="VRT")
        with rasterio.open(memory.name, "r+") as view:
            view.crs = CRS.from_user_input(crs_text)
        with rasterio.open(memory.name) as view:
            copy(view, target, **options)
