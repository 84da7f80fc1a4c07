"""Slope, aspect and hillshade of 1,000 and 4,000 squared cells, file to file, next to gdaldem in the same run."""

import shutil

import numpy as np
import pytest
import rasterio

from tests.bench.test_sight import TIMES, ours, peer, relief, told

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(shutil.which("gdaldem") is None, reason="gdaldem is not installed (gdal-bin)"),
]

COMMANDS = {
    "slope_deg": ("slope",),
    "slope_pct": ("slope", "-p"),
    "aspect_deg": ("aspect",),
    "hillshade": ("hillshade",),
}


@pytest.mark.parametrize("side", [1_000, 4_000])
def test_measures(side, tmp_path):
    source = relief(tmp_path / "z.tif", side)
    for measure, (mode, *options) in COMMANDS.items():
        mine, theirs = [], []
        for _ in range(TIMES):
            theirs.append(peer(["gdaldem", mode, source, tmp_path / "peer.tif", "-q", *options]))
            mine.append(ours(source, tmp_path / "ours.tif", measure))
        told(side, measure, mine, theirs, "gdaldem")
        with rasterio.open(tmp_path / "ours.tif") as a, rasterio.open(tmp_path / "peer.tif") as b:
            found, there = a.read(1).astype(float), b.read(1).astype(float)
        inner = np.s_[1:-1, 1:-1]
        off = np.abs(found - there)[inner]
        if measure == "aspect_deg":
            off = np.minimum(off, 360 - off)
        # gdaldem adds heights as float32: steps of 6e-5 m at 500 m, on cells of 2 m
        print(f"  differ by at most {np.nanmax(off):.4f}, by {np.nanmean(off):.6f} in the mean")  # noqa: T201
        assert np.nanmean(off) < 0.002
