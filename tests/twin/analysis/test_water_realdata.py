"""Flood and watershed on real elevation models, against scipy and pyflwdir."""

import os
from pathlib import Path

import numpy as np
import pyflwdir
import pytest
import rasterio
from scipy import ndimage

from twin.analysis.elevation import Grid
from twin.analysis.flood_inundation_water import FLOODED, water
from twin.analysis.watershed_flow import NONE, basins, flow, sub_basins

NAMES = ("dem_titiler", "korea_dem_34707051", "elev_luxembourg", "ky4_elevation")
WAYS = np.array([1, 2, 4, 8, 16, 32, 64, 128, 0] + [247] * 247, np.uint8)


@pytest.fixture(params=NAMES)
def heights(request):
    named = os.environ.get("CITYTWIN_REALDATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[4] / "shared" / "realdata"
    path = folder / "raster" / f"{request.param}.tif"
    if not path.exists():
        pytest.skip("no realdata folder: set CITYTWIN_REALDATA to one with a MANIFEST.csv")
    with rasterio.open(path) as file:
        return file.read(1, masked=True).astype(float).filled(np.nan)


def test_flood_equals_labels(heights):
    rows, columns = heights.shape
    grid = Grid("EPSG:4549", 500_000.0, 3_110_000.0, 5.0, 5.0, columns, rows)
    known = np.argwhere(np.isfinite(heights))
    seeds = known[np.random.default_rng(0).integers(0, len(known), 40)]
    for level in np.nanquantile(heights, [0.02, 0.3, 0.8]):
        found = water(lambda t, e, r, c: heights[t : t + r, e : e + c], grid, float(level), seeds)
        with np.errstate(invalid="ignore"):
            labels, _ = ndimage.label(heights < level - max(1e-6, abs(level) * 2.0**-24))
        wet = np.isin(labels, np.setdiff1d(labels[seeds[:, 0], seeds[:, 1]], [0]))
        assert np.array_equal(found.state == FLOODED, wet)
        assert found.volume_m3 == pytest.approx((level - heights[wet]).sum() * 25)
        assert found.n_void == (ndimage.binary_dilation(wet) & np.isnan(heights)).sum()


def test_flow_equals_pyflwdir(heights):
    made = flow(heights)
    filled, _ = pyflwdir.dem.fill_depressions(heights, nodata=np.nan)
    assert np.allclose(made.filled_m, filled, rtol=0, atol=1e-3, equal_nan=True)  # its heap holds float32
    theirs = pyflwdir.from_array(WAYS[made.way], ftype="d8", check_ftype=True)
    assert np.array_equal(np.where(made.way == NONE, -9999, made.cells_above + 1), theirs.upstream_area())
    outlet = tuple(int(each) for each in np.unravel_index(int(made.cells_above.argmax()), made.shape))
    whole = basins(made, np.array([outlet]))
    number = np.array([outlet[0] * made.shape[1] + outlet[1]])
    assert np.array_equal(whole > 0, theirs.basins(idxs=number) > 0)
    parts = sub_basins(made, outlet, 500)
    assert np.array_equal(parts > 0, whole > 0)
    assert parts.max() > 1
