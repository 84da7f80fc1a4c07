"""A tileset walked as a viewer walks it: tiles, contents, external tilesets, implicit subtrees; bounded in memory."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiles.verify.findings import Findings
from tiles.verify.gltf import Gltf, check_gltf
from tiles.verify.gltf_features import Ids
from tiles.verify.implicit import ImplicitWalk
from tiles.verify.json_text import BadJson, objects, parse
from tiles.verify.limits import MAX_EXTERNAL_DEPTH, MAX_TILE_DEPTH
from tiles.verify.property_schema import check_entity, check_schema
from tiles.verify.source import Source, Unread
from tiles.verify.tileset_json import (
    Tile,
    check_tileset,
    content_volume,
    contents_of,
    read_implicit,
    read_tile,
)
from tiles.verify.volumes import Volume

LEGACY = {b"i3dm", b"pnts", b"cmpt", b"vctr", b"geom"}


@dataclass
class FeatureIds:
    """Ids that were met, as sorted 64-bit hashes: 8 bytes an id."""

    findings: Findings
    _kept: list[NDArray[np.uint64]] = field(default_factory=list)

    def add(self, where: str, ids: Ids) -> None:
        """Report what is there already, or twice in this tile."""
        if not ids:
            return
        hashes = np.array([_hash(each) for each in ids], np.uint64)
        new, first, counts = np.unique(hashes, return_index=True, return_counts=True)
        known = np.zeros(len(new), bool)
        for kept in self._kept:
            at = np.minimum(np.searchsorted(kept, new), len(kept) - 1)
            known |= kept[at] == new
        again = np.flatnonzero(known | (counts > 1))
        if len(again):
            words = f"{len(again)} features are in the set more than once, for example {ids[first[again[0]]][1]!r}."
            self.findings.add("FEATURE_REPEATED", where, words)
        self._kept.append(new[~known] if known.any() else new)
        self._kept = [each for each in self._kept if len(each)]
        if len(self._kept) > 12:
            self._kept = [np.sort(np.concatenate(self._kept))]


def _hash(value: tuple[str, Any]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(value).encode(), digest_size=8).digest(), "little")


@dataclass
class TilesetWalk:
    """Checks one tileset and everything below it. `budget` is what may still be read, shared between sets."""

    findings: Findings
    source: Source
    goes_on: Callable[[str], bool]
    seen: set[str] = field(default_factory=set)
    """Addresses of tilesets that were read."""
    _is_over: bool = False

    def check(self, address: str, document: dict[str, Any] | None = None) -> None:
        """Start at a tileset.json."""
        self._ids = FeatureIds(self.findings)
        self._set(address, document, None, ())

    def _set(self, address: str, document: dict[str, Any] | None, above: Tile | None, chain: tuple[str, ...]) -> None:
        if address in chain or len(chain) >= MAX_EXTERNAL_DEPTH:
            code = "TILESET_LOOP" if address in chain else "TILE_DEPTH"
            self.findings.add(code, address, f"It is reached from itself through {len(chain)} tilesets.")
            return
        self.seen.add(address)
        self.findings.read("tileset", address)
        if document is None:
            return
        if not check_tileset(self.findings, address, document):
            return
        schema = self._schema(address, document)
        if "metadata" in document:
            check_entity(self.findings, f"{address}#/metadata", document["metadata"], schema)
        for i, group in enumerate(objects(document.get("groups"))):
            check_entity(self.findings, f"{address}#/groups/{i}", group, schema)
        self._tree(address, document, schema, above, (*chain, address))

    def _schema(self, address: str, document: dict[str, Any]) -> dict[str, Any]:
        if isinstance(document.get("schemaUri"), str):
            try:
                read = parse(self.source.read(self.source.join(address, document["schemaUri"])))
            except (Unread, BadJson) as error:
                self.findings.add(getattr(error, "code", "JSON_INVALID"), f"{address}#/schemaUri", str(error))
                return {}
            return check_schema(self.findings, document["schemaUri"], read)
        return check_schema(self.findings, f"{address}#/schema", document["schema"]) if "schema" in document else {}

    def _tree(
        self, address: str, document: dict[str, Any], schema: dict[str, Any], above: Tile | None, chain: tuple[str, ...]
    ) -> None:
        limit = above.error if above else np.inf
        waiting: list[tuple[dict[str, Any], Tile | None, str, float, int]] = [
            (document["root"], above, f"{address}#/root", limit, 0)
        ]
        while waiting:
            said, parent, where, error, level = waiting.pop()
            if not self.goes_on(where):
                self._is_over = True
                return
            if above is not None and level == 0 and "refine" not in said:
                self.findings.add("TILE_REFINE", where, "The root of an external tileset has no refine.")
            tile = read_tile(self.findings, where, said, parent, schema, error)
            contents = contents_of(self.findings, tile, document, schema)
            if "implicitTiling" in said:
                self._implicit(address, tile, contents, schema, chain)
                continue
            for content in contents:
                self._content(
                    self.source.join(address, content["uri"]), tile, content_volume(self.findings, tile, content), chain
                )
            children = said.get("children", [])
            if not isinstance(children, list) or ("children" in said and not children):
                self.findings.add("TILESET_STRUCTURE", where, "children is not a list of tiles, or empty.")
                continue
            if level >= MAX_TILE_DEPTH:
                self.findings.add("TILE_DEPTH", where, f"More than {MAX_TILE_DEPTH} levels.")
                continue
            for i, below in reversed(list(enumerate(children))):
                if isinstance(below, dict):
                    waiting.append((below, tile, f"{where}/children/{i}", tile.error, level + 1))
                else:
                    self.findings.add("TILESET_STRUCTURE", f"{where}/children/{i}", f"A tile is {below!r}.")

    def _implicit(
        self, address: str, tile: Tile, contents: list[dict[str, Any]], schema: dict[str, Any], chain: tuple[str, ...]
    ) -> None:
        implicit = read_implicit(self.findings, tile, contents)
        if implicit is None:
            return
        walk = ImplicitWalk(self.findings, self.source, address, tile, implicit, schema, lambda: not self._is_over)
        for cell in walk.cells():
            if not self.goes_on(cell.name):
                self._is_over = True
                return
            here = replace(tile, said={}, where=cell.name, volume=cell.volume)
            for uri, volume in zip(cell.contents, cell.content_volumes, strict=True):
                self._content(uri, here, volume, chain)

    def _content(self, address: str, tile: Tile, volume: Volume | None, chain: tuple[str, ...]) -> None:
        try:
            data = self.source.read(address)
        except Unread as error:
            self.findings.add(error.code, tile.where, str(error))
            return
        kind = data[:4]
        if kind in LEGACY:
            self.findings.read(kind.decode(), address)
            if len(data) < 12 or int.from_bytes(data[8:12], "little") != len(data):
                self.findings.add("GLB_HEADER", address, f"byteLength is not {len(data):,}.")
            self.findings.add("CONTENT_LEGACY", address, f"A {kind.decode()} is not read.")
            return
        if kind in {b"glTF", b"b3dm"}:
            self._gltf(address, data, tile, volume)
            return
        try:
            document = parse(data)
        except BadJson as error:
            is_json = data[:1] in {b"{", b"["}
            self.findings.add("JSON_INVALID" if is_json else "CONTENT_UNKNOWN", address, f"{kind!r}: {error}.")
            return
        if "root" in document or "geometricError" in document:
            self._set(address, document, tile, chain)
        elif "asset" in document:
            self._gltf(address, data, tile, volume)
        else:
            self.findings.add("CONTENT_UNKNOWN", address, "The JSON is neither a tileset nor glTF.")

    def _gltf(self, address: str, data: bytes, tile: Tile, volume: Volume | None) -> None:
        gltf = check_gltf(self.findings, address, data, lambda uri: self.source.read(self.source.join(address, uri)))
        self._inside(address, gltf, tile, volume)
        if tile.is_additive:
            self._ids.add(address, gltf.ids)

    def _inside(self, address: str, gltf: Gltf, tile: Tile, volume: Volume | None) -> None:
        worst: dict[str, float] = {}
        volumes = {
            name: each
            for name, each in (("tile", tile.volume), ("content", volume), ("tile above", tile.around))
            if each is not None
        }
        for points in gltf.points() if volumes else ():
            placed = points @ tile.matrix[:3, :3].T + tile.matrix[:3, 3]
            for name, each in volumes.items():
                worst[name] = max(worst.get(name, 0.0), each.excess(placed))
        for name, over in worst.items():
            if over > 1e-3 + 1e-5 * volumes[name].size:
                words = f"Vertices reach {over:.3f} m out of the {volumes[name].kind} of the {name}."
                self.findings.add("TILE_CONTENT_OUTSIDE", address, words)
