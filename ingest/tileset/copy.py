"""Copies a 3D Tiles set: every file that it refers to, each one checked; nothing else.

First all documents and subtrees are walked, so that documents that refer to each other in a circle are found; then
contents are copied one at a time. Names stay. What is broken is named and left out.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ingest.tileset import content as tileset_content
from ingest.tileset import files as tileset_files
from ingest.tileset import json as tileset_json
from ingest.tileset import metadata as tileset_metadata
from ingest.tileset import subtree as tileset_subtree
from ingest.tileset.files import Outside, TileFiles
from ingest.tileset.json import Fault, Tile
from ingest.tileset.subtree import Cell, Scheme
from layers.errors import InvalidInput
from layers.issue import Issue, Severity

MAX_TILE_BYTES = 512 << 20
MAX_FILES = 2_000_000
MAX_BYTES = 1 << 40
TOLD_EACH = 100
"""So many findings of one code are told; the rest is counted."""

BINARY = (".b3dm", ".i3dm", ".pnts", ".cmpt", ".glb", ".subtree", ".vctr", ".geom", ".3tz")
OWN_SUFFIXES = (*BINARY, ".json", ".gltf", ".bin", ".png", ".jpg", ".jpeg", ".webp", ".ktx2", ".terrain")
"""Files that belong to a set when they lie below its tileset.json."""


class SetCopy:
    """One set on its way into the twin.

    Parameters
    ----------
    files, root : the set and the name of its root document
    target : a folder that does not exist yet
    root_bytes : another root document in place of the set's own
    """

    def __init__(self, files: TileFiles, root: str, target: Path, root_bytes: bytes | None = None) -> None:
        self._files, self._root, self._target, self._root_bytes = files, root, target, root_bytes
        self._told: Counter[str] = Counter()
        self._issues: list[Issue] = []
        self._edges: dict[str, list[str]] = {}
        self._contents: dict[str, str] = {}
        self._plain: dict[str, str] = {}
        self.n_files = self.n_bytes = 0

    def write(self, *, lists_rest: bool) -> list[Issue]:
        """Copy everything. Raises InvalidInput where the root refers to itself or the set is too large."""
        self._gather()
        dropped = self._circles()
        self._target.mkdir(parents=True)
        for name in self._edges:
            if name == self._root and self._root_bytes is not None:
                self._save(name, iter([self._root_bytes]))
            elif name not in dropped:
                self._save(name, tileset_files.blocks(self._files, name))
        for name, where in self._contents.items():
            self._content(name, where)
        for name, where in list(self._plain.items()):
            self._try(name, where)
        if lists_rest:
            self._tell_rest()
        more = {code: n - TOLD_EACH for code, n in self._told.items() if n > TOLD_EACH}
        self._issues += [Issue(code, self._root, f"{n} more findings of this kind.", "") for code, n in more.items()]
        return self._issues

    def _tell(self, code: str, where: str, message: str, severity: Severity = "error") -> None:
        self._told[code] += 1
        if self._told[code] <= TOLD_EACH:
            hint = "Write that file again; the rest of the set is served." if severity == "error" else ""
            self._issues.append(Issue(code, where, message, hint, severity))

    def _gather(self) -> None:
        """Walk all documents from the root."""
        waiting = [self._root]
        while waiting:
            name = waiting.pop()
            if name in self._edges:
                continue
            self._edges[name] = []
            try:
                waiting += self._document(name)
            except (Fault, InvalidInput) as fault:
                if name == self._root:
                    raise fault if isinstance(fault, InvalidInput) else _refused(name, fault) from fault
                del self._edges[name]
                self._tell(fault.code, f"{name} {getattr(fault, 'path', '')}".strip(), _words(fault))

    def _document(self, name: str) -> list[str]:
        """Walk one document; returns the documents that it refers to."""
        is_given = name == self._root and self._root_bytes is not None
        data = self._root_bytes if is_given else tileset_files.read(self._files, name, MAX_TILE_BYTES)
        document = tileset_json.parse(name, data or b"")
        tileset_json.check_head(document)
        tileset_metadata.check(document)
        schema = document.body.get("schemaUri")
        if isinstance(schema, str):
            self._refer(name, "/schemaUri", schema, self._plain)
        for tile in tileset_json.tiles(document):
            tileset_metadata.check_tile(document, tile)
            for where, uri in self._addresses(name, tile):
                self._check_declared(document, where, uri)
                self._refer(name, where, uri, self._contents)
        for issue in document.issues:
            self._tell(issue.code, issue.where, issue.message, issue.severity)
        below = [each for each in self._edges[name] if each not in self._edges]
        return list(dict.fromkeys(below))

    def _check_declared(self, document: tileset_json.Document, where: str, uri: str) -> None:
        path = uri.partition("?")[0].lower()
        used, required = (str(document.body.get(key)) for key in ("extensionsUsed", "extensionsRequired"))
        if path.endswith(".3tz") and tileset_json.EXTENSION_CONTENT_3TZ not in required:
            document.tell("TILESET_EXTENSIONS", where, "A .3tz needs MAXAR_content_3tz in extensionsRequired.")
        is_old = document.body["asset"]["version"] != "1.1"
        if path.endswith((".glb", ".gltf")) and is_old and tileset_json.EXTENSION_CONTENT_GLTF not in used:
            document.tell("TILESET_EXTENSIONS", where, "3D Tiles 1.0 with glTF needs 3DTILES_content_gltf.", "info")

    def _addresses(self, name: str, tile: Tile) -> Iterator[tuple[str, str]]:
        if tile.implicit is None:
            yield from ((f"{tile.path}/content", uri) for uri in tile.contents)
            return
        scheme = Scheme.of(tile.implicit)
        names = {"level", "x", "y", "z"} if scheme.dimensions == 3 else {"level", "x", "y"}
        for uri in tile.contents:
            if tileset_json.template_names(uri) - names:
                self._tell("TILE_IMPLICIT", f"{name} {tile.path}/content/uri", f"{uri[:100]!r} has other names in it.")
                return
        yield from self._implicit(name, tile, scheme)

    def _implicit(self, name: str, tile: Tile, scheme: Scheme) -> Iterator[tuple[str, str]]:
        waiting: list[Cell] = [(0, 0, 0, 0)]
        n_subtrees = 0
        while waiting:
            cell = waiting.pop()
            n_subtrees += 1
            if n_subtrees > tileset_subtree.MAX_SUBTREES:
                raise InvalidInput(f"{name} has too many subtrees.", "Split the set.", code="TILESET_TOO_LARGE")
            uri = scheme.address(scheme.uri, cell)
            subtree_name = self._refer(name, f"{tile.path}/implicitTiling", uri, self._plain)
            if subtree_name is None:
                continue
            try:
                data = tileset_files.read(self._files, subtree_name, tileset_subtree.MAX_SUBTREE_BYTES)

                def load(address: str, base: str = subtree_name) -> bytes:
                    buffer = self._refer(base, "/buffers", address, self._plain)
                    return b"" if buffer is None else tileset_files.read(
                        self._files, buffer, tileset_subtree.MAX_SUBTREE_BYTES
                    )  # fmt: skip

                subtree = tileset_subtree.parse(data, scheme, load, len(tile.contents))
            except (Fault, InvalidInput) as fault:
                self._tell(fault.code, f"{subtree_name} {getattr(fault, 'path', '')}".strip(), _words(fault))
                continue
            for number, template in enumerate(tile.contents):
                for each in tileset_subtree.content_cells(scheme, subtree, cell, number):
                    yield f"{tile.path} {'-'.join(map(str, each))}", scheme.address(template, each)
            waiting += tileset_subtree.child_cells(scheme, subtree, cell)

    def _refer(self, base: str, where: str, uri: str, into: dict[str, str]) -> str | None:
        """Note a file that `base` refers to; its name, or None where it is not to be had."""
        place = f"{base} {where}"
        try:
            name = tileset_files.resolved(base, uri)
        except Outside as outside:
            self._tell("TILE_OUTSIDE", place, f"{uri[:200]!r} {outside}: it is not copied.")
            return None
        if not self._files.has(name) and not (name == self._root and self._root_bytes is not None):
            self._tell("TILE_MISSING", place, f"{name[:300]} is not there.")
            return None
        if len(self._contents) + len(self._plain) > MAX_FILES:
            raise InvalidInput(f"{self._root} refers to more than {MAX_FILES} files.", "", code="TILESET_TOO_LARGE")
        if into is self._contents and self._is_document(name):
            self._edges[base].append(name)
        elif name not in self._contents and name not in self._plain:
            into[name] = place
        return name

    def _is_document(self, name: str) -> bool:
        if name in self._edges:
            return True
        if name in self._contents or name.lower().endswith((*BINARY, ".gltf")):
            return False
        try:
            if tileset_content.sniff(tileset_files.head(self._files, name, 64)) != "json":
                return False
            data = tileset_files.read(self._files, name, MAX_TILE_BYTES)
        except InvalidInput:
            return False  # said when it is copied
        return name.lower().endswith(".json") or b'"root"' in data

    def _circles(self) -> set[str]:
        """Documents that lead back to one above them: left out, so that no client goes round for ever."""
        dropped: set[str] = set()
        state: dict[str, int] = {}
        stack = [(self._root, iter(self._edges[self._root]))]
        state[self._root] = 1
        while stack:
            name, below = stack[-1]
            for each in below:
                if each not in self._edges or each in dropped:
                    continue
                if state.get(each) == 1:
                    chain = " -> ".join([*(one for one, _ in stack), each])
                    if name == self._root:
                        raise InvalidInput(f"{name} refers to itself: {chain}.", "Correct it.", code="TILESET_CYCLE")
                    message = f"Documents refer to each other in a circle: {chain}. {name} is left out."
                    self._tell("TILESET_CYCLE", name, message)
                    dropped.add(name)
                elif state.get(each) is None:
                    state[each] = 1
                    stack.append((each, iter(self._edges[each])))
                    break
            else:
                state[name] = 2
                stack.pop()
        return dropped

    def _content(self, name: str, where: str) -> None:
        try:
            data = tileset_files.read(self._files, name, MAX_TILE_BYTES)
            if tileset_content.sniff(data[:64]) == "3tz":
                self._tell(
                    "TILE_ARCHIVE", name, "It is an archive inside the set, copied without a look inside.", "info"
                )
                self._save(name, iter([data]))
                return
            content = tileset_content.examine(data)
        except (Fault, InvalidInput) as fault:
            self._tell(fault.code, name, f"{_words(fault)} It is left out. It belongs to {where}.")
            return
        for sentence in content.warnings:
            self._tell("TILE_DOUBTFUL", name, sentence, "warning")
        for uri in dict.fromkeys(content.uris):
            self._refer(name, "", uri, self._plain)
        self._save(name, iter([data]))

    def _try(self, name: str, where: str) -> None:
        try:
            self._save(name, tileset_files.blocks(self._files, name))
        except InvalidInput as error:
            (self._target / name).unlink(missing_ok=True)
            self._tell(error.code, name, f"{error.problem} It is left out. It belongs to {where}.")

    def _save(self, name: str, blocks: Iterator[bytes]) -> None:
        path = self._target / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for block in blocks:
                    self.n_bytes += file.write(block)
                    if self.n_bytes > MAX_BYTES:
                        raise InvalidInput(f"{self._root} has too many bytes.", "", code="TILESET_TOO_LARGE")
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            self._tell("TILE_NAME", name, f"It cannot be written beside the others: {error.strerror}.")
            return
        self.n_files += 1

    def _tell_rest(self) -> None:
        known = {*self._edges, *self._contents, *self._plain}
        rest = [each for each in self._files.names() if each not in known and each.lower().endswith(OWN_SUFFIXES)]
        if rest:
            message = f"{len(rest)} files are referred to by no tile and are not copied, such as {', '.join(rest[:3])}."
            self._issues.append(Issue("TILES_UNUSED", self._root, message, "", "info"))


def _words(fault: Fault | InvalidInput) -> str:
    return fault.sentence if isinstance(fault, Fault) else fault.problem


def _refused(name: str, fault: Fault) -> InvalidInput:
    return InvalidInput(f"{name} {fault.path}: {fault.sentence}", "Write the set again.", code=fault.code)
