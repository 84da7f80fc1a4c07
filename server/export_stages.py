"""What of a city an export writes: a stage for each layer's 3D Tiles, each zoom of a layer's tiles, and so on.

Addresses come from the server's documents (TileJSON, layer.json, tileset.json), bytes from its application; 3D contents
are made in bulk by `tiles.export.models`.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import orjson

from layers import crs
from layers.errors import CityTwinError, InvalidInput, NotFound
from server import adopted, answer, export_answers, styles
from server.export_answers import About, Answers
from server.serving import FILES, Serving, Snapshot
from server.settings import Settings
from tiles import matrix_set, quadtree
from tiles.export import files, models, occupied
from tiles.export.stage import Document, Failure, Item, Made, Stage, Task
from tiles.matrix_set import MatrixSet
from tiles.tileset import FORMS, Form, Selection, Tileset
from twin.city import City
from twin.scope import Scope
from twin.store.interface import Asset, LayerInfo

KINDS = ("3dtiles", "points", "terrain", "terrain-rgb", "mvt", "images")
GRID = "WebMercatorQuad"

TILES_AT_ONCE = 16


@dataclass(frozen=True)
class Choice:
    """What to export.

    Attributes
    ----------
    kinds : of KINDS
    layers : ids; None for all
    forms : of the 3D tilesets
    min_zoom, max_zoom : of terrain, vector tiles and images
    filters : layer -> CQL2 JSON in the city's CRS, for its 3D Tiles
    datetime : moment of all 3D Tiles, as it would stand in the address
    base_url : where the export will stand, for documents with absolute links; None makes them relative
    """

    kinds: tuple[str, ...] = KINDS
    layers: tuple[str, ...] | None = None
    forms: tuple[Form, ...] = FORMS
    min_zoom: int = 0
    max_zoom: int = 24
    filters: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    datetime: str | None = None
    base_url: str | None = None

    def has(self, layer_id: str) -> bool:
        """True if the layer is chosen."""
        return self.layers is None or layer_id in self.layers


def book(*parts: object) -> str:
    """Name of a book: kind, layer, form or zoom."""
    return "/".join(quote(str(part), safe="") for part in parts)


class Plan:
    """The stages of a choice, of the city as it is when they begin."""

    def __init__(self, city: City, choice: Choice) -> None:
        self.city, self.choice, self.scope = city, choice, city.scope
        self.snapshot: Snapshot = Serving(city, Settings(scope=city.scope, warm_up=False)).snapshot()
        self.answers = Answers(city.folder, city.scope, choice.base_url)
        self._unsure: set[tuple[str, str]] = set()
        self.shown: dict[Form, list[str]] = {form: [] for form in FORMS}
        known = {*self.snapshot.vectors, *self.snapshot.files}
        for name in choice.layers or ():
            if name not in known:
                raise InvalidInput(f"The twin has no layer {name!r}.", f"It has: {', '.join(sorted(known))}.")

    def close(self) -> None:
        """Close what was opened."""
        self.answers.close()

    def factories(self) -> dict[str, Any]:
        """Makers for worker processes."""
        return {
            models.MAKER: models.opener(self.city.folder, self.scope),
            files.MAKER: files.Files,
            export_answers.MAKER: export_answers.opener(self.city.folder, self.scope, self.choice.base_url),
        }

    def stages(self, there: Sequence[str]) -> Iterator[Stage]:
        """All stages in the order that leaves no document referring to files that are not there yet."""
        makers = {
            "points": self._points, "3dtiles": self._models, "terrain": self._terrain, "terrain-rgb": self._heights,
            "mvt": self._vectors, "images": self._images,
        }  # fmt: skip
        for kind, stages in makers.items():
            if kind in self.choice.kinds:
                yield from self._guarded(kind, "*", stages())
        if "3dtiles" in self.choice.kinds or "points" in self.choice.kinds:
            yield from self._city(there)

    def is_stale(self, name: str, seen: set[str]) -> bool:
        """Of a book that no stage had: whether it is of what was chosen, so that its layer, or its zoom, is gone."""
        del seen
        kind, *rest = map(unquote, name.split("/"))
        if kind not in self.choice.kinds or {(kind, rest[0]), (kind, "*")} & self._unsure:
            return False
        if kind in {"3dtiles", "points"} and rest[-1] not in self.choice.forms:
            return False
        return kind in {"terrain", "terrain-rgb"} or self.choice.layers is None or rest[0] in self.choice.layers

    def _guarded(self, kind: str, layer_id: str, stages: Iterator[Stage]) -> Iterator[Stage]:
        """A layer that cannot be described is named and keeps its files; the others go on."""
        try:
            yield from stages
        except (CityTwinError, OSError) as error:
            self._unsure.add((kind, layer_id))
            title = f"{kind} of {layer_id}" if layer_id != "*" else kind
            yield Stage(title, (), failures=[Failure(title, str(error))])

    # -- 3D Tiles

    def _models(self) -> Iterator[Stage]:
        for info in self.snapshot.vectors.values():
            if self.choice.has(info.id):
                yield from self._guarded("3dtiles", info.id, self._model(info))
        for layer_id, sets in self._assets(adopted.KIND):
            yield from self._guarded("3dtiles", layer_id, self._adopted(layer_id, sets))

    def _model(self, info: LayerInfo) -> Iterator[Stage]:
        selection = self._selection(info.id)
        if info.mesh_count == 0 and selection.at is None:
            return
        try:
            tileset = Tileset(self.city, info.id, self.scope, info=info, selection=selection)
            made = models.stage(tileset, self.choice.forms)
        except NotFound:
            return  # nothing of it is in the selection
        for form in self.choice.forms:
            self.shown[form].append(info.id)
        yield made

    def _selection(self, layer_id: str) -> Selection:
        from server.parameters import moment

        return Selection(self.choice.filters.get(layer_id), moment(self.choice.datetime))

    def _adopted(self, layer_id: str, sets: list[Asset]) -> Iterator[Stage]:
        name = models.book(layer_id, "compact")
        items = [item for asset in sets for item in self._files_of(name, asset)]
        places = {"compact": "tileset.json", "explicit": "explicit/tileset.json"}
        documents = [
            self._document(models.book(layer_id, form), f"collections/{layer_id}/3dtiles/{places[form]}")
            for form in self.choice.forms
            if form in places
        ]
        for form in self.choice.forms:
            self.shown[form].append(layer_id)
        names = dict.fromkeys([name, *(each.book for each in documents)])
        yield Stage(f"3D Tiles set {layer_id}", tuple(names), files.tasks(items), documents)

    def _assets(self, kind: str) -> Iterator[tuple[str, list[Asset]]]:
        for layer_id, layer in self.snapshot.files.items():
            found = [asset for asset in layer.assets if asset.kind == kind]
            if found and self.choice.has(layer_id):
                yield layer_id, found

    def _files_of(self, name: str, asset: Asset) -> Iterator[Item]:
        folder = self.city.folder / asset.path
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                address = f"collections/{asset.layer}/3dtiles/{asset.id}/{path.relative_to(folder).as_posix()}"
                media_type = adopted.MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
                yield files.item(name, address, path, media_type)

    def _city(self, there: Sequence[str]) -> Iterator[Stage]:
        """The tileset over all layers that are there, also those of earlier exports."""
        for form in self.choice.forms:
            ids = set(self.shown[form])
            for name in there:
                kind, *rest = map(unquote, name.split("/"))
                is_there = rest[-1] == form or (kind == "3dtiles" and rest[0] in self.snapshot.files)
                if kind in {"3dtiles", "points"} and is_there and not self.choice.has(rest[0]):
                    ids.add(rest[0])  # adopted sets are in every form the same
            ids &= {*self.snapshot.vectors, *self.snapshot.files}
            if not ids:
                continue
            scope = Scope(self.scope.name, frozenset(ids))
            path = "3dtiles/tileset.json" if form == "compact" else f"3dtiles/{form}/tileset.json"
            query = f"datetime={quote(self.choice.datetime)}" if self.choice.datetime else ""
            with contextlib.closing(Answers(self.city.folder, scope, self.choice.base_url)) as answers:
                made = partial(_city_document, answers, path, query)
                documents = [Document(book("city", form), path, made)]
                yield Stage(f"3D Tiles of the city, {form}", (book("city", form),), (), documents)

    # -- point clouds

    def _points(self) -> Iterator[Stage]:
        for layer_id, clouds in self._assets("points"):
            yield from self._guarded("points", layer_id, self._clouds(layer_id, clouds))

    def _clouds(self, layer_id: str, clouds: list[Asset]) -> Iterator[Stage]:
        copc_type, copc_name = FILES["points"]
        name = book("points", layer_id, "file")
        path = self.city.folder / clouds[0].path
        copy = files.item(name, f"collections/{layer_id}/{copc_name}", path, copc_type)
        yield Stage(f"COPC of {layer_id}", (name,), files.tasks([copy]))
        for form in self.choice.forms:
            yield self._cloud_tiles(layer_id, form)
            self.shown[form].append(layer_id)

    def _cloud_tiles(self, layer_id: str, form: Form) -> Stage:
        name = book("points", layer_id, form)
        root = models.folder(layer_id, form)
        contents, documents = self._walk(f"{root}/tileset.json")
        items = [Item(name, address, None, About()) for address in contents]
        return Stage(
            f"points of {layer_id}, {form}", (name,), files.tasks(items, export_answers.MAKER, TILES_AT_ONCE),
            [self._document(name, address) for address in documents],
        )  # fmt: skip

    def _walk(self, root: str) -> tuple[list[str], list[str]]:
        """Addresses of contents and of documents (deepest first) below a tileset.json of the application."""
        contents: list[str] = []
        documents = [root]
        at = 0
        while at < len(documents):
            here = documents[at]
            at += 1
            for uri in uris(self.answers.document(here)["root"]):
                address = joined(here, uri)
                (documents if address.endswith(".json") else contents).append(address)
        return contents, documents[::-1]

    # -- terrain and tiles of a grid

    def _terrain(self) -> Iterator[Stage]:
        if "dem" not in self.snapshot.files:
            return
        root = "terrain/layer.json"
        document = self.answers.document(root)
        accept = "application/vnd.quantized-mesh"
        if document.get("extensions"):
            accept += f";extensions={'-'.join(document['extensions'])}"
        about = About(accept=accept)
        template = unquote(document["tiles"][0].partition("?")[0])
        zooms = self._zooms(0, len(document["available"]) - 1)
        for z in zooms:
            codes = np.unique(np.concatenate([_rectangle(each) for each in document["available"][z]]))
            name = book("terrain", z)
            yield Stage(f"terrain, level {z}", (name,), _grid_tasks(name, f"terrain/{template}", z, codes, about))
        name = book("terrain", "document")
        narrow = partial(_narrowed, zooms=zooms)
        yield Stage("layer.json", (name,), (), [self._document(name, root, narrow=narrow)])

    def _heights(self) -> Iterator[Stage]:
        if "dem" not in self.snapshot.files:
            return
        root = "terrain-rgb/tilejson.json"
        document = self.answers.document(root)
        yield from self._tiled("Terrain-RGB", ("terrain-rgb", ""), [root], document, self._in_bounds(document))

    def _in_bounds(self, document: Any) -> dict[int, occupied.Codes]:
        """All tiles of the bounds of a TileJSON."""
        grid = self._grid()
        box = crs.transform_bounds(crs.CRS84, grid.crs, tuple(document["bounds"]))
        zooms = self._zooms(document["minzoom"], document["maxzoom"])
        return {z: occupied.box_codes(grid, z, box) for z in zooms}

    def _images(self) -> Iterator[Stage]:
        for layer_id, _ in self._assets("raster"):
            yield from self._guarded("images", layer_id, self._pictures(layer_id))

    def _pictures(self, layer_id: str) -> Iterator[Stage]:
        root = f"collections/{layer_id}/tilejson.json"
        document = self.answers.document(root)
        codes = self._in_bounds(document)
        yield from self._tiled(f"images of {layer_id}", ("images", layer_id), [root], document, codes)

    def _vectors(self) -> Iterator[Stage]:
        together: dict[int, occupied.Codes] = {}
        drawn = [info for info in self.snapshot.vectors.values() if info.type.geometry != "none" and info.bounds]
        drawn = [info for info in drawn if self.choice.has(info.id)]
        for info in drawn:
            yield from self._guarded("mvt", info.id, self._vector(info, together))
        if drawn and self.choice.layers is None:
            yield from self._guarded("mvt", "", self._vectors_of_city(together))

    def _vector(self, info: LayerInfo, together: dict[int, occupied.Codes]) -> Iterator[Stage]:
        root = f"collections/{info.id}/tilejson.json"
        document = self.answers.document(root)
        zooms = self._zooms(document["minzoom"], document["maxzoom"])
        codes = occupied.codes(self.city, info.id, self.scope, self._grid(), zooms)
        described = [root, *(f"collections/{info.id}/styles/default{each}" for each in styles.VARIANTS)]
        yield from self._tiled(f"vector tiles of {info.id}", ("mvt", info.id), described, document, codes)
        together.update({z: np.union1d(together.get(z, each), each) for z, each in codes.items()})

    def _vectors_of_city(self, together: Mapping[int, occupied.Codes]) -> Iterator[Stage]:
        root = "tiles/tilejson.json"
        document = self.answers.document(root)
        described = [root, *(f"styles/city{each}" for each in styles.VARIANTS)]
        yield from self._tiled("vector tiles of the city", ("mvt", ""), described, document, together)

    def _tiled(
        self,
        title: str,
        name: tuple[str, str],
        described: Sequence[str],
        document: Any,
        codes: Mapping[int, occupied.Codes],
    ) -> Iterator[Stage]:
        """One stage a zoom; the TileJSON and the styles at the end."""
        address = document["tiles"][0].removeprefix(self.answers.base).lstrip("/")
        path, _, query = address.partition("?")
        zooms = self._zooms(document["minzoom"], document["maxzoom"])
        for z in zooms:
            here = book(*name, z)
            tasks = _grid_tasks(here, unquote(path), z, codes.get(z, np.zeros(0, np.int64)), About(query))
            yield Stage(f"{title}, zoom {z}", (here,), tasks, (), partial(self._moved, name[1]))
        here = book(*name, "document")
        narrow = partial(_narrowed, zooms=zooms)
        yield Stage(title, (here,), (), [self._document(here, each, narrow=narrow) for each in described])

    def _moved(self, layer_id: str) -> str | None:
        before = self.snapshot.vectors.get(layer_id)
        if before is None:
            return None
        try:
            if self.city.store.layer(layer_id, self.scope).version == before.version:
                return None
        except NotFound:
            return f"Layer {layer_id!r} was removed while it was exported; export again."
        return f"Layer {layer_id!r} was written to while its vector tiles were exported; export again."

    def _zooms(self, low: int, high: int) -> range:
        return range(max(low, self.choice.min_zoom), min(high, self.choice.max_zoom) + 1)

    def _grid(self) -> MatrixSet:
        return matrix_set.get(GRID, self.city.config.crs)

    def _document(self, name: str, address: str, narrow: Any = None) -> Document:
        return Document(name, address, partial(_answered, self.answers, address, narrow))


def _answered(answers: Answers, address: str, narrow: Any, _known: str) -> Made:
    made = answers.made(address)
    if narrow is None or made.data is None:
        return made
    return replace(made, data=narrow(made.data))


def _city_document(answers: Answers, address: str, query: str, _known: str) -> Made:
    return answers.made(address, About(query))


def _narrowed(data: bytes, zooms: range) -> bytes:
    """TileJSON, layer.json or style of a part of its zooms; as it is where the part is the whole."""
    document = orjson.loads(data)
    parts = list(document["sources"].values()) if "sources" in document else [document]
    asked = (zooms.start, max(zooms.stop - 1, zooms.start))
    if all((each.get("minzoom"), each.get("maxzoom")) == asked for each in parts):
        return data
    for each in parts:
        each["minzoom"], each["maxzoom"] = asked
        if "available" in each:
            each["available"] = each["available"][: zooms.stop]
    return answer.json_bytes(document)


def _rectangle(span: Mapping[str, int]) -> occupied.Codes:
    x = np.arange(span["startX"], span["endX"] + 1, dtype=np.int64)
    y = np.arange(span["startY"], span["endY"] + 1, dtype=np.int64)
    columns, rows = np.meshgrid(x, y)
    return quadtree.interleave(columns.ravel(), rows.ravel())


def _grid_tasks(name: str, template: str, z: int, codes: occupied.Codes, about: About) -> Iterator[Task]:
    """Tiles along the Morton curve, some at a time."""
    columns, rows = (each.tolist() for each in quadtree.column_row(codes))
    for start in range(0, len(columns), TILES_AT_ONCE):
        some = zip(columns[start : start + TILES_AT_ONCE], rows[start : start + TILES_AT_ONCE], strict=True)
        addresses = [template.format(z=z, x=x, y=y, version="") for x, y in some]
        yield Task(export_answers.MAKER, tuple(Item(name, each, None, about) for each in addresses))


def uris(tile: dict[str, Any]) -> Iterator[str]:
    """Addresses of the contents at and below a tile."""
    if "content" in tile:
        yield tile["content"]["uri"]
    for child in tile.get("children", ()):
        yield from uris(child)


def joined(here: str, uri: str) -> str:
    """Address below the server's root of what a document refers to, decoded. InvalidInput where it leads out."""
    path = PurePosixPath(here).parent
    steps: list[str] = list(path.parts)
    for step in urlsplit(uri).path.split("/"):
        if step == ".." and steps:
            steps.pop()
        elif step not in {".", ".."}:
            steps.append(unquote(step))
        elif step == "..":
            raise InvalidInput(f"{here} refers to {uri!r}, outside the server.")
    return "/".join(steps)


__all__ = ["KINDS", "Choice", "Plan"]
