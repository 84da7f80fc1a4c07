"""Files of a store that is open in this process must not be opened by anything but SQLite: this copies and reads them.

A process loses all its POSIX locks on a file when it closes any descriptor of it (fcntl(2); SQLite: howtocorrupt.html,
2.2). A copy of `city.gpkg-shm` or a second SQLite, GDAL's, does that: the next process that opens the store believes
that it is alone and cuts the shared memory under the readers here, which end by a bus error.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyogrio

STORES = ("city.gpkg", "jobs.sqlite")


def copy_twin(source, target):
    """A copy of a twin's folder without its jobs, made by another process; returns the target."""
    target = Path(target)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-r", f"{source}/.", str(target)], check=True)
    shutil.rmtree(target / "jobs", ignore_errors=True)
    for shared in target.rglob("*-shm"):
        shared.unlink()
    return target


def read_layer(folder, layer, **options):
    """A layer of a twin as GDAL reads it, from a copy of the file."""
    with tempfile.TemporaryDirectory() as place:
        files = [str(path) for path in Path(folder).glob("city.gpkg*") if not path.name.endswith("-shm")]
        subprocess.run(["cp", *files, place], check=True)
        return pyogrio.read_dataframe(Path(place) / "city.gpkg", layer=layer, **options)


def watch():
    """From now on an error for Python code that opens a store's file while SQLite has it open in this process."""
    sys.addaudithook(_look)


def _look(event, arguments):
    if event != "open" or not isinstance(arguments[0], str):
        return
    name = arguments[0].rpartition("/")[2]
    if not name.startswith(STORES):
        return
    path = Path(arguments[0]).resolve()
    for descriptor in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").is_dir() else ():
        try:
            is_open = descriptor.readlink() == path
        except OSError:
            continue
        if is_open:
            raise RuntimeError(f"{path} is open in this process: use tests/stores.py.")
