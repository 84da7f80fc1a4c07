"""QGIS 3.40 opens `/qgis/city.qgs`: every layer valid, right counts, no axis flip, 3D Tiles and terrain drawn."""

import numpy as np
import pytest
import shapely
from PIL import Image

from tests.clients.conftest import asked_qgis
from tests.stores import read_layer

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def cloud(town):
    """The town's point cloud."""
    (found,) = town.store.assets(town.scope, "point_cloud")
    return found


@pytest.fixture(scope="module")
def project(qgis_python, town_url, tmp_path_factory, cloud):
    """What QGIS says of the project."""
    folder = tmp_path_factory.mktemp("qgis")
    scenes = f"citytwin_building_3d,citytwin_terrain,citytwin_tiles,citytwin_point_cloud_{cloud.id}"
    return asked_qgis(qgis_python, town_url, folder, "citytwin_building", scenes)


@pytest.fixture(scope="module")
def footprints(town_twin):
    """Buildings as GDAL's GPKG driver reads them from the store's file: another way to the same coordinates."""
    return read_layer(town_twin, "building").set_index("id")


def test_every_layer_is_there_valid_and_in_the_tree(project, town):
    layers = project["layers"]
    assert [(key, each["error"]) for key, each in layers.items() if not each["valid"]] == []
    assert project["in_tree"] == sorted(layers)
    vectors = {f"citytwin_{info.id}" for info in town.layers if info.type.is_vector}
    solids = {f"citytwin_{info.id}_3d" for info in town.layers if info.mesh_count}
    files = {f"citytwin_{asset.layer}_{asset.id}" for asset in town.store.assets(town.scope)}
    assert set(layers) == vectors | solids | files | {"citytwin_terrain", "citytwin_tiles"}


def test_every_layer_has_the_stored_number_of_features(project, town):
    stored = {f"citytwin_{info.id}": info.count for info in town.layers if info.type.is_vector}
    assert {key: each["count"] for key, each in project["layers"].items() if each["count"] is not None} == stored


def test_project_and_layers_are_in_the_city_crs_with_the_extents_of_the_data(project, footprints):
    assert project["crs"] == "EPSG:4549"
    building = project["layers"]["citytwin_building"]
    assert building["crs"] == "EPSG:4549"
    np.testing.assert_allclose(building["extent"], footprints.total_bounds, rtol=0, atol=1e-3)


def test_layers_carry_the_titles_and_colours_of_the_catalogue(project, town):
    info = town["building"].info
    building = project["layers"]["citytwin_building"]
    assert (building["name"], building["colour"]) == (info.type.title.en, info.type.style["color"].lower())


def test_pipes_are_drawn_in_the_colours_of_the_standard_by_their_code(project):
    """CJJ 61-2017: water 0 255 255, gas 255 0 255, power 255 0 0."""
    colours = project["layers"]["citytwin_pipe_gas"]["classes"]
    assert (colours["JS"], colours["RQ"], colours["DL"]) == ("#00ffff", "#ff00ff", "#ff0000")


def test_land_of_two_code_lists_is_told_apart(project):
    """0702 is a rural homestead in one list and a community service in the other."""
    colours = project["layers"]["citytwin_land_survey"]["classes"]
    assert {"sd2017 0702", "ydyh2023 0702"} <= set(colours)
    assert colours["sd2017 0702"] != colours["ydyh2023 0702"]


def test_layers_are_labelled_and_their_fields_have_the_titles_of_the_catalogue(project, town):
    building = project["layers"]["citytwin_building"]
    height = town["building"].info.type.attribute("height_m")
    assert building["labels"] == "name"
    assert building["aliases"]["height_m"] == f"{height.title.en} ({height.unit})"


def test_the_vector_tiles_are_drawn_where_the_buildings_are(project, footprints, town):
    """The layer of all tiles, in the style that the project brings: buildings in their colour over all areas."""
    drawn = project["drawn"]["citytwin_tiles"]
    assert drawn["errors"] == []
    with Image.open(drawn["png"]) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    west, _, east, north = drawn["extent"]
    pixel = (east - west) / 600
    x, y = np.meshgrid(west + (np.arange(600) + 0.5) * pixel, north - (np.arange(600) + 0.5) * pixel)
    shapes = footprints.geometry.to_numpy()
    inside = shapely.contains_xy(shapely.union_all(shapely.buffer(shapes, -2 * pixel)), x, y)
    outside = ~shapely.contains_xy(shapely.union_all(shapely.buffer(shapes, 4 * pixel)), x, y)
    red, green, blue = bytes.fromhex(town["building"].info.type.style["color"][1:])
    is_like = np.abs(pixels - [red, green, blue]).max(axis=2) <= 6
    assert inside.sum() > 1000
    assert is_like[inside].mean() > 0.5  # names and points of interest stand on many roofs
    assert is_like[outside].mean() < 0.02


def test_every_feature_is_read_in_4549_without_axis_flip(project, footprints):
    assert project["north_first"]  # so that this test means something
    assert set(project["features"]) == set(footprints.index)
    read = np.array([project["features"][key] for key in footprints.index])
    np.testing.assert_allclose(read, footprints.bounds.to_numpy(), rtol=0, atol=1e-3)


def test_every_feature_is_read_in_4490_without_axis_flip(project, footprints):
    assert project["degrees"]["crs"] == "EPSG:4490"
    expected = footprints.to_crs("EPSG:4490").bounds
    read = np.array([project["degrees"]["features"][key] for key in expected.index])
    np.testing.assert_allclose(read, expected.to_numpy(), rtol=0, atol=1e-8)


def test_a_filter_in_qgis_is_answered_by_the_server_with_what_the_file_holds(project, footprints, town_log):
    assert project["filtered"] == int((footprints["height_m"] > 30).sum()) > 0
    assert "filter=(%22height_m%22%20%3E%2030)&filter-lang=cql2-text" in town_log.read_text()


def test_the_3d_tiles_are_drawn_where_the_buildings_are(project, footprints):
    """Seen from above: what lies well inside a footprint is drawn, what lies well outside of all is not."""
    drawn = project["drawn"]["citytwin_building_3d"]
    assert drawn["errors"] == []
    with Image.open(drawn["png"]) as image:
        is_drawn = (np.asarray(image.convert("RGB")) != 255).any(axis=2)
    west, _, east, north = drawn["extent"]
    pixel = (east - west) / 600
    x, y = np.meshgrid(west + (np.arange(600) + 0.5) * pixel, north - (np.arange(600) + 0.5) * pixel)
    tall = footprints[footprints["height_m"].notna()].geometry.to_numpy()
    inside = shapely.contains_xy(shapely.union_all(shapely.buffer(tall, -1.5 * pixel)), x, y)
    outside = ~shapely.contains_xy(shapely.union_all(shapely.buffer(footprints.geometry.to_numpy(), 2 * pixel)), x, y)
    assert inside.sum() > 2000
    assert is_drawn[inside].mean() > 0.99
    assert is_drawn[outside].mean() < 0.001
    assert drawn["colours"] > 10


def test_the_terrain_is_drawn(project):
    drawn = project["drawn"]["citytwin_terrain"]
    assert drawn["errors"] == []
    assert drawn["drawn"] > 0.9 * 600 * 600
    assert drawn["colours"] > 10


def test_the_point_cloud_is_drawn_where_its_points_are(project, town_twin, cloud):
    """Read from COPC by byte ranges; against the points as laspy reads them."""
    laspy = pytest.importorskip("laspy")
    drawn = project["drawn"][f"citytwin_point_cloud_{cloud.id}"]
    assert drawn["errors"] == []
    with Image.open(drawn["png"]) as image:
        is_drawn = (np.asarray(image.convert("RGB")) != 255).any(axis=2)
    west, _, east, north = drawn["extent"]
    pixel = (east - west) / 600
    points = laspy.read(town_twin / cloud.path)
    column = ((np.asarray(points.x) - west) / pixel).astype(int)
    row = ((north - np.asarray(points.y)) / pixel).astype(int)
    seen = (column >= 0) & (column < 600) & (row >= 0) & (row < 600)
    expected = np.zeros((600, 600), bool)
    expected[row[seen], column[seen]] = True
    near = shapely.STRtree(shapely.points(np.argwhere(expected)))
    away = near.query_nearest(shapely.points(np.argwhere(is_drawn)), all_matches=False, return_distance=True)[1]
    assert is_drawn.sum() > 2000
    assert (away <= 3).mean() > 0.99  # nothing where no point is
    drawn_places = shapely.STRtree(shapely.points(np.argwhere(is_drawn)))
    missing = drawn_places.query_nearest(
        shapely.points(np.argwhere(expected)), all_matches=False, return_distance=True
    )[1]
    assert (missing <= 6).mean() > 0.95  # and the cloud is there as a whole
