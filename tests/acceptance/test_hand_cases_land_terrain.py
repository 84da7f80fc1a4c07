"""The hand cases of land, buildings, models, terrain, sight and indicators through every public face, however sent."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import shapely
import yaml
from starlette.testclient import TestClient

from layers.errors import InvalidInput
from server.app import create_app
from server.cli_show import run as command
from server.jobs.limits import Limits
from server.settings import Settings
from tests.acceptance.test_hand_cases_water_site import FORMS, TO_84, check, placed
from tests.server.jobs.conftest import awaited
from tests.twin.analysis import water_city

TOLD = yaml.safe_load(Path(__file__).with_name("hand_cases_land_terrain.yaml").read_text("utf8"))


def cases():
    """Every case by id: those that are alike have what is put over the first; an expectation of null is dropped."""
    found = {}
    for case in TOLD["cases"]:
        for more in [{}, *case.get("alike", ())]:
            expected = case["expected"] | (more.get("expected") or {})
            made = {
                "process": case["process"], "stored": case.get("stored", {}), "error": more.get("error"),
                "inputs": case["inputs"] | more.get("inputs", {}),
                "expected": {path: value for path, value in expected.items() if value is not None},
            }  # fmt: skip
            assert found.setdefault(more.get("id", case["id"]), made) is made
    return found


CASES = cases()
FIRST = list({case["process"]: name for name, case in reversed(CASES.items()) if not case["error"]}.values())


def in_city(text, given):
    """A shape in the city from plane metres, or from degrees."""
    if text is None or not given.get("lonlat"):
        return placed(text)
    return shapely.transform(
        shapely.from_wkt(text), lambda xy: np.column_stack(TO_84.transform(*xy.T, direction="INVERSE"))
    )


def in_84(text, given):
    if text is None or given.get("lonlat"):
        return None if text is None else shapely.from_wkt(text)
    return shapely.transform(placed(text), lambda xy: np.column_stack(TO_84.transform(*xy.T)))


def mapping(text, given, form):
    shape = in_84(text, given) if form == "crs84" else in_city(text, given)
    return None if shape is None else json.loads(shapely.to_geojson(shape))


def geojson(given, form):
    features = [
        {"type": "Feature", "id": str(name), "geometry": mapping(text, given, form), "properties": values}
        for name, text, values in given["rows"]
    ]
    return {"type": "FeatureCollection", "features": features} | ({} if form == "crs84" else {"crs": "city"})


def layer(case, path):
    return re.sub(r"[^a-z0-9]", "_", f"{case}_{path}")


def rows_of(inputs, path=""):
    """Everything in the inputs that is rows, with the path to it."""
    for key, value in inputs.items():
        if isinstance(value, dict) and "rows" in value:
            yield f"{path}{key}", value
        elif isinstance(value, dict):
            yield from rows_of(value, f"{path}{key}_")


def sent(name, inputs, form, path=""):
    """Inputs as they are sent."""
    made = {}
    for key, value in inputs.items():
        if not isinstance(value, dict):
            made[key] = value
        elif "wkt" in value:
            made |= {key: mapping(value["wkt"], value, form)} | ({} if form == "crs84" else {"crs": "city"})
        elif value.get("as") == "layer":
            made |= {key: layer(name, path + key), "filter": f"in_case = '{name}'"}
        elif "rows" in value:
            stored = {"collection": layer(name, path + key), "filter": f"in_case = '{name}'"}
            made[key] = stored if form == "stored" else geojson(value, form)
        else:
            made[key] = sent(name, value, form, f"{path}{key}_")
    return made


def inputs_of(name, form):
    case = CASES[name]
    return sent(name, case["inputs"], form) | (case["stored"] if form == "stored" else {})


def layers():
    """A layer for every input that is features, beside each feature another one that the filter must leave out."""
    kinds = {"Point": "Point", "LineString": "LineString", "Polygon": "Polygon"}
    for name, case in CASES.items():
        for path, given in rows_of(case["inputs"]):
            shape = in_city(given["rows"][0][1], given)
            yield layer(name, path), "none" if shape is None else kinds[shape.geom_type], {
                f"{mark}{own}": (in_city(text, given), values | {"in_case": mark or name})
                for mark in ("", "beside ") for own, text, values in given["rows"]
            }  # fmt: skip


def ground(told):
    if "z" in told:
        return told["z"]
    middles = (np.arange(told["columns"]) + 0.5) * told["cell_m"]
    return np.tile(told["rise"] * middles, (told["rows"], 1))


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hand")
    water_city.make(folder, None, layers()).close()
    opened = water_city.twin.open(folder)
    with opened.store.writing() as batch:
        for name, told in TOLD["grounds"].items():
            batch.put_asset(water_city.raster(folder, name, ground(told), told["cell_m"]))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(city):
    settings = Settings(access_log=False, warm_up=False, jobs=Limits(workers=1))
    with TestClient(create_app(city, settings), base_url="http://city.test") as session:
        yield session


def held(found, expected, files=None):
    """`check`, where [null] says that there is no number."""
    missing = {path for path, value in expected.items() if value == [None]}
    for path in missing:
        assert found[path] is None, path
    check(found, {path: value for path, value in expected.items() if path not in missing}, files)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_in_python(city, name, form):
    case = CASES[name]
    if case["error"]:
        with pytest.raises(InvalidInput, match=rf"(^|: ){case['error']}"):
            city.run(case["process"], **inputs_of(name, form))
        return
    found = city.run(case["process"], **inputs_of(name, form))
    held(found, case["expected"], lambda output: found[output].path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_over_http(client, name, form):
    case = CASES[name]
    answer = client.post(f"/processes/{case['process']}/execution", json={"inputs": inputs_of(name, form)})
    if case["error"]:
        assert answer.status_code == 400
        assert case["error"] in answer.json()["detail"]
        return
    assert answer.status_code == 200, answer.text
    held(answer.json(), case["expected"])


@pytest.mark.parametrize("name", FIRST)
def test_as_a_job(client, name):
    case, form = CASES[name], FORMS[FIRST.index(name) % 3]
    answer = client.post(
        f"/processes/{case['process']}/execution", json={"inputs": inputs_of(name, form)},
        headers={"Prefer": "respond-async"},
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    job = answer.headers["location"]
    assert awaited(client, job)["status"] == "successful"
    held(client.get(f"{job}/results").json(), case["expected"])


@pytest.mark.parametrize("name", FIRST)
def test_as_a_command(city, name, capsys, tmp_path):
    case, form = CASES[name], FORMS[(FIRST.index(name) + 1) % 3]
    path = tmp_path / "inputs.json"
    path.write_text(json.dumps(inputs_of(name, form), ensure_ascii=False), "utf8")
    command(city.folder, case["process"], None, input_file=str(path), files=tmp_path / "files")
    held(json.loads(capsys.readouterr().out), case["expected"])
