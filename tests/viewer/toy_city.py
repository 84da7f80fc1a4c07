"""A tiny city with known answers, to try the viewer's behaviour alone: a sloping plane, 25 boxes, 5 buried beams.

Everything is written out here by hand from the specifications (quantized-mesh 1.0, glTF 2.0, EXT_mesh_features,
EXT_structural_metadata, 3D Tiles 1.1), so that nothing of the product is both judge and judged.
"""

import io
import json
import math
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from server import viewer

LON, LAT, SIZE_DEG = 121.0, 28.1, 0.01
EXTENT = [LON - SIZE_DEG / 2, LAT - SIZE_DEG / 2, LON + SIZE_DEG / 2, LAT + SIZE_DEG / 2]
MAX_LEVEL = 14
METRE_LON, METRE_LAT = 1 / (111320 * math.cos(math.radians(LAT))), 1 / 110850  # degrees; good to 0.1 % here
A, B = 6378137.0, 6356752.314245179


def ground_m(lon, lat):
    """Ellipsoidal height of the toy ground: a plane in longitude and latitude, so that triangles follow it exactly."""
    return 40.0 + 3000.0 * (np.asarray(lon) - LON) - 2000.0 * (np.asarray(lat) - LAT)


def ecef(lon, lat, h):
    lon, lat = np.radians(lon), np.radians(lat)
    n = A**2 / np.sqrt((A * np.cos(lat)) ** 2 + (B * np.sin(lat)) ** 2)
    return np.stack(
        [(n + h) * np.cos(lat) * np.cos(lon), (n + h) * np.cos(lat) * np.sin(lon), (n * B**2 / A**2 + h) * np.sin(lat)],
        -1,
    )


def layer_json() -> dict:
    available = []
    for z in range(MAX_LEVEL + 1):
        step = 180 / 2**z
        first, last = (EXTENT[0] + 180) // step, (EXTENT[2] + 180) // step
        low, high = (EXTENT[1] + 90) // step, (EXTENT[3] + 90) // step
        box = {"startX": int(first), "startY": int(low), "endX": int(last), "endY": int(high)}
        available.append([{"startX": 0, "startY": 0, "endX": 1, "endY": 0} if z == 0 else box])
    return {
        "tilejson": "2.1.0",
        "name": "toy",
        "version": "1.0.0",
        "format": "quantized-mesh-1.0",
        "scheme": "tms",
        "projection": "EPSG:4326",
        "tiles": ["{z}/{x}/{y}.terrain"],
        "minzoom": 0,
        "maxzoom": MAX_LEVEL,
        "bounds": EXTENT,
        "available": available,
    }


def terrain_tile(z: int, x: int, y: int, n: int = 33) -> bytes:
    """A regular n x n grid; heights outside the city are those at its border."""
    step = 180 / 2**z
    u, v = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n))
    lon, lat = (x + u.ravel()) * step - 180, (y + v.ravel()) * step - 90
    h = ground_m(np.clip(lon, EXTENT[0], EXTENT[2]), np.clip(lat, EXTENT[1], EXTENT[3]))
    low, high = float(h.min()), float(h.max())
    at = ecef(lon, lat, h)
    center = (at.min(0) + at.max(0)) / 2
    radius = float(np.linalg.norm(at - center, axis=1).max())
    head = struct.pack("<3d2f4d3d", *center, low, high, *center, radius, *horizon(at, center))

    def deltas(values: np.ndarray) -> bytes:
        steps = np.diff(values, prepend=0)
        return ((steps << 1) ^ (steps >> 31)).astype("<u2").tobytes()

    q = [np.rint(c.ravel() * 32767).astype(np.int32) for c in (u, v)]
    q.append(np.rint((h - low) / max(high - low, 1e-9) * 32767).astype(np.int32))
    grid = np.arange(n * n).reshape(n, n)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    triangles = np.stack([a, b, c, a, c, d], -1).reshape(-1)
    codes, highest = np.empty(triangles.size, np.int64), 0
    order = {
        old: new for new, old in enumerate(dict.fromkeys(triangles.tolist()))
    }  # high-water mark needs first-use order
    back = np.array(list(order))
    for i, index in enumerate(order[t] for t in triangles.tolist()):
        codes[i] = highest - index
        highest += index == highest
    body = struct.pack("<I", n * n) + b"".join(deltas(axis[back]) for axis in q)
    body += struct.pack("<I", triangles.size // 3) + codes.astype("<u2").tobytes()
    for edge in (grid[:, 0], grid[0], grid[:, -1], grid[-1]):  # west, south, east, north
        body += struct.pack("<I", n) + np.array([order[e] for e in edge.tolist()], "<u2").tobytes()
    return head + body


def horizon(at: np.ndarray, center: np.ndarray) -> list[float]:
    """Horizon occlusion point, in units of the ellipsoid's radii (quantized-mesh specification, header)."""
    radii = np.array([A, A, B])
    points, axis = at / radii, center / radii
    axis = axis / np.linalg.norm(axis)
    size = np.maximum(np.linalg.norm(points, axis=1), 1.0)
    cos_a = np.clip(points @ axis / np.linalg.norm(points, axis=1), -1, 1)
    cos_b = 1 / size
    sin_a, sin_b = np.sqrt(1 - cos_a**2), np.sqrt(1 - cos_b**2)
    scale = np.max(1 / np.maximum(cos_a * cos_b - sin_a * sin_b, 1e-3))
    return list(axis * scale)


CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
FACES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def boxes_glb(boxes: list[tuple[str, np.ndarray, np.ndarray]], color: list[float], layer: str) -> bytes:
    """Boxes (id, low corner, high corner; east-north-up metres) as one primitive with a property table."""
    positions, normals, features, indices = [], [], [], []
    for number, (_, low, high) in enumerate(boxes):
        for face in FACES:
            corners = (low + CUBE[list(face)] * (high - low))[:, [0, 2, 1]] * [1, 1, -1]  # glTF: y up
            normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
            first = 4 * len(positions)
            positions.append(corners)
            normals.append(np.tile(normal / np.linalg.norm(normal), (4, 1)))
            features.append(np.full(4, number))
            indices.append(first + np.array([0, 1, 2, 0, 2, 3]))
    ids = [box[0] for box in boxes]
    layers = [layer] * len(boxes)
    blob, views = b"", []

    def view(data: bytes) -> int:
        nonlocal blob
        blob += b"\0" * (-len(blob) % 8)
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(data)})
        blob += data
        return len(views) - 1

    def strings(values: list[str]) -> dict:
        data = [value.encode() for value in values]
        offsets = np.cumsum([0, *map(len, data)]).astype("<u4").tobytes()
        return {"values": view(b"".join(data)), "stringOffsets": view(offsets), "stringOffsetType": "UINT32"}

    p = np.concatenate(positions)
    accessors = [
        {
            "bufferView": view(p.astype("<f4").tobytes()),
            "componentType": 5126,
            "count": len(p),
            "type": "VEC3",
            "min": p.min(0).tolist(),
            "max": p.max(0).tolist(),
        },
        {
            "bufferView": view(np.concatenate(normals).astype("<f4").tobytes()),
            "componentType": 5126,
            "count": len(p),
            "type": "VEC3",
        },
        {
            "bufferView": view(np.concatenate(features).astype("<f4").tobytes()),
            "componentType": 5126,
            "count": len(p),
            "type": "SCALAR",
        },
        {
            "bufferView": view(np.concatenate(indices).astype("<u4").tobytes()),
            "componentType": 5125,
            "count": 6 * len(indices),
            "type": "SCALAR",
        },
    ]
    gltf = {
        "asset": {"version": "2.0"},
        "extensionsUsed": ["EXT_mesh_features", "EXT_structural_metadata"],
        "extensions": {
            "EXT_structural_metadata": {
                "schema": {
                    "id": "toy",
                    "classes": {"feature": {"properties": {"id": {"type": "STRING"}, "layer": {"type": "STRING"}}}},
                },
                "propertyTables": [
                    {
                        "class": "feature",
                        "count": len(boxes),
                        "properties": {"id": strings(ids), "layer": strings(layers)},
                    }
                ],
            }
        },
        "materials": [
            {
                "pbrMetallicRoughness": {"baseColorFactor": color, "metallicFactor": 0, "roughnessFactor": 0.9},
                "doubleSided": True,
            }
        ],
        "meshes": [
            {
                "primitives": [
                    {
                        "attributes": {"POSITION": 0, "NORMAL": 1, "_FEATURE_ID_0": 2},
                        "indices": 3,
                        "material": 0,
                        "extensions": {
                            "EXT_mesh_features": {
                                "featureIds": [{"featureCount": len(boxes), "attribute": 0, "propertyTable": 0}]
                            }
                        },
                    }
                ]
            }
        ],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(blob)}],
    }
    text = json.dumps(gltf).encode()
    text += b" " * (-len(text) % 4)
    blob += b"\0" * (-len(blob) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(blob), b"BIN\0") + blob
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def local_boxes(layer: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Houses on the ground in a 5 x 5 grid, 100 m apart; beams 6 m below the ground between their rows."""

    def ground(x, y):
        return float(ground_m(LON + x * METRE_LON, LAT + y * METRE_LAT))

    if layer == "building":
        spots = [((i - 2) * 100, (j - 2) * 100, 15 + 10 * ((i + 2 * j) % 5)) for j in range(5) for i in range(5)]
        return [
            (
                f"B{n:02d}",
                np.array([x - 20.0, y - 15, ground(x, y) - 3]),
                np.array([x + 20.0, y + 15, ground(x, y) + height]),
            )
            for n, (x, y, height) in enumerate(spots)
        ]
    rows = [(f"P$0_{n}", (n - 2) * 100 + 50.0) for n in range(5)]
    return [
        (name, np.array([-250, y - 2, ground(250, y) - 14]), np.array([250, y + 2, ground(250, y) - 10]))
        for name, y in rows
    ]


def tileset(layer: str) -> dict:
    lon, lat = math.radians(LON), math.radians(LAT)
    east = [-math.sin(lon), math.cos(lon), 0]
    up = [math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)]
    north = np.cross(up, east).tolist()
    transform = [*east, 0, *north, 0, *up, 0, *ecef(LON, LAT, 0.0).tolist(), 1]
    return {
        "asset": {"version": "1.1"},
        "geometricError": 500,
        "root": {
            "transform": transform,
            "boundingVolume": {"box": [0, 0, 50, 260, 0, 0, 0, 260, 0, 0, 0, 60]},
            "geometricError": 0,
            "refine": "ADD",
            "content": {"uri": "0.glb"},
        },
    }


LAYERS = {"building": [0.86, 0.84, 0.8, 1], "pipe": [0.2, 0.5, 1, 1]}
TITLES = {"building": {"en": "Buildings", "zh": "建筑"}, "pipe": {"en": "Pipes", "zh": "地下管线"}}


def config() -> dict:
    epochs = [
        {
            "id": e,
            "title": {"en": f"Orthophoto {e}", "zh": f"正射影像 {e}"},
            "epoch": e,
            "minzoom": 0,
            "maxzoom": 18,
            "extent": EXTENT,
            "url": "/collections/dom/tiles/WebMercatorQuad/{z}/{y}/{x}?epoch=" + e,
        }
        for e in ("2025", "2023")
    ]
    layers = [
        {
            "id": k,
            "title": TITLES[k],
            "tileset": f"/collections/{k}/3dtiles/explicit/tileset.json",
            "items": f"/collections/{k}/items",
            "count": len(local_boxes(k)),
            "color": "#{:02x}{:02x}{:02x}".format(*(int(c * 255) for c in LAYERS[k][:3])),
            "category": "CIM",
            "on": True,
        }
        for k in LAYERS
    ]
    return {
        "title": {"en": "Toy city", "zh": "玩具城"},
        "crs": "EPSG:4549",
        "categories": {"iot": {"en": "Sensing", "zh": "物联感知数据"}},
        "origin": {"lon": LON, "lat": LAT, "height_m": 40.0},
        "extent": EXTENT,
        "terrain": "/terrain/",
        "imagery": epochs,
        "layers3d": layers,
        "layers2d": [
            {
                "id": "lamp",
                "title": {"en": "Street lamps", "zh": "路灯"},
                "items": "/collections/lamp/items",
                "geometry": "Point",
                "category": "iot",
            },
            {"id": "tree", "title": {"en": "Trees", "zh": "树木"}, "geometry": "Point", "category": "of our own"},
        ],
    }


LAMPS = [(f"L{n}", LON + (n - 2) * 0.0008, LAT + 0.0004) for n in range(5)]


def item(layer: str, fid: str) -> dict | None:
    if layer == "lamp":
        for name, lon, lat in LAMPS:
            if name == fid:
                place = {"type": "Point", "coordinates": [lon, lat]}
                return {"type": "Feature", "id": fid, "geometry": place, "properties": {"id": fid}}
        return None
    for name, low, high in local_boxes(layer):
        if name == fid:
            height = float(high[2] - low[2])
            properties = {"id": name, "height_m": height, "use": None, "note": "<b>旧城</b>"}
            (x0, y0), (x1, y1) = low[:2], high[:2]
            ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
            degrees = [[LON + x * METRE_LON, LAT + y * METRE_LAT] for x, y in ring]
            footprint = {"type": "Polygon", "coordinates": [degrees]}
            return {"type": "Feature", "id": name, "geometry": footprint, "properties": properties}
    return None


def app(broken: frozenset[str] = frozenset()) -> Starlette:
    """The toy's server. `broken` names what shall fail: "config", "terrain", or the id of a layer."""

    def problem(status: int, detail: str) -> Response:
        return JSONResponse({"status": status, "detail": detail}, status, media_type="application/problem+json")

    def config_json(_: Request) -> Response:
        return problem(500, "The catalogue is locked.") if "config" in broken else JSONResponse(config())

    def layer(_: Request) -> Response:
        return problem(500, "No DEM.") if "terrain" in broken else JSONResponse(layer_json())

    def terrain(request: Request) -> Response:
        z, x, y = (request.path_params[k] for k in "zxy")
        return Response(terrain_tile(z, x, y), media_type="application/vnd.quantized-mesh")

    def imagery(request: Request) -> Response:
        x, y = (request.path_params[k] for k in "xy")
        shade = 20 * ((x + y) % 2)
        color = (
            (90 + shade, 120 + shade, 80) if request.query_params["epoch"] == "2025" else (130 + shade, 110 + shade, 90)
        )
        out = io.BytesIO()
        Image.new("RGB", (256, 256), color).save(out, "PNG")
        return Response(out.getvalue(), media_type="image/png")

    def tiles3d(request: Request) -> Response:
        name = request.path_params["layer"]
        if name in broken:
            return problem(500, "The meshes are gone.")
        if request.path_params["file"] == "tileset.json":
            return JSONResponse(tileset(name))
        return Response(boxes_glb(local_boxes(name), LAYERS[name], name), media_type="model/gltf-binary")

    def items(request: Request) -> Response:
        features = [item("lamp", name) for name, *_ in LAMPS]
        body = {
            "type": "FeatureCollection",
            "features": features,
            "numberMatched": len(features),
            "numberReturned": len(features),
        }
        return JSONResponse(body, media_type="application/geo+json")

    def feature(request: Request) -> Response:
        found = item(request.path_params["layer"], request.path_params["fid"])
        return JSONResponse(found, media_type="application/geo+json") if found else problem(404, "No such item.")

    def schema(_: Request) -> Response:
        return JSONResponse(
            {"type": "object", "properties": {"height_m": {"title": "Height", "type": "number", "x-ogc-unit": "m"}}}
        )

    return Starlette(
        routes=[
            Route("/viewer/config.json", config_json),
            *viewer.routes(),
            Route("/terrain/layer.json", layer),
            Route("/terrain/{z:int}/{x:int}/{y:int}.terrain", terrain),
            Route("/collections/dom/tiles/WebMercatorQuad/{z:int}/{y:int}/{x:int}", imagery),
            Route("/collections/{layer}/3dtiles/explicit/{file}", tiles3d),
            Route("/collections/{layer}/schema", schema),
            Route("/collections/{layer}/items", items),
            Route("/collections/{layer}/items/{fid:path}", feature),
        ]
    )


@contextmanager
def running(broken: frozenset[str] = frozenset(), prefix: str = "") -> Iterator[str]:
    """Serve the toy on a free port; the address has no slash at the end."""
    inner = app(broken)
    outer = Starlette(routes=[Mount(prefix, inner)]) if prefix else inner
    server = uvicorn.Server(uvicorn.Config(outer, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("The toy server did not start.")
            thread.join(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}{prefix}"
    finally:
        server.should_exit = True
        thread.join()
