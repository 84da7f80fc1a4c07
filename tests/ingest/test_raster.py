"""Rasters: every pixel of the COG against rasterio on the source, real files against MANIFEST facts."""

import re

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin

from ingest import raster
from layers.errors import CrsMissing, InvalidInput
from layers.source import Hints
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


@pytest.mark.parametrize(
    ("transform", "code"),
    [
        (Affine.identity(), "RASTER_NOT_PLACED"),
        (Affine(2, 0.1, 597000, 0.1, -2, 3110000), "RASTER_ROTATED"),
        (Affine(2, 0, 597000, 0, 2, 3110000), "RASTER_ROTATED"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_is_not_north_up_is_refused_with_the_way_out(tmp_path, transform, code):
    path = write(tmp_path / "dem.tif", np.zeros((4, 4), "float32"), transform=transform)
    with pytest.raises(InvalidInput) as caught:
        raster.read(path, Hints())
    assert caught.value.code == code
    assert "gdalwarp" in str(caught.value) or "world file" in str(caught.value)


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
