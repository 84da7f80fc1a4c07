"""What the server knows about the city at one moment; renewed as soon as the store's version has grown."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

from starlette.requests import Request

from layers import area, catalogue, crs
from layers.catalogue import LayerType, Title
from layers.crs import Bounds
from layers.errors import InvalidInput, LayerNotFound, NotFound
from server import negotiation
from server.address import base_url
from server.face import Face
from server.settings import Settings
from twin.city import City
from twin.store.interface import Asset, LayerInfo

LANGUAGES = ("zh", "en")
CRS84H = "OGC:CRS84h"
ZONES = ("EPSG:4549", "EPSG:4528")
"""CGCS2000 / 3-degree Gauss-Kruger around 120° E, without and with its number before the easting."""
NEAR_ZONE_DEG = 3.0
KIND_NAMES = {"points": "point cloud", "raster": "raster", "tileset": "3D Tiles set"}
FILES = {
    "points": ("application/vnd.laszip+copc", "points.copc.laz"),
    "raster": ("image/tiff; application=geotiff; profile=cloud-optimized", "raster.tif"),
}
"""Media type and file name of an asset, by its kind."""
Made = TypeVar("Made")


@dataclass(frozen=True)
class AssetLayer:
    """The rasters, point clouds or 3D Tiles sets of one layer as a collection; newest epoch first."""

    type: LayerType
    assets: tuple[Asset, ...]

    @property
    def id(self) -> str:
        """Same as `type.id`."""
        return self.type.id


@dataclass(frozen=True)
class Snapshot:
    """Layers and assets as of one store version; `made` keeps what was derived from them."""

    city: City
    settings: Settings
    version: int
    vectors: dict[str, LayerInfo]
    files: dict[str, AssetLayer]
    faces: tuple[Face, ...] = ()
    made: dict[Any, Any] = field(default_factory=dict)
    making: threading.RLock = field(default_factory=threading.RLock)

    @cached_property
    def crs_names(self) -> tuple[str, ...]:
        """What features can be asked in, storage CRS first after the default; those of a zone only in that zone."""
        wanted = [crs.CRS84, self.city.config.crs, "EPSG:4490", "EPSG:4326", "EPSG:3857"]
        wanted += [zone for zone in ZONES if self._is_within(zone)]
        return tuple(dict.fromkeys(crs.name(each) for each in wanted))

    @cached_property
    def feature_crs_names(self) -> tuple[str, ...]:
        """The same with degrees and ellipsoidal heights, which flat things have no use for."""
        return (*self.crs_names, CRS84H)

    def _is_within(self, zone: str) -> bool:
        use, config = crs.area_of_use(zone), self.city.config
        return use is not None and area.is_within(use, config.origin_lon_deg, config.origin_lat_deg, NEAR_ZONE_DEG)

    @cached_property
    def city_bounds(self) -> Bounds | None:
        """Union of all layers and assets in the city's CRS; None for an empty city."""
        boxes = [info.bounds for info in self.vectors.values() if info.bounds]
        boxes += [asset.city_bounds for layer in self.files.values() for asset in layer.assets]
        return union(boxes)

    def vector(self, layer_id: str) -> LayerInfo:
        """A feature layer; LayerNotFound names the nearest one."""
        if layer_id in self.files:
            kind = KIND_NAMES[self.files[layer_id].assets[0].kind]
            raise NotFound(f"{layer_id} is a {kind}: it has no features.", f"See /collections/{layer_id}.")
        if layer_id not in self.vectors:
            raise LayerNotFound(layer_id, [*self.vectors, *self.files])
        return self.vectors[layer_id]

    def type_of(self, layer_id: str) -> LayerType:
        """Type of a layer of any kind; LayerNotFound names the nearest one."""
        return self.files[layer_id].type if layer_id in self.files else self.vector(layer_id).type

    def lonlat(self, bounds: Bounds | None) -> Bounds:
        """Bounds in the city's CRS as degrees; the city's where there are none, the whole world for an empty city."""
        bounds = bounds or self.city_bounds
        if bounds is None:
            return (-180.0, -90.0, 180.0, 90.0)
        return crs.transform_bounds(self.city.config.crs, crs.CRS84, not_flat(bounds))

    def bounds_of(self, layer_id: str) -> Bounds | None:
        """Bounds of a layer of any kind in the city's CRS."""
        if layer_id in self.files:
            return union([asset.city_bounds for asset in self.files[layer_id].assets])
        return self.vector(layer_id).bounds

    def make(self, key: Any, build: Callable[[], Made]) -> Made:
        """Something derived from this snapshot, built once. `key` must not come from a stranger unchecked.

        Builds wait for one another: twenty readers of a fresh server need one import of pygeoapi, not twenty.
        """
        if key not in self.made:
            with self.making:
                if key not in self.made:
                    self.made[key] = build()
        return cast(Made, self.made[key])


def union(boxes: list[Bounds]) -> Bounds | None:
    """The box around all boxes; None for none."""
    if not boxes:
        return None
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)


def not_flat(bounds: Bounds) -> Bounds:
    """A box without extent (one point) widened by a centimetre, so that it stays a polygon."""
    west, south, east, north = bounds
    grow_x, grow_y = 0.01 * (east <= west), 0.01 * (north <= south)
    return west - grow_x, south - grow_y, east + grow_x, north + grow_y


class Serving:
    """Holds the newest snapshot. Thread-safe."""

    def __init__(self, city: City, settings: Settings, faces: tuple[Face, ...] = ()) -> None:
        # whatever is asked through this city, analyses included, sees what the reader may see
        self.city = city if city.scope == settings.scope else city.with_scope(settings.scope)
        self.settings, self.faces = settings, faces
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """The snapshot of the store's present version."""
        version = self.city.store.version()
        current = self._snapshot
        if current is None or current.version != version:
            with self._lock:
                current = self._snapshot
                if current is None or current.version != version:
                    current = self._snapshot = self._take(version)
        return current

    def _take(self, version: int) -> Snapshot:
        scope = self.settings.scope
        vectors = {info.id: info for info in self.city.store.layers(scope) if info.type.is_vector}
        by_layer: dict[str, list[Asset]] = {}
        for asset in self.city.store.assets(scope):
            by_layer.setdefault(asset.layer, []).append(asset)
        files = {key: AssetLayer(_asset_type(key, found), tuple(found)) for key, found in by_layer.items()}
        return Snapshot(self.city, self.settings, version, vectors, files, self.faces)


def _asset_type(layer_id: str, assets: list[Asset]) -> LayerType:
    known = catalogue.load()
    if layer_id in known:
        return known[layer_id]
    return LayerType(layer_id, Title(layer_id, layer_id), assets[0].kind, "public", (1,))


def snapshot(request: Request) -> Snapshot:
    """The snapshot for this request. Reads the store: call it in a worker thread."""
    return cast(Serving, request.app.state.serving).snapshot()


def base(request: Request) -> str:
    """Base of all links in the answer to this request."""
    return base_url(request, cast(Serving, request.app.state.serving).settings)


def language(request: Request) -> str:
    """`lang=zh|en`, else the better of the two in `Accept-Language`, else zh."""
    asked = request.query_params.get("lang")
    if asked is not None:
        short = asked[:2].lower()
        if short not in LANGUAGES:
            raise InvalidInput(f"lang={asked[:20]!r} is not offered.", "Use zh or en.")
        return short
    best = negotiation.weights(request.headers.get("accept-language", ""))
    return max(LANGUAGES, key=lambda code: best.get(code, 0.0))
