"""The JSON of a tileset and of its tiles, checked one object at a time. OGC 22-025r4, 7."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.verify.findings import Findings
from tiles.verify.json_text import child, extensions_in, is_count, is_number, numbers
from tiles.verify.limits import MAX_LEVELS, MAX_SUBTREE_BITS
from tiles.verify.property_schema import check_entity
from tiles.verify.subtree_file import Shape
from tiles.verify.volumes import SEMI_MAJOR_M, Volume, read_volume

FloatArray = NDArray[np.float64]
KNOWN = {
    "3DTILES_bounding_volume_S2", "3DTILES_metadata", "3DTILES_implicit_tiling", "3DTILES_multiple_contents",
    "3DTILES_content_gltf", "3DTILES_content_conditional", "3DTILES_bounding_volume_cylinder", "MAXAR_content_geojson",
    "3DTILES_ellipsoid", "CESIUM_mesh_vector",
}  # fmt: skip


@dataclass(frozen=True)
class Tile:
    """What the walk needs of a tile, in the frame of the whole set."""

    said: dict[str, Any]
    where: str
    volume: Volume | None
    error: float
    refine: str
    matrix: FloatArray
    is_additive: bool
    """ADD here and all the way up."""
    around: Volume | None = None
    """What an implicit root must keep its contents in: the volume of the tile above it. Its own is a loose grid."""


def check_tileset(findings: Findings, where: str, document: dict[str, Any]) -> bool:
    """The outer object; False where there is no tree to walk."""
    version = child(document, "asset").get("version")
    if version not in ("1.0", "1.1"):
        findings.add("TILESET_VERSION", f"{where}#/asset", f"version is {version!r}.")
    _error(findings, where, document)
    for key in ("schema", "properties", "metadata", "statistics"):
        if key in document and not isinstance(document[key], dict):
            findings.add("TILESET_STRUCTURE", f"{where}#/{key}", f"{key} is not an object.")
    if "schema" in document and "schemaUri" in document:
        findings.add("TILESET_STRUCTURE", where, "schema and schemaUri are both there.")
    for name, entry in child(document, "properties").items():
        if not (is_number(child(entry).get("minimum")) and is_number(child(entry).get("maximum"))):
            findings.add("TILESET_STRUCTURE", f"{where}#/properties/{name}", "minimum or maximum is no number.")
    _check_extensions(findings, where, document)
    if not isinstance(document.get("root"), dict):
        findings.add("TILESET_STRUCTURE", f"{where}#/root", "root is not an object.")
        return False
    return True


def _check_extensions(findings: Findings, where: str, document: dict[str, Any]) -> None:
    used, required = document.get("extensionsUsed", []), document.get("extensionsRequired", [])
    for name, value in (("extensionsUsed", used), ("extensionsRequired", required)):
        strings = isinstance(value, list) and all(isinstance(each, str) for each in value)
        if not strings or len(set(value)) != len(value) or (name in document and not value):
            words = f"{name} {str(value)[:100]} is not a list of different names."
            findings.add("TILESET_EXTENSIONS", f"{where}#/{name}", words)
            return
    for name in sorted(set(required) - set(used)):
        findings.add("TILESET_EXTENSIONS", where, f"{name} is required but not in extensionsUsed.")
    for name in sorted(set(required) - KNOWN):
        findings.add("TILESET_EXTENSION_UNKNOWN", where, f"{name} is required.")
    for name in sorted(extensions_in(document) - set(used)):
        findings.add("TILESET_EXTENSION_UNDECLARED", where, f"{name} is used but not in extensionsUsed.")


def _error(findings: Findings, where: str, said: dict[str, Any]) -> float:
    value = said.get("geometricError")
    if not is_number(value) or value < 0:
        findings.add("TILE_ERROR", where, f"geometricError is {value!r}.")
        return np.inf
    return float(value)


def read_tile(  # noqa: PLR0917
    findings: Findings, where: str, said: dict[str, Any], above: Tile | None, schema: dict[str, Any], limit: float
) -> Tile:
    """Check a tile against the one above; `limit` is the geometric error that it may have at most."""
    error = _error(findings, where, said)
    if error > limit and np.isfinite(error):
        findings.add("TILE_ERROR_GROWS", where, f"geometricError {error:g} is above {limit:g} of its parent.")
    refine = said.get("refine", above.refine if above else None)
    if refine not in ("ADD", "REPLACE"):
        findings.add("TILE_REFINE", where, f"refine is {refine!r}.")
        refine = "REPLACE"
    matrix = np.eye(4) if above is None else above.matrix
    if "transform" in said:
        own = _transform(findings, where, said["transform"])
        matrix = matrix @ own
    local, words = read_volume(said.get("boundingVolume"))
    if words:
        findings.add("TILE_VOLUME", where, f"{words}.")
    volume = local.moved(matrix) if local else None
    around = above.around if above else None
    if "implicitTiling" in said:
        around = above.volume if above else None
    elif volume and above and above.volume:
        check_inside(findings, where, above.volume, volume, "TILE_OUTSIDE_PARENT")
    if "viewerRequestVolume" in said:
        words = read_volume(said["viewerRequestVolume"])[1]
        if words:
            findings.add("TILE_VOLUME", where, f"viewerRequestVolume: {words}.")
    if "metadata" in said:
        check_entity(findings, where, said["metadata"], schema)
    additive = refine == "ADD" and (above is None or above.is_additive)
    return Tile(said, where, volume, error, str(refine), matrix, additive, around)


def check_inside(findings: Findings, where: str, outer: Volume, inner: Volume, code: str) -> None:
    """One volume in another, 1 mm and a millionth of its size allowed."""
    over = outer.excess_of(inner)
    allowed = 1e-3 + 1e-6 * outer.size
    if outer.kind == "region" and inner.kind != "region":
        # the corners of a flat box around the same points stand off the curved region
        allowed += inner.size**2 / (8 * SEMI_MAJOR_M)
    if over > allowed:
        findings.add(code, where, f"It reaches {over:.3f} m out of the {outer.kind} of {outer.size:.1f} m.")


def _transform(findings: Findings, where: str, value: Any) -> FloatArray:
    read = numbers(value, 16)
    if read is not None:
        matrix = np.array(read).reshape(4, 4).T
        scale = np.linalg.norm(matrix[:3, :3], axis=0).prod()
        if np.allclose(matrix[3], [0, 0, 0, 1]) and abs(np.linalg.det(matrix[:3, :3])) > 1e-9 * scale > 0:
            return matrix
    findings.add("TILE_TRANSFORM", where, f"transform is {str(value)[:120]}.")
    return np.eye(4)


def contents_of(
    findings: Findings, tile: Tile, document: dict[str, Any], schema: dict[str, Any]
) -> list[dict[str, Any]]:
    """The content objects of a tile that have an address."""
    said = tile.said
    listed = said.get("contents", [said["content"]] if "content" in said else [])
    if (
        ("content" in said and "contents" in said)
        or not isinstance(listed, list)
        or ("contents" in said and not listed)
    ):
        findings.add("TILE_CONTENT", tile.where, "content and contents are both there, or no list of objects.")
        return []
    made = []
    groups = document.get("groups", [])
    for content in listed:
        address = child(content).get("uri", child(content).get("url"))
        if not isinstance(address, str) or not address:
            findings.add("TILE_CONTENT", tile.where, f"A content's uri is {address!r}.")
            continue
        if "metadata" in content:
            check_entity(findings, tile.where, content["metadata"], schema)
        group = content.get("group")
        if group is not None and not (is_count(group) and isinstance(groups, list) and group < len(groups)):
            findings.add("TILE_CONTENT", tile.where, f"There is no group {group!r}.")
        made.append({**content, "uri": address})
    return made


def content_volume(findings: Findings, tile: Tile, content: dict[str, Any]) -> Volume | None:
    """The content's own volume in the frame of the set, checked against that of the tile."""
    if "boundingVolume" not in content:
        return None
    local, words = read_volume(content["boundingVolume"])
    if words:
        findings.add("TILE_VOLUME", tile.where, f"content: {words}.")
    if local is None:
        return None
    volume = local.moved(tile.matrix)
    if tile.volume:
        check_inside(findings, tile.where, tile.volume, volume, "TILE_CONTENT_VOLUME")
    return volume


@dataclass(frozen=True)
class Implicit:
    """`implicitTiling` of a tile, checked."""

    shape: Shape
    available_levels: int
    subtrees: str
    contents: list[str]

    @property
    def is_octree(self) -> bool:
        """Eight children a tile."""
        return self.shape.fan == 8


def read_implicit(findings: Findings, tile: Tile, contents: list[dict[str, Any]]) -> Implicit | None:
    """None where it cannot be walked."""
    said, where = tile.said["implicitTiling"], tile.where
    scheme, levels = child(said).get("subdivisionScheme"), child(said).get("subtreeLevels")
    available, address = child(said).get("availableLevels"), child(said, "subtrees").get("uri")
    fan = {"QUADTREE": 4, "OCTREE": 8}.get(str(scheme), 0)
    if (
        not (fan and is_count(levels, 1) and is_count(available, 1) and isinstance(address, str))
        or max(levels, available) > MAX_LEVELS
        or fan**levels > MAX_SUBTREE_BITS
    ):
        findings.add("IMPLICIT_STRUCTURE", where, f"implicitTiling is {str(said)[:200]}.")
        return None
    if "children" in tile.said or "metadata" in tile.said or any("boundingVolume" in each for each in contents):
        findings.add("IMPLICIT_ROOT", where, "The root has children, metadata or a content with a boundingVolume.")
    if tile.volume is None or tile.volume.kind == "sphere":
        findings.add("IMPLICIT_ROOT", where, "The root's volume is neither box nor region.")
        return None
    templates = [address, *(content["uri"] for content in contents)]
    if False in [_template(findings, where, each, fan == 8) for each in templates]:
        return None
    return Implicit(Shape(fan, levels, len(contents)), available, address, templates[1:])


def _template(findings: Findings, where: str, text: str, is_octree: bool) -> bool:
    wants = {"{level}", "{x}", "{y}"} | ({"{z}"} if is_octree else set())
    left = text
    for name in wants:
        left = left.replace(name, "")
    if all(name in text for name in wants) and "{" not in left and "}" not in left:
        return True
    findings.add("IMPLICIT_TEMPLATE", where, f"{text[:120]!r} does not name exactly {', '.join(sorted(wants))}.")
    return False
