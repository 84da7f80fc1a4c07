"""OGC API Coverages (draft 19-087): the rasters of a collection as numbers, cut, scaled, in any CRS that is offered.

Formats: GeoTIFF (with byte ranges, so that GDAL reads an address as a file), CoverageJSON, netCDF, PNG.
"""

import atexit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers import crs
from layers.errors import InvalidInput, NotFound
from server import answer, coverage_request, coverage_schema, files, negotiation
from server.coverage_request import Wanted
from server.face import Face, Link, Operation, query
from server.ogc import BASE, RELATION
from server.serving import KIND_NAMES, Snapshot, snapshot
from server.spool import Spool
from tiles.coverage import covjson, epochs, geotiff, netcdf, png, read
from tiles.imagery import open_files

FORMATS = {
    "geotiff": "image/tiff; application=geotiff",
    "covjson": covjson.MEDIA_TYPE,
    "netcdf": netcdf.MEDIA_TYPE,
    "png": "image/png",
}
ALIASES = {
    "tif": "geotiff", "tiff": "geotiff", "gtiff": "geotiff", "json": "covjson", "coveragejson": "covjson",
    "nc": "netcdf",
}  # fmt: skip
SUFFIXES = {"geotiff": "tif", "covjson": "covjson", "netcdf": "nc", "png": "png"}
PNG_SCALING = ("values-scale", "values-offset")
MAX_JSON_VALUES = 1_000_000
MAX_WHOLE_CELLS = 1 << 22
"""Of PNG and netCDF, which are made in memory."""
SPOOL = Spool()
atexit.register(SPOOL.close)


def coverage(request: Request) -> Response:
    """The coverage of a raster collection."""
    city, layer = snapshot(request), request.path_params["layer"]
    city.type_of(layer)
    if not coverage_schema.has(city, layer):
        kind = KIND_NAMES[city.files[layer].assets[0].kind] if layer in city.files else "layer of features"
        raise NotFound(f"{layer} is a {kind}: it has no coverage.", f"See /collections/{layer}.")
    name = _format(request)
    more = PNG_SCALING if name == "png" else ()
    wanted = coverage_request.wanted(request.query_params, city, layer, city.files[layer].assets, more)
    _fits(name, wanted)
    tag = answer.etag(_digest(city, wanted, name), weak=name == "covjson")
    headers = _headers(wanted, name, layer)
    if name == "covjson":
        if answer.is_fresh(request, tag):
            return answer.not_modified(answer.headers_for(tag, headers))
        return answer.conditional(request, _covjson(wanted), FORMATS[name], tag, headers)
    if name == "png":
        headers |= _png_headers(wanted)
    path = SPOOL.file(f"{tag.strip(chr(34))}.{SUFFIXES[name]}", _writer(name, wanted))
    return files.ranged(request, path, FORMATS[name], tag=tag, more=headers)


def _format(request: Request) -> str:
    asked = request.query_params.get("f", "").lower()
    if asked in ALIASES:
        return ALIASES[asked]
    return negotiation.chosen(request, FORMATS)


def _fits(name: str, wanted: Wanted) -> None:
    """What a format cannot hold is refused before anything is read."""
    values = wanted.frame.cells * len(wanted.fields)
    limit = MAX_JSON_VALUES if name == "covjson" else MAX_WHOLE_CELLS if name in {"png", "netcdf"} else None
    if limit is not None and values > limit:
        factor = (values / limit) ** 0.5
        raise InvalidInput(
            f"{values} values are too many for f={name}: {limit} are possible.",
            f"Use f=geotiff, a smaller bbox or subset, or make cells {factor:.2f} times as wide by scale-factor.",
            code="COVERAGE_TOO_LARGE",
        )
    if name == "png" and len(wanted.fields) not in {1, 3}:
        names = ",".join(each.name for each in wanted.fields[:3])
        raise InvalidInput(f"PNG holds 1 or 3 fields, not {len(wanted.fields)}.", f"Choose with properties={names}")


def _digest(city: Snapshot, wanted: Wanted, name: str) -> str:
    """Everything that the bytes depend on."""
    sheets = [(each.asset, open_files.stamp(each.path)) for each in wanted.coverage.sheets]
    asked = (wanted.frame, [each.name for each in wanted.fields], name, _scaling(wanted) if name == "png" else ())
    return repr((sheets, asked, city.city.config.height_model, wanted.coverage.vertical_crs))


def _headers(wanted: Wanted, name: str, layer: str) -> dict[str, str]:
    frame = wanted.frame
    bounds = coverage_schema.on_the_wire(frame)
    found = {
        "Content-Bbox": ",".join(f"{value:.15g}" for value in bounds),
        "Content-Disposition": f'inline; filename="{_plain(layer)}.{SUFFIXES[name]}"',
    }
    if frame.crs == crs.CRS84 or frame.crs.startswith("EPSG:"):
        found["Content-Crs"] = f"<{covjson.identifier(frame.crs)}>"
    times = sorted({known for each in wanted.coverage.sheets if (known := epochs.made(each.asset))})
    if times:
        first, last = (coverage_schema.instant(each[0]) for each in (times[0], times[-1]))
        found["Content-Datetime"] = first if first == last else f"{first}/{last}"
    if not read.is_native(wanted.coverage, frame):
        method = "nearest-neighbor" if wanted.coverage.is_coded else "linear"
        found["Content-Interpolation"] = f"[ogc-interpolation:{method}]"
    return found


def _plain(layer: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in layer)[:60]


def _writer(name: str, wanted: Wanted) -> Callable[[Path], None]:
    asked = (wanted.coverage, wanted.frame, wanted.fields)
    if name == "netcdf":
        about = {each.name: coverage_schema.description(wanted.coverage, each) for each in wanted.fields}
        return lambda path: netcdf.write(path, *asked, {key: said.en for key, said in about.items() if said})
    if name == "png":
        return lambda path: png.write(path, *asked, _png_scaling(wanted))
    return lambda path: geotiff.write(path, *asked)


def _covjson(wanted: Wanted) -> bytes:
    values, valid = read.whole(wanted.coverage, wanted.frame, wanted.fields)
    ranges = covjson_ranges(wanted, values, valid)
    times = {coverage_schema.instant(known[0]) for s in wanted.coverage.sheets if (known := epochs.made(s.asset))}
    time = next(iter(times)) if len(times) == 1 else None
    parameters = coverage_schema.parameters(wanted.coverage, wanted.fields)
    return covjson.dumps(covjson.grid(wanted.frame, parameters, ranges, time=time))


def covjson_ranges(wanted: Wanted, values: Any, valid: Any) -> dict[str, Any]:
    """Values of each field as CoverageJSON takes them: stored numbers where they are the values, else real ones."""
    found = wanted.coverage
    plain = all(found.scales[each.band - 1] == 1.0 and found.offsets[each.band - 1] == 0.0 for each in wanted.fields)
    if plain and values.dtype == "float32":
        real = values.copy()
        real[:, ~valid] = float("nan")
        if found.nodata is not None:
            real[values == found.nodata] = float("nan")
        return {each.name: real[i] for i, each in enumerate(wanted.fields)}
    if plain and values.dtype.kind in "iu" and valid.all() and not (values == found.nodata).any():
        return {each.name: values[i] for i, each in enumerate(wanted.fields)}
    real = read.real(found, values, valid, wanted.fields)
    return {each.name: real[i] for i, each in enumerate(wanted.fields)}


def _scaling(wanted: Wanted) -> tuple[float | None, float | None]:
    told: list[float | None] = []
    for name in PNG_SCALING:
        text = wanted.given.get(name)
        if text is None:
            told.append(None)
            continue
        try:
            told.append(float(text))
        except ValueError as error:
            raise InvalidInput(f"{name}={text[:40]!r} is no number.", f"Example: {name}=100") from error
    return told[0], told[1]


def _png_scaling(wanted: Wanted) -> tuple[float | None, float | None]:
    """Scale and offset of the PNG's numbers, chosen where they are not asked for; (None, None): as they are."""
    asked = _scaling(wanted)
    if wanted.coverage.dtype in png.FULL and asked == (None, None):
        return asked
    return png.scaling(wanted.coverage, wanted.frame, wanted.fields, asked)


def _png_headers(wanted: Wanted) -> dict[str, str]:
    scale, offset = _png_scaling(wanted)
    return {
        "Values-Scale": repr(1.0 if scale is None else scale), "Values-Offset": repr(0.0 if offset is None else offset)
    }  # fmt: skip


def layer_links(city: Snapshot, layer: str) -> list[Link]:
    """Links of a raster's collection."""
    if not coverage_schema.has(city, layer):
        return []
    url = f"{BASE}/collections/{layer}"
    found: list[Link] = [
        {"rel": RELATION + "coverage", "type": kind, "title": f"Coverage ({name})", "href": f"{url}/coverage?f={name}"}
        for name, kind in FORMATS.items()
    ]
    return [
        *found,
        {
            "rel": RELATION + "schema", "type": "application/schema+json", "title": "Fields of the coverage",
            "href": f"{url}/schema",
        },
    ]  # fmt: skip


def operations() -> tuple[Operation, ...]:
    """For the API document."""
    text, numbers = {"type": "string"}, {"type": "number", "exclusiveMinimum": True, "minimum": 0}
    whole = {"type": "integer", "minimum": 1, "maximum": coverage_request.MAX_SIDE}
    formats = {"type": "string", "enum": [*FORMATS, *ALIASES]}
    own = (
        query("f", "Format; default by the Accept header, else GeoTIFF.", formats),
        query("bbox", "Box in the axis order of bbox-crs.",
              {"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "number"}}),
        query("subset", "Axes of subset-crs: Lat(28:28.1),Lon(121:121.1), E(…),N(…), or time(\"2026-04-18\").", text),
        query("subset-crs", "CRS of subset; CRS84 by default.", text),
        query("crs", "CRS of the answer; the raster's own by default.", text),
        query("datetime", "Rasters of a period, or the layer as it was known at an instant.", text),
        query("properties", "Fields to return, in this order.", {"type": "array", "items": text}),
        query("exclude-properties", "Fields to leave out.", {"type": "array", "items": text}),
        query("resolution", "Cell size by axis of the answer's CRS: E(5),N(5).", text),
        query("scale-factor", "So many times fewer cells along each axis.", numbers),
        query("scale-axes", "So many times fewer cells by axis: E(2),N(4).", text),
        query("scale-size", "Cells by axis: E(256),N(256).", text),
        query("width", "Cells from west to east.", whole),
        query("height", "Cells from south to north.", whole),
        query("asset", "Only this raster file of the collection.", text),
        query("values-scale", "Of PNG: factor from value to number.", {"type": "number"}),
        query("values-offset", "Of PNG: what is added then.", {"type": "number"}),
    )  # fmt: skip
    return (
        Operation(
            "/collections/{rasterId}/coverage", "Values of a raster", tuple(FORMATS.values()),
            ("lang", "bbox-crs", *own), answers={404: "Nothing there, in space or time"}, tag="Coverages",
        ),
    )  # fmt: skip


CLASSES = tuple(
    f"ogcapi-coverages-1/1.0/conf/{each}"
    for each in (
        "core", "subsetting-spatial", "subsetting-temporal", "scaling-spatial", "field-selection", "crs", "geotiff",
        "coveragejson", "netcdf", "png", "api-operations",
    )
)  # fmt: skip


def face() -> Face:
    """Coverages of all raster collections."""
    routes = [Route("/collections/{layer}/coverage", coverage, methods=["GET"])]
    return Face(routes, operations(), CLASSES, layer_links=layer_links, layer_members=coverage_schema.members)
