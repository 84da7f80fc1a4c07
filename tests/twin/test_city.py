"""The city as a script sees it."""

import shutil
from datetime import UTC, date, datetime

import geopandas
import numpy as np
import pyarrow as pa
import pytest
import shapely

import twin
from layers import crs
from layers.catalogue import Attribute, LayerType, Title
from layers.errors import InvalidInput, LayerNotFound, NotFound
from layers.report import Report
from twin import config
from twin.city import moment
from twin.scope import Scope
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, Rows, SourceRecord

CITY_CRS = "EPSG:4549"
N = 40


@pytest.fixture
def folder(tmp_path):
    config.save(config.TwinConfig("here", CITY_CRS, 121.0, 28.1, height_model={"constant_m": 12.0}), tmp_path)
    store = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs=CITY_CRS)
    title = Title("建筑", "Building")
    attributes = (Attribute("height_m", "number", title), Attribute("version", "string", title))
    layer = LayerType("building", title, "Polygon", "base", (2,), attributes)
    x = 500000 + 50.0 * np.arange(N)
    table = pa.table({"height_m": np.arange(N) * 1.0, "version": ["v"] * N})
    source = SourceRecord("b.gpkg", "0", 1, 1, "{}")
    with store.writing() as batch:
        batch.ensure_layer(layer)
        batch.begin_source(source)
        shapes = shapely.box(x, 3108000, x + 10, 3108010)
        batch.put("building", "b.gpkg", Rows([f"b{i}" for i in range(N)], shapes, table, [None] * N))
        batch.finish_source(source, Report("b.gpkg", "GPKG", "0", "stored"))
    store.close()
    return tmp_path


@pytest.fixture
def city(folder):
    with twin.open(folder) as city:
        yield city


def test_a_layer_answers_as_a_geodataframe(city):
    assert [info.id for info in city.layers] == ["building"]
    assert "building" in city
    assert "road" not in city
    frame = city["building"].query(filter="height_m > 30", limit=3)
    assert isinstance(frame, geopandas.GeoDataFrame)
    assert frame.index.tolist() == ["b31", "b32", "b33"]
    assert frame["height_m"].tolist() == [31, 32, 33]
    assert frame["version"].tolist() == ["v"] * 3, "an attribute keeps its name; the store's own column steps back"
    assert crs.name(frame.crs.to_wkt()) == CITY_CRS
    assert frame.geometry.iloc[0].equals(shapely.box(501550, 3108000, 501560, 3108010))
    assert city["building"].query(filter={"op": ">", "args": [{"property": "height_m"}, 38]}).index.tolist() == ["b39"]
    some = city["building"].query(properties=["height_m"])
    assert some.columns.tolist() == ["height_m", "version", "valid_from", "valid_to", "extra", "geometry"]
    assert some["version"].tolist() == [1] * N
    assert city["building"].get("b7")["height_m"] == 7


def test_an_empty_answer_keeps_its_columns_and_crs(city):
    empty = city["building"].query(filter="height_m > 1000", crs="EPSG:4490")
    full = city["building"].query(crs="EPSG:4490")
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)
    assert empty.crs == full.crs
    assert empty.index.name == full.index.name == "id"


def test_boxes_and_filters_are_in_the_crs_that_is_asked_for(city):
    """b10 stands at 500500 … 500510; its degrees come from pyproj, not from the city."""
    lon, lat = crs.transform(CITY_CRS, "EPSG:4490", np.array([500505.0]), np.array([3108005.0]))
    d = 1e-5
    box = [lon[0] - d, lat[0] - d, lon[0] + d, lat[0] + d]
    text = f"S_INTERSECTS(geometry, POINT({lon[0]} {lat[0]}))"
    for found in (
        city["building"].query(bbox=box, crs="EPSG:4490"),
        city["building"].query(filter=text, crs="EPSG:4490"),
        city["building"].query(region=shapely.Point(lon[0], lat[0]), crs="EPSG:4490"),
    ):
        assert found.index.tolist() == ["b10"]
        assert found.geometry.iloc[0].contains(shapely.Point(lon[0], lat[0]))
    assert city["building"].count(bbox=[500000, 3108000, 500060, 3108001]) == 2
    assert city["building"].count() == N


def test_moments():
    midnight = datetime(2026, 1, 31, tzinfo=UTC)
    assert moment("2026-01-31") == moment(date(2026, 1, 31)) == moment("2026-01-31T00:00:00") == midnight
    assert moment("2026-01-31T08:00:00+08:00") == midnight
    assert moment(None) is None
    with pytest.raises(InvalidInput, match="'soon' is no date"):
        moment("soon")


def test_before_it_was_stored_there_was_nothing(city):
    assert city["building"].count(at="2020-01-01") == 0
    assert len(city["building"].query(at="2020-01-01")) == 0
    assert city["building"].count(at="2999-01-01") == N


def test_what_does_not_exist_is_named(city, tmp_path):
    with pytest.raises(LayerNotFound, match="Did you mean 'building'"):
        city["bilding"]
    with pytest.raises(NotFound, match="no feature 'x'"):
        city["building"].get("x")
    with pytest.raises(NotFound, match="no process 'flood'"):
        city.run("flood")
    with pytest.raises(NotFound, match="is not a twin"):
        twin.open(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="is no box"):
        city["building"].query(bbox=[5, 0, 1, 1])
    with pytest.raises(InvalidInput, match="not both"):
        city["building"].query(bbox=[0, 0, 1, 1], region=shapely.Point(0, 0))


def test_another_asker_sees_another_city(city):
    stranger = city.with_scope(Scope("stranger", frozenset()))
    assert stranger.layers == []
    with pytest.raises(LayerNotFound):
        stranger["building"]


def test_the_ground_comes_from_the_terrain_models(folder):
    """A plane z = 0.01 (E - 500000) + 0.02 (N - 3108000): bilinear interpolation must give it back exactly."""
    rasterio = pytest.importorskip("rasterio")
    from rasterio.transform import from_origin

    column, row = np.meshgrid(np.arange(100) + 0.5, np.arange(100) + 0.5)
    heights = 0.01 * 2 * column + 0.02 * (200 - 2 * row)
    (folder / "rasters").mkdir()
    with rasterio.open(
        folder / "rasters" / "dem.tif", "w", driver="GTiff", width=100, height=100, count=1, dtype="float64",
        crs=CITY_CRS, transform=from_origin(500000, 3108200, 2, 2), nodata=-9999,
    ) as out:  # fmt: skip
        out.write(heights, 1)
    bounds = (500000.0, 3108000.0, 500200.0, 3108200.0)
    with twin.open(folder) as city:
        assert np.isnan(city.height(500100, 3108100))
        with city.store.writing() as batch:
            batch.put_asset(Asset("dem", "dem", "raster", "rasters/dem.tif", CITY_CRS, bounds, bounds, "dem.tif"))
        assert city.height(500100, 3108050) == pytest.approx(2.0, abs=1e-6)
        found = city.height(np.array([[500010.0, 500020.0]]), np.array([[3108010.0, 3109999.0]]))
        assert found.shape == (1, 2)
        assert found[0, 0] == pytest.approx(0.3, abs=1e-6)
        assert np.isnan(found[0, 1])


def test_a_moved_folder_is_the_same_city(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "moved", ignore=shutil.ignore_patterns("moved"))
    with twin.open(tmp_path / "moved") as city:
        assert city["building"].count() == N
        assert city.frame.city_crs == CITY_CRS
