"""The 3D Tiles 1.1 tilesets of a layer, made on demand from the store: one tree, three forms.

Spec: OGC 22-025r4. `compact` and `compat` are implicit quadtrees (addresses by level, column and row, revalidated by
entity tag); `compat` has the float32 content that QGIS reads, `compact` the packed one. `explicit` lists the tiles of
`compat`, for readers without implicit tiling. Boxes are in the city's ENU frame and real; the root carries the only
transform (ENU -> ECEF).

Addresses, relative to tileset.json: `subtrees/{level}/{x}/{y}.subtree` and `content/{level}/{x}/{y}.glb`; in the
explicit form `{print}/{level}-{x}-{y}.glb` and, beyond MAX_TILES tiles, `{print}/{level}-{x}-{y}.json`. The print is
in the path, not in a query: QGIS (3.34-4.0) recognises content by the end of the whole address, and draws nothing at
first where `?v=` follows `.glb`.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, get_args

import numpy as np
import orjson

from layers.errors import NotFound
from tiles import forest, quadtree, subtree
from tiles.city import TileCity
from tiles.forest import EVERYTHING_NOW, Selection
from tiles.quadtree import FloatArray
from tiles.tree import Tree
from twin.scope import Scope
from twin.store.interface import LayerInfo

Form = Literal["compact", "compat", "explicit"]
FORMS: tuple[Form, ...] = get_args(Form)

MAX_TILES = 1000
"""In one JSON document of the explicit form."""
INLINE_TILES = 8
"""Branches up to this size are written where they are, even in a document of external tilesets."""
SHARED_SCHEMA_TILES = 8
"""A compact tileset of more tiles has the schema of their metadata once, beside the tileset.json: 4 kB a tile less.
Fewer tiles hold it themselves, which saves a request."""
SCHEMA = "schema.json"
ENCODING = 7
"""Part of every tag: raise it when the bytes of a tile change while the data do not."""

GLB, JSON, SUBTREE = "model/gltf-binary", "application/json", "application/octet-stream"
_IMPLICIT = re.compile(r"(content|subtrees)/(\d{1,2})/(\d{1,7})/(\d{1,7})\.(glb|subtree)")
_EXPLICIT = re.compile(r"(?:([\w.]+)/)?(\d{1,2})-(\d{1,7})-(\d{1,7})\.(glb|json)")


@dataclass(frozen=True)
class Resource:
    """One address of a tileset.

    Attributes
    ----------
    tag : changes whenever a byte may have changed
    media_type : of the bytes
    make : gives the bytes
    immutable : the address itself changes with the bytes
    """

    tag: str
    media_type: str
    make: Callable[[], bytes]
    immutable: bool = False


class Tileset:
    """The tiles of one layer for one asker. Cheap to make: the tree is kept for each version of the layer.

    Parameters
    ----------
    info : the layer at the version that is asked for; the store's present one when absent
    selection : a filter and a moment; addresses stay the same, features and tags do not

    Raises LayerNotFound where the scope has no such layer, NotFound where it has no meshes.
    """

    def __init__(
        self,
        city: TileCity,
        layer_id: str,
        scope: Scope,
        *,
        info: LayerInfo | None = None,
        selection: Selection = EVERYTHING_NOW,
    ) -> None:
        self.city, self.layer_id, self.scope, self.selection = city, layer_id, scope, selection
        self.info = info if info is not None else city.store.layer(layer_id, scope)
        if self.info.mesh_count == 0 and selection.at is None:
            raise NotFound(f"Layer {layer_id!r} has no 3D shapes.", "Its features are at /collections.")

    @cached_property
    def tree(self) -> Tree:
        """Which feature is in which tile. NotFound where the selection holds nothing."""
        found = forest.of_store(self.city.store).tree(self.city.store, self.info, self.scope, self.selection)
        if found is None:
            raise NotFound(f"No 3D shape of layer {self.layer_id!r} is in this selection.", "Ask for more.")
        return found

    def resource(self, form: Form, path: str) -> Resource:
        """Any address under the tileset.json, itself included. NotFound for anything else."""
        if path in {"", "tileset.json"}:
            return Resource(self._tag(form), JSON, partial(self.document, form))
        if path == SCHEMA and form == "compact":
            from tiles import content

            made = orjson.dumps(content.schema(self.info.type))
            return Resource(_digest(made), JSON, lambda: made)
        match = (_EXPLICIT if form == "explicit" else _IMPLICIT).fullmatch(path)
        if match is None or not _fits(form, match):
            raise NotFound(f"{path[:100]!r} is not part of a tileset.", "Start at tileset.json.")
        level, x, y = (int(match[i]) for i in (2, 3, 4))
        tile_key = quadtree.key(level, x, y)
        if match[5] == "subtree":
            return self._subtree(level, x, y)
        if match[5] == "json":
            return self._branch_resource(tile_key)
        return self._content(form, tile_key, match[1] if form == "explicit" else None)

    def document(self, form: Form) -> bytes:
        """The tileset.json."""
        tree = self.tree
        root = self._explicit(0, "", top=True) if form == "explicit" else self._implicit()
        root["transform"] = self.city.frame.root_transform
        return orjson.dumps(document(self.city, self._tag(form), tree.whole_error_m, root))

    def _implicit(self) -> dict[str, Any]:
        """Both implicit forms have the same root: the address of the document says which content is meant."""
        tree, square = self.tree, self.tree.square
        low, high = float(tree.bounds[2]), float(tree.bounds[5])
        whole = np.array([square.x, square.y, low, square.x + square.side, square.y + square.side, high])
        return {
            "boundingVolume": {"box": subtree.box(whole).tolist()},
            "geometricError": tree.error_m,
            "refine": "ADD",
            "content": {"uri": "content/{level}/{x}/{y}.glb"},
            "implicitTiling": {
                "subdivisionScheme": "QUADTREE",
                "subtreeLevels": subtree.LEVELS,
                "availableLevels": tree.depth,
                "subtrees": {"uri": "subtrees/{level}/{x}/{y}.subtree"},
            },
        }

    def _subtree(self, level: int, x: int, y: int) -> Resource:
        made = subtree.encode(self.tree, level, x, y)
        if made is None:
            raise NotFound(f"Layer {self.layer_id!r} has no subtree {level}/{x}/{y}.", "Read tileset.json again.")
        return Resource(_digest(made), SUBTREE, lambda: made)

    def _content(self, form: Form, tile_key: int, given: str | None) -> Resource:
        """The glb of a tile; the explicit form shows the content of `compat`."""
        at = self.tree.find(tile_key)
        if at is None:
            level, cell = (int(part[0]) for part in quadtree.level_cell(np.array([max(tile_key, 0)])))
            raise NotFound(
                f"Layer {self.layer_id!r} has no such tile (level {level}, cell {cell}).", "Read tileset.json again."
            )
        stamp = self.stamp(self.tree.tiles.prints[at])
        packing: Literal["compat", "compact"] = "compact" if form == "compact" else "compat"
        what = (tile_key, stamp, int(self.tree.tiles.counts[at]), self.schema_uri(packing))
        tag = _digest(ENCODING, packing, self._look, *what)
        # an address with an old print in it gets the present bytes, which nobody may keep under that name
        return Resource(tag, GLB, partial(self.glb, tile_key, packing), given == stamp)

    def glb(self, tile_key: int, packing: Literal["compat", "compact"]) -> bytes:
        """The content of a tile, made anew. NotFound where a write has taken a feature out of it meanwhile."""
        from tiles import content

        store, fids = self.city.store, self.tree.fids(tile_key)
        stored = store.mesh_blobs(self.layer_id, fids, self.scope)
        features = store.features_by_fid(self.layer_id, fids, self.scope)
        texture = partial(store.texture, scope=self.scope)
        return content.encode(
            content.Content(self.info.type, features, stored.blobs, stored.shapes, texture),
            packing,
            schema_uri=self.schema_uri(packing),
        )

    def schema_uri(self, packing: Literal["compat", "compact"]) -> str | None:
        """Where the tiles' schema is, relative to a content; None where each holds its own."""
        shared = packing == "compact" and len(self.tree.tiles.keys) > SHARED_SCHEMA_TILES
        return f"../../../{SCHEMA}" if shared else None

    def stamp(self, fingerprint: np.uint64) -> str:
        """What stands in the address of an explicit content for these features in this look."""
        return f"{int(fingerprint) ^ self._salt:016x}"

    @cached_property
    def _salt(self) -> int:
        return int(_digest(ENCODING, self._look)[:16], 16)

    @cached_property
    def _look(self) -> str:
        """Changes with what tiles show of the layer beside its features: type, titles, codes, colours; the frame."""
        return _digest(repr(self.info.type), self.city.frame.root_transform)

    def _tag(self, form: Form) -> str:
        tree = self.tree
        said = (int(tree.nodes.prints[0]), len(tree.nodes.keys), tree.bounds.tolist(), tree.square, tree.error_m)
        return _digest(ENCODING, form, self._look, self.city.config, *said)

    def _explicit(self, row: int, prefix: str, *, top: bool = False) -> dict[str, Any]:
        """The JSON of a tile and of what is below it, or a reference to an external tileset."""
        nodes = self.tree.nodes
        row = row if top else self._skipped(row)
        tile_key, size = int(nodes.keys[row]), int(nodes.n_below[row])
        name = _name(tile_key)
        at = self.tree.find(tile_key)
        quarters = self._quarters(row)
        node: dict[str, Any] = {
            "boundingVolume": {"box": subtree.box(nodes.bounds[row]).tolist()},
            "geometricError": self._error_m(tile_key) if quarters else 0.0,
        }
        if top:
            node["refine"] = "ADD"
        parent = nodes.find(int(quadtree.parents(nodes.keys[row : row + 1])[0])) if row else None
        parent_size = size if parent is None else int(nodes.n_below[parent])
        if not top and parent_size > MAX_TILES >= size > INLINE_TILES:
            node["content"] = {"uri": f"{prefix}{self.stamp(nodes.prints[row])}/{name}.json"}
            return node
        if at is not None:
            node["content"] = {"uri": f"{prefix}{self.stamp(self.tree.tiles.prints[at])}/{name}.glb"}
            node["content"]["boundingVolume"] = {"box": subtree.box(self.tree.tiles.bounds[at]).tolist()}
        if quarters:
            node["children"] = [self._explicit(quarter, prefix) for quarter in quarters]
        return node

    def _quarters(self, row: int) -> list[int]:
        """Rows of the tiles one level below."""
        level, cell = (int(part[0]) for part in quadtree.level_cell(self.tree.nodes.keys[row : row + 1]))
        return [] if level == quadtree.MAX_LEVEL else subtree.within(self.tree.nodes.keys, level, cell, 1).tolist()

    def _skipped(self, row: int) -> int:
        """The row itself, or the first one below it that has content or more than one quarter."""
        while self.tree.find(int(self.tree.nodes.keys[row])) is None:
            quarters = self._quarters(row)
            if len(quarters) > 1:
                break
            row = quarters[0]
        return row

    def _error_m(self, tile_key: int) -> float:
        return self.tree.error_m / 2.0 ** int(quadtree.level_cell(np.array([tile_key]))[0][0])

    def _branch_resource(self, tile_key: int) -> Resource:
        """An external tileset of the explicit form; its addresses are relative to its own place."""
        row = self.tree.nodes.find(tile_key)
        if row is None:
            raise NotFound(f"Layer {self.layer_id!r} has no such branch.", "Read tileset.json again.")
        stamp = self.stamp(self.tree.nodes.prints[row])
        tag = _digest(ENCODING, self._look, tile_key, stamp, self.tree.error_m)
        return Resource(tag, JSON, partial(self._branch, row))

    def _branch(self, row: int) -> bytes:
        root = self._explicit(row, "../", top=True)
        return orjson.dumps({"asset": {"version": "1.1"}, "geometricError": root["geometricError"], "root": root})


def _fits(form: Form, match: re.Match[str]) -> bool:
    return form == "explicit" or (match[1] == "content") == (match[5] == "glb")


def _name(tile_key: int) -> str:
    level, cell = quadtree.level_cell(np.array([tile_key]))
    x, y = quadtree.column_row(cell)
    return f"{int(level[0])}-{int(x[0])}-{int(y[0])}"


def _digest(*said: object) -> str:
    if len(said) == 1 and isinstance(said[0], bytes):
        return hashlib.blake2b(said[0], digest_size=10).hexdigest()
    return hashlib.blake2b(repr(said).encode(), digest_size=10).hexdigest()


def document(city: TileCity, version: str, error: float, root: dict[str, Any]) -> dict[str, Any]:
    """The outermost object: what is in it, in which CRS and by which heights."""
    config = city.config
    return {
        "asset": {
            "version": "1.1",
            # not as tilesetVersion: CesiumJS adds that to the address of every content, and would load all of them
            # again after an edit of one
            "extras": {
                "city": config.name,
                "version": version,
                "crs": "EPSG:4978",
                "heights": "ellipsoidal",
                "source_crs": city.frame.city_crs,
                "source_vertical_crs": config.vertical_crs,
                "height_model": city.frame.height_model.describe(),
            },
        },
        "schema": {
            "id": "citytwin_tileset",
            "classes": {
                "tileset": {"properties": {"crs": {"type": "STRING", "semantic": "TILESET_CRS_GEOCENTRIC"}}},
                **subtree.SCHEMA_CLASSES,
            },
        },
        "metadata": {"class": "tileset", "properties": {"crs": "EPSG:4978"}},
        "geometricError": error,
        "root": root,
    }


__all__ = ["FORMS", "FloatArray", "Form", "Resource", "Selection", "Tileset", "document"]
