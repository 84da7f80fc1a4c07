"""3D Tiles of point clouds: each tile is a node of the COPC octree, made when it is asked for.

`/collections/{layer}/3dtiles/tileset.json` is over all clouds of the layer, `…/{asset}/tileset.json` one cloud; with
`compat/` before either, contents are plain float32. The file itself is at `/collections/{layer}/points.copc.laz`.
"""

import logging
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from layers.errors import InvalidInput, NotFound
from server import answer, packing, parameters
from server.serving import Snapshot
from tiles import cache
from tiles.points import cloud as clouds
from tiles.points import tileset
from tiles.points.cloud import Cloud
from tiles.points.colour import COLOURS
from tiles.points.tileset import Choice
from twin.store.interface import Asset

LOG = logging.getLogger("citytwin.server")

KIND = "points"
GLB = "model/gltf-binary"
PLAIN = ("compat", "explicit")
"""First steps of a path below `3dtiles/` that ask for plain float32; all trees of clouds are explicit."""
OTHERS = {"v", "datetime"}
"""Query parameters that CesiumJS adds, or copies from the tileset of the city, and that mean nothing to points."""
MAX_CLASSES = 256
_TILE = re.compile(r"([0-9a-zA-Z]{1,40})/(\d{1,2}-\d{1,10}-\d{1,10}-\d{1,10})\.(glb|json)")

EARTH_M = 6_371_000.0


def has(city: Snapshot, layer_id: str) -> bool:
    """True if the layer consists of point clouds."""
    return bool(_assets(city, layer_id))


def every(city: Snapshot) -> list[Asset]:
    """All point clouds that the reader may see."""
    return [asset for layer_id in city.files for asset in _assets(city, layer_id)]


def _assets(city: Snapshot, layer_id: str) -> list[Asset]:
    layer = city.files.get(layer_id)
    return [asset for asset in layer.assets if asset.kind == KIND] if layer else []


def address(asset: Asset, form: str = "") -> str:
    """Path of a cloud's tileset.json from the server's root, without a leading slash; `form` as `compat/`."""
    layer, name = (quote(part, safe="") for part in (asset.layer, tileset.public_name(asset.id)))
    return f"collections/{layer}/3dtiles/{form}{name}/tileset.json"


def resource(request: Request, city: Snapshot, layer_id: str, path: str) -> Response:
    """A tileset of the layer or of one cloud, or the content of a tile. NotFound for anything else."""
    asked = choice(request)
    first, _, rest = path.partition("/")
    if first in PLAIN:
        path = rest
    if path in {"", "tileset.json"}:
        return _layer(request, city, layer_id, asked)
    asset_id, _, rest = path.partition("/")
    for asset in _assets(city, layer_id):
        if tileset.public_name(asset.id) == asset_id:
            return _cloud(request, city, clouds.opened(city.city, asset), asked, rest)
    known = ", ".join(asset.id for asset in _assets(city, layer_id))
    raise NotFound(f"{layer_id} has no point cloud {asset_id[:100]!r}.", f"There is: {known}.")


def choice(request: Request) -> Choice:
    """`color`, `classes`, and the form that the path names. InvalidInput names what is not understood."""
    # a client that copies the query of the tileset to addresses that have it already gives it twice
    given = dict.fromkeys((name, value) for name, value in request.query_params.multi_items() if name not in OTHERS)
    asked = parameters.once(type(request.query_params)(list(given)), ("color", "classes"))
    color = asked.get("color")
    if color is not None and color not in COLOURS:
        raise InvalidInput(f"color={color[:40]!r} is not offered.", f"Offered: {', '.join(COLOURS)}.")
    _, _, below = request.url.path.partition("/3dtiles/")
    form = "compat" if below.partition("/")[0] in PLAIN else "compact"
    return Choice(form, color, _classes(asked["classes"]) if "classes" in asked else None)  # type: ignore[arg-type]


def _classes(text: str) -> frozenset[int]:
    numbers = parameters.listed(text[:2000], MAX_CLASSES, "classes")
    for number in numbers:
        if not (number.isascii() and number.isdigit() and len(number) <= 3 and int(number) <= 255):
            raise InvalidInput(
                f"classes has {number[:20]!r}; a class is a number from 0 to 255.", "Example: classes=2,6"
            )
    return frozenset(int(number) for number in numbers)


def _cloud(request: Request, city: Snapshot, cloud: Cloud, asked: Choice, path: str) -> Response:
    """A document or a content of one cloud. Everything that is wrong with the address is told before a 304 is."""
    if path in {"", "tileset.json"}:
        # the title and the legend are of the catalogue
        tag = clouds.digest("tileset", cloud.version, asked.form, asked.query)
        return _answer(request, city, partial(tileset.document, city.city, cloud, asked), tag, answer.JSON)
    match = _TILE.fullmatch(path)
    if match is None:
        raise NotFound(f"{path[:100]!r} is not part of a tileset.", "Start at tileset.json.")
    depth, x, y, z = (int(part) for part in match[2].split("-"))
    key = (depth, x, y, z)
    # an address with an old version in it gets the present bytes, which nobody may keep under that name
    immutable = match[1] == cloud.version
    tag = clouds.digest(match[3], cloud.version, asked.form, asked.query, key)
    if match[3] == "json":
        make = tileset.branch(cloud, asked, key)
        return _answer(request, city, make, tag, answer.JSON, immutable=immutable)
    return _answer(request, city, tileset.content(cloud, asked, key), tag, GLB, immutable=immutable)


def _answer(
    request: Request, city: Snapshot, make: Callable[[], bytes], tag: str, media_type: str, *, immutable: bool = False
) -> Response:
    return packing.kept(request, cache.of_twin(city.city.folder), make, tag, media_type, immutable=immutable)


def _layer(request: Request, city: Snapshot, layer_id: str, asked: Choice) -> Response:
    """The tileset over all clouds. Those that cannot be read are left out; if none can, the first one's reason."""
    found, failed = _opened(city, _assets(city, layer_id))
    shown = [cloud for cloud in found if tileset.shows(cloud, asked)]
    if not shown:
        if not found:
            raise failed[0]
        there = ", ".join(map(str, sorted({number for cloud in found for number in cloud.counted or ()})))
        raise NotFound(f"{layer_id} has no points of these classes.", f"There are: {there}.")
    tag = clouds.digest("over", [cloud.version for cloud in shown], asked.form, asked.query)
    return _answer(request, city, partial(tileset.over, city.city, shown, asked), tag, answer.JSON)


def _opened(city: Snapshot, assets: list[Asset]) -> tuple[list[Cloud], list[InvalidInput]]:
    found, failed = [], []
    for asset in assets:
        try:
            found.append(clouds.opened(city.city, asset))
        except InvalidInput as error:
            LOG.warning("%s", error)
            failed.append(error)
    return found, failed


def children(city: Snapshot, base: str, form: str = "") -> list[dict[str, Any]]:
    """Tiles that refer to all clouds that the reader may see and that can be read, for the tileset of the city."""
    assets = [asset for layer_id in city.files for asset in _assets(city, layer_id)]
    return [_child(cloud, base, form) for cloud in _opened(city, assets)[0]]


def child(city: Snapshot, asset: Asset, base: str, form: str = "") -> dict[str, Any]:
    """A tile that refers to a cloud; `base` leads from its own address to the server's root."""
    return _child(clouds.opened(city.city, asset), base, form)


def _child(cloud: Cloud, base: str, form: str) -> dict[str, Any]:
    header = cloud.copc.header
    (west, south, low), (east, north, high) = header.low, header.high
    x, y, z = (axis.ravel() for axis in np.meshgrid(*(np.linspace(*ends, 5) for ends in
               ((west, east), (south, north), (low, high)))))  # fmt: skip
    placed = cloud.place.place(np.stack([x, y, z], axis=1))
    lon, lat, h = placed.lon_deg, placed.lat_deg, placed.ellipsoidal_m
    pad_m = 1 + _sag_m(lon, lat)
    up = math.degrees(pad_m / EARTH_M)
    aside = up / max(math.cos(math.radians(float(np.abs(lat).max()))), 1e-3)
    region = (lon.min() - aside, lat.min() - up, lon.max() + aside, lat.max() + up)
    return {
        "boundingVolume": {"region": [*map(math.radians, region), float(h.min()) - pad_m, float(h.max()) + pad_m]},
        "geometricError": 2 * float(cloud.tree.errors[0]),
        "content": {"uri": base + address(cloud.asset, form)},
        "extras": cloud.about(),
    }


def _sag_m(lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64]) -> float:
    """How far the Earth bends away from a flat box over these places: the tiles' boxes are flat, a region is not."""
    across = math.radians(max(float(np.ptp(lon_deg)), float(np.ptp(lat_deg)))) * EARTH_M * math.sqrt(2)
    return across**2 / (8 * EARTH_M)
