"""Analyses that behave badly or make files; installed for the tests as a package with entry points of its own."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from layers.catalogue import Title
from twin.analysis.outputs import COG, File
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import Progress

TEXT = {"type": "string"}
NUMBER = {"type": "number"}


def hold(city, *, note, seconds):
    """Sleeps without a word of progress; what it notes tells when it began and ended, and where."""
    del city
    with Path(note).open("a") as file:
        file.write(f"begin {os.getpid()}\n")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(10_000))  # the interpreter is busy
    with Path(note).open("a") as file:
        file.write(f"end {os.getpid()}\n")
    return {"pid": os.getpid()}


def crash(city, *, how):
    """Ends the worker process, or fails, in one of the ways native code and bugs do."""
    del city
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "exit":
        os._exit(3)
    if how == "memory":
        return {"pid": len(np.ones(2_000_000_000, np.float64))}
    raise ValueError("a bug with a secret in it")


def grid(city, *, size, progress: Progress):
    """A raster of `size` by `size` cells that count up from the north-west, 1 m each."""
    import rasterio
    from rasterio.transform import from_origin

    values = np.arange(size * size, dtype=np.float32).reshape(size, size)
    path = progress.file("grid.tif")
    transform = from_origin(598_000.0, 3_110_000.0, 1.0, 1.0)
    with rasterio.open(path, "w", driver="COG", width=size, height=size, count=1, dtype="float32", crs=city.crs,
                       transform=transform) as raster:  # fmt: skip
        raster.write(values, 1)
    progress(50, "written")
    return {"raster": File(path), "sum": float(values.sum()), "text": "x" * size}


def _process(name, function, inputs, outputs):
    return Process(
        id=name, title=Title(name, name), description=Title(name, name), inputs=inputs, outputs=outputs,
        function=function,
    )  # fmt: skip


HOLD = _process(
    "test-hold", hold,
    {"note": Parameter(Title("n", "n"), TEXT), "seconds": Parameter(Title("s", "s"), NUMBER | {"x-unit": "s"})},
    {"pid": Parameter(Title("p", "p"), {"type": "integer"})},
)  # fmt: skip
CRASH = _process(
    "test-crash", crash, {"how": Parameter(Title("h", "h"), TEXT)},
    {"pid": Parameter(Title("p", "p"), {"type": "integer"})},
)  # fmt: skip
GRID = _process(
    "test-grid", grid, {"size": Parameter(Title("s", "s"), {"type": ["integer", "null"]})},
    {
        "raster": Parameter(Title("r", "r"), {"type": "string", "contentEncoding": "binary"}, media_type=COG),
        "sum": Parameter(Title("s", "s"), NUMBER), "text": Parameter(Title("t", "t"), TEXT),
    },
)  # fmt: skip
