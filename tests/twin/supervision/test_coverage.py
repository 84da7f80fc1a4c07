"""Facilities without a live sensor and indicators below target, as findings of the supervisions."""

import numpy as np
import pytest
import shapely

from tests.twin.supervision.indicator_city import box, line, made, point, towns
from twin.supervision import engine


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    layers = {
        "admin_unit": towns(),
        "river": [("R1", shapely.MultiLineString([line((0, 0), (100, 0))]), {"name": "甲溪"}),
                  ("R2", shapely.MultiLineString([line((0, 1500), (100, 1500))]), {"name": "乙溪"})],
        "reservoir": [("K1", box(1500, 1500, 1600, 1600), {"name": "库"}), ("K2", box(1800, 0, 1900, 100), {})],
        "sensor": [
            ("at500", shapely.force_3d(point(600, 0)), {"state": "在线"}),
            ("hosted", shapely.force_3d(point(0, 900)), {"state": "在线", "host_id": "K1"}),
            ("dead", shapely.force_3d(point(50, 1500)), {"state": "离线"}),
            ("silent", shapely.force_3d(point(1850, 50)), {"state": None}),
        ],
        "lamp": [(str(i), point(10 * i, 5), {"smart": i < 8}) for i in range(10)],
        "construction_site": [("G1", box(0, 0, 50, 50), {})],
    }  # fmt: skip
    with made(tmp_path_factory.mktemp("twin"), layers) as opened:
        yield opened


def told(run):
    return {each.objects[0]: each for each in run.findings}


def test_uncovered_facilities_are_listed_and_those_of_unknown_state_are_unknown(city):
    run = engine.run(city, "water", checks=["monitored-facilities"])
    found = told(run)
    assert set(found) == {"river/R2", "reservoir/K2"}
    assert run.results[0].passed == {"facility-monitored": 2}, "at 500 m, and one that names its host"
    river, lake = found["river/R2"], found["reservoir/K2"]
    assert (river.verdict, river.limit, river.unit) == ("review", 500, "m")
    assert river.measured == pytest.approx(600), "to the sensor at 0, 900, which is alive though it serves another"
    assert lake.verdict == "unknown"
    assert "乙溪" in river.title.zh
    assert river.geometry.geom_type == "MultiLineString"


def test_a_place_has_only_what_lies_in_it(city):
    run = engine.run(city, "water", region=box(0, 1400, 500, 1600), checks=["monitored-facilities"])
    assert set(told(run)) == {"river/R2"}


def test_without_sensors_everything_is_unknown(tmp_path):
    with made(tmp_path / "bare", {"river": [("R1", shapely.MultiLineString([line((0, 0), (9, 0))]), {})]}) as bare:
        run = engine.run(bare, "water", checks=["monitored-facilities"])
        assert [each.verdict for each in run.findings] == ["unknown"]
        assert "sensor" in run.findings[0].note.en


def test_indicators_are_held_against_their_targets_for_the_whole_city_only(city):
    found = {each.part: each for each in engine.run(city, "one-map", checks=["indicator-targets"]).findings}
    lamps = found["I-06"]
    assert (lamps.verdict, lamps.measured, lamps.limit, lamps.unit) == ("fail", 80, 90, "pct")
    assert "90%" in lamps.clause
    assert lamps.objects == ("admin_unit/999901",)
    assert found["I-14"].verdict == "unknown"
    assert "key_area" in found["I-14"].note.en
    assert "I-15" not in found, "it has no target"
    assert len({each.part for each in found.values()}) == len(found) >= 18
    assert engine.run(city, "one-map", site="G1", checks=["indicator-targets"]).findings == []


def test_the_citys_own_target_and_distance_hold(city):
    (city.folder / "indicators").mkdir()
    (city.folder / "rules").mkdir()
    try:
        (city.folder / "indicators" / "a.yaml").write_text("indicators:\n- {id: I-06, target: 80}\n", "utf8")
        text = "rules:\n- {id: facility-monitored, value: 499, confidence: high}\n"
        (city.folder / "rules" / "a.yaml").write_text(text, "utf8")
        found = {each.part: each for each in engine.run(city, "one-map", checks=["indicator-targets"]).findings}
        assert found["I-06"].verdict == "pass"
        run = engine.run(city, "water", checks=["monitored-facilities"])
        assert set(told(run)) == {"river/R1", "river/R2", "reservoir/K2"}
        assert told(run)["river/R1"].measured == pytest.approx(500)
        assert np.isclose(told(run)["river/R1"].limit, 499)
    finally:
        for name in ("indicators", "rules"):
            (city.folder / name / "a.yaml").unlink()
            (city.folder / name).rmdir()
