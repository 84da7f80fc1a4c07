"""Reads a raster, computes one thing of it, writes a plain GeoTIFF: `IN OUT MEASURE` or `IN OUT viewshed ROW COLUMN`.

Prints seconds by step and the greatest memory. What is compiled is compiled before.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import rasterio

from twin.analysis.terrain_slope import blocks, measured
from twin.analysis.viewshed_sight import bend_per_m, viewshed


def seen(raster, out, row, column):
    z = raster.read(1)
    read_s = time.perf_counter()
    dx, dy = raster.res
    given = {"dx": dx, "dy": dy, "reach_m": 1e7, "target_m": 1.6, "bend": bend_per_m()}
    states = viewshed(z, row, column, float(z[row, column]) + 10.0, **given)
    computed_s = time.perf_counter()
    out.write((states == 1).astype(np.uint8) * 255, 1)
    return read_s, computed_s


def shaped(raster, out, measure):
    width = raster.width
    read_s = computed_s = time.perf_counter()
    for top, values in blocks(Padded(raster), raster.shape, measure, raster.res):
        made = np.nan_to_num(np.floor(values + 0.5)).astype(np.uint8) if measure == "hillshade" else values
        out.write(made, 1, window=rasterio.windows.Window(0, top, width, len(values)))
        computed_s = time.perf_counter()
    return read_s, computed_s


class Padded:
    """Windows of an open raster, NaN beyond: read inside, put into place."""

    def __init__(self, raster):
        self.raster = raster

    def read(self, top, left, rows, columns):
        first, last = max(top, 0), min(top + rows, self.raster.height)
        out = np.full((rows, columns), np.nan)
        window = rasterio.windows.Window(0, first, self.raster.width, last - first)
        out[first - top : last - top, -left : -left + self.raster.width] = self.raster.read(1, window=window)
        return out


def memory_mb():
    """Greatest so far, of this program alone (what getrusage says includes who started it)."""
    status = Path("/proc/self/status").read_text("utf8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main(source, target, what, *place):
    small = np.random.default_rng(0).random((12, 12))
    viewshed(small.astype(np.float32), 5, 5, 2.0, dx=1.0, dy=1.0, reach_m=9.0)
    measured(small, "slope_deg", 1.0, 1.0)
    with rasterio.open(source) as raster:
        dtype = "float32" if what.startswith(("slope", "aspect")) else "uint8"
        profile = {"driver": "GTiff", "width": raster.width, "height": raster.height, "count": 1, "dtype": dtype,
                   "crs": raster.crs, "transform": raster.transform}  # fmt: skip
        started = time.perf_counter()
        with rasterio.open(target, "w", **profile) as out:
            read_s, computed_s = (
                seen(raster, out, *map(int, place)) if what == "viewshed" else shaped(raster, out, what)
            )
        ended = time.perf_counter()
    sys.stdout.write(json.dumps({
        "seconds": ended - started, "reading": read_s - started, "computing": computed_s - read_s,
        "memory_mb": memory_mb(),
    }))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
