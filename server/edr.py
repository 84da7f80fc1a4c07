"""OGC API Environmental Data Retrieval 1.2 (19-086r6): rasters and observations at points, along lines, in areas."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers import crs
from layers.errors import NotFound
from server import answer, coverage_schema, edr_formats, edr_raster, edr_request, edr_series, negotiation, pages
from server import edr_series_formats as encode
from server.edr_request import FORMATS, Asked
from server.edr_series import Source
from server.edr_series_formats import Telling
from server.face import Face, Link, Operation, query
from server.ogc import BASE
from server.serving import Snapshot, base, language, snapshot
from tiles.coverage import covjson

KINDS = ("position", "radius", "area", "cube", "trajectory")
TITLES = {
    "position": ("点位查询", "Values at points"), "radius": ("半径查询", "Values within a radius"),
    "area": ("区域查询", "Values in an area"), "cube": ("范围查询", "Values in a box"),
    "trajectory": ("沿线查询（剖面）", "Values along a line (profile)"), "locations": ("测站", "Stations"),
    "items": ("要素", "Features"),
}  # fmt: skip
COORDS = {
    "position": "POINT or MULTIPOINT", "radius": "POINT", "area": "POLYGON or MULTIPOLYGON", "trajectory": "LINESTRING"
}  # fmt: skip


def _endpoint(kind: str) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        city, layer = snapshot(request), request.path_params["layer"]
        city.type_of(layer)
        if coverage_schema.has(city, layer):
            return _raster(request, city, layer, edr_request.asked(request, city, kind))
        of = _observed(city, layer, kind)
        return _series(request, city, of, edr_request.asked(request, city, kind))

    return endpoint


def locations(request: Request) -> Response:
    """Every station of a collection, as GeoJSON or a page."""
    city, layer = snapshot(request), request.path_params["layer"]
    city.type_of(layer)
    of = _observed(city, layer, "locations")
    html = negotiation.wants_html(request, ("GeoJSON", "json", "html"))
    asked = edr_request.asked(_without_format(request), city, "locations")
    address = base(request)
    document = encode.locations(Telling(city, of, asked, address))
    document["links"] = [{"rel": "self", "type": answer.GEOJSON, "href": f"{address}/collections/{layer}/locations"}]
    if html:
        return pages.render(request, city, "generic.html", TITLES["locations"][language(request) == "en"], document)
    body = covjson.dumps(document)
    return answer.conditional(request, body, answer.GEOJSON, answer.etag(body), _content_crs(asked))


def location(request: Request) -> Response:
    """The series of one station."""
    city, layer = snapshot(request), request.path_params["layer"]
    city.type_of(layer)
    of = _observed(city, layer, "locations")
    key = request.path_params["location"]
    edr_series.require(of, key)
    return _series(request, city, of, edr_request.asked(request, city, "locations"), key)


def _without_format(request: Request) -> Request:
    """Stations come in one format; `f` says nothing but JSON or HTML."""
    kept = [part for part in request.scope["query_string"].split(b"&") if part and not part.startswith(b"f=")]
    return Request({**request.scope, "query_string": b"&".join(kept)})


def _observed(city: Snapshot, layer: str, kind: str) -> Source:
    of = edr_series.source(city, layer)
    if of is None:
        raise NotFound(f"{layer} has no {kind}: it is neither a raster nor observed.", f"See /collections/{layer}.")
    if kind == "trajectory":
        raise edr_series.refuse_trajectory(layer)
    return of


def _raster(request: Request, city: Snapshot, layer: str, asked: Asked) -> Response:
    tag = answer.etag(city.version, "edr", request.url.path, request.url.query, asked.format, base(request))
    if answer.is_fresh(request, tag):
        return answer.not_modified(answer.headers_for(tag))
    if asked.kind in {"position", "trajectory"}:
        samples = edr_raster.sampled(city, layer, asked)
    else:
        cells = edr_raster.gridded(city, layer, asked)
        if cells is not None and asked.format == "CoverageJSON":
            part, values, parameters, time = cells
            body = covjson.dumps(covjson.grid(part, parameters, values, time=time))
            return answer.conditional(request, body, FORMATS[asked.format], tag, _content_crs(asked, part.crs))
        samples = None if cells is None else edr_raster.as_samples(asked, cells)
    if samples is None:
        return _nothing()
    headers = _content_crs(asked, samples.crs)
    if asked.format == "GeoJSON":
        body = edr_formats.to_geojson(samples, f"{base(request)}/collections/{layer}/{asked.kind}")
    else:
        body = edr_formats.to_csv(samples) if asked.format == "CSV" else edr_formats.to_covjson(samples)
    return answer.conditional(request, body, FORMATS[asked.format], tag, headers)


def _series(request: Request, city: Snapshot, of: Source, asked: Asked, key: str | None = None) -> Response:
    tag = answer.etag(city.version, "edr", request.url.path, request.url.query, asked.format, base(request))
    headers = _content_crs(asked)
    if answer.is_fresh(request, tag):
        return answer.not_modified(answer.headers_for(tag, headers))
    found = edr_series.found(city, of, asked, key)
    if not found:
        return _nothing()
    tell = Telling(city, of, asked, base(request))
    writers = {"GeoJSON": encode.to_geojson, "CSV": encode.to_csv, "CoverageJSON": encode.to_covjson}
    body = writers[asked.format](tell, found)
    return answer.conditional(request, body, FORMATS[asked.format], tag, headers)


def _nothing() -> Response:
    """The query is right, and there is nothing (19-086r6, requirement no-data)."""
    return Response(status_code=204, headers={"Cache-Control": "no-cache", "Vary": answer.VARY})


def _content_crs(asked: Asked, used: str | None = None) -> dict[str, str]:
    return {"Content-Crs": f"<{covjson.identifier(used or asked.crs)}>"}


def queries(city: Snapshot, layer: str) -> tuple[str, ...]:
    """Kinds of queries that a collection answers."""
    if coverage_schema.has(city, layer):
        return edr_raster.QUERIES
    return edr_series.QUERIES if edr_series.source(city, layer) else ()


def members(city: Snapshot, layer: str) -> dict[str, Any]:
    """What the collection says of its queries: `data_queries`, `parameter_names`, `output_formats`, `crs`."""
    kinds = queries(city, layer)
    if not kinds:
        return {}
    made: dict[str, Any] = {
        "data_queries": {kind: {"link": _link(city, layer, kind)} for kind in kinds},
        "output_formats": list(FORMATS),
    }
    if coverage_schema.has(city, layer):
        found = coverage_schema.readable(city, layer)
        # of a damaged file nothing is known: it offers no queries, and takes no other collection with it
        return made | {"parameter_names": coverage_schema.parameters(found, found.fields)} if found else {}
    of = edr_series.source(city, layer)
    if of is None:
        return {}
    first, last = encode.span(of)
    trs = "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"
    return made | {
        "parameter_names": encode.parameters(of, list(of.names)),
        "extent": {"temporal": {"interval": [[first, last]], "trs": trs}},
    }


def _link(city: Snapshot, layer: str, kind: str) -> Link:
    href = f"{BASE}/collections/{layer}/{kind}"
    variables: dict[str, Any] = {
        "title": TITLES[kind][1], "description": f"{TITLES[kind][0]} / {TITLES[kind][1]}", "query_type": kind,
        "output_formats": ["GeoJSON"] if kind == "items" else list(FORMATS),
        "default_output_format": "GeoJSON" if kind in {"items", "locations"} else "CoverageJSON",
        "crs_details": [
            {"crs": covjson.identifier(name), "wkt": crs.parse(name).to_wkt()}
            for name in dict.fromkeys((crs.CRS84, city.city.crs))
        ],
    }  # fmt: skip
    if kind in COORDS:
        variables["coords"] = {
            "description": f"{COORDS[kind]} as WKT, in the axis order of crs (CRS84: longitude first)"
        }
    if kind == "radius":
        variables["within_units"] = list(edr_request.UNITS)
    if kind == "cube":
        variables["height_units"] = ["m"]
    return {"href": href, "rel": "data", "templated": False, "variables": variables}


def layer_links(city: Snapshot, layer: str) -> list[Link]:
    """A link of relation `data` for each kind of query: OWSLib finds EDR collections by it."""
    return [
        {
            "rel": "data", "type": covjson.MEDIA_TYPE if kind != "locations" else answer.GEOJSON,
            "title": TITLES[kind][1], "href": f"{BASE}/collections/{layer}/{kind}",
        }
        for kind in queries(city, layer) if kind != "items"
    ]  # fmt: skip


def operations() -> tuple[Operation, ...]:
    """For the API document."""
    text: dict[str, Any] = {"type": "string"}
    common = (
        "lang", "crs",
        query("f", "By the Accept header, else CoverageJSON.", {"type": "string", "enum": list(FORMATS)}),
        query("datetime", "Instant or interval; of rasters, the layer as it was known then.", text),
        query("parameter-name", "Only these parameters.", {"type": "array", "items": text}),
        query("z", "Heights of devices: 10, 0/100, 2,10,80 or R20/100/50. Rasters have no levels: ignored.", text),
    )  # fmt: skip
    numbers = {"type": "array", "minItems": 4, "maxItems": 6, "items": {"type": "number"}}
    box = query("bbox", "Box in the axis order of crs.", numbers, required=True)
    within = (
        query("within", "Radius.", {"type": "number", "minimum": 0, "exclusiveMinimum": True}, required=True),
        query("within-units", "Unit of within.", {"type": "string", "enum": list(edr_request.UNITS)}, required=True),
    )
    own: dict[str, tuple[Any, ...]] = {
        kind: (query("coords", f"{said} as WKT, in the axis order of crs.", text, required=True),)
        for kind, said in COORDS.items()
    }
    own["radius"] += within
    own["cube"] = (box,)
    media = tuple(FORMATS.values())
    made = [
        Operation(f"/collections/{{collectionId}}/{kind}", TITLES[kind][1], media, (*common, *own[kind]),
                  answers={204: "Nothing there"}, tag="Environmental Data Retrieval")
        for kind in KINDS
    ]  # fmt: skip
    stations = (
        "lang", "crs", "limit", *common[3:], query("f", "Format.", {"type": "string", "enum": ["json", "html"]}),
        {**box, "required": False},
    )  # fmt: skip
    made.append(
        Operation("/collections/{collectionId}/locations", TITLES["locations"][1], (answer.GEOJSON,), stations,
                  tag="Environmental Data Retrieval")
    )  # fmt: skip
    made.append(
        Operation("/collections/{collectionId}/locations/{locationId}", "Series of a station", media, common,
                  answers={204: "Nothing then"}, tag="Environmental Data Retrieval")
    )  # fmt: skip
    return tuple(made)


CLASSES = tuple(
    f"ogcapi-edr-1/{version}/conf/{each}"
    for version in ("1.1", "1.2")
    for each in ("core", "collections", "queries", "json", "geojson", "edr-geojson", "covjson", "oas30")
)


def face() -> Face:
    """EDR of all rasters and observations."""
    root = "/collections/{layer}"
    routes = [Route(f"{root}/{kind}", _endpoint(kind), methods=["GET"]) for kind in KINDS]
    routes += [
        Route(f"{root}/locations", locations, methods=["GET"]),
        Route(f"{root}/locations/{{location:path}}", location, methods=["GET"]),
    ]
    return Face(routes, operations(), CLASSES, layer_links=layer_links, layer_members=members)
