"""3D Tiles sets that were adopted as they are: their files, one tileset over the sets of a layer, and their addresses.

`/collections/{layer}/3dtiles/tileset.json` refers to each set of the layer; below `/collections/{layer}/3dtiles/{set}/`
are the set's own files under the names they came with, so that its relative addresses hold.
"""

import math
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from layers.errors import NotFound
from server import answer
from server.files import ranged
from server.serving import Snapshot
from twin.store.interface import Asset

KIND = "tileset"
MEDIA_TYPES = {
    ".json": answer.JSON, ".glb": "model/gltf-binary", ".gltf": "model/gltf+json", ".png": "image/png",
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".ktx2": "image/ktx2",
    ".3tz": "application/vnd.maxar.archive.3tz+zip",
}  # fmt: skip
"""Everything else (b3dm, i3dm, pnts, cmpt, subtree, bin) is `application/octet-stream`."""


def sets(city: Snapshot) -> list[Asset]:
    """All adopted sets that the reader may see."""
    return [asset for layer in city.files.values() for asset in layer.assets if asset.kind == KIND]


def has(city: Snapshot, layer_id: str) -> bool:
    """True if the layer consists of adopted sets."""
    return layer_id in city.files and any(asset.kind == KIND for asset in city.files[layer_id].assets)


def address(asset: Asset) -> str:
    """Path of a set's root document from the server's root, without a leading slash."""
    root = quote(str(asset.meta.get("root", "tileset.json")))
    return f"collections/{asset.layer}/3dtiles/{quote(asset.id, safe='')}/{root}"


def resource(request: Request, city: Snapshot, layer_id: str, path: str) -> Response:
    """The layer's own tileset.json, or a file of one of its sets. NotFound for anything else."""
    assets = [asset for asset in city.files[layer_id].assets if asset.kind == KIND]
    if path in {"", "tileset.json"}:
        tag = answer.etag(city.version, request.url.path)
        if answer.is_fresh(request, tag):
            return answer.not_modified(answer.headers_for(tag))
        deeper = request.url.path.rstrip("/").endswith(("/explicit", "/explicit/tileset.json"))
        base = "../../../../" if deeper else "../../../"
        return answer.conditional(request, answer.json_bytes(document(assets, base)), answer.JSON, tag)
    asset_id, _, name = path.partition("/")
    for asset in assets:
        if asset.id == asset_id:
            return _file(request, city.city.folder / asset.path, name or str(asset.meta.get("root", "tileset.json")))
    known = ", ".join(asset.id for asset in assets)
    raise NotFound(f"{layer_id} has no set {asset_id[:100]!r}.", f"There is: {known}.")


def _file(request: Request, folder: Path, name: str) -> Response:
    """One file of a set. Whatever the address says, nothing outside the set's folder is given."""
    try:
        path = (folder / name).resolve()
        is_there = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        is_there = False
    if not is_there:
        raise NotFound(f"The set has no file {name[:200]!r}.", "Read its tileset.json.")
    media_type = MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
    return ranged(request, path, media_type, weak=True)


def document(assets: list[Asset], base: str) -> dict[str, Any]:
    """A tileset over several sets; `base` leads from its own address to the server's root."""
    tiles = [child(asset, base) for asset in assets]
    west, south, low = (min(tile["boundingVolume"]["region"][i] for tile in tiles) for i in (0, 1, 4))
    east, north, high = (max(tile["boundingVolume"]["region"][i] for tile in tiles) for i in (2, 3, 5))
    error = 2 * max(tile["geometricError"] for tile in tiles)
    volume = {"region": [west, south, east, north, low, high]}
    root = {"boundingVolume": volume, "geometricError": error, "refine": "ADD", "children": tiles}
    return {"asset": {"version": "1.1"}, "geometricError": error, "root": root}


def child(asset: Asset, base: str) -> dict[str, Any]:
    """A tile that refers to a set."""
    low, high = asset.meta.get("height_m", (-500.0, 9000.0))
    region = [*(math.radians(value) for value in asset.bounds), low, high]
    return {
        "boundingVolume": {"region": region},
        "geometricError": float(asset.meta.get("geometric_error") or 100.0),
        "content": {"uri": base + address(asset)},
        "extras": {"layer": asset.layer, "asset": asset.id},
    }
