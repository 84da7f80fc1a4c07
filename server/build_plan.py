"""What has to be read: every source of the folder against what the store remembers of it."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from ingest import module_of
from ingest.scan import SourceFile
from layers.errors import InvalidInput
from layers.source import Hints
from twin.config import TwinConfig
from twin.store.interface import Asset, SourceRecord

READING = 6
"""Grows when readers or fusion change what they make of the same file; then everything is read again."""

ADDED = "added:"
"""Prefix of sources that came by `citytwin add`; a build of the folder leaves them alone."""

FAILED = "failed"
"""Status of a source whose reader fell over: our fault, not the file's, so it is tried again at every build."""

_GROUND = "\nground="
_MARK = re.compile(r"-([0-9a-f]{8})\.copc\.laz$")
_POINT_READERS = {"points.las", "points.e57", "points.ptx", "points.ply"}
_ASSET_READERS = _POINT_READERS | {"raster.reader", "tileset.reader"}


@dataclass(frozen=True)
class Item:
    """One source and how it is to be read.

    Attributes
    ----------
    name : path below the source folder with `/`, or `added:` and the file's name
    settings : everything besides the bytes that decides what is stored
    known : what the store remembers, None for a new source
    """

    name: str
    file: SourceFile
    hints: Hints
    settings: str
    known: SourceRecord | None = None

    @property
    def is_asset(self) -> bool:
        """True for rasters, point clouds and 3D Tiles sets, which are kept as files."""
        return self._module in _ASSET_READERS

    @property
    def is_cloud(self) -> bool:
        """True for point clouds."""
        return self._module in _POINT_READERS

    @cached_property
    def _module(self) -> str:
        try:
            return module_of(self.file.path)
        except (InvalidInput, OSError):  # told when it is read
            return ""

    @property
    def is_changed(self) -> bool:
        """True if bytes or settings differ from what was stored; the ground is asked apart (`stands_on_other`)."""
        old = self.known
        if old is None or old.status == FAILED or old.settings.split(_GROUND)[0] != self.settings:
            return True
        if not old.sha256:  # it could not be opened; permissions change without a trace in size and time
            return True
        if (old.size, old.mtime_ns) == (self.file.size, self.file.mtime_ns):
            return False
        return old.sha256 != self.file.sha256

    def stands_on_other(self, ground: str) -> bool:
        """True if the source was stood on another ground than this one."""
        return self.known is not None and stands_on_other(self.known, ground)

    def record(self, status: str, ground: str | None) -> SourceRecord:
        """What the store is to remember; `ground` where the source was stood on it."""
        settings = self.settings if ground is None else f"{self.settings}{_GROUND}{ground}"
        return SourceRecord(self.name, self.file.sha256, self.file.size, self.file.mtime_ns, settings, status)


def stands_on_other(record: SourceRecord, ground: str) -> bool:
    """True if features of the source were stood on another ground than this one."""
    parts = record.settings.split(_GROUND)
    return len(parts) == 2 and parts[1] != ground


def item(name: str, file: SourceFile, hints: Hints, config: TwinConfig, known: SourceRecord | None) -> Item:
    """A source with its settings, which hold the hints and what of the city its features depend on."""
    said = {each.name: getattr(hints, each.name) for each in fields(hints) if each.name not in {"root", "lookup"}}
    city = [config.crs, config.vertical_crs, config.origin_lon_deg, config.origin_lat_deg, config.height_model]
    text = json.dumps([READING, city, said], sort_keys=True, ensure_ascii=False, default=_plain)
    return Item(name, file, hints, text, known)


def gone(known: Iterable[str], items: Sequence[Item]) -> list[str]:
    """Sources of the folder whose files are no more. What lies in a folder that cannot be listed is not gone."""
    present = {each.name for each in items}
    hidden = tuple(f"{each.name}/" for each in items if each.file.path.is_dir())
    return [name for name in known if name not in present and not name.startswith((ADDED, *hidden))]


def ground_name(assets: Iterable[Asset], items: Iterable[Item] = ()) -> str:
    """A fingerprint of what features stand on and reach up to: elevation rasters, surface models, point clouds.

    `items` are point clouds that are only being written.
    """
    rasters = [asset.path for asset in assets if asset.layer in {"dem", "dsm"}]
    clouds = [match[1] for asset in assets if asset.kind == "points" and (match := _MARK.search(asset.path))]
    written = [mark(item) for item in items if item.is_cloud]
    return " ".join(sorted({*rasters, *clouds, *written})) or "none"


def mark(item: Item) -> str:
    """8 hexadecimal digits that change with the bytes and the settings of a source; part of its files' names."""
    return hashlib.sha256(f"{item.file.sha256}{item.settings}".encode()).hexdigest()[:8]


def single_file(path: Path) -> SourceFile:
    """A file (or a folder that is one data set) of the command line as a source, with the side files next to it."""
    from ingest import scan

    wanted = path.resolve()
    if not wanted.exists() or (wanted.is_dir() and not wanted.name.lower().endswith(scan.WHOLE_FOLDERS)):
        from layers.errors import NotFound

        raise NotFound(f"There is no file {path}.", "Check the path.")
    for each in scan.sources(wanted.parent):
        if each.path == wanted:
            return each
    return SourceFile(wanted, wanted.name, (wanted,))


def _plain(value: object) -> object:
    return dict(value) if hasattr(value, "keys") else str(value)  # type: ignore[call-overload]
