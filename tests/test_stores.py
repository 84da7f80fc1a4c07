"""The guard against opening a store's files beside SQLite, which would let other processes cut its memory."""

import pytest

import twin
from layers.catalogue import layer_type
from tests.stores import copy_twin
from twin import config
from twin.store.geopackage import GeoPackageStore


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "twin"
    made.mkdir()
    config.save(config.TwinConfig("here", "EPSG:4549", 121.0, 28.1, height_model={"constant_m": 12.0}), made)
    store = GeoPackageStore(made / "city.gpkg", create=True, city_crs="EPSG:4549")
    with store.writing() as batch:
        batch.ensure_layer(layer_type("building"))
    store.close()
    return made


def test_the_file_of_an_open_store_cannot_be_opened_by_tests(folder, tmp_path):
    with twin.open(folder) as city:
        assert len(city.layers) == 1
        with pytest.raises(RuntimeError, match="is open in this process"):
            (folder / "city.gpkg").read_bytes()
        copy = copy_twin(folder, tmp_path / "copy")
        with twin.open(copy) as other:
            assert [info.id for info in other.layers] == ["building"]
    assert (folder / "city.gpkg").read_bytes()[:6] == b"SQLite"
