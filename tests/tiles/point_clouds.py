"""Clouds for the tests of point tiles: LAS files made by laspy, a city around one, and a reader of what comes out.

The reader of glb here is no part of what is tested: it goes by the glTF specification alone, and meshoptimizer's own
decoder unpacks.
"""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

import laspy
import meshopt
import numpy as np
from pyproj import CRS, Transformer

from ingest.points import las as reader
from layers.source import Hints
from tiles.points import cloud, tileset
from tiles.points.tileset import Choice
from twin.config import TwinConfig
from twin.store.interface import Asset

UNDULATION_M = 12.5
COMPONENTS = {5121: "u1", 5123: "<u2", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def write_las(path, xyz, *, epsg=4549, format_id=7, scale=0.001, **fields):
    """A LAS file; point i is known again by intensity and user data, which hold i."""
    n = len(xyz)
    header = laspy.LasHeader(point_format=format_id, version="1.4")
    header.scales = np.array([scale, scale, 0.001]) if np.isscalar(scale) else np.array(scale)
    header.offsets = np.floor(xyz.min(axis=0)) if n else np.zeros(3)
    if epsg is not None:
        header.add_crs(CRS.from_user_input(epsg))
    las = laspy.LasData(header)
    las.x, las.y, las.z = xyz.T
    las.intensity = (np.arange(n) & 0xFFFF).astype(np.uint16)
    las.classification = fields.pop("classification", (np.arange(n) >> 16).astype(np.uint8))
    las.return_number = fields.pop("return_number", np.ones(n, np.uint8))
    las.number_of_returns = fields.pop("number_of_returns", np.full(n, 5, np.uint8))
    for name, values in fields.items():
        las[name] = values
    las.write(path)
    return path


def hills(n, side_m=200.0, seed=0, low=(597000.0, 3109000.0)):
    """(n, 3) points of a hilly square in EPSG:4549."""
    rng = np.random.default_rng(seed)
    x, y = rng.random(n) * side_m, rng.random(n) * side_m
    return np.stack([low[0] + x, low[1] + y, 5 * np.sin(x / 30) + rng.random(n) * 8], axis=1)


@dataclass
class PointCity:
    """As much of a city as point tiles need; heights differ from the ellipsoid's by a constant."""

    folder: Path
    config: TwinConfig = field(
        default_factory=lambda: TwinConfig(
            "town", "EPSG:4549", 121.0, 28.1, 20.0, height_model={"constant_m": UNDULATION_M}
        )
    )

    @property
    def frame(self):
        return self.config.frame(self.folder)


def opened(folder, source, *, config=None, **hints):
    """The city and its one cloud, read and written as a build does."""
    [layer] = reader.read(source, Hints(**hints)).layers
    layer.write(folder / "cloud.copc.laz")
    city = PointCity(folder) if config is None else PointCity(folder, config)
    asset = Asset(
        "cloud", "point_cloud", "points", "cloud.copc.laz", layer.crs, layer.bounds, layer.bounds, source.name,
        vertical_crs=layer.vertical_crs, meta=dict(layer.meta), height_offset_m=layer.height_offset_m,
    )  # fmt: skip
    return city, cloud.opened(city, asset)


def expected_ecef(xyz, source_crs, *, via=None, to_normal=lambda z: z):
    """(n, 3) geocentric coordinates by PROJ alone: longitude and latitude, then height plus the constant.

    `via` : the city's CRS, where the two ways to WGS 84 differ (by the datum shifts that PROJ knows)
    """
    x, y, last = xyz[:, 0], xyz[:, 1], source_crs
    if via is not None:
        x, y = Transformer.from_crs(source_crs, via, always_xy=True).transform(x, y)
        last = via
    lon, lat = Transformer.from_crs(last, "EPSG:4326", always_xy=True).transform(x, y)
    to_ecef = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    return np.stack(to_ecef.transform(lon, lat, to_normal(xyz[:, 2]) + UNDULATION_M), axis=1)


@dataclass(frozen=True)
class Tile:
    """A tile as a client sees it, with what its content holds."""

    address: str
    box: np.ndarray
    error: float
    depth: int
    content: dict


def walk(city, of_cloud, choice=None):
    """All tiles with content, found from the root document on; contents are read."""
    choice = choice or Choice()
    document = json.loads(tileset.document(city, of_cloud, choice))
    transform = np.array(document["root"]["transform"]).reshape(4, 4).T
    waiting, found = [(document["root"], None)], []
    while waiting:
        tile, parent = waiting.pop()
        check_within(tile, parent)
        waiting += [(child, tile) for child in tile.get("children", [])]
        if "content" not in tile:
            continue
        name = tile["content"]["uri"].partition("?")[0].rpartition("/")[2]
        key = tuple(int(part) for part in name.rpartition(".")[0].split("-"))
        if name.endswith(".json"):
            inner = json.loads(tileset.branch(of_cloud, choice, key)())["root"]
            assert inner["boundingVolume"] == tile["boundingVolume"]
            waiting.append((inner, parent))
            continue
        content = read_glb(tileset.content(of_cloud, choice, key)())
        found.append(Tile(name, np.array(tile["boundingVolume"]["box"]), tile["geometricError"], key[0], content))
    return found, transform


def check_within(tile, parent):
    """Boxes lie in their parents' and errors halve."""
    if parent is None:
        return
    (low, high), (outer_low, outer_high) = (ends(each["boundingVolume"]["box"]) for each in (tile, parent))
    assert (low >= outer_low - 1e-6).all()
    assert (high <= outer_high + 1e-6).all()
    np.testing.assert_allclose(tile["geometricError"] * 2, parent["geometricError"], rtol=1e-12)


def ends(box):
    """Lowest and highest corner of a box along the axes."""
    centre, half = np.array(box[:3]), np.array(box[3:]).reshape(3, 3)
    assert not half[~np.eye(3, dtype=bool)].any()
    return centre - np.diag(half), centre + np.diag(half)


def chunks(glb):
    """The JSON and the BIN chunk."""
    magic, version, length = struct.unpack_from("<4sII", glb)
    assert (magic, version, length) == (b"glTF", 2, len(glb))
    n_json, kind = struct.unpack_from("<I4s", glb, 12)
    assert kind == b"JSON"
    body = glb[20 + n_json + 8 :] if len(glb) > 20 + n_json else b""
    return json.loads(glb[20 : 20 + n_json]), body


def read_glb(glb):
    """`enu` (n, 3), attributes by name, the document."""
    document, body = chunks(glb)
    if "meshes" not in document:
        return {"document": document, "enu": np.zeros((0, 3))}
    [primitive] = document["meshes"][0]["primitives"]
    assert primitive["mode"] == 0
    made = {name: _accessor(document, body, at) for name, at in primitive["attributes"].items()}
    x, y, z = (made["POSITION"].astype(float) + document["nodes"][0]["translation"]).T
    return made | {"document": document, "enu": np.stack([x, -z, y], axis=1)}


def _accessor(document, body, at):
    accessor = document["accessors"][at]
    view = document["bufferViews"][accessor["bufferView"]]
    dtype, width = np.dtype(COMPONENTS[accessor["componentType"]]), WIDTHS[accessor["type"]]
    packing = view.get("extensions", {}).get("EXT_meshopt_compression")
    stride = view.get("byteStride", dtype.itemsize * width)
    if packing:
        packed = body[packing["byteOffset"] : packing["byteOffset"] + packing["byteLength"]]
        data = meshopt.decode_gltf_buffer(packed, packing["count"], stride, packing["mode"], packing.get("filter"))
    else:
        data = np.frombuffer(body, np.uint8, view["byteLength"], view["byteOffset"])
    rows = np.ascontiguousarray(np.asarray(data).view(np.uint8).reshape(-1, stride)[:, : dtype.itemsize * width])
    values = rows.view(dtype).reshape(-1, width)
    assert len(values) == accessor["count"]
    if "min" in accessor:
        np.testing.assert_array_equal(values.min(axis=0), accessor["min"])
        np.testing.assert_array_equal(values.max(axis=0), accessor["max"])
    return values[:, 0] if width == 1 else values


def joined(tiles, name):
    """One attribute of all tiles."""
    return np.concatenate([tile.content[name] for tile in tiles if len(tile.content["enu"])])


def ids(tiles):
    """Number of each point in its file, as `write_las` put it."""
    return joined(tiles, "_INTENSITY").astype(int) | joined(tiles, "_CLASSIFICATION").astype(int) << 16


def ecef(tiles, transform):
    """(n, 3) geocentric coordinates."""
    return joined(tiles, "enu") @ transform[:3, :3].T + transform[:3, 3]
