"""Tile contents: is a b3dm, i3dm, pnts, cmpt, glb or glTF whole, what does it refer to, where does it lie.

Formats: OGC 22-025r4, annexes of b3dm, i3dm, pnts, cmpt; glTF 2.0, clause 4.4. Only headers and JSON are looked at:
geometry is never decoded, so that compressed tiles (Draco, meshopt, KTX2) pass like all others.
"""

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.tileset.json import Fault

MAX_JSON_BYTES = 256 << 20
MAX_INNER_TILES = 100_000
MAX_DEPTH = 8
HEADS = {b"b3dm": 28, b"i3dm": 32, b"pnts": 28}
Y_UP_TO_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])

Matrix = NDArray[np.float64]


@dataclass
class Content:
    """What was found in a tile file.

    Attributes
    ----------
    kind : `b3dm`, `i3dm`, `pnts`, `cmpt`, `glb`, `gltf`, `tileset`, `3tz`, or `other`
    uris : addresses of external buffers, images and models
    boxes : (low, high) corners of geometry in the tile's frame (z up), where they can be told without decoding
    warnings : sentences about faults that clients get over
    """

    kind: str
    uris: list[str] = field(default_factory=list)
    boxes: list[tuple[Matrix, Matrix]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def sniff(head: bytes) -> str:
    """Kind of a file from its first bytes; `json` where only the whole can tell."""
    for magic, kind in ((b"glTF", "glb"), (b"PK\3\4", "3tz"), (b"cmpt", "cmpt"), (b"subt", "subtree")):
        if head[:4] == magic:
            return kind
    if head[:4] in HEADS:
        return head[:4].decode()
    return "json" if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" else "other"


def examine(data: bytes, depth: int = 0) -> Content:
    """Check a binary tile or glTF. Raises Fault for one that is cut off or damaged."""
    kind = sniff(data[:64])
    if kind == "glb":
        content = Content("glb")
        _glb(data, content, Y_UP_TO_Z_UP)
    elif kind == "json":
        content = Content("gltf")
        _gltf(_json(data, "glTF"), content, Y_UP_TO_Z_UP)
    elif kind == "cmpt":
        content = _composite(data, depth)
    elif data[:4] in HEADS:
        content = _simple(data)
    else:
        raise Fault("TILE_FORMAT", "", f"It begins with {data[:4]!r}, which is no tile format.")
    return content


def _json(data: bytes, what: str) -> dict[str, Any]:
    if len(data) > MAX_JSON_BYTES:
        raise Fault("TILE_TOO_LARGE", "", f"Its {what} JSON has {len(data)} bytes.")
    try:
        body = json.loads(data.rstrip(b"\0 ") or b"{}")
    except (ValueError, RecursionError) as error:
        raise Fault("TILE_BROKEN", "", f"The JSON of its {what} is broken: {error}.") from error
    if not isinstance(body, dict):
        raise Fault("TILE_BROKEN", "", f"The JSON of its {what} is no object.")
    return body


def _length(data: bytes, claimed: int, content: Content) -> bytes:
    if claimed > len(data):
        raise Fault("TILE_TRUNCATED", "", f"Its header claims {claimed} bytes, it has {len(data)}.")
    if claimed < len(data):
        content.warnings.append(f"{len(data) - claimed} bytes follow its end.")
    return data[:claimed]


def _composite(data: bytes, depth: int) -> Content:
    content = Content("cmpt")
    if len(data) < 16:
        raise Fault("TILE_TRUNCATED", "", "It ends inside its header.")
    version, claimed, n_tiles = struct.unpack_from("<III", data, 4)
    _check_version(version)
    data, at = _length(data, claimed, content), 16
    if n_tiles > MAX_INNER_TILES or depth >= MAX_DEPTH:
        raise Fault("TILE_BROKEN", "", f"It claims {n_tiles} tiles at depth {depth}.")
    for number in range(n_tiles):
        if at + 12 > len(data):
            raise Fault("TILE_TRUNCATED", "", f"It claims {n_tiles} tiles and ends before tile {number}.")
        (size,) = struct.unpack_from("<I", data, at + 8)
        if size < 12 or at + size > len(data):
            raise Fault("TILE_TRUNCATED", "", f"Tile {number} of it claims {size} bytes, which it has not.")
        inner = examine(data[at : at + size], depth + 1)
        content.uris += inner.uris
        content.boxes += inner.boxes
        content.warnings += inner.warnings
        at += size
    return content


def _check_version(version: int) -> None:
    if version != 1:
        raise Fault("TILE_BROKEN", "", f"Its version is {version}, not 1.")


def _simple(data: bytes) -> Content:
    magic = data[:4]
    content = Content(magic.decode())
    if len(data) < HEADS[magic]:
        raise Fault("TILE_TRUNCATED", "", "It ends inside its header.")
    version, claimed, *lengths = struct.unpack_from("<6I", data, 4)
    _check_version(version)
    data = _length(data, claimed, content)
    start = HEADS[magic]
    if start + sum(lengths) > len(data):
        raise Fault("TILE_BROKEN", "", f"Its tables claim {sum(lengths)} bytes; the whole has {len(data)}.")
    table = _json(data[start : start + lengths[0]], "feature table")
    _json(data[start + sum(lengths[:2]) : start + sum(lengths[:3])], "batch table")
    binary = data[start + lengths[0] : start + lengths[0] + lengths[1]]
    body_at = start + sum(lengths)
    if (start + lengths[0]) % 8 or body_at % 8:
        content.warnings.append("Its parts are not aligned to 8 bytes.")
    centre = _vector(table.get("RTC_CENTER"), binary)
    if magic == b"pnts":
        _points(table, binary, centre, content)
        return content
    if magic == b"i3dm":
        (form,) = struct.unpack_from("<I", data, 28)
        _instances(table, binary, centre, content)
        if form == 0:
            content.uris.append(data[body_at:].split(b"\0")[0].decode("utf8", "replace").strip())
            return content
        inner = Content("glb")
        _glb(data[body_at:], inner, Y_UP_TO_Z_UP)
        content.uris += inner.uris
        content.warnings += inner.warnings
        return content
    shift = np.eye(4)
    shift[:3, 3] = centre
    _glb(data[body_at:], content, shift @ Y_UP_TO_Z_UP)
    return content


def _vector(given: Any, binary: bytes) -> Matrix:
    """Three numbers of a feature table, in its JSON or its binary part; zeros where there are none."""
    if isinstance(given, dict) and isinstance(given.get("byteOffset"), int):
        at = given["byteOffset"]
        if 0 <= at <= len(binary) - 12:
            with np.errstate(invalid="ignore"):
                return np.frombuffer(binary, "<f4", 3, at).astype(np.float64)
        raise Fault("TILE_BROKEN", "", "RTC_CENTER lies beyond its feature table.")
    if isinstance(given, list) and len(given) == 3 and all(isinstance(each, int | float) for each in given):
        return np.array(given, np.float64)
    if given is not None:
        raise Fault("TILE_BROKEN", "", "RTC_CENTER is not three numbers.")
    return np.zeros(3)


def _rows(table: dict[str, Any], key: str, binary: bytes, kind: str, n_rows: int) -> Matrix | None:
    given = table.get(key)
    at = given.get("byteOffset") if isinstance(given, dict) else None
    if not isinstance(at, int):
        return None
    size = n_rows * 3 * np.dtype(kind).itemsize
    if at < 0 or at + size > len(binary):
        raise Fault("TILE_BROKEN", "", f"{key} of {n_rows} rows reaches beyond its feature table.")
    with np.errstate(invalid="ignore"):  # numbers that are none are told apart later
        return np.frombuffer(binary, kind, n_rows * 3, at).reshape(-1, 3).astype(np.float64)


def _positions(table: dict[str, Any], binary: bytes, count_key: str) -> Matrix | None:
    n_rows = table.get(count_key)
    if not isinstance(n_rows, int) or n_rows < 0:
        raise Fault("TILE_BROKEN", "", f"{count_key} is {n_rows!r}, not a number.")
    plain = _rows(table, "POSITION", binary, "<f4", n_rows)
    if plain is not None:
        return plain
    steps = _rows(table, "POSITION_QUANTIZED", binary, "<u2", n_rows)
    if steps is None:
        return None
    low, span = (_vector(table.get(f"QUANTIZED_VOLUME_{end}"), binary) for end in ("OFFSET", "SCALE"))
    return low + steps / 65535 * span


def _points(table: dict[str, Any], binary: bytes, centre: Matrix, content: Content) -> None:
    extensions = table.get("extensions")
    is_draco = isinstance(extensions, dict) and "3DTILES_draco_point_compression" in extensions
    found = None if is_draco else _positions(table, binary, "POINTS_LENGTH")
    if found is None and not is_draco:
        raise Fault("TILE_BROKEN", "", "It has no POSITION.")
    _add_box(content, found, centre)


def _instances(table: dict[str, Any], binary: bytes, centre: Matrix, content: Content) -> None:
    found = _positions(table, binary, "INSTANCES_LENGTH")
    if found is None:
        raise Fault("TILE_BROKEN", "", "It has no POSITION.")
    _add_box(content, found, centre)


def _add_box(content: Content, points: Matrix | None, centre: Matrix) -> None:
    if points is not None and len(points) and np.isfinite(points).all():
        content.boxes.append((points.min(axis=0) + centre, points.max(axis=0) + centre))


def _glb(data: bytes, content: Content, frame: Matrix) -> None:
    if len(data) < 12 or data[:4] != b"glTF":
        raise Fault("TILE_BROKEN", "", f"Its glTF begins with {data[:4]!r}.")
    version, claimed = struct.unpack_from("<II", data, 4)
    if version == 1:
        content.warnings.append("It holds glTF 1.0, which many programs no longer read.")
        return
    if version != 2:
        raise Fault("TILE_BROKEN", "", f"Its glTF has version {version}.")
    if claimed > len(data):
        raise Fault("TILE_TRUNCATED", "", f"Its glTF claims {claimed} bytes, it has {len(data)}.")
    if claimed < 20:
        raise Fault("TILE_BROKEN", "", "Its glTF has no chunk.")
    n_json, kind = struct.unpack_from("<I4s", data, 12)
    if kind != b"JSON" or 20 + n_json > claimed:
        raise Fault("TILE_BROKEN", "", "Its glTF does not begin with a JSON chunk that is there.")
    _gltf(_json(data[20 : 20 + n_json], "glTF"), content, frame)


def _gltf(body: dict[str, Any], content: Content, frame: Matrix) -> None:
    asset = body.get("asset")
    if not isinstance(asset, dict) or not str(asset.get("version", "")).startswith("2"):
        raise Fault("TILE_BROKEN", "", "It is JSON, but neither glTF 2.0 nor a tileset.")
    for key in ("buffers", "images"):
        for each in body.get(key) or [] if isinstance(body.get(key), list) else []:
            uri = each.get("uri") if isinstance(each, dict) else None
            if isinstance(uri, str) and not uri.startswith("data:"):
                content.uris.append(uri)
    metadata = (body.get("extensions") or {}) if isinstance(body.get("extensions"), dict) else {}
    schema = metadata.get("EXT_structural_metadata")
    if isinstance(schema, dict) and isinstance(schema.get("schemaUri"), str):
        content.uris.append(schema["schemaUri"])
    centre = metadata.get("CESIUM_RTC", {}).get("center") if isinstance(metadata.get("CESIUM_RTC"), dict) else None
    shift = np.eye(4)
    if isinstance(centre, list) and len(centre) == 3 and all(isinstance(each, int | float) for each in centre):
        shift[:3, 3] = centre
    try:
        _gltf_boxes(body, content, shift @ frame)
    except (TypeError, KeyError, IndexError, ValueError, AttributeError, OverflowError):
        content.warnings.append("The nodes of its glTF are not as the specification has them.")


def _gltf_boxes(body: dict[str, Any], content: Content, frame: Matrix) -> None:
    """Boxes of all meshes from the accessors' min and max, through the nodes of the scene."""
    nodes, meshes, accessors = (body.get(key) or [] for key in ("nodes", "meshes", "accessors"))
    scenes = body.get("scenes") or [{"nodes": list(range(len(nodes)))}]
    stack = [(index, frame, 0) for index in scenes[body.get("scene", 0)].get("nodes", [])]
    n_seen = 0
    while stack and (n_seen := n_seen + 1) <= MAX_INNER_TILES:
        index, above, depth = stack.pop()
        node = nodes[index]
        matrix = above @ node_matrix(node)
        if depth < 100:
            stack += [(child, matrix, depth + 1) for child in node.get("children", [])]
        for primitive in meshes[node["mesh"]]["primitives"] if "mesh" in node else []:
            accessor = accessors[primitive["attributes"]["POSITION"]]
            low, high = np.array(accessor["min"], np.float64), np.array(accessor["max"], np.float64)
            if accessor.get("normalized"):
                scale = {5120: 127, 5121: 255, 5122: 32767, 5123: 65535}.get(accessor["componentType"], 1)
                low, high = low / scale, high / scale
            corners = np.array([[x, y, z, 1] for x in (low[0], high[0]) for y in (low[1], high[1])
                                for z in (low[2], high[2])])  # fmt: skip
            placed = (corners @ matrix.T)[:, :3]
            if np.isfinite(placed).all():
                content.boxes.append((placed.min(axis=0), placed.max(axis=0)))


def node_matrix(node: dict[str, Any]) -> Matrix:
    """(4, 4) matrix of a glTF node: `matrix`, or translation, rotation and scale (glTF 2.0, 3.5.3)."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = (float(each) for each in node.get("rotation", (0, 0, 0, 1)))
    turned = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    matrix = np.eye(4)
    matrix[:3, :3] = turned * np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
