"""What is planted in the sample town is found by the supervision of its sites: all of it, and nothing else."""

import json
import shutil
from pathlib import Path

import pytest

import twin
from server.build import build
from tests.twin.analysis.site_city import at
from twin.supervision import engine

TOWN = Path(__file__).parents[3] / "sample_data" / "town"
TRUTHS = json.loads((TOWN / "expected.json").read_text("utf8"))
NOW = at("2026-07-01T00:00:00+08:00")
CHECKS = ("crane-conflict", "pit-impact", "site-noise-dust")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town")
    for part in ("iot", "construction", "water", "vector", "terrain", "pipes"):
        shutil.copytree(TOWN / part, folder / "files" / part)
    shutil.copy(TOWN / "city.toml", folder / "files")
    build(folder / "files", folder / "twin")
    with twin.open(folder / "twin") as city:
        run = engine.run(city, "construction", checks=CHECKS, now=NOW)
    return [each for result in run.results for each in result.findings]


def of(findings, *rules):
    return [each for each in findings if each.rule in rules]


def test_cranes(findings):
    failed = {
        each.objects for each in of(findings, "crane-jib-to-mast", "crane-vertical-gap", "crane-tail-to-building")
    }
    assert failed == {
        (f"tower_crane/{each['a']}", f"tower_crane/{each['b']}") for each in TRUTHS["crane_pairs"] if each["fails"]
    }
    near = of(findings, "crane-power-line")
    expected = {each["crane"]: each for each in TRUTHS["crane_power_line"] if each["too_close_horizontally"]}
    assert {each.objects[0] for each in near} == {f"tower_crane/{name}" for name in expected}
    for each in near:
        truth = expected[each.objects[0].partition("/")[2]]
        assert each.measured == pytest.approx(truth["horizontal_gap_m"], abs=0.002)
        assert (each.limit, each.verdict, each.confidence) == (truth["limit_m"], "review", "low")


def test_excavations(findings):
    classed = of(findings, "pit-dangerous", "pit-over-scale")
    verdicts = {each.objects[0].partition("/")[2]: (each.rule, each.verdict) for each in classed}
    told = {
        "超过一定规模的危大工程": ("pit-over-scale", "review"), "危大工程": ("pit-dangerous", "review"),
        "一般": ("pit-dangerous", "pass"),
    }  # fmt: skip
    assert verdicts == {each["pit"]: told[each["class"]] for each in TRUTHS["excavations"]}
    assert of(findings, "pit-class-recorded") == [], "what is recorded agrees"


def test_noise_and_dust(findings):
    found = {(each.objects[0], each.part): each for each in of(findings, "site-noise", "dust-pm10-difference")}
    expected = {
        (f"sensor/{each['device_id']}", each["time"]): each
        for each in TRUTHS["exceedances"] if each["exceeds"] and each["quantity"] != "water_level"
    }  # fmt: skip
    assert found.keys() == expected.keys()
    for key, truth in expected.items():
        assert found[key].measured == pytest.approx(truth.get("difference", truth["value"]))
        assert found[key].limit == truth["limit"]
        assert found[key].verdict == "review", "the 2025 edition is not confirmed; two exceedances a day are allowed"
