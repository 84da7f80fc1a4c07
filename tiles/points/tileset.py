"""Tilesets of point clouds (3D Tiles 1.1, OGC 22-025r4): explicit trees, split into external tilesets where large.

Addresses, relative to a cloud's tileset.json: `{version}/{depth}-{x}-{y}-{z}.glb` and, for what is below a node,
`….json`. What was asked for stands behind every address, as not every client copies the query to the children.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson

from layers.errors import NotFound
from tiles.city import TileCity
from tiles.points import colour
from tiles.points.cloud import Cloud, digest, name
from tiles.points.colour import Colour
from tiles.points.copc import Key
from tiles.points.encode import Form

MAX_TILES = 1000
"""In one document."""
RESERVED = {"compat", "explicit", "tileset.json"}
"""What stands below `3dtiles/` for itself, so that a cloud of that name needs another."""
INLINE_TILES = 8
"""Branches up to this size are written where they are."""


@dataclass(frozen=True)
class Choice:
    """How points are shown: encoding, colours (None: the cloud's default), classes (None: all)."""

    form: Form = "compact"
    color: Colour | None = None
    classes: frozenset[int] | None = None

    @property
    def query(self) -> str:
        """As the end of an address."""
        parts = [f"color={self.color}"] if self.color else []
        parts += [f"classes={','.join(map(str, sorted(self.classes)))}"] if self.classes is not None else []
        return "?" + "&".join(parts) if parts else ""


def document(city: TileCity, cloud: Cloud, choice: Choice) -> bytes:
    """`tileset.json` of a cloud. NotFound where it has no point of the classes that are asked for."""
    known = cloud.facts
    if not shows(cloud, choice):
        there = ", ".join(map(str, sorted(known.classes)))
        raise NotFound(f"{cloud.asset.id} has no points of these classes.", f"There are: {there}.")
    root = _branch(cloud, choice, 0, f"{cloud.version}/", is_top=True)
    root["transform"] = city.frame.root_transform
    about = cloud.about() | {
        "title": cloud.asset.title or cloud.asset.id,
        "epoch": cloud.asset.epoch,
        "points": cloud.copc.header.n_points,
        **colour.legend(known.possible(choice.color), known),
        "colors": [each for each in colour.COLOURS if known.possible(each) == each],
        "height_model": city.frame.height_model.describe(),
    }
    asset = {"version": "1.1", "tilesetVersion": cloud.version, "extras": about}
    return orjson.dumps({"asset": asset, "geometricError": 2 * root["geometricError"], "root": root})


def shows(cloud: Cloud, choice: Choice) -> bool:
    """False if the cloud has no point of the classes that are asked for."""
    return choice.classes is None or cloud.counted is None or bool(choice.classes & set(cloud.counted))


def branch(cloud: Cloud, choice: Choice, key: Key) -> Callable[[], bytes]:
    """What makes the external tileset of what is at and below a node. NotFound where there is no such node."""
    node = find(cloud, key)

    def make() -> bytes:
        root = _branch(cloud, choice, node, "", is_top=True)
        return orjson.dumps({"asset": {"version": "1.1"}, "geometricError": root["geometricError"], "root": root})

    return make


def content(cloud: Cloud, choice: Choice, key: Key) -> Callable[[], bytes]:
    """What makes the glb of a node. NotFound where there is none."""
    if not cloud.tree.n_points[find(cloud, key)]:
        raise NotFound(f"Node {name(key)} of {cloud.asset.id} has no points.", "Read tileset.json again.")
    return partial(cloud.content, key, choice.form, choice.color, choice.classes)


def public_name(asset_id: str) -> str:
    """Name of a cloud in addresses: its id, with a tilde behind it where that means something else."""
    return f"{asset_id}~" if asset_id in RESERVED else asset_id


def find(cloud: Cloud, key: Key) -> int:
    """Number of a node."""
    if key not in cloud.tree.index:
        raise NotFound(f"{cloud.asset.id} has no node {name(key)}.", "Read tileset.json again.")
    return cloud.tree.index[key]


def over(city: TileCity, clouds: Sequence[Cloud], choice: Choice) -> bytes:
    """A tileset over those of several clouds, at `{asset}/tileset.json` beside it; they carry the transform."""
    boxes = np.array([cloud.tree.boxes[0] for cloud in clouds])
    whole = np.concatenate([boxes[:, :3].min(axis=0), boxes[:, 3:].max(axis=0)])
    children: list[dict[str, Any]] = [
        {
            "boundingVolume": {"box": _placed(_box(cloud.tree.boxes[0]), city.frame.root_transform)},
            "geometricError": 2 * float(cloud.tree.errors[0]),
            "content": {"uri": f"{quote(public_name(cloud.asset.id), safe='')}/tileset.json{choice.query}"},
            "extras": cloud.about(),
        }
        for cloud in clouds
    ]
    error = max(2 * max(tile["geometricError"] for tile in children), float(np.linalg.norm(whole[3:] - whole[:3])))
    root = {
        "boundingVolume": {"box": _placed(_box(whole), city.frame.root_transform)},
        "geometricError": error,
        "refine": "ADD",
        "children": children,
    }
    version = digest([cloud.version for cloud in clouds])
    return orjson.dumps({"asset": {"version": "1.1", "tilesetVersion": version}, "geometricError": error, "root": root})


def _branch(cloud: Cloud, choice: Choice, node: int, prefix: str, *, is_top: bool = False) -> dict[str, Any]:
    """The JSON of a tile and what is below it, or a reference to an external tileset."""
    tree = cloud.tree
    size = int(tree.subtree_sizes[node])
    address = prefix + name(tuple(tree.keys[node].tolist()))
    tile: dict[str, Any] = {
        "boundingVolume": {"box": _box(tree.boxes[node])},
        "geometricError": float(tree.errors[node]),
    }
    if is_top:
        tile["refine"] = "ADD"
    elif int(tree.subtree_sizes[tree.parents[node]]) > MAX_TILES >= size > INLINE_TILES:
        tile["content"] = {"uri": f"{address}.json{choice.query}"}
        return tile
    if tree.n_points[node]:
        tile["content"] = {"uri": f"{address}.glb{choice.query}"}
        tile["extras"] = cloud.about()
    children = [_branch(cloud, choice, child, prefix) for child in tree.children(node).tolist()]
    return tile | ({"children": children} if children else {})


def _box(bounds: Any) -> list[float]:
    """Centre and three half axes."""
    centre, half = (bounds[:3] + bounds[3:]) / 2, (bounds[3:] - bounds[:3]) / 2
    return [float(v) for v in (*centre, half[0], 0, 0, 0, half[1], 0, 0, 0, half[2])]


def _placed(box: list[float], transform: list[float]) -> list[float]:
    """The box after a column-major 4 x 4 transform."""
    matrix = np.array(transform).reshape(4, 4).T
    vectors = np.array(box).reshape(4, 3) @ matrix[:3, :3].T
    vectors[0] += matrix[:3, 3]
    return [float(v) for v in vectors.ravel()]
