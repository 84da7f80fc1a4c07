"""What lies in a folder: one entry a source, side files joined to it, and a reason for what is passed over."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ingest import suffix_of

IGNORED_NAMES = {"city.toml", "expected.json", "thumbs.db", "desktop.ini"}
IGNORED_SUFFIXES = {".md": "a document", ".txt": "a document", ".pdf": "a document"}
IGNORED_SUFFIXES |= {".qgz": "a QGIS project", ".qgs": "a QGIS project"}

SIDE_FILES: dict[str, tuple[str, ...]] = {
    ".shp": (
        ".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx", ".qpj", ".idm", ".ind", ".ain", ".aih", ".atx", ".fix",
        ".shp.xml",
    ),
    ".gpkg": (".gpkg-wal", ".gpkg-shm", ".gpkg-journal"),
    ".tif": (".tfw", ".tifw", ".tif.ovr", ".tif.aux.xml", ".tif.msk", ".prj", ".wld", ".tab"),
    ".tiff": (".tfw", ".tiffw", ".tiff.ovr", ".tiff.aux.xml", ".tiff.msk", ".prj", ".wld"),
    ".asc": (".prj", ".asc.aux.xml"),
    ".img": (".ige", ".rrd", ".img.aux.xml", ".img.ovr"),
    ".tab": (".dat", ".map", ".id", ".ind"),
    ".csv": (".csvt", ".prj"),
    ".las": (".prj", ".lax"),
    ".laz": (".prj", ".lax"),
}  # fmt: skip
"""Suffix of a source -> suffixes of files that belong to it, same name otherwise."""

VOLATILE = (".gpkg-shm",)
"""Side files whose bytes change without the data changing; they are not hashed."""


@dataclass(frozen=True)
class SourceFile:
    """One source: the file to read, everything that belongs to it, or why it is not read.

    Attributes
    ----------
    path : the file that a reader is given
    name : path below the scanned folder, with `/`
    parts : all files of the source, `path` first
    ignored : reason why it is passed over; empty for a source
    """

    path: Path
    name: str
    parts: tuple[Path, ...]
    ignored: str = ""

    @cached_property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.stat().st_size for part in self.parts)

    @cached_property
    def mtime_ns(self) -> int:
        """When the youngest part was changed."""
        return max(part.stat().st_mtime_ns for part in self.parts)

    @cached_property
    def sha256(self) -> str:
        """Hash over the names and bytes of all parts, in a stable order; read in blocks."""
        digest = hashlib.sha256()
        for part in self.parts:
            if part.name.lower().endswith(VOLATILE):
                continue
            digest.update(part.name.encode() + b"\0" + str(part.stat().st_size).encode() + b"\0")
            with part.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


def sources(folder: Path) -> list[SourceFile]:
    """Every source below a folder, in the order of its name. Files that no reader knows are among them."""
    return [each for each in everything(folder) if not each.ignored]


def everything(folder: Path) -> list[SourceFile]:
    """Sources and ignored files (with the reason), in the order of their names. Links out of the folder are ignored."""
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    found: list[SourceFile] = []
    root = folder.resolve()
    for path in sorted(folder.rglob("*"), key=lambda each: each.relative_to(folder).as_posix()):
        if path.is_dir():
            continue
        reason = _reason(path, folder, root)
        if reason:
            found.append(SourceFile(path, path.relative_to(folder).as_posix(), (path,), reason))
        else:
            by_folder[path.parent].append(path)
    for paths in by_folder.values():
        found += _grouped(paths, folder)
    return sorted(found, key=lambda each: each.name)


def _reason(path: Path, folder: Path, root: Path) -> str:
    inside = path.relative_to(folder)
    if any(part.startswith(".") for part in inside.parts):
        return "hidden"
    if not path.resolve().is_relative_to(root):
        return "a link to a place outside the folder"
    name = path.name.lower()
    if name in IGNORED_NAMES or name.startswith(("readme", "licence", "license")):
        return "not data"
    if name.startswith("~$") or name.endswith(("~", ".tmp", ".lock", ".bak")):
        return "a temporary file"
    return IGNORED_SUFFIXES.get(path.suffix.lower(), "")


def _grouped(paths: list[Path], folder: Path) -> list[SourceFile]:
    """Sources of one folder. A side file without its main file is a source of its own, so that it is named."""
    by_name = {path.name.lower(): path for path in paths}
    owner: dict[Path, list[Path]] = {}
    taken: set[Path] = set()
    for path in paths:
        suffix = suffix_of(path) or path.suffix.lower()
        if suffix not in SIDE_FILES:
            continue
        stem = path.name[: -len(suffix)].lower()
        parts = [by_name[stem + side] for side in SIDE_FILES[suffix] if stem + side in by_name]
        owner[path] = [part for part in parts if part != path]
        taken |= set(owner[path])
    return [
        SourceFile(path, path.relative_to(folder).as_posix(), (path, *owner.get(path, ())))
        for path in paths
        if path not in taken
    ]
