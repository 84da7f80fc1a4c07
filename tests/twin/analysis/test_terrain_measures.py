"""P13: Horn's measures against gdaldem and planes; the profile; cells without a height."""

import shutil
import subprocess

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st

from layers.errors import InvalidInput, NotFound
from tests.twin.analysis.terrain_city import NORTH, WEST, city_on, raster
from twin.analysis.terrain_measures import stations
from twin.analysis.terrain_slope import MEASURES, blocks, measured

COMMANDS = {"slope_deg": ["slope"], "slope_pct": ["slope", "-p"], "aspect_deg": ["aspect"], "hillshade": ["hillshade"]}


def plane(east, north, rows=6, columns=7, dx=1.0):
    x, y = np.meshgrid((np.arange(columns) + 0.5) * dx, -(np.arange(rows) + 0.5) * dx)
    return east * x + north * y


@pytest.mark.parametrize(
    ("east", "north", "slope_deg", "slope_pct", "aspect"),
    [(0.1, 0.0, 5.710593, 10.0, 270.0), (-0.1, 0.0, 5.710593, 10.0, 90.0), (0.0, 0.1, 5.710593, 10.0, 180.0),
     (0.0, -0.1, 5.710593, 10.0, 0.0), (-1.0, -1.0, 54.735610, 141.421356, 45.0),
     (1.0, -1.0, 54.735610, 141.421356, 315.0)],
)  # fmt: skip
def test_planes(east, north, slope_deg, slope_pct, aspect):
    z = plane(east, north)
    assert measured(z, "slope_deg", 1, 1) == pytest.approx(np.full((4, 5), slope_deg), abs=1e-5)
    assert measured(z, "slope_pct", 1, 1) == pytest.approx(np.full((4, 5), slope_pct), abs=1e-4)
    assert measured(z, "aspect_deg", 1, 1) == pytest.approx(np.full((4, 5), aspect), abs=1e-4)


def test_level_ground_has_no_aspect_and_full_light_shines_255():
    z = np.full((3, 3), 7.0)
    assert np.isnan(measured(z, "aspect_deg", 1, 1)).all()
    assert measured(z, "slope_deg", 1, 1) == 0
    assert measured(z, "hillshade", 1, 1, altitude_deg=90) == 255
    assert measured(z, "hillshade", 1, 1, altitude_deg=0) == 1
    facing = plane(0.0, -1.0, 3, 3)  # falls to the north at 45 degrees
    assert measured(facing, "hillshade", 1, 1, azimuth_deg=0, altitude_deg=45) == pytest.approx(255)
    assert measured(facing, "hillshade", 1, 1, azimuth_deg=180, altitude_deg=45) == pytest.approx(1, abs=1e-4)


@given(
    st.floats(0, 360, exclude_max=True), st.floats(0.001, 5), st.sampled_from([(1.0, 1.0), (2.0, 0.5), (30.0, 30.0)])
)
def test_any_plane(bearing, steep, cell):
    """A plane falling towards a bearing, on cells of any shape: Horn is exact there."""
    dx, dy = cell
    x, y = np.meshgrid(np.arange(3) * dx, -np.arange(3) * dy)
    z = -steep * (x * np.sin(np.radians(bearing)) + y * np.cos(np.radians(bearing)))
    assert measured(z, "slope_deg", dx, dy)[0, 0] == pytest.approx(np.degrees(np.arctan(steep)), rel=1e-5)
    off = measured(z, "aspect_deg", dx, dy)[0, 0] - bearing
    assert abs((off + 180) % 360 - 180) < 1e-3
    assert 0 <= measured(z, "aspect_deg", dx, dy)[0, 0] < 360


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from(MEASURES))
def test_blocks_are_the_whole(seed, at_once, measure):
    z = np.random.default_rng(seed).random((12, 7)) * 9

    class Read:
        def read(self, top, left, rows, columns):
            wide = np.pad(z, 20, constant_values=np.nan)
            return wide[top + 20 : top + 20 + rows, left + 20 : left + 20 + columns]

    parts = list(blocks(Read(), (12, 7), measure, (1, 1), at_once=at_once))
    np.testing.assert_array_equal(np.concatenate([values for _, values in parts]),
                                  measured(np.pad(z, 1, constant_values=np.nan), measure, 1, 1))  # fmt: skip
    assert np.isnan(parts[0][1][0]).all()


@pytest.mark.skipif(shutil.which("gdaldem") is None, reason="gdaldem is not installed (gdal-bin)")
@pytest.mark.parametrize("measure", MEASURES)
def test_gdaldem_says_the_same(measure, tmp_path):
    rng = np.random.default_rng(3)
    z = np.cumsum(rng.normal(size=(120, 150)), axis=0).astype("float32")
    z[rng.random(z.shape) < 0.01] = -9999
    z[50:60, 50:60] = 4.0
    raster(tmp_path / "z.tif", z, 2.0, nodata=-9999.0, dtype="float32")
    command = ["gdaldem", COMMANDS[measure][0], "-q", "z.tif", "out.tif", *COMMANDS[measure][1:]]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    with rasterio.open(tmp_path / "out.tif") as made:
        peer = made.read(1).astype(float)
    peer[peer == (0 if measure == "hillshade" else -9999)] = np.nan
    wide = np.pad(np.where(z == -9999, np.nan, z).astype(float), 1, constant_values=np.nan)
    ours = measured(wide, measure, 2, 2).astype(float)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(peer))
    assert 0.05 < np.isnan(ours).mean() < 0.2
    off = np.abs(ours - peer)
    if measure == "aspect_deg":
        off = np.minimum(off, 360 - off)
    # gdaldem adds heights as float32; hillshade is a whole number
    assert np.nanmax(off) < {"hillshade": 0.501, "slope_pct": 2e-3}.get(measure, 1e-3)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    z = plane(0.1, 0.0, 60, 100)
    z[50:, 90:] = np.nan
    with city_on(tmp_path_factory.mktemp("plane") / "twin", (z, 1.0)) as opened:
        yield opened


def box(west, south, east, north):
    shape = shapely.box(WEST + west, NORTH + south, WEST + east, NORTH + north)
    return {**shapely.geometry.mapping(shape), "crs": "city"}


def line(*xy):
    return {"type": "LineString", "coordinates": [[WEST + x, NORTH + y] for x, y in xy], "crs": "city"}


def test_hand_case(city):
    """z = 0.1 x: 5.7106 degrees, 10 %, aspect 270; profile at x = 50: z = 5."""
    area = box(10, -40, 60, -10)
    for measure, value in (("slope_deg", 5.7106), ("slope_pct", 10.0), ("aspect_deg", 270.0)):
        found = city.run("terrain", measure=measure, area=area)
        said = found["statistics"]
        assert (said["min"], said["max"]) == (pytest.approx(value, abs=5e-5), pytest.approx(value, abs=5e-5))
        assert (said["n_cells"], said["missing_share"]) == (1500, 0)
        with rasterio.open(found["raster"].path) as made:
            assert (made.width, made.height) == (50, 30)
            assert made.bounds == (WEST + 10, NORTH - 40, WEST + 60, NORTH - 10)
            assert made.read(1) == pytest.approx(value, abs=5e-5)
            assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    found = city.run("terrain", line=line((10, -5), (90, -5)), step_m=10)
    assert "raster" not in found
    at = {point["x"] - WEST: point["ground_elev_m"] for point in found["profile"]["points"]}
    assert at[50.0] == pytest.approx(5.0, abs=1e-6)
    assert list(at) == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert found["profile"]["missing_share"] == 0


def test_classes_count_their_cells(city):
    said = city.run("terrain", area=box(10, -40, 60, -10))["statistics"]
    assert {each["to_deg"]: each["n_cells"] for each in said["classes"]} == {2: 0, 6: 1500, 15: 0, 25: 0, 90: 0}


def test_what_is_missing_is_told_and_never_filled(city):
    said = city.run("terrain", area=box(80, -60, 100, -40))["statistics"]
    # 400 cells: the edge of the raster (39 cells), the hole of 100, and the ring around it
    known = np.ones((20, 20), bool)
    known[-1], known[:, -1] = False, False
    known[9:, 9:] = False
    assert said["missing_share"] == pytest.approx(1 - known.mean())
    beyond = city.run("terrain", area=box(-20, -40, 20, -10))["statistics"]
    assert beyond["n_cells"] == 1200
    assert beyond["missing_share"] == pytest.approx(1 - 19 * 30 / 1200), "half of it and the rim of the raster"
    profile = city.run("terrain", line=line((85.5, -55.5), (95.5, -55.5)), step_m=1)["profile"]
    heights = [point["ground_elev_m"] for point in profile["points"]]
    assert heights[:5] == [pytest.approx(8.55 + 0.1 * k) for k in range(5)]
    assert heights[5:] == [None] * 6
    assert profile["missing_share"] == pytest.approx(6 / 11)


def test_a_raster_that_is_kept_is_a_layer(city):
    city.run("terrain", measure="hillshade", area=box(0, -50, 80, 0), keep_as="shade")
    found = city.store.assets(city.scope, "shade")
    assert [each.id for each in found] == ["shade"]
    assert (city.folder / found[0].path).is_file()
    again = city.run("terrain", measure="slope_deg", dem={"collection": "shade"}, area=box(5, -45, 75, -5))
    assert again["statistics"]["missing_share"] == 0
    assert again["statistics"]["max"] == pytest.approx(0, abs=1e-6), "a plane is lit evenly"


def test_wrong_inputs_are_named(city):
    for wrong, named in (
        ({"measure": "steepness"}, "measure"),
        ({"step_m": -1, "line": line((0, 0), (9, 0))}, "step_m"),
        ({"cell_m": float("nan")}, "cell_m"),
        ({"area": {**box(0, 0, 1, 1), "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}}, "area"),
        ({"line": line((5, -5), (5, -5))}, "line"),
        ({"line": line((0, 0), (9, 0)), "keep_as": "x1"}, "keep_as"),
        ({"line": line((0, -5), (99, -5)), "step_m": 0.0001}, "step_m"),
        ({"altitude_deg": 91}, "altitude_deg"),
    ):
        with pytest.raises(InvalidInput, match=named):
            city.run("terrain", **wrong)
    with pytest.raises(NotFound, match="dem: there is no raster 'dsm'"):
        city.run("terrain", dem={"collection": "dsm"})


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=5, unique=True),
       st.floats(0.3, 20))  # fmt: skip
def test_stations_lie_on_the_line(xy, step):
    shape = shapely.LineString(xy)
    along, at = stations(shape, step)
    assert along[0] == 0
    assert along[-1] == pytest.approx(shape.length)
    assert (np.diff(along) > 0).all()
    assert (np.diff(along) <= step + 1e-6).all()
    on = shapely.get_coordinates(shapely.line_interpolate_point(shape, along))
    assert at == pytest.approx(on, abs=1e-6)
