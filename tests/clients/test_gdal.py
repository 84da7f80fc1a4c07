"""GDAL's OAPIF driver (as pyogrio's wheel carries it) reads every feature of every layer, page by page."""

import numpy as np
import pyogrio
import pytest

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
    stored = pyogrio.read_dataframe(town_twin / "city.gpkg", layer="building").set_index("id")
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
