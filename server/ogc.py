"""pygeoapi, contained: landing page, collections, schemas and queryables; beside it conformance and OpenAPI.

Its configuration is a dict made from the catalogue for each state of the store; no files, no environment variables.
Documents are made once for a placeholder base address and get the reader's own base on the way out, since
`pygeoapi.api.API` fixes its base when it is built. What pygeoapi states wrongly for us (JSON-LD links, geometry
queryables) is corrected here on the finished document; conformance and OpenAPI are ours.
"""

import logging
import sys
from typing import Any

import orjson

from layers import crs
from layers.catalogue import SOURCE, LayerType, Title
from layers.errors import LayerNotFound
from server import adopted, answer, coverage_schema, imagetiles, openapi, point_tiles
from server.face import SPEC, merged
from server.providers import OWN_FIELDS
from server.serving import FILES, AssetLayer, Snapshot
from twin.store.interface import LayerInfo

LOG = logging.getLogger("citytwin.server")

BASE = "http://base.citytwin.invalid"
SCHEMA_JSON = "application/schema+json"
NOT_SERVED = {"application/ld+json", "text/csv; charset=utf-8"}
"""Formats that pygeoapi links to and these routes do not give."""
RELATION = "http://www.opengis.net/def/rel/ogc/1.0/"

GEOMETRY_SCHEMAS = {
    "point": "Point", "linestring": "LineString", "polygon": "Polygon",
    "multipoint": "MultiPoint", "multilinestring": "MultiLineString", "multipolygon": "MultiPolygon",
}  # fmt: skip
CHINA_1985 = "EPSG:5737"


class _Asked:
    """A request as `pygeoapi.api.APIRequest` wants to see it: language already decided, always JSON."""

    def __init__(self, language: str) -> None:
        self.query_params = {"f": "json", "lang": language}
        self.headers: dict[str, str] = {}
        self.scope = {"path": "/"}


class Documents:
    """All documents of one snapshot that pygeoapi makes. Thread-safe: nothing is changed after construction."""

    def __init__(self, snapshot: Snapshot) -> None:
        from pygeoapi.api import API

        if not logging.getLogger().handlers:
            # pygeoapi would send the root logger to stdout, where our results go
            logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
        # it takes every dict of the configuration for a translation and warns about each
        logging.getLogger("pygeoapi").setLevel(logging.ERROR)
        self.snapshot = snapshot
        self.api = API(_config(snapshot), {})

    def page(self, kind: str, layer_id: str | None, language: str) -> tuple[bytes, str]:
        """Body (with the placeholder base) and media type of one document; LayerNotFound for an unknown layer."""
        if layer_id is not None and kind == "schema" and coverage_schema.has(self.snapshot, layer_id):
            return answer.json_bytes(coverage_schema.document(self.snapshot, layer_id, language, BASE)), SCHEMA_JSON
        if layer_id is not None:
            found = self.snapshot.vector if kind in {"schema", "queryables"} else self.snapshot.type_of
            found(layer_id)
        return self.snapshot.make(("page", kind, layer_id, language), lambda: self._page(kind, layer_id, language))

    def _page(self, kind: str, layer_id: str | None, language: str) -> tuple[bytes, str]:
        if kind == "conformance":
            classes = {SPEC + each for face in self.snapshot.faces for each in face.conformance}
            return answer.json_bytes({"conformsTo": sorted(classes)}), answer.JSON
        if kind == "openapi":
            return answer.json_bytes(openapi.document(self.snapshot, BASE)), answer.OPENAPI_JSON
        headers, status, content = self._ask(kind, layer_id, language)
        if status != 200:
            raise LayerNotFound(f"{layer_id}/{kind}", list(self.snapshot.vectors))
        document = self._corrected(kind, orjson.loads(content), language)
        return answer.json_bytes(document), headers["Content-Type"]

    def _ask(self, kind: str, layer_id: str | None, language: str) -> tuple[dict[str, str], int, str]:
        from pygeoapi import api as functions
        from pygeoapi.api import APIRequest, itemtypes

        request = APIRequest(_Asked(language), self.api.locales)
        if kind == "landing":
            return functions.landing_page(self.api, request)
        if kind == "schema":
            return functions.get_collection_schema(self.api, request, layer_id)
        if kind == "queryables":
            return itemtypes.get_collection_queryables(self.api, request, layer_id)
        return functions.describe_collections(self.api, request, layer_id)

    def _corrected(self, kind: str, document: dict[str, Any], language: str) -> dict[str, Any]:
        if kind == "landing":
            links = landing_links(document["links"], self.snapshot)
            return document | {
                "links": links + [e for face in self.snapshot.faces for e in face.landing_links(self.snapshot)],
                # of the map of the whole city (20-058, dataset map)
                "crs": [crs.uri(name) for name in self.snapshot.crs_names],
                "storageCrs": crs.uri(self.snapshot.city.config.crs),
                "extent": {
                    "spatial": {"bbox": [list(self.snapshot.lonlat(self.snapshot.city_bounds))], "crs": crs.CRS84_URI}
                },
            }
        if kind == "collections":
            links = [link for link in document["links"] if link.get("type") not in NOT_SERVED]
            found = [self._collection(c) for c in document["collections"]]
            found += [each for face in self.snapshot.faces for each in face.collections(self.snapshot, language)]
            return document | {"links": links, "collections": found}
        if kind == "collection":
            return self._collection(document)
        if kind in {"schema", "queryables"}:
            return self._fields(document, language, with_extra=kind == "schema")
        return document

    def _collection(self, document: dict[str, Any]) -> dict[str, Any]:
        layer_id = document["id"]
        document["links"] = [
            link | {"href": link["href"].replace(f"{BASE}?", f"{BASE}/?")}
            for link in document["links"]
            if link.get("type") not in NOT_SERVED
        ]
        document["links"] += [e for face in self.snapshot.faces for e in face.layer_links(self.snapshot, layer_id)]
        if layer_id in self.snapshot.vectors:
            document["itemCount"] = self.snapshot.vectors[layer_id].count
            if self.snapshot.settings.edit != "nobody" and layer_id != SOURCE:  # PUT makes features (part 4)
                document["supportsNonAutogeneratedResourceIds"] = True
        for face in self.snapshot.faces:
            document = merged(document, face.layer_members(self.snapshot, layer_id))
        return document

    def _fields(self, document: dict[str, Any], language: str, *, with_extra: bool) -> dict[str, Any]:
        layer_type = self.snapshot.type_of(document["$id"].split("/collections/")[1].split("/")[0])
        document["$id"] = document["$id"].split("?")[0]
        properties = document["properties"]
        for attribute in layer_type.attributes:
            properties.get(attribute.name, {})["title"] = getattr(attribute.title, language)
        properties["id"] |= {"title": "id", "x-ogc-role": "id"}
        own = {name: dict(schema) for name, schema in OWN_FIELDS.items() if name not in properties}
        properties |= own if with_extra else {name: schema for name, schema in own.items() if name != "extra"}
        if layer_type.geometry == "none":
            del properties["geometry"]
        else:
            properties["geometry"] = geometry_schema(layer_type)
        return document


def geometry_schema(layer_type: LayerType) -> dict[str, Any]:
    """The geometry property. QGIS pushes spatial filters only for a `$ref` to geojson.org."""
    name = GEOMETRY_SCHEMAS.get(layer_type.geometry.lower().removesuffix("z").strip(), "Geometry")
    kind = name.lower() if name != "Geometry" else "any"
    return {
        "$ref": f"https://geojson.org/schema/{name}.json",
        "format": f"geometry-{kind}",
        "x-ogc-role": "primary-geometry",
    }


def heights_note(vertical_crs: str) -> Title:
    """What Z in coordinates means; clients take it for ellipsoidal otherwise."""
    is_1985 = vertical_crs == CHINA_1985
    zh = "1985国家高程基准的正常高" if is_1985 else f"{vertical_crs} 高程"
    en = "normal height (1985 datum)" if is_1985 else f"height above {vertical_crs}"
    return Title(
        f"坐标中的Z为{zh}（米），不是椭球高。", f"Z in coordinates is the {en} in metres, not the ellipsoidal height."
    )


def landing_links(links: list[dict[str, Any]], city: Snapshot) -> list[dict[str, Any]]:
    """Pygeoapi's links without what we do not serve, and ours."""
    has_terrain = "dem" in city.files
    shapes = [("/3dtiles/tileset.json", "application/json+3dtiles", "3D Tiles of the whole city")]
    if not (any(info.mesh_count for info in city.vectors.values()) or adopted.sets(city) or point_tiles.every(city)):
        shapes = []
    # faces name their own: pygeoapi's link to the analyses would be a second one
    dropped = {RELATION + "tiling-schemes", RELATION + "processes", "service-doc", "about"}
    kept = [
        link | {"href": link["href"].replace(f"{BASE}?", f"{BASE}/?").replace(f"{BASE}/openapi", f"{BASE}/api")}
        for link in links
        if link["rel"] not in dropped and link.get("type") not in NOT_SERVED
    ]
    tilesets = {"rel": RELATION + "tilesets-vector", "type": answer.JSON, "title": "Vector tiles of all layers"}
    kept.append(tilesets | {"href": f"{BASE}/tiles"})
    page = {"rel": "service-doc", "type": "text/html", "title": "API documentation", "href": f"{BASE}/api?f=html"}
    return [*kept, page] + [
        {"rel": "related", "type": kind, "title": title, "href": BASE + path}
        for path, kind, title in (
            ("/viewer/", "text/html", "3D viewer"),
            ("/qgis/city.qgs", "application/x-qgis-project", "QGIS project with every layer"),
            *shapes,
            ("/terrain/layer.json", answer.JSON, "Terrain (quantized mesh)"),
            ("/styles", answer.JSON, "Styles of the map of all layers"),
            *([("/terrain-rgb/tilejson.json", answer.JSON, "Terrain-RGB")] if has_terrain else []),
        )
    ]


def _config(snapshot: Snapshot) -> dict[str, Any]:
    config = snapshot.city.config
    title = {"zh": config.title_in("zh"), "en": config.title_in("en")}
    settings = snapshot.settings
    return {
        "server": {
            "url": BASE,
            "encoding": "utf-8",
            "languages": ["zh", "en"],
            "mimetype": "application/json; charset=UTF-8",
            "limits": {"default_items": settings.default_limit, "max_items": settings.max_limit},
            "map": {"url": "", "attribution": ""},
        },
        "logging": {"level": "ERROR"},
        "metadata": {
            "identification": {
                "title": title,
                "description": title,
                "keywords": ["CIM", "3D", "GIS"],
                "terms_of_service": "",
                "url": BASE,
            },
            "license": {"name": "", "url": ""},
            "provider": {"name": title, "url": BASE},
            "contact": {"name": title},
        },
        "resources": {
            **{key: _vector(info, snapshot) for key, info in snapshot.vectors.items()},
            **{key: _files(layer, snapshot) for key, layer in snapshot.files.items()},
        },
    }


def _resource(layer_type: LayerType, snapshot: Snapshot, provider: dict[str, Any], links: list[Any]) -> dict[str, Any]:
    both = (layer_type.description or layer_type.title).to_dict()
    if layer_type.geometry not in {"none", "raster", "pointcloud", "points", "tileset"}:
        note = heights_note(snapshot.city.config.vertical_crs)
        both = {"zh": f"{both['zh'].rstrip('。')}。{note.zh}", "en": f"{both['en'].rstrip('.')}. {note.en}"}
    return {
        "type": "collection",
        "title": layer_type.title.to_dict(),
        "description": both,
        "keywords": [layer_type.category, *(f"CIM{level}" for level in layer_type.level)],
        "extents": {
            "spatial": {"bbox": list(snapshot.lonlat(snapshot.bounds_of(layer_type.id))), "crs": crs.CRS84_URI}
        },
        "links": links,
        "providers": [provider],
    }


def _vector(info: LayerInfo, snapshot: Snapshot) -> dict[str, Any]:
    provider = {
        "type": "feature",
        "name": "server.providers.LayerProvider",
        "data": info.type,
        "id_field": "id",
        "crs": [crs.uri(name) for name in snapshot.feature_crs_names],
        "storage_crs": crs.uri(snapshot.city.config.crs),
    }
    url = f"{BASE}/collections/{info.id}"
    links = []
    if info.type.geometry != "none":
        links.append(_link("related", answer.JSON, "TileJSON (MVT)", f"{url}/tilejson.json"))
        links.append(_link(RELATION + "tilesets-vector", answer.JSON, "Vector tiles", f"{url}/tiles"))
        links.append(_link(RELATION + "styles", answer.JSON, "Styles", f"{url}/styles"))
    if info.mesh_count:
        links.append(_link("related", "application/json+3dtiles", "3D Tiles, compact", f"{url}/3dtiles/tileset.json"))
        compat, explicit = (f"{url}/3dtiles/{form}/tileset.json" for form in ("compat", "explicit"))
        links.append(_link("related", "application/json+3dtiles", "3D Tiles, float32", compat))
        links.append(_link("related", "application/json+3dtiles", "3D Tiles, explicit, float32 (QGIS)", explicit))
    return _resource(info.type, snapshot, provider, links)


def _files(layer: AssetLayer, snapshot: Snapshot) -> dict[str, Any]:
    url = f"{BASE}/collections/{layer.id}"
    links = []
    if adopted.has(snapshot, layer.id) or point_tiles.has(snapshot, layer.id):
        links.append(_link("related", "application/json+3dtiles", "3D Tiles", f"{url}/3dtiles/tileset.json"))
    for asset in layer.assets:
        if asset.kind == adopted.KIND:
            title, href = asset.title or asset.id, f"{BASE}/{adopted.address(asset)}"
            links.append(_link("item", "application/json+3dtiles", title, href))
            continue
        path = snapshot.city.folder / asset.path
        if not path.is_file():  # one that was removed must not take the list of all collections with it
            LOG.warning("%s of %s is gone: %s", asset.id, layer.id, asset.path)
            continue
        size = path.stat().st_size
        kind, name = FILES[asset.kind]
        links.append(_link("enclosure", kind, asset.title or asset.id, f"{url}/{name}?asset={asset.id}", length=size))
        if asset.kind == "points":
            title, href = f"3D Tiles {asset.title or asset.id}", f"{BASE}/{point_tiles.address(asset)}"
            links.append(_link("item", "application/json+3dtiles", title, href))
    if layer.id == "dem":
        links.append(_link("related", answer.JSON, "Terrain (quantized mesh)", f"{BASE}/terrain/layer.json"))
    if layer.type.geometry == "raster":
        links.append(_link("related", answer.JSON, "TileJSON (image)", f"{url}/tilejson.json"))
        links.append(_link(imagetiles.MAP, answer.JSON, "Map tiles", f"{url}/map/tiles"))
    # a type that pygeoapi has no module for: it lists the collection and offers nothing of its own
    return _resource(layer.type, snapshot, {"type": "file", "name": "file", "data": layer.type}, links)


def _link(rel: str, kind: str, title: str, href: str, **more: Any) -> dict[str, Any]:
    return {"rel": rel, "type": kind, "title": title, "href": href} | more
