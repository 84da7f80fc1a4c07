"""Indicators over HTTP: one call for all towns, 400 with the input's name, writing only for who may edit."""

import pytest
import shapely
from starlette.testclient import TestClient

from server.app import create_app
from server.jobs.limits import Limits
from server.settings import Settings
from tests.twin.supervision.indicator_city import box, collection, line, made, point, towns
from twin.supervision import history

PLAN, COVERAGE, ENERGY = (
    f"/processes/{name}/execution" for name in ("plan-indicators", "coverage-indicators", "building-energy")
)


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    layers = {
        "admin_unit": towns(),
        "lamp": [(str(i), point(150 * i, 5), {"smart": i < 8}) for i in range(10)],
        "building": [("B", shapely.MultiPolygon([box(100, 100, 130, 130)]), {"gfa_m2": 2000.0, "use": "办公"})],
        "energy_meter_obs": [
            (f"m{m}", None, {"building_id": "B", "month": f"2025-{m:02d}", "kwh": 10_000.0}) for m in range(1, 13)
        ],
    }
    with made(tmp_path_factory.mktemp("twin"), layers) as opened:
        yield opened


@pytest.fixture(scope="module")
def ask(city):
    settings = Settings(access_log=False, warm_up=False, jobs=Limits(workers=1))
    with TestClient(create_app(city, settings), base_url="http://city.test") as session:
        yield lambda path, **inputs: session.post(path, json={"inputs": inputs})


def test_all_indicators_of_all_towns_in_one_call(ask):
    answer = ask(PLAN)
    assert answer.status_code == 200, answer.text[:300]
    lamps = next(each for each in answer.json()["indicators"] if each["id"] == "I-06")
    assert (lamps["value"], lamps["state"]) == (80, "fail")
    assert [row["n"] for row in lamps["rows"]] == [7, 3]


def test_hand_cases_over_http(ask):
    rows = [("m", (0, 850), True), ("n", (850, 1000), False)]
    pipes = collection(*[(name, line((a, 0), (b, 0)), {"monitored": flag}) for name, (a, b), flag in rows])
    told = ask(COVERAGE, indicator="I-04", layers={"pipe_water": pipes}).json()
    assert (round(told["value"], 9), told["verdict"]) == (85, "pass")
    energy = ask(ENERGY, co2_kg_per_kwh=0.57, factor_date="2024").json()
    assert (energy["city"]["eui_kwh_m2"], round(energy["city"]["co2_kg_m2"], 9)) == (60.0, 34.2)


@pytest.mark.parametrize(
    ("path", "inputs", "name"),
    [
        (PLAN, {"level": "street"}, "level"),
        (PLAN, {"surprise": 1}, "surprise"),
        (PLAN, {"xzqdm": "1"}, "xzqdm"),
        (PLAN, {"definitions": [{"id": "X"}]}, "Indicator X"),
        (PLAN, {"targets": {"I-06": "high"}}, "targets"),
        (COVERAGE, {"indicator": "I-14", "distance_m": -1}, "distance_m"),
        (COVERAGE, {"indicator": "I-14", "distance_m": "5 km"}, "distance_m"),
        (COVERAGE, {"indicator": "I-04", "layers": {"nothing": {"collection": "lamp"}}}, "layers"),
        (ENERGY, {"co2_kg_per_kwh": 0.5}, "factor_date"),
        (ENERGY, {"year": 1950}, "year"),
    ],
)
def test_wrong_inputs_are_a_400_that_names_them(ask, path, inputs, name):
    answer = ask(path, **inputs)
    assert answer.status_code == 400, answer.text[:300]
    assert name in answer.json()["detail"]


def test_a_stranger_may_ask_but_not_record(ask, city):
    assert ask(PLAN, indicators=["I-06"], record=True).status_code == 403
    assert not (city.folder / history.FILE).exists()
    assert ask(PLAN, indicators=["I-06"], record=False).status_code == 200
