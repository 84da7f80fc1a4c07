"""`/viewer/config.json`: what the web viewer shows. All addresses are relative to the server's root."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers import catalogue
from layers.catalogue import LayerType, Title, category_titles
from layers.errors import InvalidInput
from server import adopted, answer, point_tiles
from server.imagetiles import image_path, zooms
from server.map_layers import readable
from server.serving import Snapshot, snapshot
from twin.store.interface import Asset, LayerInfo
from twin.supervision.check import SUPERVISIONS

FINDINGS, SITES = "finding", "construction_site"
"""Layers of what supervision found and of what it looks at."""


def config(request: Request) -> Response:
    """Made again for every version of the store."""
    city = snapshot(request)
    tag = answer.etag(city.version, "viewer")
    return answer.conditional(request, answer.json_bytes(document(city)), answer.JSON, tag)


def document(city: Snapshot) -> dict[str, Any]:
    """The viewer's configuration."""
    settings = city.city.config
    images = city.files["dom"].assets if "dom" in city.files else ()
    return {
        "title": {"zh": settings.title_in("zh"), "en": settings.title_in("en")},
        "crs": settings.crs,
        "vertical_crs": settings.vertical_crs,
        "categories": {key: title.to_dict() for key, title in category_titles().items()},
        "origin": {
            "lon": settings.origin_lon_deg,
            "lat": settings.origin_lat_deg,
            "height_m": settings.origin_h_m,
            "undulation_m": _undulation_m(city),
        },
        "extent": list(city.lonlat(city.city_bounds)),
        "terrain": "/terrain/" if "dem" in city.files else None,
        "imagery": [_imagery(city, asset) for asset in readable(city, images)],
        "layers3d": [
            *(_layer3d(info) for info in city.vectors.values() if info.mesh_count),
            *(_adopted(city, asset) for asset in adopted.sets(city)),
            *(_cloud(city, asset) for asset in point_tiles.every(city)),
        ],
        "layers2d": [
            _layer2d(info)
            for info in city.vectors.values()
            if info.count and info.type.geometry != "none" and info.id != FINDINGS
        ],
        "supervision": _supervision(city),
    }


def _supervision(city: Snapshot) -> dict[str, Any]:
    """The supervisions that can be run, where their findings are, and the words and colours for them."""
    kind = catalogue.layer_type(FINDINGS)
    kept, sites = city.vectors.get(FINDINGS), city.vectors.get(SITES)
    colours = kind.style.get("colors", {})
    return {
        "processes": [
            {
                "id": each,
                "title": title.to_dict(),
                "execution": f"/processes/supervise-{each}/execution",
            }
            for each, title in SUPERVISIONS.items()
        ],
        "findings": {
            "id": FINDINGS,
            "title": kind.title.to_dict(),
            "items": f"/collections/{FINDINGS}/items",
            "count": kept.count if kept else 0,
            "verdicts": {
                code: title.to_dict() | {"color": colours.get(code, kind.style.get("color", "#888888"))}
                for code, title in _codes(kind, "verdict").items()
            },
            "statuses": {code: title.to_dict() for code, title in _codes(kind, "status").items()},
        },
        "sites": {"id": SITES, "items": f"/collections/{SITES}/items"} if sites and sites.count else None,
    }


def _codes(kind: LayerType, name: str) -> Mapping[str, Title]:
    attribute = kind.attribute(name)
    return {} if attribute is None else attribute.codes


def _undulation_m(city: Snapshot) -> float | None:
    """Ellipsoidal minus normal height at the origin; None where the height model does not reach it."""
    settings = city.city.config
    lon, lat = np.array([settings.origin_lon_deg]), np.array([settings.origin_lat_deg])
    try:
        (undulation_m,) = city.city.frame.height_model.undulation_m(lon, lat)
    except InvalidInput:
        return None
    return round(float(undulation_m), 3) if np.isfinite(undulation_m) else None


def _imagery(city: Snapshot, asset: Asset) -> dict[str, Any]:
    low, high = zooms(city, asset)
    title = city.type_of(asset.layer).title
    suffix = f" {asset.epoch}" if asset.epoch else ""
    return {
        "id": asset.id,
        "title": {"zh": title.zh + suffix, "en": title.en + suffix},
        "epoch": asset.epoch,
        "url": image_path(asset),
        "minzoom": low,
        "maxzoom": high,
        "extent": list(city.lonlat(asset.city_bounds)),
    }


def _layer(info: LayerInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "title": info.type.title.to_dict(),
        "items": f"/collections/{info.id}/items",
        "color": info.type.style.get("color", "#888888"),
        "category": info.type.category,
    }


def _layer3d(info: LayerInfo) -> dict[str, Any]:
    tileset = f"/collections/{info.id}/3dtiles/tileset.json"
    return _layer(info) | {"tileset": tileset, "count": info.mesh_count, "on": True}


def _adopted(city: Snapshot, asset: Asset) -> dict[str, Any]:
    layer_type = city.type_of(asset.layer)
    title = {code: f"{name} {asset.title}".strip() for code, name in layer_type.title.to_dict().items()}
    return {
        "id": f"{asset.layer}/{asset.id}",
        "title": title,
        "color": layer_type.style.get("color", "#888888"),
        "category": layer_type.category,
        "tileset": f"/{adopted.address(asset)}",
        "on": True,
    }


def _cloud(city: Snapshot, asset: Asset) -> dict[str, Any]:
    title = city.type_of(asset.layer).title
    suffix = f" {asset.epoch or asset.title}".rstrip()
    return {
        "id": f"{asset.layer}/{asset.id}",
        "title": {"zh": title.zh + suffix, "en": title.en + suffix},
        "color": city.type_of(asset.layer).style.get("color", "#888888"),
        "category": city.type_of(asset.layer).category,
        "tileset": f"/{point_tiles.address(asset)}",
        "count": asset.meta.get("points"),
        "points": True,
        "on": False,
    }


def _layer2d(info: LayerInfo) -> dict[str, Any]:
    tilejson = f"/collections/{info.id}/tilejson.json"
    return _layer(info) | {"tilejson": tilejson, "count": info.count, "geometry": info.type.geometry}


def routes() -> list[Route]:
    """Before the viewer's own routes."""
    return [Route("/viewer/config.json", config, methods=["GET"])]
