"""The 3D Tiles 1.1 tileset of a layer, explicit, made on demand from the store.

Spec: OGC 22-025r4. Boxes are in the city's ENU frame and real: tight around what is at or below the tile. The root
carries the only transform (ENU -> ECEF). More than MAX_TILES tiles are split into external tilesets.

Addresses, relative to the tileset.json: `{version}/{level}-{x}-{y}.glb` and `{version}/{level}-{x}-{y}.json`. The
version is in the path, not in a query: QGIS (3.34-4.0) recognises content by the end of the whole address, and draws
nothing at first where `?v=` follows `.glb`.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import orjson
from numpy.typing import NDArray

from layers.errors import NotFound
from tiles import cache, glb, metadata, tree
from tiles.city import TileCity
from tiles.properties import feature_colours, feature_columns
from twin.scope import Scope
from twin.store.interface import LayerInfo, Store

MAX_TILES = 2000
"""In one JSON document."""
INLINE_TILES = 8
"""Branches up to this size are written where they are, even in a document of external tilesets."""
ENCODING = 1
"""Part of every version: raise it when the bytes of a tile change while the data do not."""

GLB, JSON = "model/gltf-binary", "application/json"
_TILE_ID = re.compile(r"(\d{1,2})-(\d{1,7})-(\d{1,7})")
_RESOURCE = re.compile(r"(?:[\w.]+/)?(\d+-\d+-\d+)\.(glb|json)")

Fids = NDArray[np.int64]
FloatArray = NDArray[np.float64]

KEPT_TREES = 64
_trees: WeakKeyDictionary[Store, OrderedDict[tuple[str, Scope], tuple[int, tree.Tree, Fids]]] = WeakKeyDictionary()
_trees_lock = Lock()


class Tileset:
    """The tiles of one layer for one scope. Cheap to make: the tree is kept for each version of the layer."""

    def __init__(self, city: TileCity, layer_id: str, scope: Scope) -> None:
        """LayerNotFound where the scope has no such layer, NotFound where it has no meshes."""
        self.city, self.layer_id, self.scope = city, layer_id, scope
        self._info()

    @property
    def version(self) -> str:
        """Changes whenever a byte of any tile may have changed; 16 hexadecimal digits."""
        info = self._info()
        said = (ENCODING, self.layer_id, info.version, info.updated, info.mesh_count, self.city.frame.root_transform)
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]

    @property
    def etag(self) -> str:
        """Strong entity tag for everything under this tileset."""
        return f'"{self.version}"'

    def tileset_json(self, base: str = "") -> bytes:
        """The tileset document; `base` is put before every relative address."""
        tree_, _ = self._tree()
        root = self._branch(tree_, 0, f"{base}{self.version}/", top=True)
        root["transform"] = self.city.frame.root_transform
        span = float(np.linalg.norm(tree_.bounds[0, 3:] - tree_.bounds[0, :3]))
        return orjson.dumps(_document(self.city, self.version, max(span, root["geometricError"]), root))

    def subtileset_json(self, tile_id: str) -> bytes:
        """An external tileset; its addresses are relative to its own place, next to the glb files."""
        tree_, _ = self._tree()
        root = self._branch(tree_, self._find(tree_, tile_id), "", top=True)
        return orjson.dumps({"asset": {"version": "1.1"}, "geometricError": root["geometricError"], "root": root})

    def content(self, tile_id: str) -> bytes:
        """The glb of a tile. NotFound where there is no such tile (any more)."""
        kept = cache.of_twin(self.city.folder)
        return kept.get_or_make(partial(self._made, tile_id), "glb", self.version, self.scope, tile_id)

    def _made(self, tile_id: str) -> bytes:
        version = self.version
        try:
            return self._glb(self._fids(tile_id))
        except NotFound:
            if version == self.version:
                raise
            # a write came between reading the tree and reading the meshes
            return self._glb(self._fids(tile_id))

    def _fids(self, tile_id: str) -> Fids:
        tree_, fids = self._tree()
        chosen = fids[tree_.features(self._find(tree_, tile_id))]
        if not len(chosen):
            raise NotFound(f"Tile {tile_id} of layer {self.layer_id!r} has no content.")
        return chosen

    def resource(self, path: str) -> tuple[bytes, str]:
        """Bytes and media type of any address under the tileset.json (`tileset.json` itself included)."""
        if path in {"", "tileset.json"}:
            return self.tileset_json(), JSON
        match = _RESOURCE.fullmatch(path)
        if match is None:
            raise NotFound(f"{path!r} is not part of a tileset.", "Start at tileset.json.")
        if match[2] == "json":
            return self.subtileset_json(match[1]), JSON
        return self.content(match[1]), GLB

    def root(self) -> tree.Tree:
        """The whole tree, for a tileset that refers to this one."""
        return self._tree()[0]

    def _info(self) -> LayerInfo:
        info = self.city.store.layer(self.layer_id, self.scope)
        if info.mesh_count == 0:
            raise NotFound(f"Layer {self.layer_id!r} has no 3D shapes.", "Its features are at /collections.")
        return info

    def _tree(self) -> tuple[tree.Tree, Fids]:
        store, version, key = self.city.store, self._info().version, (self.layer_id, self.scope)
        with _trees_lock:
            known = _trees.setdefault(store, OrderedDict()).get(key)
        if known is not None and known[0] == version:
            return known[1], known[2]
        table = store.mesh_table(self.layer_id, self.scope)
        built = tree.build(table.bounds, table.sizes)
        with _trees_lock:
            kept = _trees[store]
            kept[key] = (version, built, table.fids)
            kept.move_to_end(key)
            if len(kept) > KEPT_TREES:
                kept.popitem(last=False)
        return built, table.fids

    def _find(self, tree_: tree.Tree, tile_id: str) -> int:
        match = _TILE_ID.fullmatch(tile_id)
        if match:
            level, x, y = (int(v) for v in match.groups())
            found = np.flatnonzero((tree_.levels == level) & (tree_.xs == x) & (tree_.ys == y))
            if len(found):
                return int(found[0])
        raise NotFound(f"Layer {self.layer_id!r} has no tile {tile_id!r}.", "Read tileset.json again.")

    def _glb(self, fids: Fids) -> bytes:
        store = self.city.store
        layer_type = store.layer(self.layer_id, self.scope).type
        features = store.features_by_fid(self.layer_id, fids, self.scope)
        meshes = store.meshes(self.layer_id, fids, self.scope)
        table = metadata.property_table(self.layer_id, feature_columns(self.layer_id, features))
        return glb.encode(meshes, table, feature_colours(layer_type, features))

    def _branch(self, tree_: tree.Tree, tile: int, prefix: str, *, top: bool = False) -> dict[str, Any]:
        """The JSON of a tile and what is below it, or a reference to an external tileset."""
        size = int(tree_.subtree_sizes[tile])
        name = f"{prefix}{tree_.levels[tile]}-{tree_.xs[tile]}-{tree_.ys[tile]}"
        node: dict[str, Any] = {
            "boundingVolume": {"box": _box(tree_.bounds[tile])},
            "geometricError": float(tree_.errors[tile]),
        }
        if top:
            node["refine"] = "ADD"
        parent_size = int(tree_.subtree_sizes[tree_.parents[tile]]) if tile else size
        if not top and parent_size > MAX_TILES >= size > INLINE_TILES:
            node["content"] = {"uri": f"{name}.json"}
            return node
        if tree_.starts[tile + 1] > tree_.starts[tile]:
            node["content"] = {"uri": f"{name}.glb"}
        children = np.flatnonzero(tree_.parents == tile)
        if len(children):
            node["children"] = [self._branch(tree_, int(child), prefix) for child in children]
        return node


def city_tileset_json(city: TileCity, scope: Scope, address: str, adopted: Sequence[dict[str, Any]] = ()) -> bytes:
    """One tileset that refers to those of all layers with meshes.

    `address` is where a layer's tileset is, relative to this one, with `{layer}` in it. The referred roots carry the
    transform, so that the boxes here are geocentric. `adopted` are tiles with a region that refer to other sets.
    NotFound without any mesh or set.
    """
    tilesets = [Tileset(city, info.id, scope) for info in city.store.layers(scope) if info.mesh_count]
    if not tilesets and not adopted:
        raise NotFound("The city has no 3D shapes.", "Add buildings, BIM elements or pipes.")
    roots = [tileset.root() for tileset in tilesets]
    regions = [_enu_of_region(city, tile["boundingVolume"]["region"]) for tile in adopted]
    bounds = np.array([*(root.bounds[0] for root in roots), *regions])
    whole = np.concatenate([bounds[:, :3].min(axis=0), bounds[:, 3:].max(axis=0)])
    span = float(np.linalg.norm(whole[3:] - whole[:3]))
    children = [
        {
            "boundingVolume": {"box": _placed(_box(root.bounds[0]), city.frame.root_transform)},
            "geometricError": float(root.errors[0]),
            "content": {"uri": address.format(layer=tileset.layer_id)},
            "extras": {"layer": tileset.layer_id},
        }
        for tileset, root in zip(tilesets, roots, strict=True)
    ]
    children += adopted
    node = {
        "boundingVolume": {"box": _placed(_box(whole), city.frame.root_transform)},
        "geometricError": span,
        "refine": "ADD",
        "children": children,
    }
    said = "".join(tileset.version for tileset in tilesets) + (repr(adopted) if adopted else "")
    version = hashlib.sha256(said.encode()).hexdigest()[:16]
    return orjson.dumps(_document(city, version, max(span, *(tile["geometricError"] for tile in adopted), 0.0), node))


def _enu_of_region(city: TileCity, region: Sequence[float]) -> FloatArray:
    """(6,) lowest and highest x, y, z in the ENU frame of a region (radians, ellipsoidal metres)."""
    west, south, east, north = np.degrees(region[:4]).tolist()
    grid = np.meshgrid(np.linspace(west, east, 5), np.linspace(south, north, 5), region[4:6])
    corners = city.frame.geodetic_to_enu(*(axis.ravel() for axis in grid))
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _document(city: TileCity, version: str, error: float, root: dict[str, Any]) -> dict[str, Any]:
    """The outermost object: what is in it, in which CRS and by which heights."""
    config = city.config
    return {
        "asset": {
            "version": "1.1",
            "tilesetVersion": version,
            "extras": {
                "city": config.name,
                "crs": "EPSG:4978",
                "heights": "ellipsoidal",
                "source_crs": city.frame.city_crs,
                "source_vertical_crs": config.vertical_crs,
                "height_model": city.frame.height_model.describe(),
            },
        },
        "schema": {
            "id": "citytwin_tileset",
            "classes": {"tileset": {"properties": {"crs": {"type": "STRING", "semantic": "TILESET_CRS_GEOCENTRIC"}}}},
        },
        "metadata": {"class": "tileset", "properties": {"crs": "EPSG:4978"}},
        "geometricError": error,
        "root": root,
    }


def _box(bounds: FloatArray) -> list[float]:
    """Centre and three half axes; half a millimetre is added for the float32 of the contents."""
    centre, half = (bounds[:3] + bounds[3:]) / 2, (bounds[3:] - bounds[:3]) / 2 + 0.0005
    return [float(v) for v in (*centre, half[0], 0, 0, 0, half[1], 0, 0, 0, half[2])]


def _placed(box: list[float], transform: list[float]) -> list[float]:
    """The box after a column-major 4 x 4 transform."""
    matrix = np.array(transform).reshape(4, 4).T
    vectors = np.array(box).reshape(4, 3) @ matrix[:3, :3].T
    vectors[0] += matrix[:3, 3]
    return [float(v) for v in vectors.ravel()]
