"""Supervision of sites: cranes, excavations, sunlight, noise and dust; of water: drinking-water sources."""

import datetime as dt

import numpy as np
import pytest
import shapely

from layers import crs
from tests.twin.analysis import site_city
from tests.twin.analysis.site_city import at, box, moved, point
from tests.twin.analysis.test_sunlight_shadow import ray_test
from twin.analysis import sun_position
from twin.supervision import engine

NOW = at("2025-06-30T12:00:00+08:00")
SITE = shapely.MultiPolygon([box(0, 0, 100, 100)])


def looked(folder, layers, check, *, site=None, supervision="construction", own_rules=None, now=NOW):
    """Findings of a check, and how many things passed untold."""
    folder.mkdir(exist_ok=True)
    with site_city.made(
        folder, {"construction_site": [("S1", SITE, {"start_date": dt.date(2024, 1, 1)})]} | layers
    ) as city:
        if own_rules:
            (folder / "rules").mkdir()
            (folder / "rules" / "own.yaml").write_text(own_rules, "utf8")
        run = engine.run(city, supervision, checks=[check], site=site, now=now)
    return run.results[0].findings, run.results[0].passed


def verdicts(found):
    return {(each.rule, *each.objects): each.verdict for each in found}


# cranes ----------------------------------------------------------------------------------------------------------


def wire(x):
    return shapely.MultiLineString([moved(shapely.LineString([(x, 0, 50), (x, 100, 50)]))])


A = {"jib_m": 60.0, "tail_m": 14.0, "low_part_elev_m": 48.0, "top_elev_m": 58.0}
B = {"jib_m": 50.0, "tail_m": 12.0, "low_part_elev_m": 37.0, "top_elev_m": 47.0}
CRANES = {
    "tower_crane": [("A", point(50, 50, 2), A), ("B", point(150, 50, 2), B), ("C", point(900, 50, 2), A)],
    "building": [("H", shapely.MultiPolygon([box(60, 40, 70, 60)]), {"base_elev_m": 0.0, "height_m": 47.41})],
    "power_line": [
        ("L", wire(111), {"voltage_kv": 10.0}),
        ("M", wire(-20), {"voltage_kv": 330.0}),
    ],
}  # fmt: skip


def test_cranes_of_a_site_and_a_neighbour_s(tmp_path):
    found, _ = looked(tmp_path, CRANES, "crane-conflict", site="S1")
    assert verdicts(found) == {
        ("crane-jib-to-mast", "tower_crane/A", "tower_crane/B"): "pass",
        ("crane-vertical-gap", "tower_crane/A", "tower_crane/B"): "fail",
        ("crane-tail-to-building", "tower_crane/A", "building/H"): "fail",
        ("crane-power-line", "tower_crane/A", "power_line/L"): "review",
        ("crane-power-line", "tower_crane/A", "power_line/M"): "unknown",
    }
    gap = next(each for each in found if each.rule == "crane-vertical-gap")
    assert (gap.measured, gap.limit, gap.unit) == (1.0, 2.0, "m")
    assert gap.geometry.length == pytest.approx(100.0)


def test_a_crane_beside_its_site_s_line_belongs_to_it(tmp_path):
    beside = {"tower_crane": [("A", point(-5, 50, 2), A | {"site_code": "S1"}), ("B", point(95, 250, 2), B)]}
    found, _ = looked(tmp_path, CRANES | beside, "crane-conflict", site="S1")
    assert ("crane-power-line", "tower_crane/A", "power_line/M") in verdicts(found)
    other = {"tower_crane": [("A", point(-5, 50, 2), A | {"site_code": "S2"})]}
    assert looked(tmp_path / "other", CRANES | other, "crane-conflict", site="S1") == ([], {})


def test_cranes_of_the_whole_city_are_counted_where_they_pass(tmp_path):
    found, passed = looked(tmp_path, CRANES, "crane-conflict")
    assert passed["crane-jib-to-mast"] == 1
    assert {each.verdict for each in found} == {"fail", "review", "unknown"}


def test_without_lines_and_buildings_cranes_are_unknown_to_them(tmp_path):
    found, _ = looked(tmp_path, {"tower_crane": CRANES["tower_crane"]}, "crane-conflict", site="S1")
    assert verdicts(found)["crane-power-line", "tower_crane/A"] == "unknown"
    assert verdicts(found)["crane-tail-to-building", "tower_crane/A"] == "unknown"
    found, _ = looked(tmp_path / "none", {}, "crane-conflict", site="S1")
    assert {each.verdict for each in found} == {"unknown"}, "no layer of cranes"
    assert len(found) == 4


# excavations -----------------------------------------------------------------------------------------------------


def pit(depth, recorded=None):
    return {
        "excavation": [("P", shapely.MultiPolygon([box(10, 10, 50, 30)]), {"depth_m": depth, "pit_class": recorded})]
    }


@pytest.mark.parametrize(
    ("depth", "rule", "verdict"),
    [(2.9, "pit-dangerous", "pass"), (3.0, "pit-dangerous", "review"), (4.99, "pit-dangerous", "review"),
     (5.0, "pit-over-scale", "review"), (None, "pit-dangerous", "unknown"), (0.0, "pit-dangerous", "unknown")],
    ids=["2.9", "3.0", "4.99", "5.0", "none", "0"],
)  # fmt: skip
def test_class_of_an_excavation(tmp_path, depth, rule, verdict):
    found, _ = looked(tmp_path, pit(depth), "pit-impact", site="S1")
    assert verdicts(found) == {(rule, "excavation/P"): verdict}


@pytest.mark.parametrize(
    ("recorded", "verdict"),
    [("超过一定规模的危大工程", None), ("危大工程", "fail"), ("一般", "fail"), ("二级", "unknown")],
    ids=["over scale", "dangerous", "ordinary", "other words"],
)
def test_a_recorded_class_below_the_depth_s(tmp_path, recorded, verdict):
    found, passed = looked(tmp_path, pit(6.0, recorded), "pit-impact", site="S1")
    told = {each.rule: each.verdict for each in found}
    assert told.get("pit-class-recorded") == verdict
    assert passed.get("pit-class-recorded", 0) == (verdict is None)


def test_what_lies_in_the_zone(tmp_path):
    layers = pit(2.5) | {
        "building": [
            ("near", shapely.MultiPolygon([box(57.5, 10, 70, 30)]), {}),
            ("far", shapely.MultiPolygon([box(57.6, 40, 70, 60)]), {}),
        ],
        "pipe_gas": [("G", shapely.MultiLineString([moved(shapely.LineString([(0, 5), (100, 5)]))]), {})],
    }  # fmt: skip
    found, _ = looked(tmp_path, layers, "pit-impact", site="S1")
    zone = {each.objects[1]: each for each in found if each.rule == "pit-influence"}
    assert set(zone) == {"building/near", "pipe_gas/G"}, "7.5 m is three depths"
    assert {each.verdict for each in zone.values()} == {"review"}
    assert (zone["building/near"].measured, zone["building/near"].limit) == (7.5, 7.5)
    flag = next(each for each in found if each.rule == "pit-complex-surroundings")
    assert (flag.verdict, flag.objects) == ("review", ("excavation/P", "pipe_gas/G"))


# sunlight --------------------------------------------------------------------------------------------------------

ZONE = "rules:\n  - {id: sunlight-place, parameters: {climate_zone: III, population_person: 1300000}}\n"
HOME = {"base_elev_m": 0.0, "height_m": 15.0, "use": "城镇住宅"}


def homes(y0=None, height=60.0, x=(-50, 150), **values):
    """A home north of the site, one south of it, a works; and a building to come on the site."""
    rows = [
        ("home", shapely.MultiPolygon([box(30, 125, 60, 137)]), HOME),
        ("south", shapely.MultiPolygon([box(30, -60, 60, -48)]), HOME),
        ("works", shapely.MultiPolygon([box(-40, 125, -10, 137)]), HOME | {"use": "工业"}),
    ]
    if y0 is not None:
        told = {"height_m": height, "base_elev_m": 0.0, "phase": "permit"} | values
        rows.append(("new", shapely.MultiPolygon([box(x[0], y0, x[1], y0 + 20)]), told))
    return {"building": rows}


def shaded(folder, layers, own_rules=ZONE):
    return looked(folder, layers, "neighbour-sunlight", site="S1", own_rules=own_rules)


def test_a_new_building_that_takes_all_the_sun(tmp_path):
    found, _ = shaded(tmp_path, homes(80))
    assert [(each.objects, each.verdict) for each in found] == [(("building/home", "building/new"), "fail")]
    assert found[0].limit == 2.0
    assert found[0].measured < 2.0


def test_hours_of_a_dwelling_are_those_of_a_ray_test(tmp_path):
    """Along its southern wall, each minute; the best of its points is what a failure rests on."""
    found, _ = shaded(tmp_path, homes(80, x=(0, 90)))
    walls = np.array([[30 + (k + 0.5) * 3, 125.0] for k in range(10)])
    footprints = [shapely.box(0, 80, 90, 100), shapely.box(30, -60, 60, -48), shapely.box(-40, 125, -10, 137)]
    hours = np.arange(8 * 60 + 0.5, 16 * 60) / 60
    _, latitude = crs.transform("EPSG:4549", crs.CRS84, np.array([site_city.EAST]), np.array([site_city.NORTH + 125]))
    delta = sun_position.declination_deg(dt.date(2001, 1, 20))
    seen = [
        ray_test((x, y, 0.9), footprints, [60.0, 15.0, 15.0], hours, latitude=latitude[0], delta=delta).sum() / 60
        for x, y in walls
    ]
    assert found[0].verdict == "fail"
    assert found[0].measured == pytest.approx(max(seen), abs=2 / 60)


def test_a_new_building_that_takes_some(tmp_path):
    found, _ = shaded(tmp_path, homes(85, x=(0, 50)))
    assert [(each.objects[0], each.verdict) for each in found] == [("building/home", "review")]
    assert "points have enough" in found[0].note.en


def test_a_low_new_building_takes_too_little(tmp_path):
    found, passed = shaded(tmp_path, homes(90, height=12.0))
    assert found == []
    assert passed == {"sunlight-loss": 1}, "its shadow reaches the home, and leaves it enough"


def test_without_zone_and_population_sunlight_is_unknown(tmp_path):
    found, _ = shaded(tmp_path, homes(80), own_rules=None)
    assert [(each.rule, each.verdict) for each in found] == [("sunlight-loss", "unknown")]
    assert "population" in found[0].note.en


def test_housing_for_the_elderly_needs_no_zone(tmp_path):
    layers = homes(80)
    layers["building"][0] = ("home", layers["building"][0][1], HOME | {"use": "老年公寓"})
    told = {each.objects[0]: each for each in shaded(tmp_path, layers, own_rules=None)[0]}
    assert (told["building/home"].verdict, told["building/home"].limit) == ("fail", 2.0)
    assert told["building/new"].verdict == "unknown", "of other dwellings nothing can be said"


def test_a_permit_of_unknown_height_or_ground_leaves_it_open(tmp_path):
    found, _ = shaded(tmp_path, homes(80, height=None))
    assert [(each.objects[0], each.verdict) for each in found] == [("building/home", "unknown")]
    assert "not known" in found[0].note.en
    outline = shapely.MultiPolygon([box(-50, 80, 150, 100)])
    permits = {"permit_building": [("p", outline, {"height_m": 60.0})]}
    found, _ = shaded(tmp_path / "no ground", homes() | permits)
    assert [(each.objects, each.verdict) for each in found] == [(("building/home", "permit_building/p"), "unknown")]


def test_what_stood_before_the_site_takes_nothing_new(tmp_path):
    old = {"phase": None, "use": "办公", "year": 1990}
    assert shaded(tmp_path, homes(80, **old)) == ([], {})
    found, _ = shaded(tmp_path / "new", homes(80, **(old | {"year": 2025})))
    assert [(each.objects, each.verdict) for each in found] == [(("building/home", "building/new"), "fail")]


# noise and dust --------------------------------------------------------------------------------------------------


def device(name, x, kind, host=None):
    return name, point(x, 50, 2), {"device_id": name, "kind": kind, "host_id": host}


def observed(*rows):
    return {
        "sensor_obs": [
            (f"o{i}", None, {
                "device_id": name, "time": at(time).astimezone(dt.UTC), "quantity": quantity, "value": value,
                "unit": unit,
            }) for i, (name, time, quantity, value, unit) in enumerate(rows)
        ]
    }  # fmt: skip


SENSORS = {
    "sensor": [
        device("N", 50, "noise"),
        device("D", 50, "PM10"),
        device("K", 900, "PM10", "county"),
        device("X", 900, "noise"),
    ]
}


def test_exceedances_of_a_site(tmp_path):
    layers = SENSORS | observed(
        ("N", "2025-06-30T05:59:00+08:00", "noise", 57.0, "dB(A)"),
        ("N", "2025-06-30T11:00:00+08:00", "noise", 57.0, "dB(A)"),
        ("X", "2025-06-30T05:59:00+08:00", "noise", 99.0, "dB(A)"),
        ("D", "2025-06-30T10:00:00+08:00", "PM10", 210.0, "ug/m3"),
        ("D", "2025-06-30T11:00:00+08:00", "PM10", 190.0, "ug/m3"),
        ("K", "2025-06-30T10:00:00+08:00", "PM10", 120.0, "ug/m3"),
        ("K", "2025-06-30T11:00:00+08:00", "PM10", 120.0, "ug/m3"),
    )  # fmt: skip
    found, _ = looked(tmp_path, layers, "site-noise-dust", site="S1")
    assert [(each.rule, each.objects, each.measured, each.limit, each.verdict) for each in found] == [
        ("site-noise", ("sensor/N", "construction_site/S1"), 57.0, 55.0, "fail"),
        ("dust-pm10-difference", ("sensor/D", "construction_site/S1"), 90.0, 80.0, "review"),
    ]
    assert found[0].source == "GB 12523-2011"
    assert found[0].time == at("2025-06-30T05:59:00+08:00")
    assert "county mean 120" in found[1].note.en


def test_silent_series_missing_means_and_missing_devices_are_unknown(tmp_path):
    layers = SENSORS | observed(
        ("D", "2025-06-30T08:59:00+08:00", "PM10", 210.0, "ug/m3"),
        ("K", "2025-06-30T01:00:00+08:00", "PM10", 1.0, "ug/m3")
    )  # fmt: skip
    found, _ = looked(tmp_path, layers, "site-noise-dust", site="S1")
    assert sorted((each.rule, each.objects[0], each.part, each.verdict) for each in found) == [
        ("dust-pm10-difference", "sensor/D", "gaps PM10", "unknown"),
        ("dust-pm10-difference", "sensor/D", "stale PM10", "unknown"),
        ("site-noise", "construction_site/S1", "", "unknown"),
    ]
    alone, _ = looked(
        tmp_path / "alone", observed(("Q", "2025-06-30T08:59:00+08:00", "PM10", 1.0, "ug/m3")), "site-noise-dust"
    )
    assert {(each.rule, each.verdict) for each in alone} == {
        ("site-noise", "unknown"),
        ("dust-pm10-difference", "unknown"),
    }


def test_a_live_quiet_series_passes(tmp_path):
    layers = SENSORS | observed(
        ("N", "2025-06-30T11:00:00+08:00", "noise", 70.0, "dB(A)"),
        ("D", "2025-06-30T09:00:00+08:00", "PM10", 200.0, "ug/m3"),
        ("K", "2025-06-30T09:00:00+08:00", "PM10", 120.0, "ug/m3"),
    )  # fmt: skip
    assert looked(tmp_path, layers, "site-noise-dust", site="S1") == ([], {"site-noise": 1, "dust-pm10-difference": 1})


def test_a_city_names_other_rules(tmp_path):
    own = (
        "rules:\n  - id: site-series\n    parameters: {rules: [dust-tsp-shaanxi], area: null, join_within_m: 50,"
        " max_age_h: 3, utc_offset_h: 8, least_share: 0.75, station_hosts: [], sensitive_uses: [],"
        " sensitive_within_m: 1, downwind_half_angle_deg: 45, back_h: 720}\n"
    )
    layers = SENSORS | observed(("D", "2025-06-30T11:00:00+08:00", "TSP", 750.0, "ug/m3"))
    layers["construction_site"] = [("S1", SITE, {"stage": "主体"})]
    found, _ = looked(tmp_path, layers, "site-noise-dust", own_rules=own)
    assert [(each.rule, each.measured, each.limit, each.verdict) for each in found] == [
        ("dust-tsp-shaanxi", 0.75, 0.7, "fail")
    ]


# drinking water --------------------------------------------------------------------------------------------------


def sources(*rows):
    return {
        "water_source_zone": [("Z1", shapely.MultiPolygon([box(300, 300, 400, 400)]), {"grade": "一级"}),
                              ("Z2", shapely.MultiPolygon([box(-400, 300, -300, 400)]), {"grade": "二级"})],
        "reservoir": [("R1", shapely.MultiPolygon([box(350, 350, 500, 500)]), {"reservoir_code": "R1"})],
        "sensor": [("W", point(310, 310, 2), {"device_id": "W"}),
                   ("V", point(900, 900, 2), {"device_id": "V", "host_id": "R1"}),
                   ("U", point(900, 900, 2), {"device_id": "U"})],
    } | observed(*rows)  # fmt: skip


def test_latest_values_of_a_source_and_what_is_stale(tmp_path):
    layers = sources(
        ("W", "2025-06-30T11:00:00+08:00", "water_level", 44.0, "m"),
        ("W", "2025-06-29T11:00:00+08:00", "water_level", 43.0, "m"),
        ("V", "2025-06-29T11:59:00+08:00", "pH", 7.2, "1"),
        ("U", "2025-06-30T11:00:00+08:00", "pH", 9.0, "1"),
    )  # fmt: skip
    found, _ = looked(tmp_path, layers, "water-sources", supervision="water")
    told = {(each.objects[0][-2:], each.objects[-1], each.part): each for each in found}
    level, acid = told["Z1", "sensor/W", "water_level"], told["Z1", "sensor/V", "pH"]
    assert (level.verdict, level.measured) == ("pass", 1.0)
    assert "44 m" in level.note.en
    assert (acid.verdict, acid.measured) == ("review", pytest.approx(24 + 1 / 60))
    assert "silent" in acid.note.en
    assert told["Z1", "water_source_zone/Z1", "volume"].verdict == "unknown"
    assert {key[2]: each.verdict for key, each in told.items() if key[0] == "Z2"} == dict.fromkeys(
        ("level", "volume", "quality"), "unknown"
    )
    assert not any("U" in key[1] for key in told), "it stands nowhere near a source"


def test_a_day_old_is_not_stale(tmp_path):
    layers = sources(("W", "2025-06-29T12:00:00+08:00", "water_level", 44.0, "m"))
    found, _ = looked(tmp_path, layers, "water-sources", supervision="water")
    assert next(each for each in found if each.objects[-1] == "sensor/W").verdict == "pass"
