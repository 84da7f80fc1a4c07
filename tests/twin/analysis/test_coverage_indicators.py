"""P33: the hand cases and their boundaries, each indicator by its formula, what is not known, wrong inputs."""

import numpy as np
import pytest
import shapely

from layers.errors import InvalidInput, NotFound
from tests.twin.supervision.indicator_city import EAST, NORTH, box, collection, line, made, point, towns


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    layers = {"admin_unit": towns(4000, 4000, 1, (10,)), "urban_area": [("U", box(0, 0, 4000, 4000), {})]}
    with made(tmp_path_factory.mktemp("twin"), layers) as opened:
        yield opened


def ask(city, indicator, **inputs):
    return city.run("coverage-indicators", indicator=indicator, crs="city", **inputs)


def stations(*xy):
    return {"weather_station": collection(*[(f"S{i}", point(*each), {}) for i, each in enumerate(xy)])}


def pipes(monitored, whole=1000.0, unknown=0.0):
    rows = [("m", line((0, 0), (monitored, 0)), {"monitored": True})]
    rows.append(("n", line((monitored, 0), (whole, 0)), {"monitored": False}))
    if unknown:
        rows.append(("u", line((0, 9), (unknown, 9)), {"monitored": None}))
    return {"pipe_water": collection(*rows)}


def test_hand_case_stations_of_a_square(city):
    found = ask(city, "I-03", layers=stations((0, 0), (4000, 0), (0, 4000), (4000, 4000)))
    assert (found["value"], found["verdict"], found["unit"]) == (pytest.approx(4000), "pass", "m")
    three = found["facts"]["city"]
    assert three["mean_nearest_m"] == pytest.approx(4000)
    assert three["area_based_m"] == pytest.approx(2000)
    assert three["largest_gap_m"] == pytest.approx(2828.427, abs=1e-3)
    assert three["gap_at"] == pytest.approx([EAST + 2000, NORTH + 2000])


@pytest.mark.parametrize(("target", "verdict"), [(4000.001, "pass"), (4000, "fail"), (3999, "fail")])
def test_less_than_five_kilometres_is_strict(city, target, verdict):
    square = stations((0, 0), (4000, 0), (0, 4000), (4000, 4000))
    assert ask(city, "I-03", layers=square, target=target)["verdict"] == verdict


def test_stations_outside_or_without_place_do_not_count_and_one_alone_is_unknown(city):
    layers = stations((0, 0), (4000, 0), (4500, 0))
    layers["weather_station"]["features"].append({"type": "Feature", "id": "lost", "properties": {}, "geometry": None})
    found = ask(city, "I-03", layers=layers)
    assert (found["value"], found["n"]) == (pytest.approx(4000), 2)
    assert (found["facts"]["n_outside"], found["facts"]["n_without_place"]) == (1, 1)
    assert found["facts"]["stations_outside"] == ["S2"]
    alone = ask(city, "I-03", layers=stations((5, 5)))
    assert (alone["value"], alone["verdict"]) == (None, "unknown")
    assert alone["missing"]


@pytest.mark.parametrize(
    ("metres", "verdict"), [(850, "pass"), (849, "fail"), (850 - 1e-6, "pass"), (849.999, "fail"), (1000, "pass")]
)
def test_hand_case_monitored_pipes(city, metres, verdict):
    found = ask(city, "I-04", layers=pipes(metres))
    assert found["value"] == pytest.approx(metres / 10)
    assert found["verdict"] == verdict
    assert (found["numerator"], found["denominator"]) == (pytest.approx(metres), pytest.approx(1000))


def test_pipes_without_a_flag_are_apart_and_may_leave_it_open(city):
    sure = ask(city, "I-04", layers=pipes(900, unknown=10))
    assert (sure["value"], sure["n_unknown"], sure["verdict"]) == (pytest.approx(90), 1, "pass")
    assert (sure["low"], sure["high"]) == (pytest.approx(90000 / 1010), pytest.approx(91000 / 1010))
    open_ = ask(city, "I-04", layers=pipes(850, unknown=500))
    assert (open_["value"], open_["verdict"], open_["state"]) == (pytest.approx(85), "review", "review")
    states = [each["properties"]["state"] for each in open_["features"]["features"]]
    assert sorted(states) == ["no", "unknown"]


def test_a_pipe_with_a_sensor_that_names_it_counts(city):
    layers = pipes(0.001, unknown=500) | {"sensor": collection(("s", point(1, 1), {"host_id": "u"}))}
    assert ask(city, "I-04", layers=layers)["numerator"] == pytest.approx(500.001)


@pytest.mark.parametrize(("width", "verdict"), [(900, "pass"), (899, "fail"), (899.9, "fail"), (1000, "pass")])
def test_sheets_cover_90_percent_of_the_planning_area(city, width, verdict):
    sheets = collection(
        ("a", box(0, 0, 500, 1000), {"scale_denom": 1000}),
        ("b", box(300, 0, width, 1000), {"scale_denom": 2000}),
        ("old", box(0, 0, 1000, 1000), {"scale_denom": 5000}),
    )
    area = collection(("p", box(0, 0, 1000, 1000), {}))
    found = ask(city, "I-01", layers={"map_sheet": sheets, "planning_area": area})
    assert found["value"] == pytest.approx(width / 10, abs=1e-3), "overlapping sheets count once"
    assert found["verdict"] == verdict
    left = [shapely.geometry.shape(each["geometry"]) for each in found["features"]["features"]]
    assert sum(each.area for each in left) == pytest.approx((1000 - width) * 1000, abs=1)


@pytest.mark.parametrize(("n", "verdict"), [(9, "pass"), (8, "fail")])
def test_key_buildings_with_a_meter_that_is_read(city, n, verdict):
    houses = [(f"B{i}", box(10 * i, 0, 10 * i + 5, 5), {"key_energy": True}) for i in range(10)]
    houses += [("other", box(500, 0, 505, 5), {"key_energy": False}), ("?", box(600, 0, 605, 5), {"key_energy": None})]
    meters = [(f"M{i}", None, {"building_id": f"B{i}", "auto_reading": i < n}) for i in range(10)]
    found = ask(city, "I-10", layers={"building": collection(*houses), "meter": collection(*meters)})
    assert (found["value"], found["verdict"], found["n"]) == (10 * n, verdict, 10)
    assert len(found["features"]["features"]) == 10 - n


def mediums(air, water, noise):
    rows = []
    for medium, (auto, total) in {"空气": air, "水体": water, "噪音": noise}.items():
        rows += [(f"{medium}{i}", point(i, i), {"medium": medium, "auto": i < auto}) for i in range(total)]
    return {"monitoring_point": collection(*rows)}


def test_hand_case_of_three_mediums_is_strict(city):
    found = ask(city, "I-05", layers=mediums((9, 10), (8, 10), (3, 5)))
    assert found["value"] == pytest.approx(0.4 * 90 + 0.4 * 80 + 0.2 * 60)
    assert [part["value"] for part in found["parts"]] == pytest.approx([90, 80, 60])
    at_80 = ask(city, "I-05", layers=mediums((8, 10), (8, 10), (4, 5)))
    assert at_80["value"] == pytest.approx(80)
    assert at_80["verdict"] == "review", "80 % is not more than 80 %; weights of low confidence fail nothing"
    assert ask(city, "I-05", layers=mediums((9, 10), (8, 10), (4, 5)))["verdict"] == "pass"
    none = ask(city, "I-05", layers=mediums((9, 10), (8, 10), (0, 0)))
    assert (none["value"], none["verdict"]) == (None, "unknown")


def weighted(*weights):
    measure = {"kind": "share-of-count", "layers": [{"layer": "lamp"}], "condition": "smart = TRUE"}
    parts = [{"name": str(i), "weight": w, "measure": measure} for i, w in enumerate(weights)]
    return {
        "id": "W", "title": {"zh": "权", "en": "W"}, "clause": "c", "source": "s", "target": 50,
        "measure": {"kind": "weighted-mean", "parts": parts},
    }  # fmt: skip


def test_weights_that_do_not_sum_to_1_are_refused(city):
    lamps = {"lamp": collection(("l", point(0, 0), {"smart": True}))}
    with pytest.raises(InvalidInput, match=r"definitions: indicator W: weights sum to 0.9"):
        city.run("coverage-indicators", definition=weighted(0.5, 0.4), layers=lamps)
    found = city.run("coverage-indicators", definition=weighted(0.5, 0.5), layers=lamps)
    assert (found["value"], found["verdict"]) == (100, "pass")


def cameras(*rows):
    return collection(*[(f"C{i}", point(x, y), values) for i, (x, y, values) in enumerate(rows)])


def test_camera_sectors_are_cut_at_the_key_area(city):
    area = collection(("k", box(0, 0, 100, 100), {}))
    quarter = {"azimuth_deg": 45.0, "fov_deg": 90.0, "range_m": 80.0, "state": "正常"}
    found = ask(city, "I-13", layers={"key_area": area, "camera": cameras((0, 0, quarter), (-50, 50, quarter))})
    second = shapely.area(shapely.intersection(box(0, 0, 100, 100), shapely.buffer(point(-50, 50), 80, quad_segs=4000)))
    disc = shapely.buffer(point(0, 0), 80, quad_segs=4000)
    other = shapely.buffer(point(-50, 50), 80, quad_segs=4000)
    inside = shapely.union(disc.intersection(box(0, 0, 200, 200)), other.intersection(box(-50, 50, 200, 200)))
    assert second > 0
    expected = shapely.area(shapely.intersection(inside, box(0, 0, 100, 100))) / 100
    assert found["value"] == pytest.approx(expected, abs=0.01)


def test_a_camera_without_its_numbers_is_listed_and_leaves_a_fail_open(city):
    area = collection(("k", box(0, 0, 100, 100), {}))
    whole = {"azimuth_deg": None, "fov_deg": 360.0, "range_m": 40.0}
    blind = {"azimuth_deg": None, "fov_deg": 70.0, "range_m": 40.0}
    known = ask(city, "I-13", layers={"key_area": area, "camera": cameras((50, 50, whole))})
    assert known["value"] == pytest.approx(np.pi * 16, abs=1e-3)
    assert known["verdict"] == "fail"
    both = ask(city, "I-13", layers={"key_area": area, "camera": cameras((50, 50, whole), (10, 10, blind))})
    assert (both["value"], both["n_unknown"], both["verdict"]) == (pytest.approx(np.pi * 16, abs=1e-3), 1, "review")


def test_5g_discs_analytic_and_another_radius(city):
    layers = {
        "key_area": collection(("k", box(0, 0, 1000, 1000), {})),
        "base_station": collection(("b", point(500, 500), {"radius_m": 500.0})),
    }
    found = ask(city, "I-14", layers=layers)
    assert found["value"] == pytest.approx(25 * np.pi, abs=1e-4)
    assert found["verdict"] == "fail"
    assert ask(city, "I-14", layers=layers, distance_m=250)["value"] == pytest.approx(25 * np.pi / 4, abs=1e-4)


def test_sensing_of_a_kind_with_a_radius_of_its_own_analytic(city):
    """Share of a square in reach of sensors of a kind: discs of the definition's radius, two of them apart."""
    measure = {
        "kind": "share-of-area", "area": {"layer": "urban_area"},
        "cover": {"kind": "discs", "layers": [{"layer": "sensor", "filter": "kind = 'noise'"}], "radius_m": 400},
    }  # fmt: skip
    own = {"id": "S25", "title": {"zh": "感知", "en": "Sensing"}, "clause": "c", "source": "s", "measure": measure}
    devices = collection(
        ("a", point(1000, 1000), {"kind": "noise"}), ("b", point(3000, 1000), {"kind": "noise"}),
        ("c", point(1000, 3000), {"kind": "PM10"}), ("edge", point(0, 2000), {"kind": "noise"}),
    )  # fmt: skip
    found = city.run("coverage-indicators", definition=own, layers={"sensor": devices})
    assert found["value"] == pytest.approx(100 * 2.5 * np.pi * 400**2 / 4000**2, abs=1e-3)
    assert (found["state"], found["n_unknown"]) == ("no-target", 0)


def dwellings(*xy):
    return {"building": collection(*[(f"H{i}", point(*each), {"use": "城镇住宅"}) for i, each in enumerate(xy)])}


def test_hand_case_dwellings_within_300_m_of_a_park(city):
    park = {"green_space": collection(("g", box(0, 0, 100, 100), {"green_type": "1401"}))}
    homes = dwellings((50, 0), (350, 0), (500, 0), (700, 0))
    found = ask(city, "S33-park-300m", layers=park | homes)
    assert (found["value"], found["facts"]["distance_model"]) == (50, "radius")
    assert {each["properties"]["feature"] for each in found["features"]["features"]} == {"H2", "H3"}
    assert ask(city, "S33-park-300m", layers=park | homes, distance_m=250)["value"] == 50, "equal to it counts"
    assert ask(city, "S33-park-300m", layers=park | homes, distance_m=249.9)["value"] == 25


def test_the_circle_says_which_distance_model_it_used(city):
    gym = {"facility": collection(("f", point(0, 0), {"kind": "体育馆"}))}
    homes = dwellings((0, 900), (900, 900), (0, 1000), (0, 1000.01))
    straight = ask(city, "I-15", layers=gym | homes)
    assert (straight["value"], straight["facts"]["distance_model"]) == (50, "radius")
    roads = {"road": collection(("r", line((0, 0), (0, 900), (900, 900)), {}), ("n", line((0, 900), (0, 2000)), {}))}
    on_foot = ask(city, "I-15", layers=gym | homes | roads)
    assert on_foot["facts"]["distance_model"] == "network"
    assert (on_foot["value"], on_foot["state"], on_foot["verdict"]) == (50, "no-target", "unknown")
    assert {each["properties"]["feature"] for each in on_foot["features"]["features"]} == {"H1", "H3"}


@pytest.mark.parametrize(("closed", "verdict"), [(8, "pass"), (7, "fail")])
def test_events_closed_of_events_received(city, closed, verdict):
    rows = [(f"E{i}", point(i, i), {"state": "已办结" if i < closed else "处理中", "closed": None}) for i in range(10)]
    rows += [("lost", None, {"state": "处理中", "closed": None}), ("far", point(4500, 0), {"state": "处理中"})]
    found = ask(city, "I-12", layers={"event": collection(*rows)})
    assert (found["value"], found["verdict"], found["n"]) == (10 * closed, verdict, 10)
    assert {row["kind"]: row["n"] for row in found["apart"]} == {"unlocated": 1, "outside": 1}


def test_events_by_their_times_alone_and_words_that_nobody_knows(city):
    times = {"reported": "2026-06-01T00:00:00Z", "closed": None, "state": None}
    rows = [(f"c{i}", point(i, i), times | {"closed": "2026-06-02T00:00:00Z"}) for i in range(8)]
    rows += [(f"o{i}", point(i, i), times) for i in range(2)]
    found = ask(city, "I-12", layers={"event": collection(*rows)})
    assert (found["value"], found["verdict"], found["n_unknown"]) == (80, "pass", 0)
    rows += [("?", point(9, 9), times | {"state": "移交"}), ("none", point(9, 9), {"reported": None, "state": None})]
    more = ask(city, "I-12", layers={"event": collection(*rows)})
    assert (more["value"], more["n_unknown"], more["verdict"]) == (80, 2, "review")
    assert ask(city, "I-12", layers={"event": collection(("x", point(1, 1), {"state": "Closed"}))})["value"] == 100


def test_cameras_of_an_unknown_state_are_apart(city):
    rows = [(str(i), point(i, i), {"state": state}) for i, state in enumerate(["正常", "OK", "故障", "移交", None])]
    found = ask(city, "I-13-intact", layers={"camera": collection(*rows)})
    assert (found["n"], found["n_unknown"], found["value"]) == (3, 2, pytest.approx(200 / 3))


def test_departments_on_one_grid(city):
    cells = [box(0, 0, 100, 100), box(100, 0, 200, 100)]
    rows = [(f"{d}{i}", cell, {"department": d}) for d in ("公安", "城管", "应急") for i, cell in enumerate(cells)]
    rows += [(f"住建{i}", shapely.buffer(cell, 0.001, join_style="mitre"), {"department": "住建"})
             for i, cell in enumerate(cells)]  # fmt: skip
    rows += [("民政", cells[0], {"department": "民政"}), ("?", cells[1], {"department": None})]
    found = ask(city, "I-17", layers={"grid": collection(*rows)})
    assert (found["value"], found["verdict"]) == (4, "pass")
    assert found["facts"]["sharing"] == sorted(["公安", "城管", "应急", "住建"])
    assert found["facts"]["n_cells_without_department"] == 1
    together = collection(*[(str(i), cell, {"department": "公安、城管,应急"}) for i, cell in enumerate(cells)])
    assert ask(city, "I-17", layers={"grid": together})["value"] == 3


def test_facilities_with_a_live_sensor(city):
    river = collection(("R1", line((0, 0), (1000, 0)), {}), ("R2", line((0, 2000), (9, 2000)), {}))
    devices = collection(
        ("near", point(1500, 0), {"state": "在线"}),
        ("dead", point(5, 2000), {"state": "离线"}),
        ("hosted", point(3000, 3000), {"state": "在线", "host_id": "W1"}),
    )
    walls = collection(("W1", line((0, 500.1), (0, 1400)), {}))
    layers = {"river": river, "sensor": devices, "seawall": walls}
    found = ask(city, "S15-monitored-facilities", layers=layers)
    assert (found["numerator"], found["denominator"]) == (2, 3)
    assert [each["id"] for each in found["features"]["features"]] == ["river/R2"]
    silent = {"river": river, "sensor": collection(("x", point(5, 2000), {"state": None}))}
    unsure = ask(city, "S15-monitored-facilities", layers=silent)
    assert (unsure["n"], unsure["n_unknown"]) == (1, 1), "a sensor of unknown state tells nothing"


def test_a_layer_that_is_not_there_is_unknown_and_named(city):
    found = ask(city, "I-06")
    assert (found["value"], found["verdict"], found["state"]) == (None, "unknown", "unknown")
    assert "lamp" in found["missing"]["en"]


def test_meters_of_buildings_that_are_no_homes_are_left_out(city):
    houses = collection(("B1", box(0, 0, 5, 5), {"use": "办公"}), ("B2", box(9, 0, 15, 5), {"use": "农村住宅"}))
    meters = collection(
        ("a", point(0, 0), {"kind": "电表", "auto_reading": False, "building_id": "B1"}),
        ("b", point(1, 0), {"kind": "电表", "auto_reading": True, "building_id": "B2"}),
        ("c", point(1, 0), {"kind": "水表", "auto_reading": False, "building_id": "B2"}),
    )
    layers = {"building": houses, "meter": meters}
    assert ask(city, "I-07", layers=layers)["value"] == 100
    assert ask(city, "I-08", layers=layers)["value"] == 0


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"indicator": "I-04", "layers": {"pipe_steam": collection()}}, "layers: no indicator asked for reads"),
        ({"indicator": "I-04", "distance_m": 5}, "distance_m: indicator I-04 has no distance"),
        ({"indicator": "I-14", "distance_m": -5}, "distance_m"),
        ({"indicator": "I-14", "distance_m": float("nan")}, "distance_m"),
        ({"indicator": "I-14", "target": float("nan")}, "target"),
        ({}, "indicator: give indicator or definition"),
        ({"indicator": "I-04", "xzqdm": "12"}, "xzqdm"),
        ({"definition": {"id": "X", "measure": {"kind": "guess"}}}, "definitions"),
        ({"definition": {"id": "X"}}, "Indicator X lacks title, measure, clause, source"),
        ({"definition": {"id": "I-04", "target": float("inf")}}, "definition"),
        (
            {"indicator": "I-04", "layers": {"pipe_water": collection(("far", line((9e5, 0), (9e5, 9)), {}))}},
            "layers/pipe_water lies outside the city",
        ),
        (
            {"indicator": "I-13", "layers": {
                "key_area": collection(("k", box(0, 0, 9, 9), {})),
                "camera": collection(("c", point(0, 0), {"azimuth_deg": 0.0, "fov_deg": 400.0, "range_m": 5.0})),
            }},
            "camera: fov_deg of device 0 is 400",
        ),
    ],
)  # fmt: skip
def test_wrong_inputs_are_named(city, inputs, words):
    with pytest.raises(InvalidInput, match=words):
        city.run("coverage-indicators", **inputs)


def test_indicators_and_units_that_there_are_not(city):
    with pytest.raises(NotFound, match="I-99"):
        ask(city, "I-99")
    with pytest.raises(NotFound, match="xzqdm: no admin unit has the code 370600"):
        ask(city, "I-04", xzqdm="370600")
