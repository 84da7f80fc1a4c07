"""P16, the process: hand case, radius, buildings, holes, the raster, wrong inputs. The numbers: test_viewshed_sight."""

import numpy as np
import pytest
import rasterio
import shapely

from layers.errors import InvalidInput
from tests.twin.analysis.terrain_city import NORTH, WEST, city_on
from twin.analysis.elevation import Grid
from twin.analysis.line_of_sight_prisms import Prisms
from twin.analysis.progress import Dismissed, Progress
from twin.analysis.viewshed import PROCESS, built


@pytest.fixture(scope="module")
def wall(tmp_path_factory):
    z = np.zeros((5, 5))
    z[:, 2] = 10
    with city_on(tmp_path_factory.mktemp("wall") / "twin", (z, 1.0)) as opened:
        yield opened


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    z = np.zeros((60, 80))
    z[50:, 70:] = np.nan
    houses = [
        ("low", shapely.box(WEST + 20, NORTH - 40, WEST + 24, NORTH - 20), 0.0, 6.0),
        ("none", shapely.box(WEST + 40, NORTH - 12, WEST + 44, NORTH - 8), 0.0, None),
    ]
    with city_on(tmp_path_factory.mktemp("seen") / "twin", (z, 1.0), buildings=houses) as opened:
        yield opened


def at(x, y):
    return {"type": "Point", "coordinates": [WEST + x, NORTH + y], "crs": "city"}


def test_hand_case(wall):
    """Observer 1.6 in row 3, column 1; a wall of 10 in column 3: columns 4-5 hidden, columns 1-2 visible."""
    found = wall.run("viewshed", observer=at(0.5, -2.5), radius_m=100, crs="city")
    with rasterio.open(found["raster"].path) as made:
        states = made.read(1)
        assert (made.dtypes[0], made.nodata) == ("uint8", 255)
    assert (states[:, :2] == 1).all()
    assert (states[:, 3:] == 0).all()
    assert found["visible_m2"] == (states == 1).sum()
    assert found["hidden_m2"] == (states == 0).sum()
    assert (found["visible_m2"] + found["hidden_m2"], found["unknown_m2"]) == (25, 0)
    assert found["verdict"] == "pass"
    r, c = np.mgrid[-100:101, -100:101]
    assert found["outside_m2"] == (np.hypot(r, c) <= 100).sum() - 25, "what lies beyond the heights is told"
    assert found["visible_share"] == found["visible_m2"] / 25
    assert found["observer"]["features"][0]["geometry"]["coordinates"] == [WEST + 0.5, NORTH - 2.5]
    assert found["observer"]["features"][0]["properties"] == {"elev_m": 1.6}


def test_the_observer_stands_over_the_centre_of_its_cell(wall):
    found = wall.run("viewshed", observer=at(0.9, -2.1), radius_m=1.0, crs="city")
    assert found["observer"]["features"][0]["geometry"]["coordinates"] == [WEST + 0.5, NORTH - 2.5]
    assert found["visible_m2"] == 4, "itself and three neighbours at exactly 1 m"


def test_on_a_plane_everything_in_the_circle_is_seen(city):
    found = city.run("viewshed", observer=at(40.5, -30.5), radius_m=20, outline=True, crs="city")
    r, c = np.mgrid[-30:31, -30:31]
    n = (np.hypot(r, c) <= 20).sum()
    assert (found["visible_m2"], found["hidden_m2"], found["outside_m2"]) == (n, 0, 0)
    (shape,) = found["outline"]["features"]
    assert shapely.area(shapely.geometry.shape(shape["geometry"])) == pytest.approx(n)


def test_buildings_hide_what_is_behind_and_show_their_roofs(city):
    asked = {"observer": at(5.5, -30.5), "radius_m": 40, "observer_height_m": 3}
    bare = city.run("viewshed", **asked)
    assert bare["visible_share"] == 1
    assert bare["visible_roofs_m2"] == 0
    found = city.run("viewshed", **asked, buildings={"collection": "building", "ids": ["low"]}, target_height_m=0)
    with rasterio.open(found["raster"].path) as made:
        states = made.read(1)
    row = states[30]
    assert row[6:21].tolist() == [1] * 15, "up to the wall, which is seen"
    assert row[21:46].tolist() == [0] * 25, "the roof lies over the eye, the ground behind is hidden"
    above = city.run(
        "viewshed", **{**asked, "observer_height_m": 30}, buildings={"collection": "building", "ids": ["low"]}
    )
    assert above["visible_roofs_m2"] == 80


def test_missing_heights_are_unknown(city):
    found = city.run("viewshed", observer=at(60.5, -45.5), radius_m=19)
    assert found["verdict"] == "unknown"
    assert found["visible_share"] is None
    assert found["unknown_m2"] == pytest.approx(
        found["missing_share"] * sum(found[f"{k}_m2"] for k in ("visible", "hidden", "unknown"))
    )
    with rasterio.open(found["raster"].path) as made:
        states, grid = made.read(1), made.transform
    top, left = round(NORTH - grid.f), round(grid.c - WEST)
    hole = states[50 - top :, 70 - left :]
    assert set(np.unique(hole)) <= {2, 255}
    behind = city.run("viewshed", observer=at(42.5, -20.5), radius_m=19, buildings={"collection": "building"})
    assert behind["n_unknown_buildings"] == 1
    assert behind["verdict"] == "unknown"
    with pytest.raises(InvalidInput, match="observer: the ground has no height there"):
        city.run("viewshed", observer=at(75.5, -55.5), radius_m=5)
    assert city.run("viewshed", observer=at(75.5, -55.5), radius_m=5, observer_elev_m=9)["missing_share"] == 1


def test_the_highest_building_of_a_cell_counts_and_an_unknown_one_hides_all():
    grid = Grid("EPSG:4549", 0, 4, 1, 1, 4, 4)
    boxes = np.array([shapely.box(0, 0, 2, 4), shapely.box(1, 0, 3, 4), shapely.box(0, 0, 4, 1)], object)
    found = built(np.full((4, 4), 2.0), grid, Prisms(["a", "b", "c"], boxes, np.array([9.0, 5.0, np.nan])))
    assert found.heights_m[0].tolist() == [9, 9, 5, 2]
    assert np.isnan(found.heights_m[3]).all()
    assert found.is_built[0].tolist() == [True, True, True, False]
    low = built(np.full((4, 4), 7.0), grid, Prisms(["b"], boxes[1:2], np.array([5.0])))
    assert (low.heights_m == 7).all(), "a building under the ground hides nothing more"


def test_kept_as_a_layer_and_dismissed(city):
    city.run("viewshed", observer=at(40.5, -30.5), radius_m=20, keep_as="lookout")
    assert [each.source for each in city.store.assets(city.scope, "lookout")] == ["analysis/viewshed"]

    def stop(_percent, message):
        if message == "sight lines":
            raise Dismissed

    with pytest.raises(Dismissed):
        PROCESS.run(city, {"observer": at(40.5, -30.5), "radius_m": 20}, progress=Progress(stop))


def test_wrong_inputs_are_named(city):
    good = {"observer": at(40.5, -30.5), "radius_m": 20}
    for wrong, named in (
        ({"radius_m": 0}, "radius_m"),
        ({"radius_m": -5}, "radius_m"),
        ({"radius_m": "5 km"}, "radius_m"),
        ({"radius_m": float("nan")}, "radius_m"),
        ({"observer": at(500.5, -30.5)}, "outside"),
        ({"observer": at(90_000, 0)}, "observer lies outside the city"),
        ({"keep_as": "building"}, "keep_as"),
        ({"target_height_m": -1}, "target_height_m"),
    ):
        with pytest.raises(InvalidInput, match=named):
            city.run("viewshed", **{**good, **wrong})
