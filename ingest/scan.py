"""What lies in a folder: one entry a source, side files joined to it, and a reason for what is passed over."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ingest import check_is_file, suffix_of
from ingest.mesh import scan as mesh_scan
from ingest.table import survey_scan
from ingest.tileset import scan as tileset_scan
from layers.errors import InvalidInput

IGNORED_NAMES = {"city.toml", "supervision.toml", "expected.json", "thumbs.db", "desktop.ini"}
RULE_FOLDERS = ("rules", "indicators")
"""What the city rules for itself (YAML); the build takes it into the twin."""
IGNORED_SUFFIXES = {".md": "a document", ".txt": "a document", ".pdf": "a document"}
IGNORED_SUFFIXES |= {".qgz": "a QGIS project", ".qgs": "a QGIS project"}

IMAGES: dict[str, tuple[str, ...]] = {
    ".png": (".pgw", ".pngw", ".wld"), ".jpg": (".jgw", ".jpgw", ".wld"), ".jpeg": (".jgw", ".jpegw", ".wld"),
    ".webp": (), ".bmp": (), ".tga": (), ".gif": (),
}  # fmt: skip
"""Images, and the world files that make rasters of them; without one they are textures or photographs."""

SIDE_FILES: dict[str, tuple[str, ...]] = {
    ".shp": (
        ".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx", ".qpj", ".idm", ".ind", ".ain", ".aih", ".atx", ".fix",
        ".shp.xml",
    ),
    ".gpkg": (".gpkg-wal", ".gpkg-shm", ".gpkg-journal"),
    ".tif": (".tfw", ".tifw", ".tif.ovr", ".tif.aux.xml", ".tif.msk", ".prj", ".wld", ".tab"),
    ".tiff": (".tfw", ".tiffw", ".tiff.ovr", ".tiff.aux.xml", ".tiff.msk", ".prj", ".wld"),
    ".png": (".pgw", ".pngw", ".wld", ".png.aux.xml", ".prj"),
    ".jpg": (".jgw", ".jpgw", ".wld", ".jpg.aux.xml", ".prj"),
    ".jpeg": (".jgw", ".jpegw", ".wld", ".jpeg.aux.xml", ".prj"),
    ".asc": (".prj", ".asc.aux.xml"),
    ".img": (".ige", ".rrd", ".img.aux.xml", ".img.ovr"),
    ".tab": (".dat", ".map", ".id", ".ind", ".dbf"),
    ".mif": (".mid",),
    ".gml": (".gfs", ".xsd"),
    ".dbf": (".cpg",),
    ".csv": (".csvt", ".prj"),
    ".las": (".prj", ".lax"),
    ".laz": (".prj", ".lax"),
}  # fmt: skip
"""Suffix of a source -> suffixes of files that belong to it, same name otherwise."""

VOLATILE = (".gpkg-shm",)
"""Side files whose bytes change without the data changing; they are not hashed."""

WHOLE_FOLDERS = (".gdb",)
"""Folders that are one data set; their parts are the files right in them, without locks."""

NO_WORLD_FILE = "an image without a world file"
LINK_OUT, LINK_TO_FOLDER = "a link to a place outside the folder", "a link to a folder"


@dataclass(frozen=True)
class SourceFile:
    """One source: the file to read, everything that belongs to it, or why it is not read.

    Attributes
    ----------
    path : the file that a reader is given; a folder where it is one data set or cannot be listed
    name : path below the scanned folder, with `/`; bytes that are no UTF-8 are escaped
    parts : all files of the source, `path` first
    ignored : reason why it is passed over; empty for a source

    What cannot be opened has size and time 0 and an empty hash.
    """

    path: Path
    name: str
    parts: tuple[Path, ...]
    ignored: str = ""

    @cached_property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(stat.st_size for stat in self._stats)

    @cached_property
    def mtime_ns(self) -> int:
        """When the youngest part was changed."""
        return max((stat.st_mtime_ns for stat in self._stats), default=0)

    @cached_property
    def _stats(self) -> list[os.stat_result]:
        try:
            return [part.stat() for part in self.parts]
        except OSError:
            return []

    @cached_property
    def sha256(self) -> str:
        """Hash over the names and bytes of all parts, in a stable order; read in blocks."""
        try:
            return self._hashed()
        except OSError:
            return ""

    def _hashed(self) -> str:
        if not all(part.is_file() or part.is_dir() for part in self.parts):
            return ""  # a pipe or a device: `check` refuses it
        digest = hashlib.sha256()
        for part in self.parts:
            if part.name.lower().endswith(VOLATILE) or (part == self.path and len(self.parts) > 1 and part.is_dir()):
                continue
            digest.update(os.fsencode(part.name) + b"\0" + str(part.stat().st_size).encode() + b"\0")
            with part.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def check(self) -> None:
        """Raises InvalidInput where a part cannot be opened, is no file, or all parts are empty; or for an odd name."""
        if not _is_utf8(self.path.name):
            raise _unreadable(self.name, "its name is not UTF-8", "Rename it.")
        for part in self.parts:
            try:
                check_is_file(part)
                with os.scandir(part) if part.is_dir() else part.open("rb"):
                    pass
            except OSError as error:
                name = self.name if part == self.path else part.name
                way = "Mend or remove the link." if part.is_symlink() else "Check its permissions."
                raise _unreadable(name, f"{error.strerror}", way) from error
        if self.size == 0 and not self.path.is_dir():
            raise InvalidInput(f"{self.name} is empty (0 bytes).", "Copy or export it again.", code="FILE_EMPTY")


def _unreadable(name: str, why: str, way: str) -> InvalidInput:
    return InvalidInput(f"{name} cannot be opened: {why}.", way, code="FILE_UNREADABLE")


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in name)


def _name(path: Path, folder: Path) -> str:
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf8", "backslashreplace")


def sources(folder: Path) -> list[SourceFile]:
    """Every source below a folder, in the order of its name. Files that no reader knows are among them."""
    return [each for each in everything(folder) if not each.ignored]


def everything(folder: Path) -> list[SourceFile]:
    """Sources and ignored files (with the reason), in the order of their names.

    Links out of the folder and links to folders are ignored. A folder that cannot be listed is a source, so that it
    is named.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    found: list[SourceFile] = []
    images: set[Path] = set()
    root = folder.resolve()
    for path in _walk(folder):
        reason = _reason(path, folder, root)
        if reason == NO_WORLD_FILE:  # perhaps the texture of a model, or a part of a 3D Tiles set
            by_folder[path.parent].append(path)
            images.add(path)
        elif reason or path.is_dir():
            inside = () if reason else _inside(path)
            found.append(SourceFile(path, _name(path, folder), (path, *inside), reason))
        else:
            by_folder[path.parent].append(path)
    sets = tileset_scan.parts_of_sets(by_folder)
    found += [SourceFile(path, _name(path, folder), (path, *parts)) for path, parts in sets.items()]
    in_sets = {path for root, parts in sets.items() for path in (root, *parts)}
    alone = {top: sorted(path for path in paths if path not in in_sets) for top, paths in by_folder.items()}
    beside = mesh_scan.companions(alone)
    belonging = {path for parts in beside.values() for path in parts}
    lone_images = images - in_sets - belonging
    found += [SourceFile(path, _name(path, folder), (path,), NO_WORLD_FILE) for path in lone_images]
    belonging |= images
    for paths in alone.values():
        for each in _grouped([path for path in paths if path not in belonging], folder):
            points = survey_scan.points_beside(each.path, paths)  # of a pipe survey: sources themselves, too
            found.append(replace(each, parts=(*each.parts, *beside.get(each.path, ()), *points)))
    return sorted(found, key=lambda each: each.name)


def _walk(folder: Path) -> Iterator[Path]:
    """Files, links to folders, folders that are one data set, folders that cannot be listed."""
    blocked: list[Path] = []
    for top, folders, names in os.walk(folder, onerror=lambda error: blocked.append(Path(error.filename))):
        here = Path(top)
        whole = {name for name in folders if name.lower().endswith(WHOLE_FOLDERS) or (here / name).is_symlink()}
        folders[:] = [name for name in folders if name not in whole]
        yield from (here / name for name in (*names, *whole))
    yield from blocked


def _inside(path: Path) -> list[Path]:
    """The files of a folder that is one data set; none of a folder that cannot be listed."""
    if not path.name.lower().endswith(WHOLE_FOLDERS):
        return []
    try:
        return sorted(each for each in path.iterdir() if each.is_file() and not each.name.endswith(".lock"))
    except OSError:
        return []


def _reason(path: Path, folder: Path, root: Path) -> str:
    inside = path.relative_to(folder)
    if any(part.startswith(".") for part in inside.parts):
        return "hidden"
    if path.is_symlink():
        target = Path(os.path.realpath(path))  # pathlib's own falls over links that lead in a circle
        if not target.is_relative_to(root):
            return LINK_OUT
        if target.is_dir():
            return LINK_TO_FOLDER
    name = path.name.lower()
    if name in IGNORED_NAMES or name.startswith(("readme", "licence", "license")):
        return "not data"
    if name.startswith("~$") or name.endswith(("~", ".tmp", ".lock", ".bak")):
        return "a temporary file"
    suffix = path.suffix.lower()
    if inside.parts[:-1] in {(each,) for each in RULE_FOLDERS} and suffix in {".yaml", ".yml"}:
        return "rules of the city"
    if suffix in IMAGES and not any(path.with_suffix(world).exists() for world in IMAGES[suffix]):
        return NO_WORLD_FILE
    return IGNORED_SUFFIXES.get(suffix, "")


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
    return [SourceFile(path, _name(path, folder), (path, *owner.get(path, ()))) for path in paths if path not in taken]
