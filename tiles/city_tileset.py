"""One 3D Tiles tileset over those of all layers of a city, and over sets and clouds that are served beside them."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from layers.errors import NotFound
from tiles import subtree
from tiles.city import TileCity
from tiles.tileset import FloatArray, Tileset, document


def encode(city: TileCity, layers: Sequence[Tileset], address: str, others: Sequence[dict[str, Any]] = ()) -> bytes:
    """The tileset.json.

    Parameters
    ----------
    layers : those with something to show
    address : where a layer's tileset is, relative to this one, with `{layer}` in it
    others : tiles with a region that refer to other sets

    The layers' roots carry the transform, so the boxes here are geocentric. NotFound where there is nothing at all.
    """
    if not layers and not others:
        raise NotFound("The city has no 3D shapes.", "Add buildings, BIM elements or pipes.")
    trees = [each.tree for each in layers]
    regions = [_enu_of_region(city, tile["boundingVolume"]["region"]) for tile in others]
    bounds = np.array([*(tree.bounds for tree in trees), *regions])
    whole = np.concatenate([bounds[:, :3].min(axis=0), bounds[:, 3:].max(axis=0)])
    span = float(np.linalg.norm(whole[3:] - whole[:3]))
    children = [_layer(city, each, address.format(layer=each.layer_id)) for each in layers]
    children += others
    error = max([span, *(2 * child["geometricError"] for child in children)])
    root = {
        "boundingVolume": {"box": _placed(whole, city.frame.root_transform)},
        "geometricError": error,
        "refine": "ADD",
        "children": children,
    }
    version = hashlib.blake2b(orjson.dumps(root), digest_size=10).hexdigest()
    return orjson.dumps(document(city, version, error, root))


def _layer(city: TileCity, tileset: Tileset, uri: str) -> dict[str, Any]:
    """A tile without content around the reference to a layer's tileset.

    Its error is the size of the layer's biggest feature (or of what its root leaves out): from so far away that this is
    small on the screen, the layer is not even asked for.
    """
    tree = tileset.tree
    volume = {"box": _placed(tree.bounds, city.frame.root_transform)}
    reference = {"boundingVolume": volume, "geometricError": tree.error_m, "content": {"uri": uri}}
    return {
        "boundingVolume": volume,
        "geometricError": tree.whole_error_m,
        "extras": {"layer": tileset.layer_id},
        "children": [reference],
    }


def _enu_of_region(city: TileCity, region: Sequence[float]) -> FloatArray:
    """(6,) lowest and highest x, y, z in the ENU frame of a region (radians, ellipsoidal metres)."""
    west, south, east, north = np.degrees(region[:4]).tolist()
    grid = np.meshgrid(np.linspace(west, east, 5), np.linspace(south, north, 5), region[4:6])
    corners = city.frame.geodetic_to_enu(*(axis.ravel() for axis in grid))
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _placed(bounds: FloatArray, transform: list[float]) -> list[float]:
    """The box of (6,) ENU bounds after a column-major 4 x 4 transform."""
    matrix = np.array(transform).reshape(4, 4).T
    vectors = subtree.box(bounds).reshape(4, 3) @ matrix[:3, :3].T
    vectors[0] += matrix[:3, 3]
    return [float(v) for v in vectors.ravel()]
