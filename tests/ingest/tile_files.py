"""Small 3D Tiles files written by hand from the specification; places come from pyproj."""

import json
import math
import struct
from copy import deepcopy

import numpy as np
import pyproj
import trimesh

GEOCENTRIC = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


def ecef(lon, lat, height):
    return np.array(GEOCENTRIC.transform(lon, lat, height))


def enu_matrix(lon, lat, height):
    """East-north-up frame at a place, column-major: axes from differences of pyproj's own coordinates."""
    origin, step = ecef(lon, lat, height), 1e-6
    north = ecef(lon, lat + step, height) - ecef(lon, lat - step, height)
    up = ecef(lon, lat, height + 1) - origin
    up /= np.linalg.norm(up)
    north -= up * (north @ up)
    north /= np.linalg.norm(north)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.cross(north, up), north, up], axis=1)
    matrix[:3, 3] = origin
    return matrix.T.ravel().tolist()


def glb(size=(10.0, 20.0, 30.0), colour=(220, 30, 30, 255)):
    """A box in glTF's y-up axes: `size` is east, north, up; it stands on the origin."""
    box = trimesh.creation.box((size[0], size[2], size[1]))
    box.apply_translation((0, size[2] / 2, 0))
    box.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=colour, metallicFactor=0.0)
    )
    return trimesh.Scene(box).export(file_type="glb")


def padded(data, to=8, fill=b" "):
    return data + fill * (-len(data) % to)


def b3dm(model, **table):
    feature = json.dumps({"BATCH_LENGTH": 0, **table}).encode()
    feature += b" " * (-(28 + len(feature)) % 8)
    model = padded(model, fill=b"\0")
    head = struct.pack("<4s6I", b"b3dm", 1, 28 + len(feature) + len(model), len(feature), 0, 0, 0)
    return head + feature + model


def i3dm(model, positions, form=1):
    binary = padded(np.asarray(positions, "<f4").tobytes(), fill=b"\0")
    table = {"INSTANCES_LENGTH": len(positions), "POSITION": {"byteOffset": 0}}
    feature = json.dumps(table).encode()
    feature += b" " * (-(32 + len(feature)) % 8)
    model = padded(model, fill=b"\0" if form else b" ")
    total = 32 + len(feature) + len(binary) + len(model)
    return struct.pack("<4s7I", b"i3dm", 1, total, len(feature), len(binary), 0, 0, form) + feature + binary + model


def pnts(points, centre):
    binary = padded(np.asarray(points, "<f4").tobytes(), fill=b"\0")
    feature = json.dumps({"POINTS_LENGTH": len(points), "RTC_CENTER": list(centre), "POSITION": {"byteOffset": 0}})
    feature = feature.encode()
    feature += b" " * (-(28 + len(feature)) % 8)
    total = 28 + len(feature) + len(binary)
    return struct.pack("<4s6I", b"pnts", 1, total, len(feature), len(binary), 0, 0) + feature + binary


def cmpt(*tiles):
    body = b"".join(padded(tile, fill=b"\0") for tile in tiles)
    return struct.pack("<4s3I", b"cmpt", 1, 16 + len(body), len(tiles)) + body


BOX = {"box": [0, 0, 15, 5, 0, 0, 0, 10, 0, 0, 0, 15]}


def tileset(lon, lat, height, *contents, version="1.0", **more):
    """A set whose root has a box around `glb()` and one child for each content."""
    children = [{"boundingVolume": deepcopy(BOX), "geometricError": 0, "content": {"uri": uri}} for uri in contents]
    root = {"boundingVolume": deepcopy(BOX), "geometricError": 50, "refine": "ADD"}
    root["transform"] = enu_matrix(lon, lat, height)
    if children:
        root["children"] = children
    return {"asset": {"version": version}, "geometricError": 100, "root": root | more}


def write_set(folder, lon=121.0, lat=28.1, height=40.0):
    """A set with a b3dm in a folder of its own and an external tileset with a glb."""
    (folder / "Data" / "Tile_1").mkdir(parents=True)
    (folder / "tileset.json").write_text(json.dumps(tileset(lon, lat, height, "Data/Tile_1/a.b3dm", "Data/more.json")))
    inner = tileset(0, 0, 0, "Tile_1/b%20c.glb?v=2", version="1.1")
    del inner["root"]["transform"]
    (folder / "Data" / "more.json").write_text(json.dumps(inner))
    (folder / "Data" / "Tile_1" / "a.b3dm").write_bytes(b3dm(glb()))
    (folder / "Data" / "Tile_1" / "b c.glb").write_bytes(glb(colour=(30, 30, 220, 255)))


def radians(*degrees):
    return [math.radians(value) for value in degrees]
