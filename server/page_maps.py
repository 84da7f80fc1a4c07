"""What the map on a page shows, for `assets/map.js`: the city's own tiles and imagery, and what the page is about."""

from collections.abc import Sequence
from typing import Any

from server import imagetiles, map_layers, pages
from server.serving import Snapshot, union
from twin.store.interface import Asset

TEXTS = {
    "missing": ("地图尚未构建：运行 python -m server.viewer 后重新加载。",
                "The map has not been built: run `python -m server.viewer`, then reload."),
    "webgl": ("此浏览器不支持 WebGL，无法显示地图。", "This browser has no WebGL, which the map needs."),
    "failed": ("地图数据无法读取。", "The map's data could not be read."),
    "base": ("底图", "Base map"),
    "map": ("矢量", "Map"),
}  # fmt: skip
LOCALE = {
    "NavigationControl.ZoomIn": ("放大", "Zoom in"),
    "NavigationControl.ZoomOut": ("缩小", "Zoom out"),
    "ScaleControl.Meters": ("米", "m"),
    "ScaleControl.Kilometers": ("公里", "km"),
    "Map.Title": ("地图", "Map"),
    "Popup.Close": ("关闭", "Close"),
    "CooperativeGesturesHandler.WindowsHelpText": ("按住 Ctrl 并滚动可缩放地图", "Use Ctrl + scroll to zoom the map"),
    "CooperativeGesturesHandler.MacHelpText": ("按住 ⌘ 并滚动可缩放地图", "Use ⌘ + scroll to zoom the map"),
    "CooperativeGesturesHandler.MobileHelpText": ("用两指移动地图", "Use two fingers to move the map"),
}


def config(city: Snapshot, address: str, code: str, layer_id: str | None = None, **more: Any) -> dict[str, Any]:
    """A map of a layer's extent, or of the city's.

    Parameters
    ----------
    more : `geojson` (address of the features to show), `item` (address of one of them, with ID in it), `titles`
        ((attribute, title) for the popup), `layer` (id of a layer whose tiles are shown), `outline` (bounds in
        degrees to draw), `raster` (image tiles to lay over the map)
    """
    bounds = city.lonlat(city.bounds_of(layer_id) if layer_id else city.city_bounds)
    column = 0 if code == "zh" else 1
    folder = pages.library(address, "maplibre-gl")
    images = map_layers.readable(city, city.files["dom"].assets if "dom" in city.files else ())
    return {
        "bounds": list(bounds),
        "style": f"{address}/styles/city?lang={code}",
        "worker": f"{folder}/maplibre-gl-csp-worker.js" if folder else None,
        "images": [image(city, address, asset) for asset in images],
        "texts": {key: both[column] for key, both in TEXTS.items()},
        "locale": {key: both[column] for key, both in LOCALE.items()},
    } | more


def image(city: Snapshot, address: str, asset: Asset) -> dict[str, Any]:
    """Image tiles of one raster, for MapLibre."""
    low, high = imagetiles.zooms(city, asset)
    return {
        "title": asset.epoch or asset.title or asset.id,
        "tiles": address + imagetiles.image_path(asset),
        "minzoom": low,
        "maxzoom": high,
        "bounds": list(city.lonlat(asset.city_bounds)),
    }


def raster(city: Snapshot, address: str, assets: Sequence[Asset]) -> dict[str, Any] | None:
    """All rasters of a layer as one set of image tiles; None where there are none."""
    if not assets or assets[0].kind != "raster":
        return None
    assets = map_layers.readable(city, assets)
    if not assets:
        return None
    ranges = [imagetiles.zooms(city, asset) for asset in assets]
    path = f"/collections/{pages.segment(assets[0].layer)}/tiles/{imagetiles.GRID}/{{z}}/{{y}}/{{x}}"
    return {
        "title": assets[0].layer,
        "tiles": address + path,
        "minzoom": min(low for low, _ in ranges),
        "maxzoom": max(high for _, high in ranges),
        "bounds": list(city.lonlat(union([asset.city_bounds for asset in assets]))),
    }
