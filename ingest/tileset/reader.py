"""3D Tiles sets adopted as they are: a folder with `tileset.json`, a `.3tz` archive, or a lone b3dm, i3dm, pnts, cmpt.

Spec: OGC 22-025r4 (3D Tiles 1.1), OGC 18-053r2 (1.0), MAXAR_content_3tz. Every file that the set refers to is checked
and copied under its name; a broken one is named and left out, the rest stays. The place comes from the root's bounding
volume and transform, which lead to geocentric coordinates; heights in a set are above the ellipsoid.
"""

import json
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ingest.detect import name_words
from ingest.tileset import content as tileset_content
from ingest.tileset import files as tileset_files
from ingest.tileset import json as tileset_json
from ingest.tileset import place as tileset_place
from ingest.tileset.copy import MAX_TILE_BYTES, SetCopy
from ingest.tileset.files import FolderFiles, TileFiles, ZipFiles
from ingest.tileset.json import Document, Fault
from ingest.tileset.place import Extent, Matrix
from ingest.vector.reader import ids_name
from layers import catalogue
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, Hints, Reading

SUFFIXES = ("tileset.json", ".3tz", ".b3dm", ".i3dm", ".pnts", ".cmpt")

GEODETIC = "EPSG:4979"
ROOT = "tileset.json"
MAX_DOCUMENT_BYTES = 512 << 20


def read(path: Path, hints: Hints) -> Reading:
    """The set as an asset in EPSG:4979.

    Raises InvalidInput for a set whose root no client could use, Unplaceable for one without georeference.
    """
    name = ids_name(path, hints)
    given = tileset_place.given_place(hints.values, name)
    layer_type = _layer_type(name, hints)
    if path.suffix.lower() in {".b3dm", ".i3dm", ".pnts", ".cmpt"}:
        return _lone(path, name, layer_type, given)
    with _opened(path) as files:
        root = _root_name(files, path, name)
        document, extent, placed, issues = _root(files, root, name, given)
    title = path.parent.name if path.name.lower() == ROOT else path.name.rsplit(".", 1)[0]
    version = document.body["asset"]["version"]
    meta = _meta(root, version, extent, document.body.get("geometricError"))
    lists_rest = path.suffix.lower() == ".3tz" or path.name.lower() == ROOT

    def write(target: Path) -> list[Issue]:
        with _opened(path) as files:
            copy = SetCopy(files, root, target, _moved(document, placed))
            found = copy.write(lists_rest=lists_rest)
            meta.update(files=copy.n_files, bytes=copy.n_bytes)
        return found

    layer = _asset(title or name, layer_type, extent, meta, hints)
    layer.write = write
    certificate = _certificate(extent, is_given=placed is not None)
    return Reading(path, f"3D Tiles {version}", [layer], certificate, issues)


def _opened(path: Path) -> AbstractContextManager[FolderFiles] | AbstractContextManager[ZipFiles]:
    return ZipFiles(path) if path.suffix.lower() == ".3tz" else FolderFiles(path.parent)


def _root_name(files: TileFiles, path: Path, name: str) -> str:
    if path.suffix.lower() != ".3tz":
        return path.name
    if not files.has(ROOT):
        raise InvalidInput(f"{name} has no {ROOT} at its top.", "Pack the set again.", code="TILESET_INVALID")
    return ROOT


def _root(
    files: TileFiles, root: str, name: str, given: Matrix | None
) -> tuple[Document, Extent, Matrix | None, list[Issue]]:
    """The root document, where it lies, the root's new transform where one was given."""
    try:
        document = tileset_json.parse(root, tileset_files.read(files, root, MAX_DOCUMENT_BYTES))
        tileset_json.check_head(document)
        tile = next(tileset_json.tiles(document))
        kind, values = tileset_json.volume(tile.body["boundingVolume"], "/root/boundingVolume")
    except Fault as fault:
        problem = f"{name} {fault.path}: {fault.sentence}"
        raise InvalidInput(
            problem, "Write the set again; 3d-tiles-validator names all faults.", code=fault.code
        ) from fault
    matrix = tileset_json.transform(tile.body, "/root")
    extent, placed = tileset_place.extent_of(kind, values, matrix), None
    issues: list[Issue] = []
    if extent is None and given is not None:
        placed = given @ matrix
        extent = tileset_place.extent_of(kind, values, placed)
    elif given is not None:
        message = "city.toml gives the set a place, but it has one of its own, which was believed."
        issues.append(Issue("PLACE_GIVEN", name, message, "Remove the place from city.toml.", "warning"))
    if extent is None:
        numbers = ", ".join(f"{value:.6g}" for value in (matrix @ [*values[:3], 1])[:3])
        raise tileset_place.unplaced(name, f"the centre of its root is at {numbers}, which is not on Earth's surface")
    return document, extent, placed, issues


def _moved(document: Document, placed: Matrix | None) -> bytes | None:
    """The root document with another transform of its root; None where it stays as it is."""
    if placed is None:
        return None
    root = {**document.body["root"], "transform": [float(value) for value in placed.T.ravel()]}
    return json.dumps({**document.body, "root": root}, ensure_ascii=False).encode()


def _meta(root: str, version: str, extent: Extent, error: Any) -> dict[str, Any]:
    height_m = [round(extent.low_m, 3), round(extent.high_m, 3)]
    is_number = isinstance(error, int | float) and error > 0
    return {"root": root, "version": version, "height_m": height_m, "geometric_error": error if is_number else None}


def _asset(name: str, layer_type: str, extent: Extent, meta: dict[str, Any], hints: Hints) -> AssetLayer:
    return AssetLayer(
        name=name, kind="tileset", layer_type=layer_type, crs=GEODETIC, bounds=extent.bounds, meta=meta,
        write=lambda _: [], suffix="", vertical_crs=GEODETIC, epoch=hints.epoch,
    )  # fmt: skip


def _certificate(extent: Extent, *, is_given: bool) -> Certificate:
    how = "the place given in city.toml for the origin of its frame" if is_given else "the root's bounding volume"
    parameters = {"from": how, "ellipsoidal_heights_m": [round(extent.low_m, 3), round(extent.high_m, 3)]}
    return Certificate("geocentric", source_crs=GEODETIC, source_vertical_crs=GEODETIC, parameters=parameters)


def _layer_type(name: str, hints: Hints) -> str:
    known = {key: each for key, each in catalogue.load().items() if each.geometry == "tileset"}
    if hints.layer is not None:
        if catalogue.layer_type(hints.layer).id not in known:
            problem = f"Layer {hints.layer!r} does not hold 3D Tiles sets."
            raise InvalidInput(problem, f"Use {', '.join(known)}.", code="LAYER_GEOMETRY_DIFFERS")
        return hints.layer
    words = name_words(name)
    for key, each in known.items():
        if any(name_words(token) in words or (not token.isascii() and token in words) for token in each.tokens):
            return key
    return "tileset"


def _lone(path: Path, name: str, layer_type: str, given: Matrix | None) -> Reading:
    """A tile without a tileset: a set of one is made around it, with a box from its own contents."""
    if path.stat().st_size > MAX_TILE_BYTES:
        raise InvalidInput(f"{name} is larger than {MAX_TILE_BYTES} bytes.", "", code="TILE_TOO_LARGE")
    with FolderFiles(path.parent) as files:
        try:
            content = tileset_content.examine(tileset_files.read(files, path.name, MAX_TILE_BYTES))
        except Fault as fault:
            raise InvalidInput(f"{name}: {fault.sentence}", "Copy or export it again.", code=fault.code) from fault
    if not content.boxes:
        problem = f"{name} does not say how far its contents reach."
        raise InvalidInput(problem, "Write a tileset.json for it.", code="TILE_WITHOUT_EXTENT")
    low = np.min([box[0] for box in content.boxes], axis=0)
    high = np.max([box[1] for box in content.boxes], axis=0)
    centre, half = (low + high) / 2, np.maximum((high - low) / 2, 0.01)
    matrix, radius = np.eye(4), float(half.sum())
    extent = tileset_place.extent_of_box(centre, np.diag(half), radius)
    is_given = extent is None and given is not None
    if extent is None and given is not None:
        matrix = given
        extent = tileset_place.extent_of_box((matrix @ [*centre, 1])[:3], np.diag(half) @ matrix[:3, :3].T, radius)
    if extent is None:
        raise tileset_place.unplaced(name, "its contents lie around " + ", ".join(f"{value:.6g}" for value in centre))
    root: dict[str, Any] = {
        "boundingVolume": {"box": [*centre.tolist(), *np.diag(half).ravel().tolist()]},
        "geometricError": 0,
        "refine": "ADD",
        "content": {"uri": path.name},
    }
    if is_given:
        root["transform"] = [float(value) for value in matrix.T.ravel()]
    span = 2 * radius
    document = {"asset": {"version": "1.0"}, "geometricError": span, "root": root}
    meta = _meta(ROOT, "1.0", extent, span)
    layer = _asset(path.name.rsplit(".", 1)[0], layer_type, extent, meta, Hints())
    layer.write = partial(_write_lone, path, json.dumps(document).encode(), meta)
    return Reading(path, f"3D Tiles ({content.kind})", [layer], _certificate(extent, is_given=is_given))


def _write_lone(path: Path, document: bytes, meta: dict[str, Any], target: Path) -> list[Issue]:
    with FolderFiles(path.parent) as files:
        copy = SetCopy(files, ROOT, target, document)
        found = copy.write(lists_rest=False)
        meta.update(files=copy.n_files, bytes=copy.n_bytes)
    return found
