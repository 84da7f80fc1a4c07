"""The place from which a library opens a source, where opening it in its own folder would write there.

Sources are read-only. GDAL writes `.gfs` next to GML, an index next to a shapefile without one, and SQLite writes
`-wal` and `-shm` next to a GeoPackage in WAL mode. Such files are opened through a temporary folder of links or copies,
which goes when nothing refers to it any more.
"""

import shutil
import tempfile
import weakref
from pathlib import Path

from ingest import archive, markup
from layers.errors import InvalidInput

KML_BYTES = 200_000_000
"""GDAL holds a whole document in memory, in many times its bytes."""
_WAL_MODE = b"\x02\x02"


class Scratch:
    """A temporary folder that lives as long as this object."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="citytwin-source-"))
        self._gone = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def link(self, path: Path, suffixes: tuple[str, ...] = ()) -> Path:
        """A link to a file, and to the files beside it with the same stem and one of the suffixes (any case)."""
        wanted = {(path.stem + suffix).lower() for suffix in suffixes}
        for each in (path, *(each for each in path.parent.iterdir() if each.name.lower() in wanted)):
            if not (self.folder / each.name).exists():
                (self.folder / each.name).symlink_to(each.resolve())
        return self.folder / path.name

    def copy(self, path: Path, suffixes: tuple[str, ...]) -> Path:
        """A copy of a file and of those whose names are its own and a suffix."""
        for each in (path, *(path.with_name(path.name + suffix) for suffix in suffixes)):
            if each.exists():
                shutil.copyfile(each, self.folder / each.name)
        return self.folder / path.name


def is_live_database(path: Path) -> bool:
    """True for an SQLite file in WAL mode or with a journal of an unfinished write: reading it would write."""
    with path.open("rb") as file:
        head = file.read(20)
    return head[18:20] == _WAL_MODE or any(path.with_name(path.name + each).exists() for each in ("-wal", "-journal"))


def unpacked_kmz(path: Path, scratch: Scratch) -> list[Path]:
    """The KML documents of a KMZ, the main one (`doc.kml`, else the first) first.

    Raises InvalidInput for an unsafe archive, or one without KML. Format: OGC 12-007r2, annex C.
    """
    with archive.opened(path) as held:
        names = sorted(held.names(".kml"), key=lambda name: (name.lower() != "doc.kml", name.count("/")))
        if not names:
            raise InvalidInput(f"{path.name} holds no .kml.", "Export it again.", code="FILE_EMPTY")
        total = sum(held.entries[name].file_size for name in names)
        if total > KML_BYTES:
            raise InvalidInput(
                f"{path.name} holds {total} bytes of KML.",
                "Split or convert it to GeoPackage.",
                code="ARCHIVE_TOO_LARGE",
            )
        made = held.extract(scratch.folder, names)
    for each in made:
        markup.check(each)
    return made


def unpacked_gdb(path: Path, scratch: Scratch) -> Path:
    """The folder of a zipped file geodatabase. Raises InvalidInput for an unsafe archive, or one without it."""
    with archive.opened(path) as held:
        inside = [name for name in held.names() if name.lower().endswith(".gdbtable")]
        if not inside:
            raise InvalidInput(
                f"{path.name} holds no file geodatabase.", "Zip the whole .gdb folder.", code="FILE_EMPTY"
            )
        held.extract(scratch.folder)
    folders = sorted({(scratch.folder / name.replace("\\", "/")).parent for name in inside})
    if len(folders) > 1:
        raise InvalidInput(
            f"{path.name} holds {len(folders)} geodatabases.", "Zip each of them by itself.", code="ARCHIVE_AMBIGUOUS"
        )
    if folders[0].name.lower().endswith(".gdb"):
        return folders[0]
    named = scratch.folder / f"{path.name.split('.')[0]}_.gdb"
    named.mkdir()
    for each in list(folders[0].iterdir()):
        if each.is_file():
            each.rename(named / each.name)
    return named
