"""The derived surface: volumes of a pit against length x width x depth, and against brute force over every polygon."""

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

import twin
from layers import catalogue
from layers.errors import NotFound
from layers.report import Report
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, Rows, SourceRecord

CITY = "EPSG:4549"
WEST, NORTH = 597_000.0, 3_110_000.0


def multi(*boxes):
    return shapely.multipolygons([shapely.box(*box) for box in boxes])


def put(batch, layer_id, shapes, **columns):
    kind = catalogue.layer_type(layer_id)
    batch.ensure_layer(kind)
    source = SourceRecord(layer_id, "0", 1, 1, "{}")
    batch.begin_source(source)
    schema = kind.arrow_schema()
    n = len(shapes)
    given = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    table = pa.table({each.name: given.get(each.name, pa.nulls(n, each.type)) for each in schema}, schema=schema)
    shapes = np.array(shapes, dtype=object)
    batch.put(layer_id, layer_id, Rows([f"{layer_id}-{i}" for i in range(n)], shapes, table, [None] * n))
    batch.finish_source(source, Report(layer_id, "GPKG", "0", "stored"))


@pytest.fixture
def city(tmp_path):
    config.save(config.TwinConfig("here", CITY, 121.0, 28.1, height_model={"constant_m": 12.0}), tmp_path)
    column = np.arange(300)
    ground = np.broadcast_to(20 + 0.1 * (column + 0.5), (300, 300)).astype(np.float32)  # rises eastwards, 0.1 m a metre
    profile = {"driver": "GTiff", "width": 300, "height": 300, "count": 1, "dtype": "float32", "crs": CITY}
    with rasterio.open(tmp_path / "dem.tif", "w", transform=from_origin(WEST, NORTH, 1, 1), **profile) as file:
        file.write(ground, 1)
    store = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs=CITY)
    box = (WEST, NORTH - 300, WEST + 300, NORTH)
    with store.writing() as batch:
        record = SourceRecord("dem.tif", "0", 1, 1, "{}")
        batch.begin_source(record)
        batch.put_asset(Asset("dem", "dem", "raster", "dem.tif", CITY, box, box, "dem.tif"))
        batch.finish_source(record, Report("dem.tif", "GTiff", "0", "stored"))
        pits = [
            multi((WEST + 50, NORTH - 100, WEST + 90, NORTH - 70)),
            multi((WEST + 80, NORTH - 90, WEST + 120, NORTH - 60), (WEST + 200, NORTH - 90, WEST + 210, NORTH - 60)),
            multi((WEST + 150, NORTH - 250, WEST + 160, NORTH - 240)),
        ]
        put(batch, "excavation", pits, depth_m=[5.0, None, None], bottom_elev_m=[None, 18.0, None])
        dams = [multi((WEST + 20, NORTH - 280, WEST + 280, NORTH - 260))]
        put(batch, "hydraulic_structure", dams, base_elev_m=[30.0])
    store.close()
    with twin.open(tmp_path) as city:
        yield city


def lattice():
    i = np.arange(300) + 0.25
    e, n = np.meshgrid(WEST + i, NORTH - i)
    return e, n


def test_the_terrain_itself_stays_as_surveyed(city):
    e, n = lattice()
    assert np.allclose(city.surface().height(e.ravel(), n.ravel()), city.height(e, n).ravel(), equal_nan=True)
    assert city.height(WEST + 70, NORTH - 85) == pytest.approx(27.0, abs=1e-4)


def test_a_pit_is_cut_to_its_depth_below_the_lowest_edge(city):
    e, n = lattice()
    ground, cut = city.height(e, n), city.surface("derived").height(e, n)
    pit = (e > WEST + 50) & (e < WEST + 80) & (n > NORTH - 100) & (n < NORTH - 70)  # left of the second one
    assert np.allclose(cut[pit], 25.0 - 5.0, atol=1e-4)
    # volume: 30 x 30 m; depth 5 m at the western edge and 0.1 m more for each metre east of it
    assert (ground - cut)[pit].sum() == pytest.approx(30 * 30 * (5 + 0.1 * 15), rel=0.01)


def test_every_point_has_the_lowest_level_over_it_and_else_the_ground(city):
    e, n = lattice()
    surface = city.surface("derived")
    ours = surface.height(e.ravel(), n.ravel())
    theirs = city.height(e, n).ravel().copy()
    points = shapely.points(e.ravel(), n.ravel())
    for k in range(len(points)):
        over = [
            level for area, level in zip(surface.levelled.areas, surface.levelled.levels_m, strict=True)
            if area.covers(points[k])
        ]  # fmt: skip
        if over:
            theirs[k] = min(over)
    assert np.array_equal(ours, theirs, equal_nan=True)
    assert sorted(surface.levelled.levels_m.tolist()) == pytest.approx([18.0, 20.0, 30.0], abs=1e-4)


def test_the_same_place_in_degrees_has_the_same_height(city):
    import pyproj

    e, n = np.array([WEST + 70, WEST + 100, WEST + 10]), np.array([NORTH - 85, NORTH - 270, NORTH - 10])
    lon, lat = pyproj.Transformer.from_crs(CITY, "EPSG:4490", always_xy=True).transform(e, n)
    surface = city.surface("derived")
    assert surface.heights_lonlat(lon, lat) == pytest.approx(surface.height(e, n), abs=1e-3)


def test_a_pit_without_depth_is_not_guessed_but_listed(city):
    assert city.surface("derived").levelled.unknown == ["excavation/excavation-2"]
    with pytest.raises(NotFound):
        city.surface("bathymetry")
