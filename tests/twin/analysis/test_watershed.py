"""P21: D8 on filled ground. Oracles: pyflwdir on the same grids, brute force walks, water in = water out."""

import heapq

import numpy as np
import pyflwdir
import pytest
import rasterio
import shapely
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import zoom

from layers.errors import InvalidInput
from tests.twin.analysis import water_city
from tests.twin.analysis.water_city import EAST, NORTH
from twin.analysis.elevation import Grid
from twin.analysis.watershed import outlines
from twin.analysis.watershed_flow import DC, DR, NONE, OUT, basins, flow, is_open, sub_basins

HAND = np.array([[5, 5, 5], [5, 4, 5], [5, 3, 5.0]])


def down(made, r, c):
    d = made.way[r, c]
    return None if d >= OUT else (r + DR[d], c + DC[d])


def test_hand_case():
    made = flow(HAND, 10, 10)
    assert made.cells_above.tolist() == [[0, 0, 0], [0, 3, 0], [0, 8, 0]]
    assert (basins(made, np.array([[2, 1]])) == 1).all()
    assert made.n_filled == 0


def test_a_diagonal_is_longer():
    z = np.array([[9, 9, 9], [9, 5, 3.7], [9, 9, 3.0]])  # 1.3 east, 2.0 / sqrt 2 = 1.414 south-east
    assert down(flow(z), 1, 1) == (2, 2)
    z[1, 2] = 3.5  # 1.5 east
    assert down(flow(z), 1, 1) == (1, 2)
    assert down(flow(z, dx=2.0, dy=1.0), 1, 1) == (2, 2)  # 0.75 east, 2 / sqrt 5 = 0.894


def test_a_pit_is_filled_to_where_it_spills():
    z = np.full((5, 5), 9.0)
    z[1:4, 1:4] = [[3, 9, 4], [3, 9, 4], [5, 8, 5]]
    z[2, 4] = 6.0  # the rim's lowest place
    made = flow(z)
    assert made.filled_m[1:4, 1:4].tolist() == [[8, 9, 6], [8, 9, 6], [8, 8, 6]]
    assert (made.n_filled, made.deepest_fill_m) == (6, 5)
    assert made.cells_above[2, 4] >= 8


grounds = arrays(
    np.float64, st.tuples(st.integers(1, 9), st.integers(1, 9)),
    elements=st.one_of(st.integers(0, 6).map(float), st.integers(0, 60).map(lambda n: n / 10), st.just(np.nan)),
)  # fmt: skip


def spill_heights(z):
    """Brute force: the least over all ways out of the greatest height on the way (Dijkstra from every exit)."""
    rows, columns = z.shape
    padded = np.pad(z, 1, constant_values=np.nan)
    best = {}
    heap = []
    for r, c in np.argwhere(~np.isnan(z)).tolist():
        if np.isnan(padded[r : r + 3, c : c + 3]).any():
            heapq.heappush(heap, (z[r, c], r, c))
    while heap:
        height, r, c = heapq.heappop(heap)
        if (r, c) in best:
            continue
        best[r, c] = height
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                r1, c1 = r + dr, c + dc
                if 0 <= r1 < rows and 0 <= c1 < columns and (r1, c1) not in best and not np.isnan(z[r1, c1]):
                    heapq.heappush(heap, (max(height, z[r1, c1]), r1, c1))
    return best


@settings(max_examples=200)
@given(grounds)
@example(np.zeros((4, 4)))
@example(np.array([[1.0, np.nan], [np.nan, 1.0]]))
def test_every_cell_by_brute_force(z):
    known = np.argwhere(~np.isnan(z)).tolist()
    if not known:
        with pytest.raises(InvalidInput, match="dem"):
            flow(z)
        return
    made = flow(z, 2.0, 3.0)
    for (r, c), height in spill_heights(z).items():
        assert made.filled_m[r, c] == height
    above = np.zeros(z.shape, int)
    n_out = 0
    for r, c in known:
        drops = {}
        for d in range(8):
            r1, c1 = r + DR[d], c + DC[d]
            if 0 <= r1 < z.shape[0] and 0 <= c1 < z.shape[1] and not np.isnan(z[r1, c1]):
                drops[d] = (made.filled_m[r, c] - made.filled_m[r1, c1]) / np.hypot(2.0 * DC[d], 3.0 * DR[d])
        d = made.way[r, c]
        if any(value > 0 for value in drops.values()):
            assert drops[d] == pytest.approx(max(drops.values()))
        elif d != OUT:
            assert drops[d] == 0, "on a flat it goes on at the same height"
        at, steps = (r, c), 0
        while (at := down(made, *at)) is not None:
            above[at] += 1
            steps += 1
            assert steps <= len(known), "no way goes round"
        n_out += 1
    assert np.array_equal(made.cells_above, above)
    is_exit = made.way == OUT
    assert (made.cells_above[is_exit] + 1).sum() == len(known), "water in is water out"
    assert (made.way[np.isnan(z)] == NONE).all()
    assert n_out == len(known)


def hills(rows, columns, seed):
    draw = np.random.default_rng(seed)
    coarse = draw.random((rows // 20 + 2, columns // 20 + 2)) * 100
    z = zoom(coarse, 20, order=3)[:rows, :columns] + draw.random((rows, columns)) * 3
    return np.ascontiguousarray(z.astype(np.float32).astype(np.float64))


TO_PYFLWDIR = np.array([1, 2, 4, 8, 16, 32, 64, 128, 0] + [247] * 247, np.uint8)


def test_equals_pyflwdir():
    z = hills(330, 250, 2)
    z[100:120, 60:80] = np.nan
    made = flow(z)
    filled, _ = pyflwdir.dem.fill_depressions(z, nodata=np.nan)
    assert np.allclose(made.filled_m, filled, atol=1e-4, equal_nan=True)  # its heap holds float32
    theirs = pyflwdir.from_array(TO_PYFLWDIR[made.way], ftype="d8", check_ftype=True)
    cells = theirs.upstream_area()
    assert np.array_equal(np.where(made.way == NONE, -9999, made.cells_above + 1), cells)
    outlets = np.argwhere((made.cells_above > 300) & (made.cells_above < 330))
    assert len(outlets) > 5
    labels = basins(made, outlets)
    numbers = np.ravel_multi_index(tuple(outlets.T), z.shape)
    assert np.array_equal(labels, theirs.basins(idxs=numbers, ids=np.arange(1, len(outlets) + 1, dtype=np.uint32)))


@settings(max_examples=60)
@given(grounds, st.integers(1, 6), st.data())
def test_sub_basins_tile_the_basin(z, least, data):
    known = np.argwhere(~np.isnan(z)).tolist()
    assume(known)
    made = flow(z)
    outlet = tuple(data.draw(st.sampled_from(known)))
    whole, parts = basins(made, np.array([outlet])), sub_basins(made, outlet, least)
    assert np.array_equal(whole > 0, parts > 0)
    assert parts[outlet] == 1
    assert np.count_nonzero(whole) == made.cells_above[outlet] + 1
    is_stream = made.cells_above + 1 >= least
    for r, c in np.argwhere(whole).tolist():
        below = down(made, r, c)
        if (r, c) == outlet or below is None:
            continue
        ups = [
            at
            for at in np.argwhere(whole).tolist()
            if down(made, *at) == below and is_stream[tuple(at)] and tuple(at) != outlet
        ]
        starts_one = is_stream[r, c] and len(ups) >= 2
        assert (parts[r, c] != parts[below]) == starts_one
    assert len(np.unique(parts[parts > 0])) == parts.max()


def test_more_streams_make_more_parts_of_the_same_basin():
    made = flow(hills(200, 180, 5))
    outlet = np.unravel_index(int(made.cells_above.argmax()), made.shape)
    few, many = sub_basins(made, outlet, 3000), sub_basins(made, outlet, 200)
    assert 1 <= few.max() < many.max()
    grid = Grid("EPSG:4549", EAST, NORTH, 5.0, 5.0, 180, 200)
    shapes, _ = outlines(many, grid)
    assert shapely.area(shapes).sum() == pytest.approx((many > 0).sum() * 25)
    assert shapely.union_all(shapes).area == pytest.approx((many > 0).sum() * 25)


def test_a_basin_inside_the_grid_is_closed():
    x, y = np.meshgrid(np.arange(21) - 10, np.arange(21) - 10)
    z = 50.0 - np.hypot(x, y)  # a hill: water leaves on all sides
    z[8:13, 8:13] += 0.5 * (np.abs(x[8:13, 8:13]) + np.abs(y[8:13, 8:13]))
    made = flow(z)
    outlet = (10, 13)
    assert not is_open(made, basins(made, np.array([outlet])), outlet)
    z[10, 9] = np.nan
    made = flow(z)
    labels = basins(made, np.array([outlet]))
    beside = [(9, 8), (9, 9), (9, 10), (10, 8), (10, 10), (11, 8), (11, 9), (11, 10)]
    assert is_open(made, labels, outlet) == any(labels[at] for at in beside)


# the process -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    z = hills(60, 50, 8)
    z[0, 0] = np.nan
    folder = tmp_path_factory.mktemp("watershed")
    with water_city.make(folder, z) as opened:
        with opened.store.writing() as batch:
            batch.put_asset(water_city.raster(folder, "hand", HAND))
        yield opened


def point(x, y):
    return {"type": "Point", "coordinates": [EAST + x, NORTH - y], "crs": "city"}


def test_process_hand_case(city):
    found = city.run("watershed", outlet=point(15, 25), dem={"collection": "hand"}, crs="city")
    assert (found["n_cells"], found["area_plane_m2"], found["cells_above_outlet"]) == (9, 900, 8)
    assert found["area_m2"] == pytest.approx(900, abs=1e-3)
    assert found["is_open"]
    assert not found["is_snapped"]
    with rasterio.open(found["accumulation"].path) as made:
        assert made.read(1).tolist() == [[0, 0, 0], [0, 3, 0], [0, 8, 0]]
    shape = shapely.geometry.shape(found["basin"]["features"][0]["geometry"])
    assert shape.equals(shapely.box(EAST, NORTH - 30, EAST + 30, NORTH))


def test_outlet_is_moved_only_when_asked_and_told(city):
    stays = city.run("watershed", outlet=point(5, 5), dem={"collection": "hand"}, with_accumulation=False)
    assert (stays["n_cells"], stays["snapped_by_m"]) == (1, 0)
    assert "accumulation" not in stays
    near = city.run("watershed", outlet=point(5, 5), dem={"collection": "hand"}, snap_m=14.2, crs="city")
    assert (near["cells_above_outlet"], near["is_snapped"]) == (3, True)
    assert near["snapped_by_m"] == pytest.approx(200**0.5)
    assert near["outlet"]["features"][0]["geometry"]["coordinates"] == [EAST + 15, NORTH - 15]
    far = city.run("watershed", outlet=point(5, 5), dem={"collection": "hand"}, snap_m=25)
    assert far["cells_above_outlet"] == 8
    assert far["snapped_by_m"] == pytest.approx(500**0.5)
    for reach, above in ((22.36, 3), (22.361, 8)):  # the outlet's centre is 22.3607 m away
        found = city.run("watershed", outlet=point(5, 5), dem={"collection": "hand"}, snap_m=reach)
        assert (found["cells_above_outlet"], found["snapped_by_m"] <= reach) == (above, True)


def test_parts_and_a_layer(city):
    accumulation = city.run("watershed", outlet=point(255, 305), keep_as="above")["accumulation"]
    with rasterio.open(accumulation.path) as made:
        above = made.read(1)
        assert made.nodata == above[0, 0] == -1
    r, c = (int(each) for each in np.unravel_index(int(above.argmax()), above.shape))
    found = city.run("watershed", outlet=point(10 * c + 5, 10 * r + 5), stream_m2=3_000, crs="city")
    parts = [shapely.geometry.shape(each["geometry"]) for each in found["sub_basins"]["features"]]
    whole = shapely.geometry.shape(found["basin"]["features"][0]["geometry"])
    assert len(parts) > 3
    assert sum(part.area for part in parts) == pytest.approx(whole.area) == found["n_cells"] * 100
    assert shapely.union_all(parts).area == pytest.approx(whole.area)
    assert sum(each["properties"]["area_m2"] for each in found["sub_basins"]["features"]) == pytest.approx(
        found["area_m2"]
    )  # fmt: skip
    assert found["n_cells"] == above.max() + 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"outlet": point(-5, 5)}, "outlet lies outside the heights"),
        ({"outlet": point(5, 5)}, "outlet has no height"),
        ({"outlet": {"type": "Point", "coordinates": [0, 0]}}, "outlet lies outside the city"),
        ({"outlet": {"type": "MultiPoint", "coordinates": [[EAST, NORTH]], "crs": "city"}}, "outlet"),
        ({"snap_m": -1}, "snap_m"), ({"snap_m": float("nan")}, "snap_m"), ({"stream_m2": 0}, "stream_m2"),
        ({"cell_m": 0}, "cell_m"), ({"dem": {"collection": "nothing"}}, "dem"), ({"keep_as": "dem"}, "keep_as"),
    ],
    ids=range(10),
)  # fmt: skip
def test_wrong_inputs_are_named(city, given, words):
    with pytest.raises(Exception, match=words):
        city.run("watershed", **({"outlet": point(255, 305)} | given))
