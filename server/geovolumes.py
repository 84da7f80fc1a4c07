"""OGC API 3D GeoVolumes (draft 22-029): the city's 3D Tiles as containers, each in a box with heights.

An API of its own below `/3dgeovolumes`, since its collections must have boxes of six numbers in CRS84h, which readers
of features do not expect at `/collections`. The city is the root container, each layer with models is a child.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers import geocentric
from layers.errors import CityTwinError, InvalidInput, NotFound
from server import adopted, answer, pages, parameters, point_tiles
from server.face import SPEC, Face, Link, Operation, query
from server.ogc import BASE, RELATION
from server.serving import Snapshot, base, language, snapshot
from tiles.tileset import Tileset

ROOT = "/3dgeovolumes"
LOG = logging.getLogger("citytwin.server")
CITY = "city"
TILES3D = "application/json+3dtiles"
CRS84H = "http://www.opengis.net/def/crs/OGC/0/CRS84h"
TITLE = ("三维地理体", "3D GeoVolumes")
CLASSES = ("ogcapi-geovolumes-1/1.0/conf/core", "ogcapi-geovolumes-1/1.0/conf/3d-tiles")
COMMON = ("ogcapi-common-1/1.0/conf/core", "ogcapi-common-2/1.0/conf/collections")
Json = dict[str, Any]
Box = tuple[float, float, float, float, float, float]
"""West, south, lowest, east, north, highest: degrees and ellipsoidal metres."""


def landing(request: Request) -> Response:
    """Where to go from here."""
    parameters.once(request.query_params, ("f", "lang"))
    city, code, root = snapshot(request), language(request), base(request) + ROOT
    links = [
        _to("self", root), _to("alternate", f"{root}?f=html", "text/html"),
        _to("service-desc", f"{base(request)}/api", answer.OPENAPI_JSON),
        _to("conformance", f"{root}/conformance"), _to("data", f"{root}/collections"),
    ]  # fmt: skip
    title = TITLE[code == "en"]
    return pages.either(request, city, title, {"title": title, "links": links})


def conformance(request: Request) -> Response:
    """What this API conforms to."""
    parameters.once(request.query_params, ("f", "lang"))
    document = {"conformsTo": sorted(SPEC + each for each in (*CLASSES, *COMMON))}
    return pages.either(request, snapshot(request), TITLE[language(request) == "en"], document)


def collections(request: Request) -> Response:
    """All containers, those of a box where `bbox` asks for it."""
    given = parameters.once(request.query_params, ("f", "lang", "bbox"))
    city, code, address = snapshot(request), language(request), base(request)
    wanted = _box(given["bbox"]) if "bbox" in given else None
    boxes = containers(city)
    found = [
        _container(city, key, code, address) for key, box in boxes.items() if wanted is None or _meets(box, wanted)
    ]
    root = f"{address}{ROOT}/collections"
    document = {"collections": found, "links": [_to("self", root), _to("alternate", f"{root}?f=html", "text/html")]}
    return pages.either(request, city, TITLE[code == "en"], document)


def collection(request: Request) -> Response:
    """One container with its children."""
    parameters.once(request.query_params, ("f", "lang"))
    city, code, key = snapshot(request), language(request), request.path_params["container"]
    known = containers(city)
    if key not in known:
        raise NotFound(f"There is no 3D container {key[:60]!r}.", f"There is: {', '.join(known) or 'none'}.")
    document = _container(city, key, code, base(request))
    return pages.either(request, city, document["title"], document)


def containers(city: Snapshot) -> dict[str, Box]:
    """Containers by id with their boxes; the root, which holds all others, first. Nothing where nothing is 3D."""
    return city.make("geovolumes", lambda: _containers(city))


def _containers(city: Snapshot) -> dict[str, Box]:
    found: dict[str, Box] = {}
    for info in city.vectors.values():
        if info.mesh_count:
            tree = Tileset(city.city, info.id, city.settings.scope, info=info).tree
            found[info.id] = _of_enu(city, tree.bounds)
    for asset in adopted.sets(city):
        _widen(found, asset.layer, _of_region(adopted.child(asset, "")["boundingVolume"]["region"]))
    for asset in point_tiles.every(city):
        try:
            volume = point_tiles.child(city, asset, "")["boundingVolume"]
        except CityTwinError as error:  # a damaged cloud must not take the others with it
            LOG.warning("%s", error)
            continue
        _widen(found, asset.layer, _of_region(volume["region"]))
    if not found:
        return {}
    return {CITY if CITY not in found else f"{CITY}-all": _union(list(found.values())), **found}


def _widen(found: dict[str, Box], key: str, box: Box) -> None:
    found[key] = _union([box, *([found[key]] if key in found else [])])


def _union(boxes: Sequence[Box]) -> Box:
    low, high = np.array(boxes)[:, :3].min(axis=0), np.array(boxes)[:, 3:].max(axis=0)
    return (*(float(v) for v in low), *(float(v) for v in high))  # type: ignore[return-value]


def _of_enu(city: Snapshot, bounds: Any) -> Box:
    """A box of the city's frame as degrees and ellipsoidal heights; the surface of it at 5 x 5 x 2 places."""
    low, high = np.asarray(bounds)[:3], np.asarray(bounds)[3:]
    x, y, z = np.meshgrid(np.linspace(low[0], high[0], 5), np.linspace(low[1], high[1], 5), [low[2], high[2]])
    points = np.stack([x.ravel(), y.ravel(), z.ravel(), np.ones(x.size)], axis=1)
    ecef = points @ np.array(city.city.frame.root_transform).reshape(4, 4)
    lon, lat, h = geocentric.ecef_to_geodetic(ecef[:, :3]).T
    return (float(lon.min()), float(lat.min()), float(h.min()), float(lon.max()), float(lat.max()), float(h.max()))


def _of_region(region: Sequence[float]) -> Box:
    west, south, east, north = (math.degrees(value) for value in region[:4])
    return west, south, float(region[4]), east, north, float(region[5])


def _container(city: Snapshot, key: str, code: str, address: str, *, is_child: bool = False) -> Json:
    known = containers(city)
    root, box = next(iter(known)), known[key]
    url = f"{address}{ROOT}/collections/{quote(key, safe='')}"
    tiles = f"{address}/3dtiles" if key == root else f"{address}/collections/{quote(key, safe='')}/3dtiles"
    title = city.city.config.title_in(code) if key == root else getattr(city.type_of(key).title, code)
    is_vector = key in city.vectors or key == root
    forms = [("", "compact"), *([("compat/", "float32"), ("explicit/", "explicit, float32")] if is_vector else [])]
    links = [_to("self", url), _to("alternate", f"{url}?f=html", "text/html")]
    links += [
        _to(RELATION + "3d-geovolumes", f"{tiles}/{form}tileset.json", TILES3D, f"3D Tiles ({said})")
        for form, said in forms
    ]
    if key != root:
        links += [
            _to("parent", f"{address}{ROOT}/collections/{root}"),
            _to("root", f"{address}{ROOT}/collections/{root}"),
        ]
        links.append(_to("related", f"{address}/collections/{quote(key, safe='')}", answer.JSON, "Collection"))
        if key in city.vectors:
            links.append(_to("items", f"{address}/collections/{quote(key, safe='')}/items", answer.GEOJSON))
    made: Json = {
        "id": key, "title": title, "collectionType": "3d-container", "itemType": "unknown", "crs": [CRS84H],
        "extent": {"spatial": {"bbox": [list(box)], "crs": CRS84H}},
        "contentExtent": {"region": [*(math.radians(box[i]) for i in (0, 1, 3, 4)), box[2], box[5]]},
        "links": links,
    }  # fmt: skip
    if not is_child:
        below = [each for each in known if each != root] if key == root else []
        made["children"] = [_container(city, each, code, address, is_child=True) for each in below]
    return made


def _to(rel: str, href: str, kind: str = answer.JSON, title: str = "") -> Link:
    return {"rel": rel, "type": kind, "href": href} | ({"title": title} if title else {})


def _box(text: str) -> Box:
    """`bbox` of four or six numbers, CRS84 or CRS84h; without heights at any height."""
    parts = text.split(",")
    try:
        values = [float(part) for part in parts]
    except ValueError as error:
        raise InvalidInput(f"bbox={text[:60]!r} is not made of numbers.", "Give four, or six with heights.") from error
    if len(values) == 4:
        values = [values[0], values[1], -math.inf, values[2], values[3], math.inf]
    if len(values) != 6 or any(math.isnan(value) for value in values):
        raise InvalidInput(f"bbox has {len(parts)} numbers, or one that is none.", "Give four, or six with heights.")
    if values[1] > values[4] or values[2] > values[5]:
        raise InvalidInput("bbox has a lower bound above its upper one.", "Order: west,south,low,east,north,high.")
    return (values[0], values[1], values[2], values[3], values[4], values[5])


def _meets(box: Box, wanted: Box) -> bool:
    west, south, low, east, north, high = wanted
    # across the antimeridian: on either side of it
    beside = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    across = any(box[0] <= right and box[3] >= left for left, right in beside)
    return across and box[1] <= north and box[4] >= south and box[2] <= high and box[5] >= low


def layer_links(city: Snapshot, layer: str) -> list[Link]:
    """From a layer with models to its container."""
    has_models = layer in city.vectors and city.vectors[layer].mesh_count > 0
    if not (has_models or adopted.has(city, layer) or point_tiles.has(city, layer)):
        return []
    href = f"{BASE}{ROOT}/collections/{quote(layer, safe='')}"
    return [{"rel": "related", "type": answer.JSON, "title": "3D GeoVolume", "href": href}]


def landing_links(_: Snapshot) -> list[Link]:
    """The API of containers."""
    return [{"rel": "related", "type": answer.JSON, "title": "3D GeoVolumes / 三维地理体", "href": f"{BASE}{ROOT}"}]


def operations() -> tuple[Operation, ...]:
    """For the API document."""
    numbers = {"type": "array", "minItems": 4, "maxItems": 6, "items": {"type": "number"}}
    box = query("bbox", "Containers that meet the box: four numbers (CRS84) or six (CRS84h).", numbers)
    one, tag = ("f", "lang"), "3D GeoVolumes"
    return (
        Operation(ROOT, "The API of 3D containers", (answer.JSON,), one, tag=tag),
        Operation(f"{ROOT}/conformance", "What it conforms to", (answer.JSON,), one, tag=tag),
        Operation(f"{ROOT}/collections", "3D containers", (answer.JSON,), (*one, box), tag=tag),
        Operation(f"{ROOT}/collections/{{containerId}}", "A 3D container", (answer.JSON,), one, tag=tag),
    )


def face() -> Face:
    """3D containers."""
    routes = [
        Route(ROOT, landing, methods=["GET"]),
        Route(f"{ROOT}/conformance", conformance, methods=["GET"]),
        Route(f"{ROOT}/collections", collections, methods=["GET"]),
        Route(f"{ROOT}/collections/{{container}}", collection, methods=["GET"]),
    ]
    return Face(routes, operations(), CLASSES, landing_links=landing_links, layer_links=layer_links)
