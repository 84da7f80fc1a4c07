"""Rasters: every pixel of the COG against rasterio on the source, real files against MANIFEST facts."""

import math
import re

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin

from ingest.raster import reader as raster
from layers.errors import CrsMissing, InvalidInput
from layers.source import ControlPoint, Hints
from tests.ingest.conftest import manifest


def write(path, array, crs="EPSG:4549", transform=None, **options):
    array = np.atleast_3d(array.T).T if array.ndim == 2 else array
    profile = {
        "driver": "GTiff",
        "width": array.shape[2],
        "height": array.shape[1],
        "count": array.shape[0],
        "dtype": array.dtype,
    }
    with rasterio.open(
        path, "w", crs=crs, transform=transform or from_origin(597000, 3110000, 2, 2), **profile, **options
    ) as out:
        out.write(array)
    return path


def made(path, tmp_path, hints=None):
    reading = raster.read(path, hints or Hints())
    [layer] = reading.layers
    target = tmp_path / "out" / "cog.tif"
    target.parent.mkdir(exist_ok=True)
    layer.write(target)
    return reading, layer, target


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_the_cog_has_every_pixel_the_nodata_and_overviews(tmp_path, dtype):
    array = (np.random.default_rng(0).normal(size=(1300, 1100)) * 50).astype(dtype)
    array[100:200, 300:400] = -9999
    path = write(tmp_path / "dem_2025-03.tif", array, nodata=-9999)
    _, layer, target = made(path, tmp_path)
    assert (layer.layer_type, layer.crs, layer.epoch) == ("dem", "EPSG:4549", "2025-03")
    with rasterio.open(target) as cog, rasterio.open(path) as source:
        assert np.array_equal(cog.read(), source.read())
        assert (cog.transform, cog.nodata, cog.crs) == (source.transform, source.nodata, source.crs)
        assert cog.overviews(1)
        assert cog.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert cog.profile["compress"] == "deflate"
    assert layer.bounds == (597000, 3110000 - 2600, 597000 + 2200, 3110000)


def test_a_given_crs_is_written_into_the_cog(tmp_path):
    path = tmp_path / "dem.asc"
    path.write_text(
        "ncols 3\nnrows 2\nxllcorner 597000\nyllcorner 3109000\ncellsize 10\nNODATA_value -9999\n1 2 3\n4 -9999 6\n"
    )
    with pytest.raises(CrsMissing, match=r"(?s)\[\[source\]\].*dem\.asc"):
        raster.read(path, Hints())
    reading, _, target = made(path, tmp_path, Hints(crs="EPSG:4549"))
    assert reading.certificate.method == "given-crs"
    with rasterio.open(target) as cog:
        assert cog.crs.to_epsg() == 4549
        assert cog.read(1).tolist() == [[1, 2, 3], [4, -9999, 6]]


def test_a_truncated_file_is_found_before_anything_is_kept(tmp_path):
    array = np.random.default_rng(0).normal(size=(600, 600)).astype("float32")
    path = write(
        tmp_path / "dem.tif", array, compress="lzw", tiled=True, blockxsize=128, blockysize=128, COPY_SRC_OVERVIEWS="NO"
    )
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)
    with pytest.raises(InvalidInput) as caught:
        made(path, tmp_path)
    assert caught.value.code in {"TRUNCATED", "FILE_UNREADABLE"}
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_place_is_refused_with_the_ways_out(tmp_path):
    path = write(tmp_path / "dem.tif", np.zeros((4, 4), "float32"), transform=Affine.identity())
    with pytest.raises(InvalidInput, match=r"world file.*control_points") as caught:
        raster.read(path, Hints())
    assert caught.value.code == "RASTER_NOT_PLACED"


@pytest.mark.parametrize(
    ("transform", "turn"),
    [
        (Affine(2, 0, 597000, 0, 2, 3110000), lambda a: a[::-1]),
        (Affine(-2, 0, 597000, 0, -2, 3110000), lambda a: a[:, ::-1]),
        (Affine(-2, 0, 597000, 0, 2, 3110000), lambda a: a[::-1, ::-1]),
    ],
)
def test_a_raster_that_runs_the_other_way_is_turned_without_touching_a_value(tmp_path, transform, turn):
    array = np.random.default_rng(3).normal(size=(30, 50)).astype("float32")
    path = write(tmp_path / "dem.tif", array, transform=transform)
    reading, layer, target = made(path, tmp_path)
    assert [issue.code for issue in reading.issues if issue.code != "LAYER_TYPE_FROM_BANDS"] == ["RASTER_TURNED"]
    with rasterio.open(target) as cog, rasterio.open(path) as source:
        assert np.array_equal(cog.read(1), turn(array))
        assert tuple(cog.bounds) == layer.bounds
        for row, column in ((0, 0), (29, 49), (7, 31)):  # the same place has the same value
            x, y = source.xy(row, column)
            assert next(cog.sample([(x, y)]))[0] == array[row, column]


def tilted(angle_deg):
    """Cells of 2 m, columns turned counter-clockwise from east."""
    c, s = 2 * math.cos(math.radians(angle_deg)), 2 * math.sin(math.radians(angle_deg))
    return Affine(c, s, 597000, s, -c, 3110000)


def at(transform, column, row):
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * column + b * row + c, d * column + e * row + f


def inclined(transform, rows=50, columns=60):
    """A plane over the cells of a raster with this transform: bilinear interpolation meets it exactly."""
    row, column = np.mgrid[0:rows, 0:columns]
    x, y = at(transform, column + 0.5, row + 0.5)
    return (10 + 0.05 * (x - 597000) - 0.03 * (y - 3110000)).astype("float32")


def against_the_plane(target):
    with rasterio.open(target) as cog:
        values = cog.read(1, masked=True)
        row, column = np.mgrid[0 : cog.height, 0 : cog.width]
        x, y = at(cog.transform, column + 0.5, row + 0.5)
    off = np.abs(values - (10 + 0.05 * (x - 597000) - 0.03 * (y - 3110000)))
    inner = ~np.ma.getmaskarray(values)
    for _ in range(2):  # at the rim of the tilted raster GDAL holds the edge cell's value
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return off[inner].max(), int(inner.sum())


@pytest.mark.parametrize("angle", [-20.0, 30.0, 75.0, 179.0])
def test_a_rotated_raster_is_resampled_on_its_own_cell_size(tmp_path, angle):
    transform = tilted(angle)
    path = write(tmp_path / "dem.tif", inclined(transform), transform=transform)
    reading, layer, target = made(path, tmp_path)
    assert "RASTER_RESAMPLED" in [issue.code for issue in reading.issues]
    worst, n = against_the_plane(target)
    assert worst < 1e-4
    assert n > 2000
    with rasterio.open(target) as cog:
        assert tuple(cog.bounds) == pytest.approx(layer.bounds, abs=1e-6)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_ground_control_points_are_fitted_and_their_misfit_is_in_the_certificate(tmp_path):
    from rasterio.control import GroundControlPoint

    transform = tilted(12)
    places = [(column, row, *at(transform, column, row)) for column, row in ((0, 0), (60, 0), (0, 50), (60, 50))]
    points = [GroundControlPoint(row, column, x, y) for column, row, x, y in places]
    path = write(tmp_path / "dem.tif", inclined(transform), crs=None, transform=Affine.identity())
    with rasterio.open(path, "r+") as file:
        file.gcps = points, rasterio.crs.CRS.from_epsg(4549)
    reading, layer, target = made(path, tmp_path)
    assert layer.crs == "EPSG:4549"
    assert reading.certificate.parameters["ground_control_points"]["rms"] < 1e-6
    assert against_the_plane(target)[0] < 1e-4

    points[3] = GroundControlPoint(50, 60, places[3][2] + 40, places[3][3])
    with rasterio.open(path, "r+") as file:
        file.gcps = points, rasterio.crs.CRS.from_epsg(4549)
    with pytest.raises(InvalidInput) as caught:
        raster.read(path, Hints())
    assert caught.value.code == "RASTER_NOT_AFFINE"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_control_points_of_city_toml_place_a_scan(tmp_path):
    transform = tilted(5)
    path = write(tmp_path / "dem.tif", inclined(transform), crs=None, transform=Affine.identity())
    points = tuple(ControlPoint((c, r), at(transform, c, r)) for c, r in ((0, 0), (60, 0), (0, 50), (55, 45)))
    reading, layer, target = made(path, tmp_path, Hints(crs="EPSG:4549", control_points=points))
    assert reading.certificate.method == "control-points"
    assert layer.crs == "EPSG:4549"
    assert against_the_plane(target)[0] < 1e-4


def test_pixel_is_point_means_the_centre_of_the_cell(tmp_path):
    """OGC 19-008r4: with RasterPixelIsPoint the tie point is the centre of the first cell, half a cell inside."""
    path = write(tmp_path / "dem.tif", np.arange(12, dtype="float32").reshape(3, 4))
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    from PIL import Image

    with Image.open(path) as tiff:
        tie = tiff.tag_v2[33922]  # ModelTiepointTag
    _, layer, target = made(path, tmp_path)
    assert (layer.bounds[0], layer.bounds[3]) == (tie[3] - 1, tie[4] + 1)
    with rasterio.open(target) as cog:
        assert cog.xy(0, 0) == (tie[3], tie[4])


def elevation(tmp_path, array, hints=None, **options):
    path = write(tmp_path / "dem.tif", np.asarray(array), **options)
    _, layer, target = made(path, tmp_path, hints)
    issues = layer.write(target)
    with rasterio.open(target) as cog:
        return issues, cog.read(1, masked=True), cog.scales[0]


@pytest.mark.parametrize(
    ("filler", "dtype"), [(-32768, "int16"), (-9999, "float32"), (-3.4028234663852886e38, "float32")]
)
def test_nodata_that_nobody_declared_is_masked_and_told(tmp_path, filler, dtype):
    array = np.full((40, 40), 12, dtype)
    array[10:14, 20:25] = filler
    issues, values, _ = elevation(tmp_path, array)
    assert [issue.code for issue in issues] == ["NODATA_UNDECLARED", "DEM_HOLES"]
    assert "20 cells" in issues[0].message
    assert (int(values.mask.sum()), float(values.max()), float(values.min())) == (20, 12, 12)


def test_holes_are_counted_and_the_collar_outside_is_none(tmp_path):
    array = np.full((60, 60), 3, "float32")
    array[:5], array[30:34, 10:13], array[50:52, 50:52] = -9999, -9999, -9999
    [issue], _, _ = elevation(tmp_path, array, nodata=-9999)
    assert issue.code == "DEM_HOLES"
    assert "2 holes" in issue.message
    assert "12 cells" in issue.message


def test_centimetres_and_feet_become_metres_when_told_and_are_asked_for_when_not(tmp_path):
    array = np.array([[1234, 25000]], "int16")
    with pytest.raises(InvalidInput, match=r"units = \{height") as caught:
        elevation(tmp_path, array)
    assert caught.value.code == "DEM_OUT_OF_RANGE"
    _, values, scale = elevation(tmp_path, array, Hints(units={"height": "cm"}))
    assert scale == pytest.approx(0.01)
    assert (values.data * scale).tolist() == [[12.34, 250]]
    path = write(tmp_path / "feet.tif", np.array([[100.0]], "float32"))
    with rasterio.open(path, "r+") as file:
        file.units = ("ft",)
    _, _, target = made(path, tmp_path)
    with rasterio.open(target) as cog:
        assert cog.scales[0] == pytest.approx(0.3048)


def test_zeros_that_may_be_no_ground_are_asked_about_and_a_told_nodata_is_used(tmp_path):
    array = np.full((20, 20), 40, "float32")
    array[:10] = 0
    issues, values, _ = elevation(tmp_path, array)
    assert [issue.code for issue in issues] == ["DEM_ZEROS"]
    assert not values.mask.any()
    issues, values, _ = elevation(tmp_path, array, Hints(values={"nodata": 0}))
    assert issues == []
    assert int(np.ma.getmaskarray(values).sum()) == 200


def test_pixel_is_point_lands_half_a_cell_off_as_the_tag_says(tmp_path):
    path = write(tmp_path / "dem.tif", np.arange(16, dtype="float32").reshape(4, 4))
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    _, layer, target = made(path, tmp_path)
    assert layer.meta["pixel_is_point"]
    with rasterio.open(path) as source, rasterio.open(target) as cog:
        assert cog.bounds == source.bounds


@pytest.mark.parametrize(
    ("name", "bands", "dtype", "expected"),
    [
        ("dsm_a", 1, "float32", "dsm"),
        ("2024年影像", 3, "uint8", "dom"),
        ("x", 3, "uint8", "dom"),
        ("x", 1, "float32", "dem"),
        ("高程模型", 1, "int16", "dem"),
    ],
)
def test_what_a_raster_shows(tmp_path, name, bands, dtype, expected):
    path = write(tmp_path / f"{name}.tif", np.zeros((bands, 4, 4), dtype))
    reading = raster.read(path, Hints())
    assert reading.layers[0].layer_type == expected
    assert bool(reading.issues) == (name == "x")


def test_a_raster_that_says_nothing_is_not_guessed(tmp_path):
    path = write(tmp_path / "x.tif", np.zeros((1, 4, 4), "uint8"))
    with pytest.raises(InvalidInput, match="neither its name nor its bands"):
        raster.read(path, Hints())


FACTS = {
    name: row["expected"] for name, row in manifest().items() if name.startswith("raster/") and name.endswith(".tif")
}


@pytest.mark.parametrize("name", sorted(FACTS) or ["none"])
def test_real_rasters_keep_their_measured_facts(realdata, name, tmp_path):
    if name == "none":
        pytest.skip("no MANIFEST.csv")
    facts = FACTS[name]
    is_placed = "crs=none" not in facts
    hints = Hints(root=realdata, layer="dom" if "bands=3" in facts or "bands=4" in facts else "dem")
    if not is_placed:
        with pytest.raises(InvalidInput):
            raster.read(realdata / name, hints)
        return
    _, layer, target = made(realdata / name, tmp_path, hints)
    box = [float(v) for v in re.search(r"bounds=\[([^\]]+)\]", facts)[1].split(",")]
    assert list(layer.bounds) == pytest.approx(box, abs=1e-5)
    n_valid = int(re.search(r"band1_valid_px=(\d+)", facts)[1])
    with rasterio.open(target) as cog:
        assert f"size={cog.width}x{cog.height}" in facts
        if cog.profile.get("compress") == "deflate":
            band = cog.read(1, masked=True)
            assert band.count() == n_valid
            assert float(band.mean()) == pytest.approx(float(re.search(r"band1_mean=([-\d.e]+)", facts)[1]), abs=1e-3)
