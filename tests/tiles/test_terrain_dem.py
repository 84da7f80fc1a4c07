"""Terrain tiles of real rasters: edges to the bit, heights against scipy's reading of the DEM, holes, sheets, pits."""

import io
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from egm96 import undulation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy import ndimage

from layers.errors import NotFound
from layers.frame import CityFrame
from layers.heights import Egm96
from tests.tiles.quantized_reader import at, bounds, decode, dem_heights, lattice_places, on_lattice, places
from tests.tiles.towns import MemoryCity, MemoryStore, layer_type
from tiles.terrain import TerrainTiles
from twin import raster_blocks
from twin.surface import DerivedSurface, Levelled
from twin.terrain import Terrain, TerrainRaster

CITY = "EPSG:4549"
WEST, NORTH = 598_000.0, 3_111_000.0
VOID = -9999.0


def write(path, values, cell, *, west=WEST, north=NORTH, crs=CITY, overviews=False):
    profile = {"driver": "GTiff", "height": values.shape[0], "width": values.shape[1], "count": 1, "nodata": VOID}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512} if overviews else {}
    profile |= {"dtype": "float32", "crs": crs, "transform": from_origin(west, north, cell, cell)}
    with rasterio.open(path, "w", **profile) as file:
        file.write(values.astype(np.float32), 1)
    if overviews:
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4, 8, 16], Resampling.bilinear)
    return path


def hills(side, cell, seed=0, relief=40.0, base=60.0):
    y, x = np.mgrid[0:side, 0:side] * cell
    draw = np.random.default_rng(seed)
    return base + relief * np.sin(x / 90) * np.cos(y / 130) + draw.normal(0, 0.05, (side, side))


class SurfaceCity(MemoryCity):
    derived: object = None

    def surface(self, name):
        if name != "derived":
            raise NotFound("no such surface")
        return self.derived


def tiles_of(rasters, cache=None, surface="terrain", levelled=None):
    frame = CityFrame(CITY, Egm96(), 121.0, 28.1)
    ground = Terrain(rasters, CITY, cache)
    city = SurfaceCity(MemoryStore(layer_type(), np.zeros((0, 6))), terrain=ground, frame=frame, folder=Path("unused"))
    if levelled is not None:
        city.derived = DerivedSurface(ground, levelled)
    return TerrainTiles(city, surface=surface)


def edge(tile, side):
    """Position along the edge in 64ths and height, of each vertex."""
    along = tile["v" if side in (0, 2) else "u"][tile["edges"][side]]
    return dict(zip(np.rint(along * 64 / 32767).astype(int).tolist(), tile["h"][tile["edges"][side]], strict=True))


def assert_edges_agree(made, z, x, y):
    """With the neighbours in the east and north, and with their quarters and the quarters' quarters."""
    here = decode(made.tile(z, x, y))
    for dx, dy, mine, theirs in ((1, 0, 2, 0), (0, 1, 3, 1)):
        if not made.available.has(z, x + dx, y + dy):
            continue
        own = edge(here, mine)
        assert edge(decode(made.tile(z, x + dx, y + dy)), theirs) == own  # float64, to the bit
        for down in (1, 2):
            along = [(((x + dx) << down) + k * dy, ((y + dy) << down) + k * dx) for k in range(1 << down)]
            if not all(made.available.has(z + down, *each) for each in along):
                continue
            finer = {}
            for k, each in enumerate(along):
                found = edge(decode(made.tile(z + down, *each)), theirs)
                finer |= {place + 64 * k: height for place, height in found.items()}
            assert {place: finer[place << down] for place in own} == own
    return here


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1), cell=st.sampled_from([0.5, 2.0, 10.0, 90.0]), relief=st.floats(0, 3000),
    base=st.floats(-150, 5000), up=st.integers(0, 12), holes=st.floats(0, 0.3),
    place=st.tuples(*[st.floats(0, 1)] * 2),
)  # fmt: skip
def test_edges_are_the_same_to_the_bit_for_neighbours_of_any_level(
    tmp_path, seed, cell, relief, base, up, holes, place
):
    draw = np.random.default_rng(seed)
    values = base + relief * ndimage.gaussian_filter(draw.normal(0, 1, (90, 120)), draw.uniform(0, 9))
    values[ndimage.gaussian_filter(draw.random((90, 120)), 2) < np.quantile(draw.random(500), holes) * 0.5] = VOID
    made = tiles_of([TerrainRaster(write(tmp_path / f"{seed}.tif", values, cell), CITY)])
    z = max(made.max_zoom - up, 0)
    west, south, east, north = made._bounds
    address = at(z, west + (east - west) * place[0], south + (north - south) * place[1])
    assert_edges_agree(made, *address)
    (tmp_path / f"{seed}.tif").unlink()


def test_another_reader_decodes_the_same_edges(tmp_path):
    foreign = pytest.importorskip("quantized_mesh_tile", reason="pip install quantized-mesh-tile")
    made = tiles_of([TerrainRaster(write(tmp_path / "dem.tif", hills(300, 2.0), 2.0), CITY)])
    z, x, y = at(made.max_zoom, *pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(
        WEST + 300, NORTH - 300))  # fmt: skip
    seen = []
    for column, side in ((x, "eastI"), (x + 1, "westI")):
        read = foreign.TerrainTile(*bounds(z, column, y))
        read.fromBytesIO(io.BytesIO(made.tile(z, column, y)))
        low, high = read.header["minimumHeight"], read.header["maximumHeight"]
        seen.append({read.v[i]: low + read.h[i] / 32767 * (high - low) for i in getattr(read, side)})
    assert seen[0] == seen[1]
    assert len(seen[0]) == 65


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """25 blocks, with a hole that spans two blocks and the noise of a scan: too many blocks for one request."""
    folder = tmp_path_factory.mktemp("large")
    values = hills(2200, 1.0)
    values[300:330, 500:520] = VOID
    values[900:905, 900:905] = VOID
    path = write(folder / "dem.tif", values, 1.0, overviews=True)
    return values, tiles_of([TerrainRaster(path, CITY)], folder / "cache")


def test_every_level_is_within_its_stated_error_of_the_dem(large):
    values, made = large
    known = np.where(values == VOID, np.nan, values.astype(np.float32))
    stated = made.layer_json()["extras"]["geometric_error_m"]
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(WEST + 1030, NORTH - 780)
    for z in range(10, made.max_zoom + 1):
        address = at(z, lon, lat)
        tile = decode(made.tile(*address))
        expected = dem_heights(known, WEST, NORTH, 1.0, CITY, *lattice_places(*address))
        off = np.abs(on_lattice(tile) - expected)
        assert np.isfinite(off).any()
        assert np.nanmax(off) <= stated[z] + 1e-4  # float32 of the heights


def test_between_the_lattice_lines_the_last_level_is_off_by_a_cells_relief_at_most(large):
    values, made = large
    stated = made.layer_json()["extras"]["geometric_error_m"][-1]
    relief = ndimage.maximum_filter(values, 3) - ndimage.minimum_filter(values, 3)
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(WEST + 1500, NORTH - 1500)
    address = at(made.max_zoom, lon, lat)
    tile = decode(made.tile(*address))
    draw = np.random.default_rng(3)
    corners = tile["triangles"][draw.integers(0, len(tile["triangles"]), 4000)]
    weights = draw.dirichlet([1, 1, 1], 4000)
    there = [(values[corners] * weights).sum(axis=1) for values in (*places(tile, *address), tile["h"])]
    expected = dem_heights(values.astype(np.float32), WEST, NORTH, 1.0, CITY, *there[:2])
    allowed = stated + dem_heights(relief, WEST, NORTH, 1.0, CITY, *there[:2]) - undulation(there[1], there[0])
    assert (np.abs(there[2] - expected) <= allowed + 0.01).all()
    assert np.abs(there[2] - expected).mean() < stated  # and usually far less


def test_edges_agree_across_the_levels_that_are_kept_and_those_that_are_read(large):
    _, made = large
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(WEST + 1000, NORTH - 900)
    for z in range(made.max_zoom - 7, made.max_zoom):
        assert_edges_agree(made, *at(z, lon, lat))


def test_no_request_reads_more_than_16_blocks(tmp_path, monkeypatch):
    """Counted where rasterio is asked: blocks of 512 that each window touches, on every overview; of 144 in all."""
    profile = {"driver": "GTiff", "height": 6000, "width": 6000, "count": 1, "nodata": VOID, "compress": "deflate"}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "dtype": "float32", "crs": CITY}
    with rasterio.open(tmp_path / "dem.tif", "w", transform=from_origin(WEST, NORTH, 1, 1), **profile) as file:
        for top in range(0, 6000, 512):
            strip = np.full((min(512, 6000 - top), 6000), 5.0 + top / 512, np.float32)
            strip[100:200, 500:5500:7] = VOID
            file.write(strip, 1, window=Window(0, top, 6000, len(strip)))
    with rasterio.open(tmp_path / "dem.tif", "r+") as file:
        file.build_overviews([2, 4, 8, 16], Resampling.bilinear)
    made = tiles_of([TerrainRaster(tmp_path / "dem.tif", CITY)])
    made.tile(0, 1, 0)  # what is read once for all is read
    touched = set()
    opened = raster_blocks.opened

    def listening(name, **options):
        dataset = opened(name, **options)
        read = dataset.read

        class Listening:
            def __getattr__(self, attribute):
                return getattr(dataset, attribute)

            def read(self, band, window, **more):
                for i in range(int(window.row_off) // 512, -(-int(window.row_off + window.height) // 512)):
                    for j in range(int(window.col_off) // 512, -(-int(window.col_off + window.width) // 512)):
                        touched.add((str(options), i, j))
                return read(band, window=window, **more)

        return Listening()

    monkeypatch.setattr(raster_blocks, "opened", listening)
    most = 0
    west, south, east, north = made._bounds
    for z in range(made.max_zoom + 1):
        for lon, lat in np.random.default_rng(z).uniform((west, south), (east, north), (6, 2)):
            for sheet in made._terrain._sheets:
                sheet.grid.close()  # nothing is in memory
            touched.clear()
            made.tile(*at(z, lon, lat))
            most = max(most, len(touched))
    assert 1 < most <= 16


def test_what_one_reading_told_is_kept_and_read_again(large, tmp_path):
    values, made = large
    raster = TerrainRaster(made._terrain._sheets[0].grid.sheets[0][0], CITY)
    first = tiles_of([raster], tmp_path / "kept").layer_json()["extras"]
    from twin import terrain_survey

    terrain_survey._known.clear()
    reads = []
    original = raster_blocks.Level._read
    raster_blocks.Level._read = lambda self, i, j: reads.append((i, j)) or original(self, i, j)
    try:
        again = tiles_of([raster], tmp_path / "kept")
        facts = again._terrain.facts
        again._terrain.lattice(8, np.arange(13_700, 13_710), np.arange(5_370, 5_380))
    finally:
        raster_blocks.Level._read = original
    assert reads == []
    assert again.layer_json()["extras"] == first
    good = values[values != VOID].astype(np.float32)
    assert (facts.low_m, facts.high_m) == (good.min(), good.max())


def test_holes_are_counted_filled_and_meet_the_ground_at_their_rim(tmp_path):
    values = hills(400, 1.0, relief=30.0)
    whole = values.copy()
    y, x = np.mgrid[0:400, 0:400]
    hole = np.hypot(x - 200, y - 180) < 25
    values[hole] = VOID
    values[50, 60] = VOID
    made = tiles_of([TerrainRaster(write(tmp_path / "dem.tif", values, 1.0), CITY)])
    extras = made.layer_json()["extras"]
    assert extras["void_cells"] == extras["filled_cells"] == int((values == VOID).sum())
    assert extras["filled_share"] == pytest.approx(extras["filled_cells"] / 160_000)
    assert extras["filled_m2"] == pytest.approx(extras["filled_cells"])
    e, n = np.meshgrid(WEST + 150.5 + np.arange(100), NORTH - 130.5 - np.arange(100))
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(e, n)
    heights = made.heights(lon.ravel(), lat.ravel()).reshape(lon.shape) - undulation(lat, lon)
    around = whole[130:230, 150:250]
    rim = around[ndimage.binary_dilation(hole, iterations=2)[130:230, 150:250] & ~hole[130:230, 150:250]]
    inside = heights[hole[130:230, 150:250]]
    assert rim.min() - 1e-3 <= inside.min()
    assert inside.max() <= rim.max() + 1e-3
    # no step is steeper than those of the ground around, but for what a coarser cell averages
    steps = max(np.abs(np.diff(heights, axis=k)).max() for k in (0, 1))
    assert steps <= 1.5 * max(np.abs(np.diff(whole, axis=k)).max() for k in (0, 1))
    z, tx, ty = at(made.max_zoom, lon[50, 50], lat[50, 50])
    assert_edges_agree(made, z, tx, ty)


def test_a_hole_is_filled_from_a_coarser_sheet_where_there_is_one(tmp_path):
    fine, coarse = np.full((200, 200), 10.0), np.full((40, 40), 15.0)
    fine[80:120, 80:120] = VOID
    rasters = [
        TerrainRaster(write(tmp_path / "fine.tif", fine, 1.0), CITY),
        TerrainRaster(write(tmp_path / "coarse.tif", coarse, 10.0, west=WEST - 100, north=NORTH + 100), CITY),
    ]
    made = tiles_of(rasters)
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(
        np.array([WEST + 100, WEST + 20]), np.array([NORTH - 100, NORTH - 20])
    )
    assert made.heights(lon, lat) - undulation(lat, lon) == pytest.approx([15.0, 10.0])
    extras = made.layer_json()["extras"]
    assert (extras["void_cells"], extras["filled_cells"], extras["rasters"]) == (1600, 0, 2)


def test_deep_levels_are_offered_only_where_a_fine_sheet_is(tmp_path):
    """Three sheets in three CRSs: 30 m over everything, 1 m in the west, 4 m in the east."""
    east = pyproj.Transformer.from_crs(CITY, "EPSG:32651", always_xy=True).transform(WEST + 20_000, NORTH - 9_000)
    rasters = [
        TerrainRaster(write(tmp_path / "1.tif", hills(300, 1.0), 1.0, west=WEST + 500, north=NORTH - 500), CITY),
        TerrainRaster(
            write(tmp_path / "4.tif", hills(300, 4.0), 4.0, west=east[0], north=east[1], crs="EPSG:32651"), "EPSG:32651"
        ),
        TerrainRaster(
            write(tmp_path / "30.tif", hills(200, 0.0003), 0.0003, west=120.98, north=28.12, crs="EPSG:4490"),
            "EPSG:4490",
        ),
    ]
    made = tiles_of(rasters)
    available = made.layer_json()["available"]
    for (box, cell_m), count in zip(made._terrain.extents, (1, 2, 3), strict=False):
        needed = int(np.ceil(np.log2(180 * 111_320 / 64 / cell_m)))
        assert count
        for z in range(needed + 1):
            for lon, lat in ((box[0], box[1]), (box[2], box[3]), ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)):
                assert made.available.has(*at(z, lon, lat))
    deepest = available[made.max_zoom]
    area = sum((r["endX"] - r["startX"] + 1) * (r["endY"] - r["startY"] + 1) for r in deepest)
    side_m = 180 / 2**made.max_zoom * 111_320
    assert area * side_m**2 * np.cos(np.radians(28.1)) < 4 * (300 + 4 * side_m) ** 2  # about the 1 m sheet alone
    assert any(len(ranges) > 1 for ranges in available)
    for z in range(1, len(available)):
        for r in available[z]:
            assert r["startX"] % 2 == 0 == r["startY"] % 2
            assert r["endX"] % 2 == 1 == r["endY"] % 2
            for x, y in ((r["startX"], r["startY"]), (r["endX"], r["endY"])):
                assert made.available.has(z - 1, x // 2, y // 2)
                assert len(decode(made.tile(z, x, y))["triangles"]) >= 900
    # where only the coarse sheet is, its last tiles are as good as the deepest ones
    lon, lat = 120.985, 28.065
    z = max(z for z in range(made.max_zoom + 1) if made.available.has(*at(z, lon, lat)))
    assert z < made.max_zoom
    address = at(z, lon, lat)
    grid = np.where(hills(200, 0.0003) == VOID, np.nan, hills(200, 0.0003).astype(np.float32))
    lons, lats = lattice_places(*address)
    rows, columns = (28.12 - lats) / 0.0003 - 0.5, (lons - 120.98) / 0.0003 - 0.5
    expected = ndimage.map_coordinates(grid, [rows, columns], order=1, mode="constant", cval=np.nan)
    expected = expected + undulation(lats, lons)
    off = np.abs(on_lattice(decode(made.tile(*address))) - expected)
    assert np.nanmax(off) <= made.error_m(made.max_zoom) + 1e-4


def test_the_derived_surface_has_the_pit_and_the_plain_one_has_not(tmp_path):
    path = write(tmp_path / "dem.tif", np.full((300, 300), 20.0), 1.0)
    pit = shapely.box(WEST + 100, NORTH - 160, WEST + 150, NORTH - 100)
    levelled = Levelled(np.array([pit], dtype=object), np.array([-190.0]), ["excavation/1"])
    plain = tiles_of([TerrainRaster(path, CITY)])
    derived = tiles_of([TerrainRaster(path, CITY)], surface="derived", levelled=levelled)
    to_degrees = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True)
    address = at(plain.max_zoom, *to_degrees.transform(WEST + 125, NORTH - 130))
    lon, lat = lattice_places(*address)
    e, n = pyproj.Transformer.from_crs("EPSG:4326", CITY, always_xy=True).transform(lon, lat)
    inside = (e > WEST + 100) & (e < WEST + 150) & (n > NORTH - 160) & (n < NORTH - 100)
    assert inside.any()
    for made, expected in ((plain, np.full(lon.shape, 20.0)), (derived, np.where(inside, -190.0, 20.0))):
        off = on_lattice(decode(made.tile(*address))) - expected - undulation(lat, lon)
        assert np.abs(off).max() <= made.error_m(made.max_zoom)
    assert plain.version != derived.version
    assert_edges_agree(derived, *address)
    deeper = Levelled(levelled.areas, np.array([-200.0]), levelled.ids)
    assert tiles_of([TerrainRaster(path, CITY)], surface="derived", levelled=deeper).version != derived.version
    with pytest.raises(NotFound):
        tiles_of([TerrainRaster(path, CITY)], surface="nothing")


def test_coarse_heights_come_from_overviews(large):
    values, made = large
    smooth = ndimage.uniform_filter(values, 4)
    rows, columns = np.mgrid[1000:1400:16, 1000:1400:16]
    e, n = WEST + columns.ravel() + 0.0, NORTH - rows.ravel() + 0.0
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4326", always_xy=True).transform(e, n)
    exact, coarse = made.heights(lon, lat), made.heights(lon, lat, 4.0)
    known = (exact - undulation(lat, lon)).reshape(rows.shape)
    assert np.abs(coarse - exact).max() > 0.02  # not the same cells
    assert (
        np.abs(coarse.reshape(rows.shape) - undulation(lat, lon).reshape(rows.shape) - smooth[rows, columns]).max() < 1
    )
    assert np.abs(known - ndimage.uniform_filter(values, 2)[rows, columns]).max() < 1e-3
