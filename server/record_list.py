"""Records of what the city holds and does: its layers, the files they come from, analyses and styles.

OGC API Records part 1 (20-004r1): a record is a GeoJSON feature with `time`, `conformsTo` and links. Everything is made
from the catalogue, the store and the reports of the build; what a scope does not allow has no record.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
import shapely

from layers import catalogue, crs
from layers.catalogue import Title
from layers.crs import Bounds
from server import coverage_schema, edr_series, edr_series_formats
from server.ogc import BASE, Documents
from server.serving import Snapshot
from twin import analysis

ID, OTHER_ID = "catalogue", "catalogue-records"
"""The collection's id, and what it is where the city has a layer of that name."""
CORE = "http://www.opengis.net/spec/ogcapi-records-1/1.0/req/record-core"
PROFILE = "http://www.opengis.net/def/profile/OGC/0/ogc-record"
THEMES = "CJJ/T 315-2022"
KEPT_HERE = {"self", "alternate", "root", "collection", "parent"}
"""Relations of a collection's links that say nothing of its data."""
GEOJSON, JSON = "application/geo+json", "application/json"
Json = dict[str, Any]


def every(city: Snapshot, language: str) -> tuple[Json, ...]:
    """All records in a language, by id; addresses begin with BASE. Made once for each state of the store."""
    return city.make(("records", language), lambda: _every(city, language))


def _every(city: Snapshot, language: str) -> tuple[Json, ...]:
    reports = allowed_reports(city)
    made = [*_layers(city, language, reports), *_sources(city, language, reports)]
    made += [*_processes(language), *_styles(city, language)]
    made.sort(key=lambda each: each["id"])
    own = collection_id(city)
    if own != ID:
        text = orjson.dumps(made).replace(f"{BASE}/collections/{ID}".encode(), f"{BASE}/collections/{own}".encode())
        made = orjson.loads(text)
    return tuple(made)


def collection_id(city: Snapshot) -> str:
    """Id of the collection of records in this city."""
    return OTHER_ID if ID in city.vectors or ID in city.files else ID


def allowed_reports(city: Snapshot) -> list[Json]:
    """Reports of sources all of whose layers the scope allows; with a scope of layers, not of sources without any."""
    scope = city.settings.scope
    return [
        report
        for report in city.city.store.reports()
        if scope.layers is None
        or (report["layers"] and all(scope.allows(count["layer"]) for count in report["layers"]))
    ]


def source_id(source: str) -> str:
    """Id of a source's record: paths hold slashes and any script."""
    return f"source-{blake2b(source.encode(), digest_size=6).hexdigest()}"


def _record(key: str, kind: str, texts: tuple[Title, Title], language: str, more: Mapping[str, Any]) -> Json:
    """What all records share. `texts`: title and description; `more`: `geometry`, `time`, `links`, `properties`."""
    title, description = texts
    other = "en" if language == "zh" else "zh"
    href = f"{BASE}/collections/catalogue/items/{quote(key, safe='')}"
    properties: Json = {
        "type": kind,
        "title": getattr(title, language),
        "description": getattr(description, language),
        "language": _language(language),
        "languages": [_language(each) for each in ("zh", "en")],
        f"title_{other}": getattr(title, other),
    }
    properties |= {name: value for name, value in more.get("properties", {}).items() if value is not None}
    links = [
        {"rel": "self", "type": GEOJSON, "title": "This record", "href": href},
        {"rel": "alternate", "type": "text/html", "title": "This record as HTML", "href": f"{href}?f=html"},
        {"rel": "collection", "type": JSON, "title": "Catalogue", "href": f"{BASE}/collections/catalogue"},
        {"rel": "profile", "href": PROFILE},
    ]
    return {
        "id": key, "type": "Feature", "conformsTo": [CORE], "time": more.get("time"),
        "geometry": more.get("geometry"), "properties": properties, "links": links + list(more.get("links", ())),
    }  # fmt: skip


def _language(code: str) -> Json:
    return {"code": code, "name": {"zh": "中文", "en": "English"}[code]}


def _layers(city: Snapshot, language: str, reports: Sequence[Json]) -> list[Json]:
    documents = city.make("documents", lambda: Documents(city))
    known = catalogue.category_titles()
    sources: dict[str, list[Json]] = {}
    for report in reports:
        for count in report["layers"]:
            sources.setdefault(count["layer"], []).append(report)
    made = []
    for layer in (*city.vectors, *city.files):
        layer_type = city.type_of(layer)
        document = orjson.loads(documents.page("collection", layer, language)[0])
        info = city.vectors.get(layer)
        category = known.get(layer_type.category)
        links = [each for each in document["links"] if each["rel"] not in KEPT_HERE]
        links.append({"rel": "describes", "type": JSON, "title": "Collection", "href": f"{BASE}/collections/{layer}"})
        links += [_via(report) for report in sources.get(layer, ())]
        properties = {
            "updated": info.updated if info else None,
            "keywords": [layer_type.category, *(f"CIM{level}" for level in layer_type.level),
                         *([getattr(category, language)] if category else [])],
            "themes": [{"concepts": [{"id": layer_type.category}], "scheme": THEMES}],
            "externalIds": [{"scheme": "layer", "value": layer}],
            "formats": _formats(links),
            "rights": getattr(_access(layer_type.access), language),
            "crs": [crs.uri(name) for name in city.crs_names],
            "numberOfFeatures": info.count if info else None,
            "lineage": [_lineage(report, layer) for report in sources.get(layer, ())],
        }  # fmt: skip
        bounds = city.bounds_of(layer)
        about = {
            "geometry": _outline(city, bounds), "time": _time(city, layer), "links": links, "properties": properties
        }  # fmt: skip
        described = layer_type.description or layer_type.title
        made.append(_record(f"layer-{layer}", "dataset", (layer_type.title, described), language, about))
    return made


def _access(code: str) -> Title:
    titles = next(each.codes for each in catalogue.layer_type("building").attributes if each.name == "access")
    return titles.get(code, Title(code, code))


def _formats(links: Sequence[Json]) -> list[Json]:
    kinds = dict.fromkeys(each["type"] for each in links if each.get("type") not in {None, JSON, "text/html"})
    return [{"name": kind, "mediaType": kind} for kind in kinds]


def _via(report: Json) -> Json:
    key = source_id(report["source"])
    return {
        "rel": "via",
        "type": GEOJSON,
        "title": report["source"],
        "href": f"{BASE}/collections/catalogue/items/{key}",
    }


def _lineage(report: Json, layer: str) -> Json:
    """Which part of a layer a source gave, and how it was placed."""
    count = next(each for each in report["layers"] if each["layer"] == layer)
    said = count.get("certificate") or report.get("certificate") or {}
    names = ("method", "source_crs", "source_vertical_crs", "transformation", "accuracy_m", "contradictions")
    return {
        "source": report["source"], "n_read": count["n_read"], "n_stored": count["n_stored"],
        "certificate": {name: said.get(name) for name in names} if said else None,
    }  # fmt: skip


def _outline(city: Snapshot, bounds: Bounds | None) -> Json | None:
    """The box in degrees as a polygon; None for what has no place."""
    if bounds is None:
        return None
    west, south, east, north = city.lonlat(bounds)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _time(city: Snapshot, layer: str) -> Json | None:
    """Epochs of files, times of observations; None for what says none."""
    if layer in city.files:
        times = coverage_schema.times(city.files[layer].assets)
        if not times:
            return None
        return {"timestamp": times[0]} if len(times) == 1 else {"interval": [times[0], times[-1]]}
    of = edr_series.source(city, layer)
    return None if of is None else {"interval": list(edr_series_formats.span(of))}


def _sources(city: Snapshot, language: str, reports: Sequence[Json]) -> list[Json]:
    words = {
        "stored": Title("全部入库", "stored"), "partly": Title("部分入库", "partly stored"),
        "parked": Title("暂存未入库", "parked"), "removed": Title("已移除", "removed"),
    }  # fmt: skip
    made = []
    for report in reports:
        said = report.get("certificate") or {}
        boxes = [each["bounds"] for each in report["layers"] if each.get("bounds")]
        status = words.get(report["status"], Title(report["status"], report["status"]))
        method = said.get("method") or "-"
        severities = [issue.get("severity", "warning") for issue in report["issues"]]
        counts = {name: severities.count(name) for name in sorted(set(severities))}
        description = Title(
            f"{report['format']} 数据源，{status.zh}；定位方式 {method}，{said.get('source_crs') or '无坐标系'}。",
            f"{report['format']} source, {status.en}; placed by {method}, {said.get('source_crs') or 'no CRS'}.",
        )
        layers = [each["layer"] for each in report["layers"]]
        properties = {
            "keywords": [report["format"], report["status"], *layers],
            "externalIds": [{"scheme": "path", "value": report["source"]},
                            {"scheme": "sha256", "value": report["sha256"]}],
            "formats": [{"name": report["format"]}],
            "status": report["status"], "issues": counts, "certificate": report.get("certificate"),
            "counts": [{name: each[name] for name in ("layer", "n_read", "n_stored", "n_rejected")}
                       for each in report["layers"]],
        }  # fmt: skip
        links = [
            {"rel": "related", "type": JSON, "title": layer, "href": f"{BASE}/collections/{layer}"}
            for layer in layers if layer in city.vectors or layer in city.files
        ]  # fmt: skip
        title = Title(report["source"], report["source"])
        about = {
            "geometry": _outline(city, _union(boxes)), "time": _epoch(city, report["source"]), "links": links,
            "properties": properties,
        }  # fmt: skip
        made.append(_record(source_id(report["source"]), "source", (title, description), language, about))
    return made


def _union(boxes: Sequence[Sequence[float]]) -> Bounds | None:
    if not boxes:
        return None
    low, high = np.array(boxes).min(axis=0), np.array(boxes).max(axis=0)
    return float(low[0]), float(low[1]), float(high[2]), float(high[3])


def _epoch(city: Snapshot, source: str) -> Json | None:
    found = [each for layer in city.files.values() for each in layer.assets if each.source == source]
    times = coverage_schema.times(found)
    return {"timestamp": times[0]} if len(times) == 1 else None


def _processes(language: str) -> list[Json]:
    made = []
    for process in analysis.registry().values():
        href = f"{BASE}/processes/{process.id}"
        links = [
            {"rel": "describes", "type": JSON, "title": "Process description", "href": href},
            {"rel": "http://www.opengis.net/def/rel/ogc/1.0/execute", "type": JSON, "title": "Execute",
             "href": f"{href}/execution"},
        ]  # fmt: skip
        properties = {
            "keywords": list(process.keywords), "version": process.version,
            "externalIds": [{"scheme": "process", "value": process.id}],
        }  # fmt: skip
        about = {"links": links, "properties": properties}
        made.append(_record(f"process-{process.id}", "process", (process.title, process.description), language, about))
    return made


def _styles(city: Snapshot, language: str) -> list[Json]:
    kind = "application/vnd.mapbox.style+json"
    named = (
        ("city", Title("全市样式", "Style of the whole city")),
        ("city-labelled", Title("全市样式（带注记）", "Style of the whole city, with labels")),
    )
    drawn = [info for info in city.vectors.values() if info.type.geometry != "none"]
    found = [(name, title, f"{BASE}/styles/{name}") for name, title in named if drawn]
    found += [
        (
            f"layer-{info.id}",
            Title(f"{info.type.title.zh}样式", f"Style of {info.type.title.en}"),
            f"{BASE}/collections/{quote(info.id, safe='')}/styles/default",
        )
        for info in drawn
    ]
    made = []
    for name, title, href in found:
        about = {
            "links": [{"rel": "stylesheet", "type": kind, "title": getattr(title, language), "href": href}],
            "properties": {"keywords": ["MapLibre"], "formats": [{"name": "MapLibre style", "mediaType": kind}],
                           "externalIds": [{"scheme": "style", "value": name}]},
        }  # fmt: skip
        made.append(_record(f"style-{name}", "style", (title, title), language, about))
    return made


def geometry(record: Json) -> Any:
    """The record's outline as shapely has it, None without one."""
    told = record["geometry"]
    return None if told is None else shapely.Polygon(told["coordinates"][0])


def moments(record: Json) -> tuple[datetime, datetime] | None:
    """First and last instant of a record's time."""
    told = record["time"]
    if not told:
        return None
    texts = told.get("interval") or [told.get("timestamp") or told.get("date")] * 2
    try:
        first, last = (datetime.fromisoformat(text) for text in texts)
    except ValueError:
        return None
    return first, last
