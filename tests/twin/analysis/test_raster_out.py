"""A raster of an answer: a valid COG; kept, it is a layer that a build of the folder leaves alone."""

import dataclasses

import numpy as np
import pytest
import rasterio

from layers.errors import InvalidInput
from tests.twin.analysis.terrain_city import NORTH, WEST, city_on
from twin.analysis.elevation import Grid
from twin.analysis.progress import Progress
from twin.analysis.raster_out import check_name, cog, keep
from twin.scope import Scope

GRID = Grid("EPSG:4549", WEST, NORTH, 2.0, 1.0, 700, 1300)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    with city_on(tmp_path_factory.mktemp("kept") / "twin", (np.zeros((20, 20)), 1.0)) as opened:
        yield opened


def values(top, rows):
    r, c = np.mgrid[top : top + rows, : GRID.width]
    z = r * 1.0 + c / 1000
    z[c % 97 == 3] = np.nan
    return z


def test_a_cog_as_gdal_and_the_specification_want_it(tmp_path):
    """Blocks before overviews in the file, overviews to 512, tiles, LAYOUT=COG (what rio cogeo validate looks at)."""
    parts = [(top, values(top, min(300, GRID.height - top))) for top in range(0, GRID.height, 300)]
    file = cog(Progress(folder=tmp_path), "depth", GRID, iter(parts), unit="m")
    assert [path.name for path in tmp_path.iterdir()] == ["depth.tif"], "nothing is left beside it"
    with rasterio.open(file.path) as made:
        assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert made.crs.to_epsg() == 4549
        assert made.units == ("m",)
        assert made.bounds == pytest.approx((WEST, NORTH - 1300, WEST + 1400, NORTH))
        assert made.block_shapes == [(512, 512)]
        assert made.overviews(1) == [2, 4]
        np.testing.assert_array_equal(made.read(1), values(0, 1300).astype("float32"))
        full, half, quarter = (
            int(made.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=level)) for level in (None, 0, 1)
        )
        assert quarter < half < full, "the smallest picture lies first in the file"


def test_bytes_have_their_own_nodata(tmp_path):
    grid = dataclasses.replace(GRID, width=4, height=3)
    data = np.array([[0, 1, 2, 255]] * 3)
    file = cog(Progress(folder=tmp_path), "seen", grid, [(0, data)], unit="1", nodata=255, dtype="uint8")
    with rasterio.open(file.path) as made:
        assert (made.dtypes[0], made.nodata) == ("uint8", 255)
        np.testing.assert_array_equal(made.read(1, masked=True).mask[0], [False, False, False, True])


def made(folder, value):
    grid = dataclasses.replace(GRID, width=4, height=3)
    return cog(Progress(folder=folder), "x", grid, [(0, np.full((3, 4), value))], unit="m")


def test_kept_it_is_a_layer_and_the_next_one_takes_its_place(city, tmp_path):
    keep(city, made(tmp_path, 1.0), "my_slope", "Slope", "terrain")
    (first,) = city.store.assets(city.scope, "my_slope")
    assert first.kind == "raster"
    assert (first.source, first.title) == ("analysis/terrain", "Slope")
    assert first.city_bounds == (WEST, NORTH - 3, WEST + 8, NORTH)
    keep(city, made(tmp_path, 2.0), "my_slope", "Slope", "terrain")
    (second,) = city.store.assets(city.scope, "my_slope")
    assert not (city.folder / first.path).exists()
    with rasterio.open(city.folder / second.path) as raster:
        assert (raster.read(1) == 2.0).all()
    keep(city, made(tmp_path, 2.0), None, "", "terrain")
    assert len(city.store.assets(city.scope)) == 2


@pytest.mark.parametrize("name", ["dem", "building", "dem0"])
def test_names_of_others_are_refused(city, tmp_path, name):
    """A layer of the catalogue, whether the city has it or not, and any raster that is not an analysis's."""
    before = sorted(path.name for path in (city.folder / "rasters").iterdir())
    with pytest.raises(InvalidInput, match="keep_as"):
        keep(city, made(tmp_path, 1.0), name, "", "terrain")
    blind = city.with_scope(Scope("nobody", layers=frozenset()))
    with pytest.raises(InvalidInput, match="keep_as"):
        check_name(blind, name)
    assert sorted(path.name for path in (city.folder / "rasters").iterdir()) == before


def test_a_build_of_the_folder_leaves_it_alone(tmp_path):
    from server.build import build
    from tests.twin.analysis.terrain_city import raster

    source = tmp_path / "source"
    source.mkdir()
    raster(source / "dem.tif", np.full((30, 30), 5.0), 2.0)
    build(source, tmp_path / "twin")
    import twin

    with twin.open(tmp_path / "twin") as city:
        keep(city, made(tmp_path, 1.0), "my_slope", "Slope", "terrain")
    raster(source / "dem.tif", np.full((30, 30), 6.0), 2.0)
    build(source, tmp_path / "twin")
    with twin.open(tmp_path / "twin") as city:
        (kept,) = city.store.assets(city.scope, "my_slope")
        assert (city.folder / kept.path).is_file()
        assert city.height(WEST + 20, NORTH - 20) == 6.0
