"""Which files of a folder belong to one 3D Tiles set, so that its ten thousand tiles are one source.

A set is named by `tileset.json`; where tiles lie around without one, by the only `.json` that is a tileset document.
The outermost document owns what lies below its folder and looks like a part of a set.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ingest.tileset.copy import OWN_SUFFIXES

ROOT = "tileset.json"
TILES = (".b3dm", ".i3dm", ".pnts", ".cmpt", ".subtree")
SNIFFED_BYTES = 65536


def parts_of_sets(by_folder: Mapping[Path, Sequence[Path]]) -> dict[Path, list[Path]]:
    """Root document -> the other files of its set, for the files of each folder."""
    roots = {folder: path for folder, paths in by_folder.items() for path in paths if path.name.lower() == ROOT}
    tiled = [folder for folder, paths in by_folder.items() if any(_is(path, TILES) for path in paths)]
    for folder in _above(tiled, by_folder):
        if not any(each in roots for each in (folder, *folder.parents)):
            found = [path for path in by_folder[folder] if _is(path, (".json",)) and _is_document(path)]
            if len(found) == 1:
                roots[folder] = found[0]
    outermost = {folder: path for folder, path in roots.items() if not any(up in roots for up in folder.parents)}
    parts: dict[Path, list[Path]] = {path: [] for path in outermost.values()}
    for folder, paths in by_folder.items():
        owner = next((outermost[up] for up in (folder, *folder.parents) if up in outermost), None)
        if owner is not None:
            parts[owner] += [path for path in paths if path != owner and _is(path, OWN_SUFFIXES)]
    return {path: sorted(found) for path, found in parts.items()}


def _above(tiled: Iterable[Path], known: Mapping[Path, Sequence[Path]]) -> list[Path]:
    """Folders with tiles and those above them, outermost first."""
    found = {up for folder in tiled for up in (folder, *folder.parents) if up in known}
    return sorted(found, key=lambda folder: len(folder.parts))


def _is(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(suffixes)


def _is_document(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            squeezed = b"".join(file.read(SNIFFED_BYTES).split())
    except OSError:
        return False
    return b'"asset":{' in squeezed and (b'"geometricError":' in squeezed or b'"root":' in squeezed)
