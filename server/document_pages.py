"""The documents of `server.documents` as pages: what each shows beside its JSON (counts, maps, how to open it)."""

import math
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from layers.catalogue import LayerType, category_titles
from server import page_maps, pages
from server.serving import KIND_NAMES, Snapshot, base, language

LAYERS = ("图层", "Layers")
GEOMETRIES = {
    "point": ("点", "points"), "multipoint": ("点", "points"), "linestring": ("线", "lines"),
    "multilinestring": ("线", "lines"), "polygon": ("面", "polygons"), "multipolygon": ("面", "polygons"),
    "none": ("表", "table"), "raster": ("栅格", "raster"), "points": ("点云", "point cloud"),
    "tileset": ("三维瓦片", "3D Tiles"),
}  # fmt: skip
Context = dict[str, Any]


def show(request: Request, city: Snapshot, kind: str, layer_id: str | None, document: dict[str, Any]) -> Response:
    """The page of one document."""
    template, title, context = _KINDS[kind](city, document, base(request), language(request), layer_id or "")
    return pages.render(request, city, template, title, document, **context)


def of(code: str, both: tuple[str, str]) -> str:
    """The one of two texts that is in the reader's language."""
    return both[0] if code == "zh" else both[1]


def geometry_name(layer_type: LayerType, code: str) -> str:
    """What the features of a layer are, in a word."""
    plain = layer_type.geometry.lower().removesuffix("z").strip()
    return of(code, GEOMETRIES.get(plain, (layer_type.geometry, layer_type.geometry)))


def crumbs(code: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """Where a page below `/collections` stands."""
    return [(of(code, LAYERS), "/collections"), *more]


def layer_crumbs(city: Snapshot, layer_id: str, code: str) -> list[tuple[str, str]]:
    """Where a page below one layer stands."""
    title = getattr(city.type_of(layer_id).title, code)
    return crumbs(code, (title, f"/collections/{pages.segment(layer_id)}"))


def _landing(city: Snapshot, document: dict[str, Any], address: str, code: str, _: str) -> tuple[str, str, Context]:
    shown = {"service-desc", "service-doc", "self", "alternate", "data", "conformance", "license"}
    links = [each for each in document["links"] if each["rel"] not in shown]
    return "landing.html", city.city.config.title_in(code), {
        "groups": _groups(city, code),
        "n_features": sum(info.count for info in city.vectors.values()),
        "n_layers": len(city.vectors) + len(city.files),
        "crs": city.city.config.crs,
        "vertical_crs": city.city.config.vertical_crs,
        "map": page_maps.config(city, address, code),
        "links": links,
    }  # fmt: skip


def _collections(city: Snapshot, document: dict[str, Any], address: str, code: str, _: str) -> tuple[str, str, Context]:
    own = {"self", "alternate", "root"}
    links = [each for each in document.get("links", []) if each["rel"] not in own]
    return "collections.html", of(code, LAYERS), {
        "groups": _groups(city, code), "links": links, "map": page_maps.config(city, address, code),
    }  # fmt: skip


def _groups(city: Snapshot, code: str) -> list[dict[str, Any]]:
    """Layers by category of CIM data, with counts."""
    rows = [(info.type, info.count, info.mesh_count) for info in city.vectors.values()]
    rows += [(layer.type, len(layer.assets), 0) for layer in city.files.values()]
    titles = category_titles()
    groups = [
        {
            "title": getattr(title, code),
            "layers": [
                {
                    "id": each.id, "title": getattr(each.title, code), "geometry": geometry_name(each, code),
                    "color": each.style.get("color", "#888888"), "count": count, "is_3d": n_meshes > 0,
                    "is_file": each.id in city.files, "has_geometry": each.geometry != "none",
                }
                for each, count, n_meshes in rows
                if each.category == category or (each.category not in titles and category == "public")
            ],
        }
        for category, title in titles.items()
    ]  # fmt: skip
    return [group for group in groups if group["layers"]]


def _collection(
    city: Snapshot, document: dict[str, Any], address: str, code: str, layer_id: str
) -> tuple[str, str, Context]:
    from server import items_html  # late: it shows its features with what is here

    layer_type = city.type_of(layer_id)
    info, files = city.vectors.get(layer_id), city.files.get(layer_id)
    bounds = list(city.lonlat(city.bounds_of(layer_id)))
    map_config = page_maps.config(
        city, address, code, layer_id, outline=bounds,
        layer=layer_id if info and info.bounds else None,
        raster=page_maps.raster(city, address, files.assets if files else ()),
    )  # fmt: skip
    return "collection.html", document["title"], {
        "crumbs": crumbs(code),
        "layer": layer_type,
        "geometry": geometry_name(layer_type, code),
        "category": getattr(category_titles().get(layer_type.category), code, layer_type.category),
        "info": info,
        "assets": files.assets if files else (),
        "kind": KIND_NAMES[files.assets[0].kind] if files else None,
        "map": map_config if layer_type.geometry != "none" else None,
        "has_map": layer_type.geometry != "none",
        "view": _view(bounds),
        "links": _sorted_links(document["links"]),
        "formats": items_html.downloads(city, info) if info else {},
    }  # fmt: skip


def _view(bounds: list[float]) -> str:
    """The camera of the viewer over an extent: looking down on it from the south, all of it in sight."""
    west, south, east, north = bounds
    lat = (south + north) / 2
    across_m = max((east - west) * 111_320 * math.cos(math.radians(lat)), (north - south) * 110_574, 100.0)
    distance_m = min(across_m, 5_000_000.0)
    return f"{(west + east) / 2:.6f},{lat - 0.8 * distance_m / 110_574:.6f},{0.9 * distance_m:.0f},0,-45"


LINK_GROUPS: tuple[tuple[str, tuple[str, str]], ...] = (
    ("items", ("要素", "Features")),
    ("schema", ("属性", "Attributes")),
    ("files", ("文件", "Files")),
    ("tiles", ("瓦片与样式", "Tiles and styles")),
    ("other", ("其他", "Others")),
)


def _sorted_links(links: list[dict[str, Any]]) -> list[tuple[tuple[str, str], list[dict[str, Any]]]]:
    """Links of a collection under a few headings."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name, _ in LINK_GROUPS}
    for link in links:
        rel, kind = link["rel"].rsplit("/", 1)[-1].rstrip("]"), link.get("type", "")
        if rel in {"self", "alternate", "root"}:
            continue
        if rel == "items":
            found["items"].append(link)
        elif rel in {"schema", "queryables", "sortables", "describedby"} or "ogc-rel:schema" in rel:
            found["schema"].append(link)
        elif rel == "enclosure":
            found["files"].append(link)
        elif rel.startswith("tilesets") or rel == "styles" or "tile" in link.get("title", "").lower() or "3d" in kind:
            found["tiles"].append(link)
        else:
            found["other"].append(link)
    return [(title, found[name]) for name, title in LINK_GROUPS if found[name]]


def _fields(
    city: Snapshot, _document: object, _address: str, code: str, layer_id: str, *, queryables: bool
) -> tuple[str, str, Context]:
    title = ("可查询属性", "Queryables") if queryables else ("属性结构", "Schema")
    attributes = {each.name: each for each in city.type_of(layer_id).attributes}
    context = {"crumbs": layer_crumbs(city, layer_id, code), "attributes": attributes, "layer_id": layer_id}
    return "fields.html", of(code, title), context | {"queryables": queryables}


def _schema(*given: Any) -> tuple[str, str, Context]:
    return _fields(*given, queryables=False)


def _queryables(*given: Any) -> tuple[str, str, Context]:
    return _fields(*given, queryables=True)


def _conformance(_: Snapshot, document: dict[str, Any], *given: str) -> tuple[str, str, Context]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for uri in document["conformsTo"]:
        part, _slash, name = uri.removeprefix("http://www.opengis.net/spec/").partition("/conf/")
        groups.setdefault(part, []).append((name, uri))
    return "conformance.html", of(given[1], ("符合性声明", "Conformance")), {"groups": groups}


def _openapi(*given: Any) -> tuple[str, str, Context]:
    return "api.html", of(given[3], ("接口文档", "API")), {}


_KINDS: dict[str, Callable[..., tuple[str, str, Context]]] = {
    "landing": _landing, "collections": _collections, "collection": _collection, "schema": _schema,
    "queryables": _queryables, "conformance": _conformance, "openapi": _openapi,
}  # fmt: skip
