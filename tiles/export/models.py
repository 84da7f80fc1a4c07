"""A layer's 3D Tiles as a stage: contents in the order of the Morton curve, rows of neighbouring tiles read at once.

The tree is taken once; contents are read by row number, which stays readable after a write, so that all tiles show the
layer at one version. One reading serves every form; `compat` and `explicit` have the same content.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from layers.catalogue import LayerType
from layers.errors import NotFound
from layers.mesh import Texture
from tiles import content, quadtree, subtree
from tiles.city import TileCity
from tiles.export.stage import Document, Item, Made, Stage, Task
from tiles.quadtree import IntArray
from tiles.tileset import GLB, SCHEMA, Form, Resource, Tileset
from twin.scope import Scope
from twin.store.interface import Features

MAKER = "models"
FEATURES_AT_ONCE = 4000
"""Rows read in one query: some 20 MB in a worker."""
KEPT_TEXTURES = 64

Encoding = Literal["compat", "compact"]


def folder(layer_id: str, form: Form) -> str:
    """Where a form of a layer is, as the server has it."""
    return f"collections/{layer_id}/3dtiles" + ("" if form == "compact" else f"/{form}")


def book(layer_id: str, form: Form) -> str:
    """Name of the book of a form of a layer."""
    return f"3dtiles/{layer_id}/{form}"


@dataclass(frozen=True)
class Load:
    """What the tiles of a task share: the layer, and the rows of each tile one after the other."""

    layer: LayerType
    scope: Scope
    fids: IntArray
    ends: IntArray


def stage(tileset: Tileset, forms: Sequence[Form], features_at_once: int = FEATURES_AT_ONCE) -> Stage:
    """All files of the forms of a layer. NotFound where the selection holds nothing."""
    tree = tileset.tree
    level, cell = quadtree.level_cell(tree.tiles.keys)
    along_the_curve = np.lexsort((level, cell << 2 * (quadtree.MAX_LEVEL - level)))
    tasks = _tasks(tileset, forms, along_the_curve, features_at_once)
    documents = [each for form in forms for each in _documents(tileset, form)]
    names = [book(tileset.layer_id, form) for form in forms]
    return Stage(f"3D Tiles of {tileset.layer_id}", names, tasks, documents, partial(_moved, tileset))


def _tasks(tileset: Tileset, forms: Sequence[Form], order: IntArray, features_at_once: int) -> Iterator[Task]:
    tree = tileset.tree
    items: list[Item] = []
    rows: list[IntArray] = []
    for place in order.tolist():
        key = int(tree.tiles.keys[place])
        items += [_item(tileset, form, key, place, len(rows)) for form in forms]
        rows.append(tree.fids(key))
        if sum(map(len, rows)) >= features_at_once:
            yield _task(tileset, items, rows)
            items, rows = [], []
    if rows:
        yield _task(tileset, items, rows)


def _task(tileset: Tileset, items: list[Item], rows: list[IntArray]) -> Task:
    ends = np.cumsum([len(each) for each in rows])
    load = Load(tileset.info.type, tileset.scope, np.concatenate(rows), ends)
    return Task(MAKER, tuple(items), load, int(ends[-1]))


def _item(tileset: Tileset, form: Form, key: int, place: int, number: int) -> Item:
    level, cell = quadtree.level_cell(np.array([key]))
    x, y = quadtree.column_row(cell)
    if form == "explicit":
        path = f"{tileset.stamp(tileset.tree.tiles.prints[place])}/{int(level[0])}-{int(x[0])}-{int(y[0])}.glb"
    else:
        path = f"content/{int(level[0])}/{int(x[0])}/{int(y[0])}.glb"
    tag = tileset.resource(form, path).tag
    encoding: Encoding = "compact" if form == "compact" else "compat"
    about = (number, encoding, form == "explicit", tileset.schema_uri(encoding))
    return Item(book(tileset.layer_id, form), f"{folder(tileset.layer_id, form)}/{path}", tag, about)


def _documents(tileset: Tileset, form: Form) -> Iterator[Document]:
    """Subtrees or branches, then the tileset.json."""
    paths = _branches(tileset) if form == "explicit" else _subtrees(tileset)
    shared = [SCHEMA] if form == "compact" and tileset.schema_uri("compact") else []
    for path in (*shared, *paths, "tileset.json"):
        found = tileset.resource(form, path)
        address = f"{folder(tileset.layer_id, form)}/{path}"
        yield Document(book(tileset.layer_id, form), address, partial(_made, tileset, form, path, address), found.tag)


def _made(tileset: Tileset, form: Form, path: str, address: str, _known: str) -> Made:
    found: Resource = tileset.resource(form, path)
    return Made(address, found.tag, found.make(), found.media_type, immutable=found.immutable)


def _subtrees(tileset: Tileset) -> list[str]:
    keys = tileset.tree.nodes.keys
    level, cell = quadtree.level_cell(keys)
    roots = level % subtree.LEVELS == 0
    x, y = quadtree.column_row(cell[roots])
    places = zip(level[roots].tolist(), x.tolist(), y.tolist(), strict=True)
    return [f"subtrees/{level}/{x}/{y}.subtree" for level, x, y in places]


def _branches(tileset: Tileset) -> list[str]:
    """External tilesets that the explicit form refers to, deepest first."""
    found: list[str] = []
    left = [tileset.document("explicit")]
    while left:
        names = list(_json_addresses(orjson.loads(left.pop())["root"]))
        paths = [name.removeprefix("../") for name in names]
        found += paths
        left += [tileset.resource("explicit", path).make() for path in paths]
    return found[::-1]


def _json_addresses(tile: dict[str, Any]) -> Iterator[str]:
    uri = tile.get("content", {}).get("uri", "")
    if uri.endswith(".json"):
        yield uri
    for child in tile.get("children", ()):
        yield from _json_addresses(child)


def _moved(tileset: Tileset) -> str | None:
    """In-place edits by another program are the one thing that reaches tiles of an older version."""
    store, info = tileset.city.store, tileset.info
    try:
        now = store.layer(tileset.layer_id, tileset.scope).version
    except NotFound:
        return f"Layer {tileset.layer_id!r} was removed while it was exported."
    if now == info.version:
        return None
    return f"Layer {tileset.layer_id!r} went from version {info.version} to {now} while it was exported."


class Models:
    """Makes contents: `tiles.export.stage.Maker`."""

    def __init__(self, city: TileCity) -> None:
        self._city = city
        self._textures: OrderedDict[str, Texture] = OrderedDict()

    def make(self, task: Task) -> Iterator[Made]:
        """Contents of the tiles, in order."""
        load: Load = task.load
        wanted: dict[int, list[Item]] = {}
        for item in task.items:
            wanted.setdefault(item.about[0], []).append(item)
        starts = np.r_[0, load.ends[:-1]]
        parts = [np.arange(starts[number], load.ends[number]) for number in wanted]
        fids = load.fids[np.concatenate(parts)]
        layer_id = load.layer.id
        stored = self._city.store.mesh_blobs(layer_id, fids, load.scope)
        features = self._city.store.features_by_fid(layer_id, fids, load.scope)
        texture = partial(self._texture, load.scope)
        start = 0
        for part, items in zip(parts, wanted.values(), strict=True):
            stop = start + len(part)
            own = content.Content(
                load.layer, _slice(features, start, stop), stored.blobs[start:stop], stored.shapes, texture
            )
            yield from _encoded(own, items)
            start = stop

    def _texture(self, scope: Scope, key: str) -> Texture:
        found = self._textures.pop(key, None)
        found = self._city.store.texture(key, scope) if found is None else found
        self._textures[key] = found
        if len(self._textures) > KEPT_TEXTURES:
            self._textures.popitem(last=False)
        return found


def _encoded(own: content.Content, items: list[Item]) -> Iterator[Made]:
    """The content of one tile in each encoding once, under each of its addresses."""
    made: dict[Encoding, bytes] = {}
    for item in items:
        encoding = item.about[1]
        if encoding not in made:
            made[encoding] = content.encode(own, encoding, schema_uri=item.about[3])
        yield Made(item.address, item.tag or "", made[encoding], GLB, immutable=item.about[2])


def _slice(features: Features, start: int, stop: int) -> Features:
    return Features(
        features.fids[start:stop],
        features.ids[start:stop],
        features.geometry[start:stop],
        features.attributes.slice(start, stop - start),
        features.extra[start:stop],
        features.versions[start:stop],
        features.valid_from[start:stop],
        features.valid_to[start:stop],
    )


def opener(folder_of_twin: Path, scope: Scope) -> Callable[[], Models]:
    """A factory for worker processes."""
    return partial(_opened, folder_of_twin, scope)


def _opened(folder_of_twin: Path, scope: Scope) -> Models:
    from twin.city import City

    return Models(City(folder_of_twin, scope))
