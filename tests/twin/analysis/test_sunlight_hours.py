"""P19 as a process: hand case, rules, what is not known, a new building, the ground."""

import numpy as np
import pytest
import rasterio
import shapely

from layers import crs
from layers.errors import InvalidInput
from tests.twin.analysis import site_city
from tests.twin.analysis.site_city import EAST, NORTH, box, collection, feature, point
from twin.analysis import sun_position
from twin.analysis.sunlight_ground import free_stretches, hides

HAND = {"declination_deg": -20.14, "latitude_deg": 37.5, "from_h": 8, "to_h": 16}


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    low = {"base_elev_m": 0.0, "height_m": 10.0, "use": "住宅"}
    with site_city.made(
        tmp_path_factory.mktemp("sun"),
        {
            "building": [
                ("south", shapely.MultiPolygon([box(-100, -60, 100, -50)]), {"base_elev_m": 0.0, "height_m": 30.0}),
                ("home", shapely.MultiPolygon([box(-10, 0, 10, 10)]), low),
                ("dark", shapely.MultiPolygon([box(-10, -530, 10, -520)]), low | {"height_m": None}),
                ("model of home", shapely.MultiPolygon([box(-11, -1, 11, 11)]), low | {"same_as": "home"}),
                ("tower", shapely.MultiPolygon([box(-30, -1200, 30, -1180)]), {"base_elev_m": 0.0, "height_m": 900.0}),
            ]
        },
    ) as opened:
        yield opened


def wall(distance_m, **values):
    return collection(feature(box(-100, -distance_m - 10, 100, -distance_m), "wall", **({"top_elev_m": 30.0} | values)))


def only(found):
    return found["features"]["features"][0]["properties"]


@pytest.mark.parametrize(
    ("distance_m", "hours"), [(50.0, 3.546), (45.0, 0.0), (47.10, 2.0)], ids=["50 m", "45 m", "47.10 m"]
)
def test_hand_case_to_one_minute(city, distance_m, hours):
    found = city.run(
        "sunlight-hours", windows=collection(feature(point(0, 0, 0.9), "w")), buildings=wall(distance_m), **HAND
    )
    assert only(found)["hours_h"] == pytest.approx(hours, abs=1 / 60)
    assert (found["declination_from"], found["date"], found["declination_deg"]) == ("given", None, -20.14)
    assert only(found)["verdict"] == "unknown", "no zone, no limit: hours are told, not judged"


def test_two_hours_are_enough_and_a_little_less_is_not(city):
    for distance_m, verdict in ((47.11, "pass"), (47.09, "fail")):
        found = city.run(
            "sunlight-hours", windows=collection(feature(point(0, 0, 0.9), "w")), buildings=wall(distance_m),
            limit_h=2, **HAND,
        )  # fmt: skip
        assert only(found)["verdict"] == verdict


@pytest.mark.parametrize(
    ("zone", "population", "hours", "day", "span"),
    [("II", 500_000, 2, "2001-01-20", (8, 16)), ("III", 499_999, 3, "2001-01-20", (8, 16)),
     ("VII", 5e6, 2, "2001-01-20", (8, 16)), ("IV", 500_000, 3, "2001-01-20", (8, 16)),
     ("IV", 499_999, 1, "2001-12-22", (9, 15)), ("V", 1, 1, "2001-12-22", (9, 15)),
     ("VI", 5e6, 1, "2001-12-22", (9, 15))],
    ids=["II large", "III small", "VII large", "IV large", "IV small", "V", "VI"],
)  # fmt: skip
def test_day_span_and_limit_are_those_of_the_zone(city, zone, population, hours, day, span):
    found = city.run(
        "sunlight-hours", windows=collection(feature(point(0, 0, 0.9), "w")), buildings=wall(300),
        climate_zone=zone, population_person=population,
    )  # fmt: skip
    assert (found["limit_h"], found["date"], (found["from_h"], found["to_h"])) == (hours, day, span)
    row = only(found)
    assert (row["rule_id"], row["confidence"], row["verdict"]) == ("sunlight-dwelling", "high", "pass")


def test_housing_for_the_elderly_and_rebuilt_areas_need_no_zone(city):
    windows = collection(feature(point(0, 0, 0.9), "w"))
    old = city.run("sunlight-hours", windows=windows, buildings=wall(300), use="elderly")
    assert (old["limit_h"], old["date"], old["from_h"]) == (2, "2001-12-22", 9)
    rebuilt = city.run("sunlight-hours", windows=windows, buildings=wall(300), use="rebuilt")
    assert (rebuilt["limit_h"], rebuilt["date"], rebuilt["from_h"]) == (1, "2001-01-20", 8)


def test_a_zone_s_limit_is_not_used_on_another_day(city):
    found = city.run(
        "sunlight-hours", windows=collection(feature(point(0, 0, 0.9), "w")), buildings=wall(300), climate_zone="II",
        population_person=1e6, date="2026-03-01", from_h=8, to_h=16,
    )  # fmt: skip
    assert (found["limit_h"], only(found)["verdict"]) == (None, "unknown")
    assert "not those of" in only(found)["note"]


@pytest.mark.parametrize(
    ("inputs", "name"),
    [({}, "date"), ({"date": "great-cold", "declination_deg": -20}, "date"), ({"date": "tomorrow"}, "date"),
     ({"declination_deg": -20}, "from_h"),
     ({"declination_deg": float("nan"), "from_h": 8, "to_h": 16}, "declination_deg"),
     ({"declination_deg": -24, "from_h": 8, "to_h": 16}, "declination_deg"),
     ({"declination_deg": -20, "from_h": 16, "to_h": 8}, "to_h"), ({"date": "great-cold", "sill_m": -1}, "sill_m"),
     ({"date": "great-cold", "latitude_deg": 95}, "latitude_deg"),
     ({"date": "great-cold", "climate_zone": "VIII"}, "climate_zone"),
     ({"date": "great-cold", "step": 1}, "step")],
    ids=["no day", "two days", "no date", "no hours", "NaN", "beyond the tropic", "reversed", "sill", "latitude",
         "zone", "stranger"],
)  # fmt: skip
def test_wrong_inputs_are_named(city, inputs, name):
    with pytest.raises(InvalidInput, match=name):
        city.run("sunlight-hours", windows=collection(feature(point(0, 0, 0.9), "w")), buildings=wall(50), **inputs)


def test_wrong_features_are_named(city):
    windows = collection(feature(point(0, 0, 0.9), "w"))
    for buildings in (wall(50, top_elev_m=None, height_m=-3.0), wall(50, top_elev_m="30 m")):
        with pytest.raises(InvalidInput, match=r"^buildings"):
            city.run("sunlight-hours", windows=windows, buildings=buildings, **HAND)
    with pytest.raises(InvalidInput, match=r"^windows lies outside"):
        city.run("sunlight-hours", windows=collection(feature(point(9e5, 0, 1), "w")), buildings=wall(50), **HAND)
    with pytest.raises(InvalidInput, match=r"^windows.*facing_deg"):
        city.run(
            "sunlight-hours",
            windows=collection(feature(point(0, 0, 1), "w", facing_deg=999)),
            buildings=wall(50),
            **HAND,
        )


def test_a_building_of_unknown_height_leaves_bounds(city):
    windows = collection(feature(point(0, 0, 0.9), "w"))
    found = only(
        city.run(
            "sunlight-hours", windows=windows, buildings=wall(50, top_elev_m=None, base_elev_m=0.0), limit_h=2, **HAND
        )
    )
    assert (found["hours_h"], found["hours_at_most_h"], found["verdict"]) == (None, 8.0, "unknown")
    assert found["hours_at_least_h"] < 2
    assert "wall" in found["note"]
    bound = only(
        city.run(
            "sunlight-hours", windows=windows, buildings=wall(50, top_elev_m=None, base_elev_m=0.0), limit_h=2,
            unknown_height_up_to_m=30, **HAND,
        )
    )  # fmt: skip
    assert bound["hours_at_least_h"] == pytest.approx(3.546, abs=1 / 60)
    assert bound["verdict"] == "pass", "as high as it may be it takes not enough"
    far = only(
        city.run("sunlight-hours", windows=windows, buildings=wall(2000, top_elev_m=None, base_elev_m=0.0), **HAND)
    )
    assert far["hours_h"] == 8.0, "it stands too far away to shade anything"


def test_heights_of_windows(city):
    given = collection(
        feature(point(0, 0, 0.9), "z"), feature(point(0, 0), "elev", elev_m=0.9),
        feature(point(0, 0), "floor", floor_elev_m=0.0),
        feature(point(0, 0), "none"),
    )  # fmt: skip
    rows = [
        each["properties"]
        for each in city.run("sunlight-hours", windows=given, buildings=wall(50), limit_h=2, **HAND)["features"][
            "features"
        ]
    ]
    assert len({each["hours_h"] for each in rows[:3]}) == 1
    assert (rows[3]["hours_h"], rows[3]["verdict"]) == (None, "unknown")
    assert "no height" in rows[3]["note"]


def test_a_window_inside_a_building_is_unknown(city):
    row = only(
        city.run(
            "sunlight-hours",
            windows=collection(feature(point(0, -55, 0.9), "w")),
            buildings=wall(50),
            limit_h=2,
            **HAND,
        )
    )
    assert (row["hours_h"], row["verdict"], row["note"]) == (None, "unknown", "the point lies inside building wall")


def test_walls_of_a_house_among_the_city_s_buildings(city):
    found = city.run(
        "sunlight-hours", windows={"collection": "building", "ids": ["home"]}, date="great-cold", spacing_m=5,
    )  # fmt: skip
    rows = [each["properties"] for each in found["features"]["features"]]
    assert len(rows) == 2 * 4 + 2 * 2
    by_side = {round(each["facing_deg"]) % 360: each for each in rows}
    assert set(by_side) == {0, 90, 180, 270}
    assert by_side[0]["hours_h"] == 0.0
    assert by_side[90]["stretches_h"][-1][1] == pytest.approx(12.0, abs=0.02)
    assert all("inside" not in (each["note"] or "") for each in rows), "its own model is the same house"
    assert by_side[180]["elev_m"] == pytest.approx(0.9)
    noon = 90 - 28.115 - 20.115
    shadow = np.degrees(np.arctan2(900, 1180))
    assert noon > shadow, "at noon the sun is over the tower, in the morning and evening beside it"


def test_a_tall_building_far_away_is_looked_at(city):
    """A tower of 900 m at 1.2 km hides the low sun of noon from a window in the north, where nothing else does."""
    inputs = {"windows": collection(feature(point(0, 400, 20.0), "w")), "declination_deg": -20.14, "latitude_deg": 60.0,
              "from_h": 11, "to_h": 13}  # fmt: skip
    assert only(city.run("sunlight-hours", unknown_height_up_to_m=50, **inputs))["hours_h"] < 1.9


def test_a_proposed_building_takes_sun(city):
    inputs = {"windows": collection(feature(point(0, 0, 0.9), "w")), "buildings": wall(300), **HAND}
    before = only(city.run("sunlight-hours", **inputs))["hours_h"]
    new = only(city.run("sunlight-hours", proposed=wall(50), **inputs))
    assert new["hours_before_h"] == before
    assert new["hours_h"] == pytest.approx(3.546, abs=1 / 60)
    assert new["loss_h"] == pytest.approx(before - new["hours_h"], abs=1e-6)


def test_short_stretches_count_unless_said_otherwise(city):
    gap = collection(
        feature(box(-100, -40, -0.1, -30), "a", top_elev_m=100.0),
        feature(box(0.1, -40, 100, -30), "b", top_elev_m=100.0),
    )
    windows = collection(feature(point(0, 0, 0.9), "w"))
    whole = only(city.run("sunlight-hours", windows=windows, buildings=gap, **HAND))["hours_h"]
    assert 0 < whole * 60 < 5
    assert only(city.run("sunlight-hours", windows=windows, buildings=gap, shortest_min=5, **HAND))["hours_h"] == 0


def test_a_city_s_own_rules_name_zone_population_and_shortest_stretch(tmp_path):
    area = shapely.MultiPolygon([box(-500, -500, 500, 500)])
    with site_city.made(tmp_path, {"key_area": [("a", area, {})]}) as own:
        (tmp_path / "rules").mkdir()
        (tmp_path / "rules" / "own.yaml").write_text(
            "rules:\n  - {id: sunlight-place, parameters: {climate_zone: IV, population_person: 300000}}\n", "utf8"
        )
        found = own.run("sunlight-hours", windows=collection(feature(point(0, 0, 0.9), "w")), buildings=wall(300))
        assert (found["limit_h"], found["date"]) == (1, "2001-12-22")


def test_true_north_is_not_grid_north(tmp_path):
    """A slit that looks grid south at 121.4 E, 37.5 N, where grid north lies 0.852 degrees east of true north.

    Its middle is true azimuth 180.852: the sun is there after noon, when tan(azimuth from south) says so.
    """
    x, y = crs.transform(crs.CRS84, "EPSG:4549", np.array([121.4]), np.array([37.5]))
    east, north = float(x[0]), float(y[0])

    def here(x0, y0, x1, y1):
        return shapely.box(east + x0, north + y0, east + x1, north + y1)

    area = shapely.MultiPolygon([here(-500, -500, 500, 500)])
    sides = collection(
        feature(here(-200, -60, -0.5, -30), "west", top_elev_m=300.0),
        feature(here(0.5, -60, 200, -30), "east", top_elev_m=300.0),
    )
    with site_city.made(tmp_path, {"key_area": [("a", area, {})]}, origin=(121.4, 37.5)) as city:
        found = only(
            city.run(
                "sunlight-hours", windows=collection(feature(shapely.Point(east, north, 0.9), "w")), buildings=sides,
                declination_deg=-20.14, from_h=8, to_h=16,
            )
        )  # fmt: skip
    [(first, last)] = found["stretches_h"]
    h = np.radians(15 * ((first + last) / 2 - 12))
    p, d = np.radians(37.5), np.radians(-20.14)
    from_south = np.degrees(
        np.arctan2(np.sin(h) * np.cos(d), np.cos(h) * np.sin(p) * np.cos(d) - np.sin(d) * np.cos(p))
    )
    assert from_south == pytest.approx(0.852, abs=0.003)
    assert last > first > 11.9


def ridge(path, height_m):
    """Ground of 2 m cells: flat, and a ridge across the south, 100 m away."""
    rows, columns = 400, 400
    north = NORTH + 400
    y = north - (np.arange(rows) + 0.5) * 2
    ground = np.where(y < NORTH - 100, height_m, 0.0).astype("float32")
    data = np.repeat(ground[:, None], columns, axis=1)
    with rasterio.open(
        path, "w", driver="GTiff", width=columns, height=rows, count=1, dtype="float32", crs="EPSG:4549", nodata=-9999,
        transform=rasterio.Affine(2, 0, EAST - 400, 0, -2, north),
    ) as out:  # fmt: skip
        out.write(data, 1)
    return data


def test_ground_hides_like_a_wall_of_the_same_height(tmp_path):
    """The ridge is as good as a long wall; its crest is the first line of centres that is high."""
    heights = ridge(tmp_path / "dem.tif", 60.0).astype(float)
    way = sun_position.path([37.5], -20.14)[0]
    first, last = sun_position.hour_angle([8, 16]).tolist()
    found, is_known = free_stretches(
        np.array([EAST, NORTH, 0.9]), way, first, last, 480, heights, EAST - 400, NORTH + 400, 2.0, 2.0, 60.0
    )
    assert is_known
    hours = (12 + np.degrees(found) / 15).tolist()
    phi, delta, rise, distance = np.radians(37.5), np.radians(-20.14), 59.1, 101.0  # the first centre that is high
    a = distance * np.sin(phi) * np.sin(delta) + rise * np.cos(phi) * np.sin(delta)
    b = distance * np.cos(phi) * np.cos(delta) - rise * np.sin(phi) * np.cos(delta)
    half = np.degrees(np.arccos(-a / b)) / 15
    assert len(hours) == 1
    assert hours[0] == pytest.approx([12 - half, 12 + half], abs=2 / 3600)


def test_a_hole_in_the_ground_is_unknown_and_flat_ground_hides_nothing():
    heights = np.zeros((50, 50))
    sun = np.array([0.0, -0.9, 0.435])
    here = np.array([50.0, 50.0, 5.0])
    assert hides(here, sun, heights, 0.0, 100.0, 2.0, 2.0, 20.0) == 0
    heights[40, 25] = np.nan
    assert hides(here, sun, heights, 0.0, 100.0, 2.0, 2.0, 20.0) == 2
    heights[30, :] = 20.0
    assert hides(here, sun, heights, 0.0, 100.0, 2.0, 2.0, 20.0) == 1, "hidden before the hole comes"


def test_the_ground_is_asked_for(tmp_path):
    from server.build import build

    (tmp_path / "files").mkdir()
    ridge(tmp_path / "files" / "dem.tif", 60.0)
    (tmp_path / "files" / "city.toml").write_text(
        'name = "hill"\ncrs = "EPSG:4549"\nvertical_crs = "EPSG:5737"\norigin = [120.0, 28.1]\nheight_model = "egm96"\n'
        '[[source]]\npath = "dem.tif"\nlayer = "dem"\nvertical_crs = "EPSG:5737"\n', "utf8",
    )  # fmt: skip
    build(tmp_path / "files", tmp_path / "twin")
    import twin

    with twin.open(tmp_path / "twin") as city:
        inputs = {"windows": collection(feature(point(0, 0, 0.9), "w")), "buildings": wall(300), **HAND}
        flat = only(city.run("sunlight-hours", **inputs))["hours_h"]
        hidden = only(city.run("sunlight-hours", terrain=True, **inputs))["hours_h"]
        assert flat == 8.0
        assert 0 < hidden < 4
