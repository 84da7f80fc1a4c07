"""OWSLib and GDAL read coverages, EDR and records from the real process; values against the twin's own files."""

import io
import shutil
import subprocess

import httpx
import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.io import MemoryFile

from layers import crs

pytestmark = pytest.mark.client


def raster(town, layer):
    """Path of the uppermost raster of a layer."""
    return town.folder / town.store.assets(town.scope, layer)[0].path


@pytest.fixture(scope="module")
def coverages(town_url):
    from owslib.ogcapi.coverages import Coverages

    return Coverages(town_url)


@pytest.fixture(scope="module")
def edr(town_url):
    from owslib.ogcapi.edr import EnvironmentalDataRetrieval

    return EnvironmentalDataRetrieval(town_url)


def test_owslib_finds_every_raster_as_a_coverage(coverages, town):
    rasters = {asset.layer for asset in town.store.assets(town.scope) if asset.kind == "raster"}
    assert set(coverages.coverages()) == rasters
    schema = coverages.collection_schema("dem")
    assert schema["properties"]["height"]["x-ogc-unit"] == "m"


def test_owslib_cuts_and_scales_a_coverage(coverages, town):
    with rasterio.open(raster(town, "dem")) as dataset:
        truth, bounds = dataset.read(1), dataset.bounds
        x, y = (bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2
        west, south, east, north = crs.transform_bounds(town.crs, crs.CRS84, (x, y, x + 200, y + 100))
        body = coverages.coverage("dem", subset={"Lon": (west, east), "Lat": (south, north)}).read()
        with MemoryFile(body) as memory, memory.open() as part:
            window = rasterio.windows.from_bounds(*part.bounds, dataset.transform)
            rows, columns = window.round_offsets().round_lengths().toslices()
            assert np.array_equal(part.read(1), truth[rows, columns])
            assert part.crs.to_epsg() == 4549
    body = coverages.coverage("dom", scale_size={"E": 100, "N": 50}, properties=["red"]).read()
    with MemoryFile(body) as memory, memory.open() as small:
        assert (small.width, small.height, small.count) == (100, 50, 1)
    small = coverages.coverage("dom", scale_factor=10, datetime=("2024-01-01", "2024-12-31")).read()
    with MemoryFile(small) as memory, memory.open() as small:
        assert small.width == 200


def test_owslib_asks_for_a_height_and_a_series(edr, town):
    assert {"dem", "dsm", "dom", "sensor", "sensor_obs"} <= set(edr.data())
    lon, lat = 121.0, 28.1
    e, n = crs.transform(crs.CRS84, town.crs, np.array([lon]), np.array([lat]))
    answer = edr.query_data("dem", "position", coords=f"POINT({lon} {lat})", parameter_names=["height"])
    assert answer["ranges"]["height"]["values"][0] == pytest.approx(town.height(e[0], n[0]), abs=1e-6)
    frame = town["sensor_obs"].query(filter="device_id = 'SW01' AND quantity = 'water_level'")
    june = pd.Timestamp("2026-06-05T00:00:00Z"), pd.Timestamp("2026-06-06T00:00:00Z")
    frame = frame[(frame.time >= june[0]) & (frame.time <= june[1])].sort_values("time")
    answer = edr.query_data("sensor", "locations/SW01", datetime_="2026-06-05T00:00:00Z/2026-06-06T00:00:00Z")
    assert answer["ranges"]["water_level"]["values"] == pytest.approx(frame.value.tolist())
    west, south, east, north = (float(v) for v in edr.collection("sensor")["extent"]["spatial"]["bbox"][0])
    cube = edr.query_data("sensor", "cube", bbox=[west, south, east, north], datetime_="2026-06-05T00:00:00Z")
    assert len(cube["coverages"]) == len(town["sensor_obs"].query(filter="time = TIMESTAMP('2026-06-05T00:00:00Z')"))


def test_owslib_searches_the_catalogue(town_url, town):
    from owslib.ogcapi.records import Records

    records = Records(town_url)
    assert records.records() == ["catalogue"]
    found = records.collection_items("catalogue", q="orthophoto", limit=5, lang="en")
    assert "layer-dom" in {each["id"] for each in found["features"]}
    layers = {info.id for info in town.layers} | {asset.layer for asset in town.store.assets(town.scope)}
    every = records.collection_items("catalogue", type="dataset", limit=1000)
    assert every["numberMatched"] == len(layers)
    one = records.collection_item("catalogue", "layer-building")
    assert one["properties"]["numberOfFeatures"] == town["building"].count()
    assert set(records.collection_queryables("catalogue")["properties"]) >= {"title", "type", "geometry"}


def test_gdal_reads_an_address_as_a_file_by_byte_ranges(town_url, town, tmp_path):
    address = f"/vsicurl/{town_url}collections/dem/coverage?bbox=120.995,28.095,121.0,28.1&f=geotiff"
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        rasterio.open(address) as dataset,
        rasterio.open(raster(town, "dem")) as whole,
    ):
        window = rasterio.windows.from_bounds(*dataset.bounds, whole.transform)
        rows, columns = window.round_offsets().round_lengths().toslices()
        assert np.array_equal(dataset.read(1), whole.read(1)[rows, columns])
        assert dataset.units == ("m",)
    tool = shutil.which("gdalinfo", path="/usr/bin")
    if tool is None:
        pytest.skip("There is no gdalinfo (apt install gdal-bin).")
    path = tmp_path / "part.nc"
    path.write_bytes(httpx.get(f"{town_url}collections/dem/coverage?scale-factor=4&f=netcdf", timeout=60).content)
    said = subprocess.run([tool, str(path)], capture_output=True, text=True, check=True).stdout
    assert "Size is 250, 250" in said
    assert "EPSG" in said


def test_gdals_own_driver_reads_a_coverage(town_url, town, tmp_path):
    tool = shutil.which("gdal_translate", path="/usr/bin")
    known = subprocess.run([tool, "--formats"], capture_output=True, text=True, check=True).stdout if tool else ""
    if "OGCAPI" not in known:
        pytest.skip("There is no gdal_translate with the OGCAPI driver (apt install gdal-bin).")
    path = tmp_path / "part.tif"
    box = ["-projwin", "120.999", "28.101", "121.001", "28.099"]
    command = [tool, "-q", "-oo", "API=COVERAGE", "-oo", "CACHE=NO", *box,
               "-outsize", "64", "64", f"OGCAPI:{town_url}collections/dem", str(path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with rasterio.open(path) as dataset:
        values = dataset.read(1)
        columns, rows = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5)
        lon, lat = dataset.transform @ (columns, rows)
    heights = town.height(*crs.transform(crs.CRS84, town.crs, lon, lat))
    # it reads tiles of some level of its own and takes the nearest of their cells: half of 5 m away at most
    assert np.nanmedian(np.abs(values - heights)) < 0.1
    assert np.isfinite(values).all()


def test_pandas_reads_a_profile_of_the_city(town_url, town):
    line = "LINESTRING(120.995 28.098,121.005 28.104)"
    answer = httpx.get(f"{town_url}collections/dem/trajectory", params={"coords": line, "f": "CSV"}, timeout=60)
    table = pd.read_csv(io.StringIO(answer.text))
    e, n = crs.transform(crs.CRS84, town.crs, table["lon"].to_numpy(), table["lat"].to_numpy())
    assert np.allclose(table["height (m)"], town.height(e, n), atol=1e-4)
    assert table["distance (m)"].is_monotonic_increasing
