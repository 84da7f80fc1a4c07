"""GDAL, QGIS 3.40 and OWSLib read maps from the real server; oracles are the store's file and shapely."""

import io
import json
import os
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.windows import from_bounds

from tests.stores import read_layer

pytestmark = pytest.mark.client

COLOUR = (0xD8, 0xCF, 0xC0)
SCRIPT = Path(__file__).with_name("qgis_wms.py")
GRIDS = {"EPSG:4549": "EPSG4549Quad", "EPSG:3857": "WebMercatorQuad", "EPSG:4490": "CGCS2000Quad"}


@pytest.fixture(scope="module")
def footprints(town_twin):
    """Buildings as GDAL's GPKG driver reads them from the store's file: another way to the same places."""
    return read_layer(town_twin, "building").geometry.to_numpy()


@pytest.fixture(scope="module")
def box(footprints):
    """200 m round some building in the middle of the town, EPSG:4549, east first."""
    middle = shapely.centroid(shapely.MultiPoint(shapely.centroid(footprints)))
    nearest = shapely.centroid(footprints[np.argmin(shapely.distance(footprints, middle))])
    return nearest.x - 100, nearest.y - 100, nearest.x + 100, nearest.y + 100


def placed(footprints, target):
    to = pyproj.Transformer.from_crs("EPSG:4549", target, always_xy=True)
    return shapely.union_all(shapely.transform(footprints, to.transform, interleaved=False))


def in_crs(box, target):
    return pyproj.Transformer.from_crs("EPSG:4549", target, always_xy=True).transform_bounds(*box)


def agrees(colours, bounds, buildings):
    """(4, rows, columns) has the buildings' colour inside them and nothing outside, edges left aside."""
    west, south, east, north = bounds
    rows, columns = colours.shape[1:]
    cell = max((east - west) / columns, (north - south) / rows)
    x, y = np.meshgrid(
        west + (np.arange(columns) + 0.5) * (east - west) / columns,
        north - (np.arange(rows) + 0.5) * (north - south) / rows,
    )
    inside = shapely.contains_xy(buildings.buffer(-2 * cell), x, y)
    outside = ~shapely.contains_xy(buildings.buffer(2 * cell), x, y)
    assert inside.sum() > 500
    assert outside.sum() > 500
    assert (np.abs(colours[:3, inside].astype(int).T - COLOUR).max(axis=1) <= 3).mean() > 0.99
    assert (colours[3, outside] < 16).mean() > 0.995


@pytest.mark.parametrize("version", ["1.3.0", "1.1.1"])
@pytest.mark.parametrize("target", ["EPSG:4549", "EPSG:3857", "EPSG:4326"])
def test_gdal_reads_wms(town_url, footprints, box, target, version):
    west, south, east, north = in_crs(box, target)
    swapped = version == "1.3.0" and target != "EPSG:3857"
    corners = (south, west, north, east) if swapped else (west, south, east, north)
    label = "CRS" if version == "1.3.0" else "SRS"
    address = (
        f"WMS:{town_url}wms?SERVICE=WMS&VERSION={version}&REQUEST=GetMap&LAYERS=building&STYLES=&{label}={target}"
        f"&BBOX={','.join(map(repr, corners))}&FORMAT=image/png&TRANSPARENT=TRUE"
    )
    with rasterio.open(address) as service:
        assert service.crs.to_string() == target
        np.testing.assert_allclose(service.bounds, (west, south, east, north), rtol=1e-9)
        colours = service.read(out_shape=(4, 512, 512))
        agrees(colours, service.bounds, placed(footprints, target))


@pytest.mark.parametrize("target", list(GRIDS))
@pytest.mark.parametrize("encoding", ["rest", "kvp"])
def test_gdal_reads_wmts(town_url, footprints, box, target, encoding):
    capabilities = {
        "rest": f"{town_url}wmts/1.0.0/WMTSCapabilities.xml",
        "kvp": f"{town_url}wmts?SERVICE=WMTS&REQUEST=GetCapabilities",
    }[encoding]
    bounds = in_crs(box, target)
    with rasterio.open(f"WMTS:{capabilities},layer=building,tilematrixset={GRIDS[target]}") as service:
        assert service.crs == rasterio.crs.CRS.from_string(target)
        window = from_bounds(*bounds, service.transform)
        colours = service.read(window=window, out_shape=(4, 400, 400))
        agrees(colours, bounds, placed(footprints, target))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_gdal_lists_layers_of_the_capabilities(town_url, town):
    drawable = {info.id for info in town.layers if info.type.is_vector and info.type.geometry != "none" and info.bounds}
    with rasterio.open(f"WMS:{town_url}wms?SERVICE=WMS") as service:
        named = {each.split("LAYERS=")[1].split("&")[0] for each in service.subdatasets}
    assert drawable <= named
    with rasterio.open(f"WMTS:{town_url}wmts/1.0.0/WMTSCapabilities.xml") as service:
        named = {each.split("layer=")[1].split(",")[0] for each in service.subdatasets}
    assert drawable | {"city"} <= named


def test_gdal_reads_imagery_as_it_is(town_url, town, town_twin):
    """The town's photograph through WMTS on the city's grid, whose cells are those of a file of the same CRS."""
    asset = town.store.assets(town.scope, "dom")[0]
    west, south, east, north = asset.bounds
    middle = ((west + east) / 2, (south + north) / 2)
    part = (middle[0] - 40, middle[1] - 40, middle[0] + 40, middle[1] + 40)
    address = f"WMTS:{town_url}wmts/1.0.0/WMTSCapabilities.xml,layer=dom,tilematrixset=EPSG4549Quad"
    with rasterio.open(address) as service, rasterio.open(town_twin / asset.path) as file:
        got = service.read([1, 2, 3], window=from_bounds(*part, service.transform), out_shape=(3, 160, 160))
        want = file.read([1, 2, 3], window=from_bounds(*part, file.transform), out_shape=(3, 160, 160))
    assert np.abs(got.astype(int) - want).mean() < 6
    assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > 0.97


def test_gdal_reads_ogc_api_maps(town_url, footprints, box, tmp_path):
    """Its driver takes degrees for granted: the last of our links gives them. Debian's GDAL has it, rasterio's not."""
    code = (
        "import sys, json; from osgeo import gdal; gdal.UseExceptions()\n"
        f"d = gdal.OpenEx('OGCAPI:{town_url}collections/building', open_options=['API=MAP', 'CACHE=NO'])\n"
        "w, s, e, n = map(float, sys.argv[1:5])\n"
        "gdal.Translate(sys.argv[5], d, projWin=[w, n, e, s], width=400, height=400, format='GTiff')\n"
    )
    bounds = in_crs(box, "OGC:CRS84")
    probe = subprocess.run(["/usr/bin/python3", "-c", "from osgeo import gdal"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("Debian's python3 has no GDAL")
    target = tmp_path / "map.tif"
    environment = {key: value for key, value in os.environ.items() if key not in {"PROJ_DATA", "PROJ_LIB", "GDAL_DATA"}}
    command = ["/usr/bin/python3", "-c", code, *map(repr, bounds), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-1500:]
    with rasterio.open(target) as file:
        agrees(file.read(), bounds, placed(footprints, "OGC:CRS84"))


@pytest.mark.parametrize("target", ["EPSG:4549", "EPSG:3857"])
def test_qgis_draws_the_same_from_wms_wmts_and_features(qgis_python, town_url, footprints, box, tmp_path, target):
    bounds = in_crs(box, target)
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    grid = GRIDS[target]
    command = [qgis_python, str(SCRIPT), town_url, target, *map(repr, bounds), str(tmp_path), grid, f"{x},{y}"]
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA"):
        environment.pop(name, None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr[-3000:]
    said = json.loads(lines[-1])
    assert {key: (each["valid"], each["said"], each["errors"]) for key, each in said.items()} == dict.fromkeys(
        ["wms", f"wmts-{grid}", "oapif"], (True, "", [])
    )
    assert {each["crs"] for each in said.values()} == {target}
    there = shapely.contains_xy(placed(footprints, target), x, y)
    assert ("id = " in said["wms"]["identified"][0]) == bool(there)
    pictures = {name: np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")).astype(int) for name in said}
    drawn = {name: np.abs(each - 255).sum(axis=2) > 60 for name, each in pictures.items()}
    assert 0.02 < drawn["oapif"].mean() < 0.9
    for name in ("wms", f"wmts-{grid}"):
        both, either = drawn[name] & drawn["oapif"], drawn[name] | drawn["oapif"]
        assert both.sum() / either.sum() > 0.97  # the outline of one is a fraction of a pixel wider


def test_owslib_reads_wms(town_url, town):
    from owslib.wms import WebMapService

    for version in ("1.1.1", "1.3.0"):
        service = WebMapService(f"{town_url}wms", version=version)
        building = service["building"]
        assert building.title == town["building"].info.type.title.zh
        assert {"EPSG:4549", "EPSG:4490", "EPSG:4326", "EPSG:3857"} <= set(building.crsOptions)
        assert list(building.styles) == ["default", "default-labelled"]
        assert building.queryable
        west, south, east, north = town["building"].info.bounds
        answer = service.getmap(
            layers=["building"], styles=["default"], srs="EPSG:4549", bbox=(west, south, east, north), size=(300, 300),
            format="image/png", transparent=True,
        )  # fmt: skip
        colours = np.asarray(Image.open(io.BytesIO(answer.read())))
        assert (colours == (*COLOUR, 255)).all(axis=2).mean() > 0.01
        assert (colours[..., 3] > 0).mean() > 0.05
        if version == "1.3.0":
            epochs = sorted({each.epoch for each in town.store.assets(town.scope, "dom") if each.epoch})
            assert service["dom"].timepositions == epochs


def test_owslib_reads_wmts(town_url, town):
    from owslib.wmts import WebMapTileService

    service = WebMapTileService(f"{town_url}wmts")
    assert service["building"].title == town["building"].info.type.title.zh
    assert set(GRIDS.values()) <= set(service.tilematrixsets)
    x, y = pyproj.Transformer.from_crs("EPSG:4549", "EPSG:3857", always_xy=True).transform(
        *town["building"].info.bounds[:2]
    )
    half = 20037508.342789244
    column, row = int((x + half) / (2 * half) * 2**16), int((half - y) / (2 * half) * 2**16)
    tile = service.gettile(
        layer="building", style="default", tilematrixset="WebMercatorQuad", tilematrix="16", row=row, column=column,
        format="image/png",
    )  # fmt: skip
    assert Image.open(io.BytesIO(tile.read())).size == (256, 256)


def test_owslib_reads_ogc_api_maps(town_url, footprints, box):
    from owslib.ogcapi.maps import Maps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        service = Maps(town_url)
        assert "building" in service.maps()
        bounds = in_crs(box, "OGC:CRS84")
        answer = service.map("building", bbox=list(bounds), width=400, height=400, transparent=True)
    colours = np.asarray(Image.open(answer).convert("RGBA"))
    # it asks for a box in degrees and says no CRS: the standard's answer is in the storage CRS, where the box is turned
    turned = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:4549", always_xy=True).transform_bounds(*bounds)
    agrees(np.moveaxis(colours, -1, 0), turned, placed(footprints, "EPSG:4549"))
