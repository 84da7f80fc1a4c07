"""The twin's folder during a build: one builder at a time, enough room, reports in step with the store, no orphans."""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layers.errors import CityTwinError, InvalidInput
from twin.config import FILE
from twin.store.interface import Asset

LOCK = ".lock"
OWN = {FILE, LOCK, "rasters", "points", "tilesets", "reports", "cache", "city.gpkg", "city.gpkg-wal", "city.gpkg-shm"}
OWN |= {"rules", "indicators", "supervision.toml", "jobs"}
ROOM = 256 << 20
"""Bytes that stay free on the disk whatever is built."""


@contextmanager
def locked(twin_dir: Path) -> Iterator[None]:
    """Hold the folder's lock; a second builder gets an error instead of waiting. A killed builder leaves no lock."""
    twin_dir.mkdir(parents=True, exist_ok=True)
    with (twin_dir / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CityTwinError(f"Another build is writing {twin_dir}.", "Wait for it to end.") from error
        yield


def check_target(source_dir: Path, twin_dir: Path) -> None:
    """Refuse a twin inside its own sources, and a folder that holds something else."""
    if not source_dir.is_dir():
        raise InvalidInput(f"{source_dir} is not a folder.", "Give the folder that holds the source files.")
    if twin_dir.resolve().is_relative_to(source_dir.resolve()):
        raise InvalidInput(f"{twin_dir} lies inside {source_dir}.", "Build into a folder outside the sources.")
    if twin_dir.exists() and not twin_dir.is_dir():
        raise InvalidInput(f"{twin_dir} is a file.", "Give a folder.")
    if twin_dir.is_dir() and not (twin_dir / FILE).exists():
        names = [path.name for path in twin_dir.iterdir()]
        strange = [name for name in names if name not in OWN and not name.startswith((".", "height_grid."))]
        if strange:
            raise InvalidInput(
                f"{twin_dir} is not a twin and holds other things ({strange[0]}).", "Build into an empty folder."
            )


def check_room(twin_dir: Path, n_bytes: int) -> None:
    """Refuse to begin where the disk could not hold three times what is read, plus some room."""
    free = shutil.disk_usage(twin_dir).free
    if free < 3 * n_bytes + ROOM:
        raise CityTwinError(
            f"The disk of {twin_dir} has {free >> 20} MB free; {(3 * n_bytes + ROOM) >> 20} MB are needed.",
            "Free some space, or build on another disk.",
        )


def slug(name: str) -> str:
    """A file name for a source: letters, digits, `.` and `-`; a hash keeps different names apart."""
    plain = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "source"
    if plain == name and len(plain.encode()) <= 100:
        return plain
    return f"{plain[:40]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def write_reports(twin_dir: Path, reports: Iterable[dict[str, Any]]) -> None:
    """Bring reports/ in step with the sources: write what differs, each in one step, and delete what is of none."""
    folder = twin_dir / "reports"
    folder.mkdir(exist_ok=True)
    wanted: set[str] = set()
    for report in reports:
        path = folder / f"{slug(report['source'])}.json"
        wanted |= {path.name, report.get("rejects_file") or path.name}
        text = json.dumps(report, ensure_ascii=False, indent=1, default=str) + "\n"
        if path.is_file() and path.read_text("utf8", errors="replace") == text:
            continue
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text, "utf8")
        temporary.replace(path)
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink()


def sweep(twin_dir: Path, assets: Iterable[Asset]) -> None:
    """Delete rasters, point clouds and 3D Tiles sets that no asset names: left by builds killed or superseded."""
    wanted = {asset.path for asset in assets}
    for name in ("rasters", "points", "tilesets"):
        folder = twin_dir / name
        for path in folder.iterdir() if folder.is_dir() else ():
            if f"{name}/{path.name}" in wanted:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
