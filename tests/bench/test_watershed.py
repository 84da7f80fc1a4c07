"""Pits filled, directions, accumulation and the basin of an outlet, beside pyflwdir on the same grid in one run."""

import resource
import time

import numpy as np
import pyflwdir
import pytest
from scipy.ndimage import zoom

from twin.analysis.watershed_flow import basins, flow


def hills(side):
    draw = np.random.default_rng(5)
    z = np.empty((side, side), np.float32)
    coarse = (draw.random((side // 100 + 2, side // 100 + 2)) * 100).astype(np.float32)
    z[:] = zoom(coarse, 100, order=3)[:side, :side]
    z += draw.random((side, side), np.float32) * np.float32(0.5)
    return z


def ours(z, outlet):
    made = flow(z)
    return made.cells_above + 1, basins(made, np.array([outlet])) > 0, made


def theirs(z, outlet):
    made = pyflwdir.from_dem(z, nodata=np.nan)
    return made.upstream_area(), made.basins(idxs=np.array([outlet[0] * z.shape[1] + outlet[1]])) > 0, made


@pytest.mark.bench
@pytest.mark.parametrize("side", [1_000, 5_000])
def test_watershed(side):
    z = hills(side)
    above = flow(z).cells_above  # machine code is made once
    outlet = tuple(int(each) for each in np.unravel_index(int(above.argmax()), above.shape))
    theirs(z[:50, :50], (0, 0))
    best = {}
    for _ in range(2):
        for name, ask in (("ours", ours), ("pyflwdir", theirs)):
            start = time.perf_counter()
            cells, basin, _ = ask(z, outlet)
            best[name] = min(best.get(name, np.inf), time.perf_counter() - start)
            if name == "ours":
                assert basin.sum() == cells[outlet] == above[outlet] + 1
    ratio = best["ours"] / best["pyflwdir"]
    for name, seconds in best.items():
        print(f"\n{side:,}² cells, {name}: {seconds:.2f} s, {side * side / seconds / 1e6:.1f} M cells/s")  # noqa: T201
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{side:,}²: {ratio:.2f} times pyflwdir's time; peak of both {peak:.0f} MiB")  # noqa: T201
    # the same ways give pyflwdir the same cells above
    made = flow(z)
    ways = np.array([1, 2, 4, 8, 16, 32, 64, 128, 0] + [247] * 247, np.uint8)[made.way]
    same = pyflwdir.from_array(ways, ftype="d8", check_ftype=False).upstream_area()
    assert np.array_equal(same, made.cells_above + 1)
