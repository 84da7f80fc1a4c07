"""A tileset document (OGC 22-025r4, clause 7; 1.0: OGC 18-053r2): its tiles, what they refer to, and what is wrong.

A document that no client could use is refused with its place; smaller faults become issues and stay as they are.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput
from layers.issue import Issue, Severity

VERSIONS = ("1.0", "1.1", "0.0")
VOLUMES = {"region": 6, "box": 12, "sphere": 4}
MAX_TILES = 2_000_000
IDENTITY = np.eye(4)
EXTENSION_CONTENT_3TZ, EXTENSION_CONTENT_GLTF = "MAXAR_content_3tz", "3DTILES_content_gltf"
IMPLICIT_1_0, CONTENTS_1_0 = "3DTILES_implicit_tiling", "3DTILES_multiple_contents"


class Fault(Exception):
    """Why a part of a document is unusable: code, JSON path, sentence. Never leaves the reader."""

    def __init__(self, code: str, path: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code, self.path, self.sentence = code, path, sentence


@dataclass
class Tile:
    """One tile of a document: its JSON path, JSON object, and the addresses of its contents."""

    path: str
    body: dict[str, Any]
    contents: list[str] = field(default_factory=list)
    implicit: dict[str, Any] | None = None


@dataclass
class Document:
    """A tileset document as parsed, with the issues found in it."""

    name: str
    body: dict[str, Any]
    issues: list[Issue] = field(default_factory=list)

    def tell(self, code: str, path: str, sentence: str, severity: Severity = "warning") -> None:
        """Note a fault at a JSON path."""
        hint = "Write the set again with a tool that passes 3d-tiles-validator." if severity != "info" else ""
        self.issues.append(Issue(code, f"{self.name} {path}", sentence, hint, severity))


def parse(name: str, data: bytes) -> Document:
    """Raises Fault for what is no tileset document."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Fault("JSON_BROKEN", "", f"It is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise Fault("TILESET_INVALID", "", "It is not a JSON object.")
    return Document(name, body)


def check_head(document: Document) -> None:
    """`asset`, `geometricError`, extensions. Raises Fault without a usable version."""
    body = document.body
    asset = body.get("asset")
    version = asset.get("version") if isinstance(asset, dict) else None
    if not isinstance(version, str):
        raise Fault("TILESET_VERSION", "/asset/version", f"The version is {version!r}, not text such as '1.1'.")
    if version not in VERSIONS:
        raise Fault("TILESET_VERSION", "/asset/version", f"Version {version[:20]!r} is not known.")
    error = body.get("geometricError")
    if not _is_number(error) or error < 0:
        document.tell("TILESET_ERROR_INVALID", "/geometricError", f"It is {_short(error)}, not a number from 0 up.")
    _check_extensions(document)
    if "extras" in body and not isinstance(body["extras"], dict):
        document.tell("TILESET_EXTRAS", "/extras", "It is not an object.")
    properties = body.get("properties")
    for key, each in properties.items() if isinstance(properties, dict) else ():
        ends = [each.get(end) for end in ("minimum", "maximum")] if isinstance(each, dict) else [None]
        if not all(_is_number(end) for end in ends):
            document.tell("TILESET_PROPERTIES", f"/properties/{key}", "minimum and maximum are not two numbers.")


def _check_extensions(document: Document) -> None:
    lists = {}
    for key in ("extensionsUsed", "extensionsRequired"):
        value = document.body.get(key, [])
        is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
        if not is_list or (key in document.body and not value):
            document.tell("TILESET_EXTENSIONS", f"/{key}", "It is not a list of at least one name.")
        names = value if is_list else []
        if len(set(names)) < len(names):
            document.tell("TILESET_EXTENSIONS", f"/{key}", "A name is there twice.")
        lists[key] = set(names)
    missing = lists["extensionsRequired"] - lists["extensionsUsed"]
    if missing:
        document.tell("TILESET_EXTENSIONS", "/extensionsRequired", f"{_listed(missing)} is not in extensionsUsed.")
    found = _extensions_in(document.body)
    unseen = lists["extensionsUsed"] - found - {EXTENSION_CONTENT_3TZ, EXTENSION_CONTENT_GLTF}
    if unseen:
        document.tell("TILESET_EXTENSIONS", "/extensionsUsed", f"{_listed(unseen)} is used nowhere in it.", "info")
    undeclared = found - lists["extensionsUsed"]
    if undeclared:
        document.tell("TILESET_EXTENSIONS", "/extensionsUsed", f"{_listed(undeclared)} is used but not declared.")


def _extensions_in(body: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    stack: list[Any] = [body]
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            extensions = each.get("extensions")
            found |= set(extensions) if isinstance(extensions, dict) else set()
            stack += [value for key, value in each.items() if key != "extras"]
        elif isinstance(each, list):
            stack += [value for value in each if isinstance(value, dict | list)]
    return found


def tiles(document: Document) -> Iterator[Tile]:
    """Every usable tile, parents first; an unusable one is told and left out with what is below it.

    Raises Fault when the root itself is unusable, InvalidInput beyond MAX_TILES.
    """
    root = document.body.get("root")
    if not isinstance(root, dict):
        raise Fault("TILE_INVALID", "/root", "The root tile is missing.")
    stack: list[tuple[str, Any, float]] = [("/root", root, math.inf)]
    n_tiles = 0
    while stack:
        path, body, parent_error = stack.pop()
        n_tiles += 1
        if n_tiles > MAX_TILES:
            raise InvalidInput(
                f"{document.name} has more than {MAX_TILES} tiles.", "Split it.", code="TILESET_TOO_LARGE"
            )
        try:
            tile = _tile(document, path, body, parent_error)
        except Fault as fault:
            if path == "/root":
                raise
            document.tell(
                fault.code, fault.path, f"{fault.sentence} The tile and those below it are not shown.", "error"
            )
            continue
        error = tile.body.get("geometricError")
        own = float(error) if _is_number(error) else parent_error
        children = tile.body.get("children", [])
        if isinstance(children, list):
            below = [(f"{path}/children/{i}", child, own) for i, child in enumerate(children)]
            stack += reversed(below)
        if ("children" in tile.body) and (not isinstance(children, list) or not children):
            document.tell("TILE_CHILDREN", f"{path}/children", "It is not a list of at least one tile.")
        yield tile


def _tile(document: Document, path: str, body: Any, parent_error: float) -> Tile:
    if not isinstance(body, dict):
        raise Fault("TILE_INVALID", path, "It is not an object.")
    volume(body.get("boundingVolume"), f"{path}/boundingVolume")
    transform(body, path)
    error = body.get("geometricError")
    if not _is_number(error) or error < 0:
        document.tell("TILE_ERROR_INVALID", f"{path}/geometricError", f"It is {_short(error)}, not a number from 0 up.")
    elif error > parent_error:
        sentence = f"{error} is more than the parent's {parent_error}."
        document.tell("TILE_ERROR_ORDER", f"{path}/geometricError", sentence, "info")
    refine = body.get("refine", "ADD")
    if not isinstance(refine, str) or refine not in {"ADD", "REPLACE"}:
        is_case = isinstance(refine, str) and refine.upper() in {"ADD", "REPLACE"}
        sentence = f"It is {_short(refine)}, not ADD or REPLACE."
        document.tell("TILE_REFINE", f"{path}/refine", sentence, "info" if is_case else "warning")
    return Tile(path, body, list(_contents(document, path, body)), _implicit(path, body))


def _contents(document: Document, path: str, body: dict[str, Any]) -> Iterator[str]:
    extended = (body.get("extensions") or {}).get(CONTENTS_1_0) if isinstance(body.get("extensions"), dict) else None
    many = body.get(
        "contents", extended.get("contents", extended.get("content")) if isinstance(extended, dict) else None
    )
    given = [(f"{path}/content", body["content"])] if "content" in body else []
    if isinstance(many, list):
        given += [(f"{path}/contents/{i}", each) for i, each in enumerate(many)]
    elif many is not None:
        document.tell("TILE_CONTENT", f"{path}/contents", "It is not a list.")
    for place, content in given:
        uri = content.get("uri", content.get("url")) if isinstance(content, dict) else None
        if not isinstance(uri, str) or not uri:
            document.tell("TILE_CONTENT", place, "It has no address (uri).", "error")
            continue
        if "boundingVolume" in content:
            try:
                volume(content["boundingVolume"], f"{place}/boundingVolume")
            except Fault as fault:
                document.tell(fault.code, fault.path, fault.sentence)
            if "implicitTiling" in body:
                document.tell("TILE_IMPLICIT", f"{place}/boundingVolume", "An implicit tile's content may have none.")
        groups = document.body.get("groups")
        group = content.get("group")
        n_groups = len(groups) if isinstance(groups, list) else 0
        if group is not None and not (isinstance(group, int) and 0 <= group < n_groups):
            document.tell("TILE_CONTENT", f"{place}/group", f"There is no group {_short(group)}.")
        yield uri


def _implicit(path: str, body: dict[str, Any]) -> dict[str, Any] | None:
    extensions = body.get("extensions")
    given = body.get("implicitTiling", extensions.get(IMPLICIT_1_0) if isinstance(extensions, dict) else None)
    if given is None:
        return None
    where = f"{path}/implicitTiling"
    if not isinstance(given, dict):
        raise Fault("TILE_IMPLICIT", where, "It is not an object.")
    if str(given.get("subdivisionScheme")) not in {"QUADTREE", "OCTREE"}:
        sentence = f"It is {_short(given.get('subdivisionScheme'))}, not QUADTREE or OCTREE."
        raise Fault("TILE_IMPLICIT", f"{where}/subdivisionScheme", sentence)
    levels = given.get("availableLevels", given.get("maximumLevel"))
    for key, value in (("subtreeLevels", given.get("subtreeLevels")), ("availableLevels", levels)):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 32:
            raise Fault("TILE_IMPLICIT", f"{where}/{key}", f"It is {_short(value)}, not a number of levels.")
    subtrees = given.get("subtrees")
    uri = subtrees.get("uri") if isinstance(subtrees, dict) else None
    if not isinstance(uri, str):
        raise Fault("TILE_IMPLICIT", f"{where}/subtrees", "It has no address (uri).")
    volume_ = body["boundingVolume"]
    if not {"box", "region", "extensions"} & set(volume_):
        raise Fault("TILE_IMPLICIT", f"{path}/boundingVolume", "A sphere cannot be divided: box or region is needed.")
    names = {"level", "x", "y"} | ({"z"} if given["subdivisionScheme"] == "OCTREE" else set())
    if template_names(uri) != names:
        raise Fault("TILE_IMPLICIT", f"{where}/subtrees/uri", f"{uri[:100]!r} does not name {_listed(names)}.")
    return given


def template_names(uri: str) -> set[str]:
    """The variables in `{}` of a template address."""
    return {part.split("}")[0] for part in uri.split("{")[1:]}


def volume(given: Any, path: str) -> tuple[str, NDArray[np.float64]]:
    """Kind and numbers of a bounding volume. Raises Fault for one that no client could use."""
    if not isinstance(given, dict):
        raise Fault("TILE_VOLUME", path, "It is not an object.")
    for kind, length in VOLUMES.items():
        if kind not in given:
            continue
        numbers = given[kind]
        if not isinstance(numbers, list) or len(numbers) != length or not all(_is_number(each) for each in numbers):
            raise Fault("TILE_VOLUME", f"{path}/{kind}", f"It is not {length} numbers.")
        values = np.array(numbers, np.float64)
        if kind == "region" and not _is_region(values):
            raise Fault("TILE_VOLUME", f"{path}/{kind}", "West, south, east, north are not angles in radians in order.")
        if kind == "sphere" and values[3] < 0:
            raise Fault("TILE_VOLUME", f"{path}/{kind}", "Its radius is negative.")
        return kind, values
    if isinstance(given.get("extensions"), dict) and given["extensions"]:
        raise Fault("TILE_VOLUME_EXTENSION", path, f"Only {_listed(set(given['extensions']))} says where it is.")
    raise Fault("TILE_VOLUME", path, "It has no box, region or sphere.")


def _is_region(values: NDArray[np.float64]) -> bool:
    west, south, east, north, low, high = values
    slack = 1e-6
    in_range = max(abs(west), abs(east)) <= math.pi + slack and max(abs(south), abs(north)) <= math.pi / 2 + slack
    return bool(in_range and south <= north and low <= high)


def transform(body: dict[str, Any], path: str) -> NDArray[np.float64]:
    """(4, 4) matrix of a tile. Raises Fault for one that is no affine, invertible matrix."""
    given = body.get("transform")
    if given is None:
        return IDENTITY
    where = f"{path}/transform"
    if not isinstance(given, list) or len(given) != 16 or not all(_is_number(each) for each in given):
        raise Fault("TILE_TRANSFORM", where, "It is not 16 numbers.")
    matrix = np.array(given, np.float64).reshape(4, 4).T
    if np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-9:
        raise Fault("TILE_TRANSFORM", where, "Its last row is not 0, 0, 0, 1.")
    with np.errstate(over="ignore", invalid="ignore"):
        determinant = np.linalg.det(matrix[:3, :3])
    if not np.isfinite(determinant) or abs(determinant) < 1e-18:
        raise Fault("TILE_TRANSFORM", where, "It cannot be inverted.")
    return matrix


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _short(value: Any) -> str:
    return repr(value)[:60]


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))[:200]
