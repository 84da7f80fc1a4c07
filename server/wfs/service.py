"""`/wfs`: requests of WFS (09-025r2, 04-094) -> the same selections as `/items`, as GML or GeoJSON."""

import re
from collections.abc import AsyncIterator, Generator, Mapping
from dataclasses import replace
from itertools import chain
from urllib.parse import quote

import orjson
import shapely
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from layers import crs
from layers.errors import CityTwinError, InvalidInput
from server import answer, boxes, filters, geojson, ows
from server.face import Face, Link, Operation, query
from server.formats.selection import Selection
from server.ogc import BASE
from server.parameters import Page
from server.problems import status_of
from server.serving import Snapshot, base, language, snapshot
from server.wfs import capabilities, fes, gml, reference_systems, schema
from server.wfs.versions import V2, Version, from_ncname, ncname, negotiated
from twin.store import cql2_parse
from twin.store.interface import LayerInfo, Query

Given = Mapping[str, str]
MAX_FEATURES = 10**9
_CODES = {"MissingParameterValue", "InvalidParameterValue", "OperationNotSupported", "NotFound"}


def kvp(request: Request) -> Response:
    """`/wfs?service=WFS&request=…`."""
    given = ows.kvp(request)
    version = negotiated(given.get("VERSION"), given.get("ACCEPTVERSIONS"))
    try:
        return _answered(request, given, version)
    except CityTwinError as error:
        status = status_of(error)
        if status >= 500:
            raise
        headers = {"Content-Type": ows.XML, "Cache-Control": "no-store", "Vary": answer.VARY}
        return Response(_exception(error, version), status, headers=headers)


def _answered(request: Request, given: Given, version: Version) -> Response:
    if given.get("SERVICE", "WFS").upper() != "WFS":
        raise InvalidInput(f"SERVICE={given['SERVICE'][:20]!r} is not served here.", code="InvalidParameterValue")
    asked = ows.required(given, "REQUEST").lower()
    city = snapshot(request)
    if asked == "getcapabilities":
        code = language(request)
        body = city.make(("wfs", version.number, code), lambda: capabilities.capabilities(city, version, code))
        return ows.respond(request, body.replace(BASE.encode(), ows.escaped(base(request))), ows.XML)
    if asked == "describefeaturetype":
        layers = [_layer(city, each) for each in _names(given, version)] or list(city.vectors.values())
        return ows.respond(request, schema.schema(layers, version), "application/gml+xml; version=3.2"
                           if version is V2 else "text/xml; subtype=gml/3.1.1")  # fmt: skip
    if asked == "getfeature":
        return _features(request, city, given, version)
    raise InvalidInput(f"REQUEST={asked[:30]!r} is not served.", "Served: GetCapabilities, DescribeFeatureType, "
                       "GetFeature.", code="OperationNotSupported")  # fmt: skip


def _names(given: Given, version: Version) -> list[str]:
    """Types asked for; both versions' words are taken."""
    text = given.get(version.type_names) or given.get("TYPENAMES") or given.get("TYPENAME") or ""
    return [each for each in re.split(r"[,()\s]+", text) if each]


def _layer(city: Snapshot, name: str) -> LayerInfo:
    try:
        return city.vector(from_ncname(name.rpartition(":")[2]))
    except CityTwinError as error:
        raise InvalidInput(error.problem, error.hint, code="InvalidParameterValue") from error


def _features(request: Request, city: Snapshot, given: Given, version: Version) -> Response:
    info, kind = _asked_layer(city, given, version), _format(given, version)
    is_json = kind == capabilities.GEOJSON
    reference = reference_systems.read(given.get("SRSNAME"), city, "SRSNAME")
    if is_json:
        if "SRSNAME" in given and reference.name not in {crs.CRS84, crs.WGS84}:
            raise _wrong(f"SRSNAME={given['SRSNAME'][:60]!r}: GeoJSON is in longitude and latitude.", "Ask for GML.")
        reference = reference_systems.read("urn:ogc:def:crs:OGC:1.3:CRS84", city, "SRSNAME")
    limit = ows.whole(given, _count_of(given, version), 0, MAX_FEATURES, MAX_FEATURES)
    offset = ows.whole(given, "STARTINDEX", 0, MAX_FEATURES, 0)
    tag = answer.etag(info.version, version.number, request.url.query, base(request))
    headers = answer.headers_for(tag)
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    asked = Page(_query(given, info, city), reference.name, limit, offset)
    selection = Selection(city, info, asked, limit)
    returned = min(max(selection.matched - offset, 0), limit)
    if _is_hits(given):
        selection = replace(selection, limit=0)
        returned = 0 if version is V2 else returned  # 1.1.0 has one number only
    if is_json:
        return _streamed(_geojson(selection, returned), headers, kind)
    described = f"{base(request)}/wfs?service=WFS&version={version.number}&request=DescribeFeatureType"
    located = f"{described}&{version.type_names.lower()}={quote(ncname(info.id))}"
    around = gml.Collection(version, reference, selection.matched, returned, located, geojson.now())
    return _streamed(gml.write(selection, around), headers, kind)


def _asked_layer(city: Snapshot, given: Given, version: Version) -> LayerInfo:
    names = _names(given, version)
    if not names and _resources(given):
        names = [_resources(given).split(",")[0].rpartition(":")[2].partition(".")[0]]
    if len(names) != 1:
        code = "InvalidParameterValue" if names else "MissingParameterValue"
        raise InvalidInput(f"{version.type_names} names {len(names)} types.", "Ask for one at a time.", code=code)
    return _layer(city, names[0])


def _resources(given: Given) -> str:
    return given.get("RESOURCEID") or given.get("FEATUREID") or ""


def _count_of(given: Given, version: Version) -> str:
    return next((each for each in (version.count, "COUNT", "MAXFEATURES") if each in given), version.count)


def _is_hits(given: Given) -> bool:
    kind = given.get("RESULTTYPE", "results").lower()
    if kind not in {"results", "hits"}:
        raise _wrong(f"RESULTTYPE={kind[:20]!r} is not offered.", "Use results or hits.")
    return kind == "hits"


def _format(given: Given, version: Version) -> str:
    asked = given.get("OUTPUTFORMAT")
    if asked is None:
        return version.media_type
    plain = asked.replace(" ", "").lower()
    if plain in {"application/json", "json", "application/geo+json", "geojson"}:
        return capabilities.GEOJSON
    if "gml" in plain or plain == "text/xml":
        return version.media_type
    raise _wrong(f"OUTPUTFORMAT={asked[:60]!r} is not offered.", f"Use {' or '.join(capabilities.formats(version))}.")


def _query(given: Given, info: LayerInfo, city: Snapshot) -> Query:
    conditions = []
    if given.get("FILTER"):
        conditions.append(fes.read(given["FILTER"].strip().strip("()"), info.type, city))
    if given.get("CQL_FILTER"):
        conditions.append(cql2_parse.reproject(
            cql2_parse.from_text(given["CQL_FILTER"]), city.city.config.crs, city.city.config.crs
        ))  # fmt: skip
    chosen, with_geometry = _properties(given, info)
    resources = _resources(given)
    return Query(
        region=_region(given["BBOX"], city) if given.get("BBOX") else None,
        filter=filters.all_of(conditions),
        ids=fes.resource_ids(resources, info.id) if resources else None,
        properties=chosen,
        with_geometry=with_geometry,
        sort=_sort(given.get("SORTBY"), info),
    )


def _region(text: str, city: Snapshot) -> shapely.Geometry:
    parts = text.split(",")
    if len(parts) not in {4, 5}:
        raise _wrong(
            f"BBOX has {len(parts)} parts.", "Give four numbers, and a CRS where it is another than the default."
        )
    reference = reference_systems.read(parts[4] if len(parts) == 5 else None, city, "BBOX")
    return fes.box_region(boxes.numbers(",".join(parts[:4])), reference, city)


def _properties(given: Given, info: LayerInfo) -> tuple[tuple[str, ...] | None, bool]:
    text = given.get("PROPERTYNAME", "").strip("()")
    names = [from_ncname(each.strip().rpartition(":")[2]) for each in text.split(",") if each.strip()]
    if not names or "*" in names:
        return None, True
    own = [name for name in names if name not in {"geometry", "id"}]
    unknown = [name for name in own if info.type.attribute(name) is None]
    if unknown:
        raise _wrong(f"{info.id} has no property {unknown[0][:60]!r}.", "See DescribeFeatureType.")
    return tuple(dict.fromkeys(own)), "geometry" in names


def _sort(text: str | None, info: LayerInfo) -> tuple[tuple[str, bool], ...]:
    found: dict[str, bool] = {}
    for part in (text or "").split(","):
        name, *order = part.replace("+", " ").split() or [""]
        if not name:
            continue
        plain = from_ncname(name.rpartition(":")[2])
        if plain != "id" and info.type.attribute(plain) is None:
            raise _wrong(f"SORTBY: {info.id} has no property {plain[:60]!r}.", "See DescribeFeatureType.")
        word = (order or ["A"])[0].upper()
        if word not in {"A", "ASC", "D", "DESC"}:
            raise _wrong(f"SORTBY: {word[:20]!r} is no order.", "Use ASC or DESC.")
        found[plain] = word.startswith("D")
    return tuple(found.items())


def _geojson(selection: Selection, returned: int) -> Generator[bytes]:
    head = {"type": "FeatureCollection", "numberMatched": selection.matched, "numberReturned": returned}
    yield orjson.dumps(head | {"timeStamp": geojson.now()})[:-1] + b',"features":['
    is_first = True
    for batch in selection.batches():
        text = b",".join(geojson.encode(batch, selection.city.city.config.crs, selection.asked.crs))
        yield text if is_first else b"," + text
        is_first = False
    yield b"]}"


def _streamed(chunks: Generator[bytes], headers: dict[str, str], media_type: str) -> Response:
    head = next(chunks)
    first = next(chunks, b"")  # what is wrong with the first features is told as an exception
    return StreamingResponse(_stream([head, first], chunks), headers=headers | {"Content-Type": media_type})


async def _stream(begun: list[bytes], chunks: Generator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for chunk in iterate_in_threadpool(chain(begun, chunks)):
            yield chunk
    finally:
        chunks.close()


def _wrong(problem: str, hint: str = "") -> InvalidInput:
    return InvalidInput(problem, hint, code="InvalidParameterValue")


def _exception(error: CityTwinError, version: Version) -> bytes:
    code = error.code if error.code in _CODES else "InvalidParameterValue"
    names = {"xmlns:ows": version.ows, "version": version.number}
    text = ows.element("ows:ExceptionText", str(error))
    report = ows.element("ows:Exception", None, {"exceptionCode": code}, [text])
    return ows.document(ows.element("ows:ExceptionReport", None, names, [report]))


def _landing(_: Snapshot) -> list[Link]:
    return [{"rel": "related", "type": "text/xml", "title": "WFS 2.0.0 and 1.1.0",
             "href": f"{BASE}/wfs?service=WFS&request=GetCapabilities"}]  # fmt: skip


def face() -> Face:
    """The route and its description."""
    text = {"type": "string"}
    names = (
        ("service", "WFS"), ("version", "2.0.0 or 1.1.0"),
        ("request", "GetCapabilities, DescribeFeatureType or GetFeature"),
        ("typeNames", "One layer"), ("count", "Features at most"), ("startIndex", "Features to leave out"),
        ("resultType", "results or hits"), ("outputFormat", "GML or application/json"),
        ("srsName", "CRS of the answer"),
        ("bbox", "Four numbers and a CRS"), ("filter", "Filter Encoding"), ("propertyName", "Properties to give"),
        ("sortBy", "Properties to order by"), ("resourceId", "Features by id"),
    )  # fmt: skip
    operation = Operation(
        "/wfs", "Web Feature Service 2.0.0 and 1.1.0, read only", (ows.XML, capabilities.GEOJSON),
        tuple(query(name, words, text) for name, words in names), tag="WFS", errors=(ows.XML,),
    )  # fmt: skip
    return Face((Route("/wfs", kvp, methods=["GET"]),), (operation,), landing_links=_landing)
