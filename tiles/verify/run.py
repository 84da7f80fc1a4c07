"""What a target is, and which walk checks it."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from layers.errors import InvalidInput, NotFound
from tiles.verify.findings import Findings, Progress, Report
from tiles.verify.gltf import check_gltf
from tiles.verify.json_text import BadJson, objects, parse
from tiles.verify.limits import MAX_TILES
from tiles.verify.mvt_file import check_mvt
from tiles.verify.source import ACCEPT, ACCEPT_TERRAIN, FolderSource, HttpSource, Source, Unread
from tiles.verify.subtree_file import guess_shape, read_subtree
from tiles.verify.terrain_file import check_terrain
from tiles.verify.terrain_walk import Edges, TerrainWalk, square
from tiles.verify.tilejson import TileJsonWalk
from tiles.verify.tileset_walk import TilesetWalk

ROOTS = ("tileset.json", "layer.json", "tilejson.json")
TILE_SUFFIXES = (".glb", ".gltf", ".b3dm", ".terrain", ".mvt", ".pbf", ".subtree")
MAX_FILES = 1_000_000
_ADDRESS = re.compile(r"(?<!\d)(\d{1,2})[/_\-](\d{1,9})[/_\-](\d{1,9})\.terrain(?:\?.*)?$")
_HINT = "Give a folder, a tileset.json, layer.json, TileJSON, glb, terrain, mvt or subtree file, or an http address."
GLTF_KEYS = {"scenes", "meshes", "nodes", "buffers", "accessors"}


def verify(target: str | Path, *, limit: int = MAX_TILES, progress: Progress | None = None) -> Report:
    """Read tiles back and say what is wrong with them.

    Parameters
    ----------
    target : folder, file or http(s) address: a tileset.json, layer.json, TileJSON, a single tile (glb, gltf, b3dm,
        terrain, mvt, subtree), or the landing page of a server whose links lead to such documents
    limit : tiles that are looked at; beyond it the report is not complete
    progress : called with each address that is read

    Returns
    -------
    Report with every finding counted and up to 50 of each rule listed. Memory does not grow with the number of tiles
    (apart from 8 bytes for each feature id).

    Raises
    ------
    NotFound : there is nothing at the target, or it does not answer.
    InvalidInput : what is there is no tiles, or `limit` is below 1.
    """
    if limit < 1:
        raise InvalidInput(f"The limit is {limit}.", "Give 1 or more.")
    run = _Run(Findings(progress), _Budget(limit))
    text = str(target)
    try:
        # numbers of strangers overflow: what comes of it is compared like any other number
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            run.target(text)
    except Unread as error:
        raise NotFound(f"{text} cannot be read: {error}", _HINT) from error
    return run.findings.report(text)


@dataclass
class _Budget:
    left: int
    findings: Findings | None = None

    def goes_on(self, where: str) -> bool:
        """Spend one tile; says once where it ended."""
        self.left -= 1
        if self.left == -1 and self.findings is not None:
            self.findings.cut(where, "The limit of tiles is reached.")
        return self.left >= 0


@dataclass
class _Run:
    findings: Findings
    budget: _Budget
    source: Source = field(default_factory=lambda: FolderSource(Path()))
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.budget.findings = self.findings

    def target(self, text: str) -> None:
        """An address, a file or a folder."""
        if re.match(r"https?://", text):
            self.source = HttpSource(text)
            self.document(text)
        else:
            self._path(Path(text))

    def _path(self, path: Path) -> None:
        if not path.exists():
            raise NotFound(f"There is no {path}.", _HINT)
        if path.is_dir():
            self.source = FolderSource(path)
            self._folder(path.resolve())
            return
        self.source = FolderSource(path.resolve().parent)
        self.document(str(path.resolve()))

    def _folder(self, root: Path) -> None:
        files = list(_files(root))
        chosen = [path for path in files if path.name in ROOTS or path.name.endswith(".tilejson")]
        chosen = chosen or [path for path in files if path.suffix == ".json"]
        if not chosen:
            chosen = [path for path in files if path.name.endswith(TILE_SUFFIXES)]
        if not chosen:
            raise InvalidInput(f"The folder {root.name} has no tiles.", _HINT)
        edges = Edges(self.findings)
        n_before = sum(self.findings.checked.values())
        for path in chosen:
            if str(path) not in self.seen:
                try:
                    self.document(str(path), edges)
                except InvalidInput:
                    continue  # some other JSON lies beside the tiles
                except Unread as error:
                    self.findings.add(error.code, str(path), str(error))
        if sum(self.findings.checked.values()) == n_before and not self.findings.counts:
            raise InvalidInput(f"The folder {root.name} has no tiles.", _HINT)

    def document(self, address: str, edges: Edges | None = None) -> None:
        """Whatever is at an address. Unread where there is nothing, InvalidInput where it is something else."""
        path = urlsplit(address).path if isinstance(self.source, HttpSource) else address
        data = self.source.read(address, ACCEPT_TERRAIN if path.endswith(".terrain") else ACCEPT)
        media_type = getattr(self.source, "media_type", "")
        if path.endswith(".terrain") or "quantized-mesh" in media_type:
            self._terrain(address, data, edges or Edges(self.findings))
        elif path.endswith((".mvt", ".pbf")) or "vector-tile" in media_type:
            check_mvt(self.findings, address, data)
        elif data[:4] in {b"glTF", b"b3dm"} or path.endswith((".glb", ".gltf", ".b3dm")):
            gltf = check_gltf(
                self.findings, address, data, lambda uri: self.source.read(self.source.join(address, uri))
            )
            for _ in gltf.points():
                pass
        elif data[:4] == b"subt" or path.endswith(".subtree"):
            self._subtree(address, data)
        elif data[:1] in {b"{", b"["} or path.endswith(".json"):
            self._json(address, path, data)
        else:
            raise InvalidInput(f"{address} holds no tiles (it starts with {data[:8]!r}).", _HINT)

    def _json(self, address: str, path: str, data: bytes) -> None:
        try:
            document = parse(data)
        except BadJson as error:
            self.findings.read("json", address)
            self.findings.add("JSON_INVALID", address, f"{error}.")
            return
        name = path.rsplit("/", 1)[-1]
        if name == "layer.json" or document.get("format") == "quantized-mesh-1.0":
            TerrainWalk(self.findings, self.source, self.budget.goes_on).check(address, document)
        elif "root" in document or "geometricError" in document or name == "tileset.json":
            walk = TilesetWalk(self.findings, self.source, self.budget.goes_on, self.seen)
            walk.check(address, document)
        elif "tilejson" in document or "vector_layers" in document or name == "tilejson.json":
            TileJsonWalk(self.findings, self.source, self.budget.goes_on).check(address, document)
        elif "tileAvailability" in document:
            self._subtree(address, data)
        elif "asset" in document and GLTF_KEYS & set(document):
            check_gltf(self.findings, address, data, lambda uri: self.source.read(self.source.join(address, uri)))
        elif isinstance(self.source, HttpSource) and isinstance(document.get("links"), list):
            self._server(address, document)
        else:
            raise InvalidInput(f"{address} is JSON, but of no tiles.", _HINT)

    def _terrain(self, address: str, data: bytes, edges: Edges) -> None:
        match = _ADDRESS.search(address)
        place = (int(match[1]), int(match[2]), int(match[3])) if match else None
        terrain = check_terrain(self.findings, address, data, square(*place) if place else None)
        if terrain is not None and place is not None:
            edges.add(address, place, terrain)

    def _subtree(self, address: str, data: bytes) -> None:
        def fetch(uri: str) -> bytes:
            return self.source.read(self.source.join(address, uri))

        read_subtree(self.findings, address, data, guess_shape(data), {}, fetch)

    def _server(self, address: str, landing: dict[str, Any]) -> None:
        """Documents of tiles that the landing page and the collections of a server link to."""
        found = dict.fromkeys(self._linked(address, landing))
        try:
            listing = parse(self.source.read(self.source.join(address, "collections"), "application/json"))
        except (Unread, BadJson):
            listing = {}
        for collection in objects(listing.get("collections")):
            found |= dict.fromkeys(self._linked(address, collection))
        for each in list(found):
            base, slash, _ = each.partition("/3dtiles/tileset.json")
            if slash:  # the other encodings of one tree are its neighbours
                found |= {f"{base}/3dtiles/{form}/tileset.json": None for form in ("compat", "explicit")}
        for each in found:
            try:
                self.document(each)
            except Unread as error:
                if "/compat/" not in each and "/explicit/" not in each:
                    self.findings.add(error.code, each, str(error))
            except InvalidInput as error:
                self.findings.add("CONTENT_UNKNOWN", each, error.problem)
        if not found:
            self.findings.add("NOTHING_FOUND", address, "No link leads to tiles.")

    def _linked(self, address: str, document: dict[str, Any]) -> Iterator[str]:
        for link in objects(document.get("links")):
            made = self.source.join(address, str(link.get("href", "")))
            if urlsplit(made).path.endswith(ROOTS):
                yield made


def _files(root: Path) -> Iterator[Path]:
    """Files below a folder, shallow ones first; links to folders are not followed."""
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders.sort()
        found += [Path(folder, name) for name in sorted(names) if name.endswith((".json", ".tilejson", *TILE_SUFFIXES))]
        if len(found) > MAX_FILES:
            raise InvalidInput(f"{root.name} has more than {MAX_FILES:,} files.", "Give a tileset.json in it.")
    yield from sorted(found, key=lambda path: (len(path.parts), str(path)))
