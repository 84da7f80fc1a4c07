"""P16, numbers: the sweep of horizons against a walk along every sight line, symmetry, the hand case, gdal_viewshed."""

import shutil
import subprocess

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.analysis.viewshed_sight import (
    EARTH_M,
    HIDDEN,
    OUTSIDE,
    SEEN,
    UNKNOWN,
    bend_per_m,
    viewshed,
)

FLAT = {"dx": 1.0, "dy": 1.0, "reach_m": 1e6}


def crossings(rows, columns):
    """Where the way from (0, 0) to a cell crosses lattice lines before it: two cells and the share of the second."""
    for major, minor, is_row in ((rows, columns, True), (columns, rows, False)):
        for k in range(1, abs(major)):
            along = k * np.sign(major)
            aside, rest = divmod(minor * k, abs(major))
            a, b, share = aside, aside + (rest > 0), rest / abs(major)
            yield ((along, a), (along, b), share) if is_row else ((a, along), (b, along), share)


def walked(z, row, column, eye, *, dx, dy, reach_m, target_m=0.0, bend=0.0):
    """The same answer, one line at a time."""
    out = np.full(z.shape, OUTSIDE, np.uint8)
    for r, c in np.ndindex(z.shape):
        if np.hypot((c - column) * dx, (r - row) * dy) > reach_m * (1 + 1e-12):
            continue
        if (r, c) == (row, column):
            out[r, c] = UNKNOWN if np.isnan(z[r, c]) else SEEN
            continue
        out[r, c] = one(z, (row, column), (r, c), eye, dx, dy, target_m, bend)
    return out


def one(z, start, end, eye, dx, dy, target_m, bend):
    (row, column), (r, c) = start, end

    def low(a, b):
        if not (0 <= row + a < z.shape[0] and 0 <= column + b < z.shape[1]):
            return np.nan, False
        return z[row + a, column + b] - bend * ((a * dy) ** 2 + (b * dx) ** 2), True

    whole = np.hypot((c - column) * dx, (r - row) * dy)
    top = low(r - row, c - column)[0] + target_m
    if np.isnan(top):
        return UNKNOWN
    is_open = False
    for first, second, share in crossings(r - row, c - column):
        (a, a_in), (b, b_in) = low(*first), low(*second)
        if not (a_in and b_in):
            continue  # touches the grid's edge from outside
        if np.isnan(a) or np.isnan(b):
            is_open = True
            continue
        at = np.add(first, np.multiply(share, np.subtract(second, first))) * (dy, dx)
        line = eye + (top - eye) * np.hypot(*at) / whole
        if a + (b - a) * share > line + 1e-6:
            return HIDDEN
    return UNKNOWN if is_open else SEEN


def test_hand_case_wall_in_a_column():
    z = np.zeros((5, 5))
    z[:, 2] = 10
    found = viewshed(z, 2, 0, 1.6, **FLAT)
    assert (found[:, :2] == SEEN).all()
    assert (found[:, 3:] == HIDDEN).all()
    assert found[2, 2] == SEEN, "the wall itself, straight on"
    np.testing.assert_array_equal(found, walked(z, 2, 0, 1.6, **FLAT))


def test_a_ray_that_touches_passes_and_one_a_little_lower_does_not():
    z = np.zeros((1, 5))
    z[0, 2], z[0, 4] = 5.0, 10.0
    assert viewshed(z, 0, 0, 0.0, **FLAT)[0, 4] == SEEN
    z[0, 2] = 5.0 + 5e-7
    assert viewshed(z, 0, 0, 0.0, **FLAT)[0, 4] == SEEN
    z[0, 2] = 5.0 + 2e-6
    assert viewshed(z, 0, 0, 0.0, **FLAT)[0, 4] == HIDDEN


def test_radius_is_to_the_centre_of_the_cell_and_the_edge_counts():
    z = np.zeros((11, 11))
    found = viewshed(z, 5, 5, 2.0, dx=1.0, dy=1.0, reach_m=5.0)
    r, c = np.mgrid[-5:6, -5:6]
    np.testing.assert_array_equal(found != OUTSIDE, np.hypot(r, c) <= 5)
    assert found[1, 2] == SEEN, "3, 4: exactly 5"
    assert viewshed(z, 5, 5, 2.0, dx=1.0, dy=1.0, reach_m=4.999)[1, 2] == OUTSIDE


def test_the_drop_hides_a_low_target_behind_the_horizon():
    """Eye at height h sees level ground to sqrt(h / bend); targets of height t to sqrt(t / bend) beyond."""
    bend = bend_per_m()
    assert bend * 1000.0**2 == pytest.approx(0.068, abs=5e-4), "drop at 1 km"
    assert bend == (1 - 0.13) / (2 * EARTH_M)
    z = np.zeros((1, 401))
    found = viewshed(z, 0, 0, 1.6, dx=50.0, dy=50.0, reach_m=20_000, bend=bend)
    horizon = np.sqrt(1.6 / bend)
    assert 4800 < horizon < 4900
    far = np.arange(401) * 50.0
    np.testing.assert_array_equal(found[0] == SEEN, far < horizon + 50.0, "within a cell")
    mast = viewshed(z, 0, 0, 1.6, dx=50.0, dy=50.0, reach_m=20_000, bend=bend, target_m=5.0)
    assert far[mast[0] == SEEN].max() == pytest.approx(horizon + np.sqrt(5.0 / bend), abs=50.0)


@st.composite
def scenes(draw):
    rows, columns = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    z = rng.integers(0, draw(st.sampled_from([2, 5, 40])), (rows, columns)).astype(float)
    if draw(st.booleans()):
        z += rng.random(z.shape)
    z[rng.random(z.shape) < draw(st.sampled_from([0.0, 0.0, 0.1]))] = np.nan
    row, column = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
    z[row, column] = np.nan_to_num(z[row, column])
    return z, row, column


@settings(max_examples=100)
@given(scenes(), st.sampled_from([0.0, 1.5, 10.0]), st.sampled_from([0.0, 1.7]), st.sampled_from([1.0, 2.5]),
       st.sampled_from([3.0, 6.5, 1e4]), st.sampled_from([0.0, 0.02]))  # fmt: skip
def test_the_sweep_is_the_walk(scene, eye_m, target_m, dy, reach_m, bend):
    z, row, column = scene
    given_ = {"dx": 1.0, "dy": dy, "reach_m": reach_m, "target_m": target_m, "bend": bend}
    eye = z[row, column] + eye_m
    np.testing.assert_array_equal(viewshed(z, row, column, eye, **given_), walked(z, row, column, eye, **given_))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rough", "smooth", "bowl", "holes"])
def test_the_sweep_is_the_walk_on_a_larger_grid(kind):
    rng = np.random.default_rng(5)
    z = np.cumsum(np.cumsum(rng.normal(size=(90, 110)), axis=0), axis=1) * 0.05
    r, c = np.mgrid[:90, :110]
    if kind == "rough":
        z = rng.normal(size=z.shape)
    elif kind == "bowl":
        z = ((r - 40) ** 2 + (c - 70) ** 2) * 0.001
    elif kind == "holes":
        z[rng.random(z.shape) < 0.01] = np.nan
        z[40, 70] = 0.0
    given_ = {"dx": 1.0, "dy": 1.0, "reach_m": 70.0, "target_m": 0.5, "bend": 1e-5}
    eye = z[40, 70] + 3.0
    found = viewshed(z, 40, 70, eye, **given_)
    np.testing.assert_array_equal(found, walked(z, 40, 70, eye, **given_))
    assert len(np.unique(found)) >= 3 or kind == "bowl"


@settings(max_examples=40)
@given(scenes(), st.sampled_from([0.0, 0.3, 2.0]), st.sampled_from([0.0, 0.02]))
def test_who_sees_is_seen(scene, stand_m, bend):
    z, row, column = scene
    z = np.nan_to_num(z)
    there = viewshed(z, row, column, z[row, column] + stand_m, **FLAT, target_m=stand_m, bend=bend)
    for r, c in np.ndindex(z.shape):
        back = viewshed(z, r, c, z[r, c] + stand_m, **FLAT, target_m=stand_m, bend=bend)
        assert back[row, column] == there[r, c]


@pytest.mark.skipif(shutil.which("gdal_viewshed") is None, reason="gdal_viewshed is not installed (gdal-bin)")
@pytest.mark.parametrize("seed", [0, 1])
def test_gdal_viewshed_agrees(seed, tmp_path):
    """gdal_viewshed carries planes from cell to cell (Wang 2000) instead of looking along lines: close to ours."""
    rng = np.random.default_rng(seed)
    z = np.zeros((600, 600))
    for size in (5, 10, 20, 40):
        coarse = rng.normal(size=(size + 1, size + 1)) * 400 / size
        at = np.linspace(0, size - 1e-9, 600)
        i = at.astype(int)
        f = at - i
        lines = coarse[i] * (1 - f)[:, None] + coarse[i + 1] * f[:, None]
        z += lines[:, i] * (1 - f) + lines[:, i + 1] * f
    z = z.astype("float32")
    profile = {"driver": "GTiff", "width": 600, "height": 600, "count": 1, "dtype": "float32", "crs": "EPSG:4549"}
    with rasterio.open(tmp_path / "z.tif", "w", transform=Affine(5, 0, 500000, 0, -5, 3113000), **profile) as made:
        made.write(z, 1)
    x, y = 500000 + 5 * 300.5, 3113000 - 5 * 250.5
    told = ["-ox", str(x), "-oy", str(y), "-oz", "10", "-tz", "1.6", "-md", "20000", "-cc", "0.87"]
    subprocess.run(["gdal_viewshed", "-q", *told, "z.tif", "v.tif"], cwd=tmp_path, check=True, timeout=60)
    with rasterio.open(tmp_path / "v.tif") as made:
        peer = made.read(1) == 255
    exact = z.astype(np.float64)
    ours = viewshed(exact, 250, 300, exact[250, 300] + 10, dx=5, dy=5, reach_m=20_000, target_m=1.6, bend=bend_per_m())
    assert ((ours == SEEN) == peer).mean() > 0.99
    assert 0.05 < peer.mean() < 0.95
