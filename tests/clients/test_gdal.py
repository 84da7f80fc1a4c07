"""GDAL's OAPIF driver (as pyogrio's wheel carries it) reads every feature of every layer, page by page."""

import httpx
import numpy as np
import pyogrio
import pytest
import shapely

from tests.stores import read_layer

pytestmark = [
    pytest.mark.client,
    # pyogrio adds bare integers to datetimes, which NumPy 2.5 deprecates
    pytest.mark.filterwarnings("ignore:The 'generic' unit for NumPy timedelta:DeprecationWarning"),
]


def page_size(count):
    """Three pages or more; pages of at most 1000."""
    return max(1, min(1000, count // 3))


def test_every_feature_of_every_layer_across_pages(town, town_url):
    served = {name for name, _ in pyogrio.list_layers(f"OAPIF:{town_url}")}
    stored = {info.id: info.count for info in town.layers if info.type.is_vector}
    read = {}
    for layer, count in stored.items():
        _, _, geometry, fields = pyogrio.raw.read(f"OAPIF:{town_url}", layer=layer, PAGE_SIZE=page_size(count))
        read[layer] = len(fields[0]) if len(fields) else len(geometry)
    assert read == stored
    assert set(stored) <= served
    assert sum(stored.values()) > 20_000


def test_attributes_and_coordinates_are_those_of_the_store_file(town, town_url, town_twin):
    """GDAL's GPKG driver reads the store's file, GDAL's OAPIF driver reads the server: the same buildings."""
    served = pyogrio.read_dataframe(f"OAPIF:{town_url}", layer="building", CRS="EPSG:4549").set_index("id")
    stored = read_layer(town_twin, "building").set_index("id")
    assert set(served.index) == set(stored.index)
    served = served.loc[stored.index]
    np.testing.assert_allclose(served.geometry.bounds, stored.geometry.bounds, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(served["height_m"].to_numpy(), stored["height_m"].to_numpy())
    assert served.crs.to_epsg() == 4549


def test_a_filter_and_a_box_reach_the_server(town, town_url):
    tall = pyogrio.read_dataframe(f"OAPIF:{town_url}", layer="building", where="height_m > 30")
    assert 0 < len(tall) == town["building"].count(filter="height_m > 30") < town["building"].count()
    west, south, east, north = (float(v) for v in tall.total_bounds)
    box = (west, south, (west + east) / 2, (south + north) / 2)
    assert tall.crs.to_epsg() == 4549  # GDAL asks for the storage CRS
    inside = pyogrio.read_dataframe(f"OAPIF:{town_url}", layer="building", bbox=box)
    assert 0 < len(inside) == town["building"].count(bbox=box)


@pytest.mark.parametrize("z", [12, 15])
def test_vector_tiles_hold_the_buildings_of_their_place(town_url, town_twin, tmp_path, z):
    """GDAL's MVT driver reads tiles of the server; the ids in them are those the store's file has there."""
    footprints = read_layer(town_twin, "building").set_index("id").to_crs(3857)
    half, side = 20037508.342789244, 2 * 20037508.342789244 / 2**z
    middle = footprints.geometry.iloc[0].representative_point()
    x, y = int((middle.x + half) // side), int((half - middle.y) // side)
    answer = httpx.get(f"{town_url}collections/building/tiles/WebMercatorQuad/{z}/{y}/{x}").raise_for_status()
    assert answer.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    # GDAL takes the tile's place from its path
    tile = tmp_path / str(z) / str(x) / f"{y}.pbf"
    tile.parent.mkdir(parents=True)
    tile.write_bytes(answer.content)
    drawn = pyogrio.read_dataframe(tile, layer="building")
    west, north = x * side - half, half - y * side
    inside = footprints.geometry.intersects(shapely.box(west, north - side, west + side, north))
    assert 0 < inside.sum() <= len(footprints)
    # a tile has a margin, and what is smaller than its grid may be left out of the coarse one
    assert set(drawn["id"]) <= set(footprints.index)
    missing = set(footprints.index[inside]) - set(drawn["id"])
    assert not missing if z == 15 else len(missing) < 0.2 * inside.sum()
    there = drawn.drop_duplicates("id").set_index("id").geometry.iloc[:50].representative_point()
    far = [there[key].distance(footprints.geometry[key]) for key in there.index]
    assert max(far) < 3 * side / 4096


def test_the_ogcapi_driver_reads_items_and_vector_tiles(town_url, town_twin):
    """GDAL 3.12; the tiles of zoom 15 in degrees hold every building, in its place to two units of the tile's grid."""
    if "OGCAPI" not in pyogrio.list_drivers():
        pytest.skip("this GDAL has no OGCAPI driver")
    stored = read_layer(town_twin, "building").set_index("id")
    items = pyogrio.read_dataframe(f"OGCAPI:{town_url}collections/building", API="ITEMS").set_index("id")
    assert set(items.index) == set(stored.index)
    tiles = pyogrio.read_dataframe(f"OGCAPI:{town_url}collections/building", API="TILES", layer="Zoom level 15")
    boxes = tiles.groupby("id").geometry.apply(lambda parts: shapely.union_all(parts.to_numpy()).bounds)
    assert set(boxes.index) == set(stored.index)
    expected = stored.to_crs("OGC:CRS84").bounds
    unit = 360 / 2**16 / 4096
    read = np.array([boxes[key] for key in expected.index])
    np.testing.assert_allclose(read, expected.to_numpy(), rtol=0, atol=2 * unit)
