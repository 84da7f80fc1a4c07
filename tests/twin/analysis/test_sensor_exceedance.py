"""P31 as a process: hand cases, days, joins, what is not known, a whole layer out of order."""

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from layers.errors import InvalidInput, LayerNotFound
from tests.twin.analysis import site_city
from tests.twin.analysis.site_city import at, box, collection, feature, point
from twin import analysis
from twin.analysis.progress import Dismissed, Progress

TOWN = Path(__file__).parents[3] / "sample_data" / "town"
SITE = shapely.MultiPolygon([box(0, 0, 100, 100)])


def observed(device, time, quantity, value, unit, **more):
    return {"device_id": device, "time": time, "quantity": quantity, "value": value, "unit": unit} | more


def stored(rows):
    return [
        (f"o{i}", None, row | {"time": at(row["time"]).astimezone(dt.UTC)}) for i, row in enumerate(rows)
    ]  # fmt: skip


LAYERS = {
    "construction_site": [("GD1", SITE, {"stage": "主体"})],
    "building": [
        ("near", shapely.MultiPolygon([box(0, 120, 20, 140)]), {"use": "住宅"}),
        ("lee", shapely.MultiPolygon([box(40, -120, 60, -100)]), {"use": "小学教育"}),
        ("works", shapely.MultiPolygon([box(51, 51, 60, 60)]), {"use": "工业"}),
    ],
    "reservoir": [
        ("R1", shapely.MultiPolygon([box(300, 300, 400, 400)]), {"reservoir_code": "R1", "flood_limit_level_m": 45.0})
    ],
    "sensor": [
        ("in", point(50, 50, 2), {"device_id": "in", "kind": "noise"}),
        ("edge", point(150, 50, 2), {"device_id": "edge", "kind": "noise"}),
        ("off", point(150.01, 50, 2), {"device_id": "off", "kind": "noise"}),
        ("nowhere", shapely.Point(0, 0, 0), {"device_id": "nowhere", "kind": "noise"}),
        ("dust", point(50, 50, 2), {"device_id": "dust", "kind": "PM10"}),
        ("county1", point(400, 0, 2), {"device_id": "county1", "kind": "PM10", "host_id": "county"}),
        ("county2", point(500, 0, 2), {"device_id": "county2", "kind": "PM10", "host_id": "county"}),
        ("level", point(310, 310, 2), {"device_id": "level", "kind": "water_level", "host_id": "R1"}),
        ("lone", point(310, 310, 2), {"device_id": "lone", "kind": "water_level", "host_id": "R9"}),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    names = ("in", "edge", "off", "nowhere")
    rows = [observed(name, "2025-06-01T23:00:00+08:00", "noise", 60.0, "dB(A)") for name in names]
    rows += [observed("county1", f"2025-06-0{day}T10:00:00+08:00", "PM10", 110.0, "ug/m3") for day in (1, 2)]
    rows += [observed("county2", "2025-06-01T10:00:00+08:00", "PM10", 0.13, "mg/m3")]
    rows += [observed("dust", f"2025-06-0{day}T10:00:00+08:00", "PM10", 210.0, "ug/m3") for day in (1, 2, 3)]
    rows += [observed("level", "2025-06-01T01:00:00+08:00", "water_level", 45.0, "m")]
    rows += [observed("level", "2025-06-01T02:00:00+08:00", "water_level", 45.35, "m")]
    rows += [observed("lone", "2025-06-01T01:00:00+08:00", "water_level", 99.0, "m")]
    rows += [observed("in", "2025-06-01T10:00:00+08:00", "wind_direction", 355.0, "deg")]
    rows += [observed("in", "2025-06-01T23:10:00+08:00", "wind_direction", 5.0, "deg")]
    with site_city.made(tmp_path_factory.mktemp("sensors"), LAYERS | {"sensor_obs": stored(rows)}) as opened:
        yield opened


def alerts(found):
    return [each["properties"] for each in found["alerts"]["features"]]


@pytest.mark.parametrize(
    ("time", "value", "limit"),
    [("22:30", 57.0, 55.0), ("21:30", 57.0, None), ("22:00", 55.1, 55.0), ("21:59", 55.1, None), ("05:59", 55.1, 55.0),
     ("06:00", 55.1, None), ("06:00", 70.0, None), ("12:00", 70.001, 70.0), ("00:00", 55.0, None)],
    ids=["hand case", "before ten", "22:00 is night", "21:59", "05:59", "06:00 is day", "limit", "over it", "equal"],
)  # fmt: skip
def test_day_and_night(city, time, value, limit):
    found = city.run(
        "sensor-exceedance", observations=[observed("n", f"2025-06-01T{time}:00+08:00", "noise", value, "dB(A)")]
    )
    assert [each["limit"] for each in alerts(found)] == ([] if limit is None else [limit])
    if limit is not None:
        assert alerts(found)[0]["excess"] == pytest.approx(value - limit)
        assert (alerts(found)[0]["verdict"], alerts(found)[0]["source"][:13]) == ("fail", "GB 12523-2011")
    assert found["verdict"] == ("fail" if limit else "pass")


def test_a_time_of_another_zone_is_local_time(city):
    for text in ("2025-06-01T14:30:00Z", "2025-06-01T16:30:00+02:00"):
        found = alerts(city.run("sensor-exceedance", observations=[observed("n", text, "noise", 57.0, "dB(A)")]))
        assert found[0]["time"] == "2025-06-01T22:30:00+08:00"


@pytest.mark.parametrize(
    ("time", "source", "verdict"),
    [("2025-12-31T23:59:00+08:00", "GB 12523-2011", "fail"), ("2026-01-01T00:00:00+08:00", "GB 12523-2025", "review"),
     ("2025-12-31T16:00:00Z", "GB 12523-2025", "review")],
    ids=["last of 2025", "first of 2026", "first of 2026 in UTC"],
)  # fmt: skip
def test_the_edition_of_the_value_s_own_day_holds(city, time, source, verdict):
    found = alerts(city.run("sensor-exceedance", observations=[observed("n", time, "noise", 57.0, "dB(A)")]))
    assert (found[0]["source"][:13], found[0]["verdict"]) == (source, verdict)


def test_before_any_edition_nothing_is_judged(city):
    old = observed("n", "2010-01-01T23:00:00+08:00", "noise", 99.0, "dB(A)")
    found = city.run("sensor-exceedance", observations=[old])
    assert (found["n_judged"], found["n_unknown"], found["verdict"]) == (0, 1, "unknown")


@pytest.mark.parametrize(
    ("value", "difference"),
    [(210.0, 90.0), (190.0, None), (200.0, None), (200.01, 80.01)],
    ids=["90", "70", "80", "80.01"],
)
def test_difference_to_the_county(city, value, difference):
    rows = [observed("c1", "2025-06-01T10:00:00+08:00", "PM10", 110.0, "ug/m3"),
            observed("c2", "2025-06-01T10:00:00+08:00", "PM10", 130.0, "ug/m3"),
            observed("c1", "2025-06-01T11:00:00+08:00", "PM10", 0.0, "ug/m3"),
            observed("s", "2025-06-01T10:00:00+08:00", "PM10", value, "ug/m3")]  # fmt: skip
    found = city.run("sensor-exceedance", observations=rows, county_stations=["c1", "c2"])
    assert [each["measured"] for each in alerts(found)] == ([] if difference is None else [pytest.approx(difference)])
    if difference is not None:
        assert (alerts(found)[0]["county_mean"], alerts(found)[0]["verdict"]) == (120.0, "review")
        assert found["days"][0]["verdict"] == "pass", "two a day are allowed"


def test_no_mean_of_the_hour_is_unknown(city):
    rows = [observed("c1", "2025-06-01T09:00:00+08:00", "PM10", 10.0, "ug/m3"),
            observed("s", "2025-06-01T10:00:00+08:00", "PM10", 500.0, "ug/m3")]  # fmt: skip
    found = city.run("sensor-exceedance", observations=rows, county_stations=["c1"], rules=["dust-pm10-difference"])
    assert (found["n_alerts"], found["n_unknown"], found["verdict"]) == (0, 1, "unknown")


def test_three_a_day_are_too_many(city):
    rows = [observed("c", f"2025-06-01T{hour:02d}:00:00+08:00", "PM10", 10.0, "ug/m3") for hour in range(24)]
    rows += [observed("s", f"2025-06-01T{hour:02d}:00:00+08:00", "PM10", 100.0, "ug/m3") for hour in (1, 2)]
    inputs = {"county_stations": ["c"], "rules": ["dust-pm10-difference"]}
    found = city.run("sensor-exceedance", observations=rows, **inputs)
    assert (found["days"][0]["n"], found["days"][0]["verdict"], found["verdict"]) == (2, "pass", "pass")
    rows += [observed("s", "2025-06-01T23:00:00+08:00", "PM10", 100.0, "ug/m3")]
    found = city.run("sensor-exceedance", observations=rows, **inputs)
    assert (found["days"][0]["n"], found["days"][0]["verdict"]) == (3, "fail")
    assert {each["verdict"] for each in alerts(found)} == {"fail"}
    rows[-1]["time"] = "2025-06-02T00:00:00+08:00"
    rows += [observed("c", "2025-06-02T00:00:00+08:00", "PM10", 10.0, "ug/m3")]
    assert city.run("sensor-exceedance", observations=rows, **inputs)["verdict"] == "pass", "that is the next day's"


def test_minutes_are_averaged_over_the_hour(city):
    def minutes(name, hour, values):
        at_minute = f"2025-06-01T{hour:02d}:{{:02d}}:00+08:00"
        return [observed(name, at_minute.format(i), "PM10", float(v), "ug/m3") for i, v in enumerate(values)]

    inputs = {"county_stations": ["c"], "rules": ["dust-pm10-difference"]}
    rows = minutes("c", 10, [50.0] * 60) + minutes("s", 10, [10.0] * 30 + [260.0] * 30)
    found = alerts(city.run("sensor-exceedance", observations=rows, **inputs))
    assert [(each["value"], each["measured"]) for each in found] == [(135.0, 85.0)]
    short = minutes("c", 10, [50.0] * 60) + minutes("s", 10, [500.0] * 44)
    found = city.run("sensor-exceedance", observations=short, **inputs)
    assert (found["n_alerts"], found["n_unknown"]) == (0, 1), "44 minutes are less than three quarters of the hour"
    enough = minutes("c", 10, [50.0] * 60) + minutes("s", 10, [500.0] * 45)
    assert city.run("sensor-exceedance", observations=enough, **inputs)["n_alerts"] == 1


def test_regional_rules_by_area_and_unit(city):
    rows = [observed("s", f"2025-06-01T10:{i:02d}:00+08:00", "TSP", 900.0, "ug/m3") for i in range(5)]
    built = city.run("sensor-exceedance", observations=rows, rules=["dust-tsp-liaoning"], area="built-up")
    assert (alerts(built)[0]["value"], alerts(built)[0]["limit"], alerts(built)[0]["unit"]) == (0.9, 0.8, "mg/m3")
    suburb = city.run("sensor-exceedance", observations=rows, rules=["dust-tsp-liaoning"], area="suburban")
    assert (suburb["n_alerts"], suburb["n_judged"]) == (0, 1)
    unknown = city.run("sensor-exceedance", observations=rows, rules=["dust-tsp-liaoning"])
    assert (unknown["n_judged"], unknown["verdict"]) == (0, "unknown"), "which area it is is not known"


def test_a_rule_without_a_number_judges_nothing(city):
    moment = "2025-06-01T10:00:00+08:00"
    rows = [observed("c", moment, "PM10", 1.0, "ug/m3"), observed("s", moment, "PM10", 900.0, "ug/m3")]
    found = city.run(
        "sensor-exceedance", observations=rows, county_stations=["c"], rules=["dust-pm10-difference-shandong"]
    )
    assert (found["n_alerts"], found["verdict"]) == (0, "unknown")
    own = city.run(
        "sensor-exceedance",
        observations=rows,
        county_stations=["c"],
        rules=["dust-pm10-difference-shandong"],
        limit=100,
    )
    assert alerts(own)[0]["verdict"] == "review", "a draft fails nobody"


def test_a_layer_with_sites_hosts_wind_and_neighbours(city):
    found = city.run("sensor-exceedance", at="2025-06-03T11:00:00+08:00", max_age_h=1)
    told = {(each["device_id"], each["rule_id"]): each for each in alerts(found)}
    assert set(told) == {
        ("in", "site-noise"), ("edge", "site-noise"), ("dust", "dust-pm10-difference"), ("level", "monitored-level"),
    }  # fmt: skip
    assert (told["in", "site-noise"]["site"], told["in", "site-noise"]["site_distance_m"]) == ("GD1", 0.0)
    assert told["edge", "site-noise"]["site_distance_m"] == 50.0, "50 m is within 50 m"
    assert {each["device_id"]: each["reason"] for each in found["not_judged"]} == {
        "off": "the device belongs to no site", "nowhere": "the device belongs to no site",
        "lone": "no limit is known for where the device stands",
    }  # fmt: skip
    assert {"off", "nowhere"} <= set(found["unjoined"])
    dust = next(each for each in alerts(found) if each["device_id"] == "dust")
    assert (dust["value"], dust["county_mean"], dust["measured"]) == (210.0, 120.0, 90.0), "110 and 0.13 mg/m3"
    assert [each["time"][:10] for each in alerts(found) if each["device_id"] == "dust"] == ["2025-06-01", "2025-06-02"]
    assert found["n_unknown"] == 1, "3 June has no station"
    assert told["level", "monitored-level"]["at"] == "reservoir/R1"
    assert told["level", "monitored-level"]["state"] == "超汛限"
    assert (told["level", "monitored-level"]["measured"], told["level", "monitored-level"]["limit"]) == (45.35, 45.0)
    noise = told["in", "site-noise"]
    assert (noise["sensitive_building"], noise["is_downwind"]) == ("lee", True), "the wind comes from the north"
    assert noise["wind_from_deg"] == 5.0
    assert told["edge", "site-noise"]["sensitive_building"] in {"near", "lee"}
    ages = {(each["device_id"], each["quantity"]): each for each in found["series"]}
    assert (ages["dust", "PM10"]["age_h"], ages["dust", "PM10"]["is_stale"]) == (1.0, False), "as old as allowed"
    assert ages["in", "noise"]["is_stale"]


def test_devices_that_are_named_are_judged_without_a_site(city):
    found = city.run("sensor-exceedance", devices=["off"])
    assert [each["device_id"] for each in alerts(found)] == ["off"]


def test_a_span_of_time_is_kept_to(city):
    found = city.run("sensor-exceedance", datetime="2025-06-02T00:00:00+08:00/..")
    assert {each["time"][:10] for each in alerts(found)} == {"2025-06-02"}


def test_doubtful_values_are_left_out(city):
    rows = [
        observed("n", "2025-06-01T23:00:00+08:00", "noise", 99.0, "dB(A)", quality=mark)
        for mark in ("range", "stuck, future")
    ]
    rows += [observed("n", "2025-06-01T23:30:00+08:00", "noise", 60.0, "dB(A)", quality="disorder")]
    rows += [observed("n", "2025-06-01T23:40:00+08:00", "noise", None, "dB(A)")]
    found = city.run("sensor-exceedance", observations=rows)
    assert (found["n_doubtful"], [each["value"] for each in alerts(found)]) == (3, [60.0])


def test_order_and_repetition_do_not_matter(city):
    rng = np.random.default_rng(0)
    start = at("2025-06-01T00:00:00+08:00")
    rows = [
        observed(name, (start + dt.timedelta(hours=h)).isoformat(), "noise", float(rng.uniform(40, 80)), "dB(A)")
        for name in ("a", "b") for h in range(100)
    ]  # fmt: skip
    whole = city.run("sensor-exceedance", observations=rows)
    mixed = city.run("sensor-exceedance", observations=[rows[i] for i in rng.permutation(len(rows))] + rows[:50])
    assert alerts(mixed) == alerts(whole)
    assert mixed["days"] == whole["days"]
    few = city.run("sensor-exceedance", observations=rows, most_alerts=3)
    assert (few["n_alerts"], few["is_complete"], len(alerts(few))) == (whole["n_alerts"], False, 3)
    top = sorted((each["excess"] for each in alerts(whole)), reverse=True)[:3]
    assert sorted((each["excess"] for each in alerts(few)), reverse=True) == top


def test_units_that_say_nothing_are_not_judged(city):
    found = city.run("sensor-exceedance", observations=[observed("n", "2025-06-01T23:00:00+08:00", "noise", 99.0, "V")])
    assert (found["n_judged"], found["verdict"]) == (0, "unknown")
    assert "cannot be compared" in found["not_judged"][0]["reason"]


GOOD = observed("n", "2025-06-01T23:00:00+08:00", "noise", 99.0, "dB(A)")


@pytest.mark.parametrize(
    ("inputs", "name"),
    [({"observations": [GOOD | {"time": "2025-06-01T23:00:00"}]}, "observations/0/time"),
     ({"observations": [GOOD | {"time": "noon"}]}, "observations/0/time"),
     ({"observations": [GOOD | {"value": float("nan")}]}, "observations"),
     ({"observations": [GOOD | {"value": "60 dB"}]}, "observations"),
     ({"observations": [GOOD], "rules": ["site-smell"]}, "rules"),
     ({"observations": [GOOD], "rules": ["pit-dangerous"]}, "rules"),
     ({"observations": [GOOD], "devices": ["x"]}, "devices"),
     ({"observations": [GOOD], "county_stations": ["x"]}, "county_stations"),
     ({"observations": [GOOD], "limit": 60}, "limit"),
     ({"observations": [GOOD], "join_within_m": -1}, "join_within_m"), ({"datetime": "2025"}, "datetime"),
     ({"datetime": "2025-06-02T00:00:00Z/2025-06-01T00:00:00Z"}, "datetime"), ({"at": "now"}, "at"),
     ({"observations": {"collection": "building"}}, "observations"), ({"county": ["c"]}, "county")],
    ids=["no zone", "no time", "NaN", "text", "no rule", "no series rule", "no device", "no station", "limit of many",
         "negative", "no span", "reversed", "no moment", "no observations", "stranger"],
)  # fmt: skip
def test_wrong_inputs_are_named(city, inputs, name):
    with pytest.raises(InvalidInput, match=name):
        city.run("sensor-exceedance", **inputs)


def test_a_layer_that_is_not_there(city):
    with pytest.raises(LayerNotFound):
        city.run("sensor-exceedance", observations={"collection": "sensor_observations"})


def test_it_tells_how_far_it_is_and_may_be_stopped(city):
    told = []
    analysis.run("sensor-exceedance", city, {}, progress=Progress(lambda share, words: told.append(words)))
    assert any("observations" in words for words in told)

    def stop(share, words):
        raise Dismissed

    with pytest.raises(Dismissed):
        analysis.run("sensor-exceedance", city, {}, progress=Progress(stop))


def test_sites_may_be_given(city):
    sites = collection(feature(box(140, 0, 200, 100), "S2", stage="土方"))
    found = alerts(city.run("sensor-exceedance", sites=sites, join_within_m=0, rules=["site-noise"]))
    assert {(each["device_id"], each["site"]) for each in found} == {("edge", "S2"), ("off", "S2")}


@pytest.mark.slow
def test_the_sample_town_s_planted_exceedances_are_found_exactly(tmp_path):
    """All fourteen: seven exceed, seven come near; nothing else of 17,280 values is reported."""
    import shutil

    import twin
    from server.build import build

    for part in ("iot", "construction", "water", "vector", "terrain"):
        shutil.copytree(TOWN / part, tmp_path / "files" / part)
    shutil.copy(TOWN / "city.toml", tmp_path / "files")
    build(tmp_path / "files", tmp_path / "twin")
    truths = json.loads((TOWN / "expected.json").read_text("utf8"))["exceedances"]
    with twin.open(tmp_path / "twin") as town:
        found = {(each["device_id"], each["time"]): each for each in alerts(town.run("sensor-exceedance"))}
    assert found.keys() == {(each["device_id"], each["time"]) for each in truths if each["exceeds"]}
    for truth in truths:
        if truth["exceeds"]:
            row = found[truth["device_id"], truth["time"]]
            assert (row["value"], row["limit"], row["unit"]) == (truth["value"], truth["limit"], truth["unit"])
            assert row["county_mean"] == pytest.approx(truth.get("county_mean")) if "county_mean" in truth else True
            assert row["measured"] == pytest.approx(truth.get("difference", truth["value"]))
