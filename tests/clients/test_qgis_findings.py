"""QGIS 3.40 shows findings in a group of their own, by verdict, and closes one by its list of values."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

import twin
from tests import findings
from tests.clients.conftest import served
from tests.stores import copy_twin

pytestmark = [pytest.mark.client, pytest.mark.slow]
SCRIPT = Path(__file__).with_name("qgis_findings.py")


@pytest.fixture(scope="module")
def supervised(town_twin, tmp_path_factory):
    """A copy of the town with 40 findings: (folder, verdict of each by id)."""
    folder = copy_twin(town_twin, tmp_path_factory.mktemp("findings") / "twin")
    with twin.open(folder) as city:
        places, verdicts = findings.spread(city, 40)
        ids = findings.keep(city, findings.made_up(places, verdicts))
    return folder, dict(zip(ids, verdicts, strict=True))


def in_qgis(python, address, folder, code, name):
    path = folder / f"city-{code}.qgs"
    path.write_bytes(httpx.get(f"{address}qgis/city.qgs?lang={code}", timeout=60).raise_for_status().content)
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    for variable in ("VIRTUAL_ENV", "PYTHONPATH", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA"):
        environment.pop(variable, None)
    command = [python, str(SCRIPT), str(path), name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[-1])


def test_findings_are_a_group_of_their_own_by_verdict_and_closed_from_a_list(qgis_python, supervised, tmp_path):
    folder, by_id = supervised
    names = sorted(by_id)[:2]
    with served(folder, tmp_path / "log.txt") as address:
        told = {
            code: in_qgis(qgis_python, address, tmp_path, code, name)
            for code, name in zip(("zh", "en"), names, strict=True)
        }
        closed = httpx.get(f"{address}collections/finding/items", params={"filter": "status = 'closed'"}).json()
    zh, en = told["zh"], told["en"]
    for each in (zh, en):
        layer = each["layer"]
        assert (layer["valid"], layer["error"], layer["count"]) == (True, "", 40)
        assert (layer["by"], layer["widget"]) == ("verdict", "ValueMap")
        assert {value: colour for value, (_, colour) in layer["classes"].items() if value in findings.VERDICTS} == {
            "fail": "#e53935", "review": "#fb8c00", "unknown": "#9e9e9e",
        }  # fmt: skip
        assert sorted(layer["choices"].values()) == ["closed", "confirmed", "opened"]
        assert layer["editable"] == ["note", "status"]
        assert each["in_group"] == ["citytwin_finding"]
        assert each["shown"]
        assert each["closed"] == {"done": True, "errors": []}
    assert (zh["group"], zh["first"], zh["layer"]["name"], zh["layer"]["label"]) == ("监管", "监管", "监管发现", "name")
    assert (en["group"], en["layer"]["name"], en["layer"]["label"]) == (
        "Supervision", "Findings of supervision", "name_en",
    )  # fmt: skip
    assert (zh["layer"]["choices"]["已确认"], en["layer"]["choices"]["confirmed"]) == ("confirmed", "confirmed")
    assert zh["layer"]["classes"]["fail"][0] == "不合格"
    assert sorted(each["id"] for each in closed["features"]) == names
