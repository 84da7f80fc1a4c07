"""The hand cases of sunlight, water, pipes, networks, sites and series through every public face, however sent."""

import datetime as dt
import json
import re
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import yaml
from starlette.testclient import TestClient

from layers.errors import InvalidInput
from server.app import create_app
from server.cli_show import run as command
from server.jobs.limits import Limits
from server.settings import Settings
from tests.server.jobs.conftest import awaited
from tests.twin.analysis import water_city
from tests.twin.analysis.water_city import EAST, NORTH

TOLD = yaml.safe_load(Path(__file__).with_name("hand_cases_water_site.yaml").read_text("utf8"))
FORMS = ("crs84", "city", "stored")
TO_84 = pyproj.Transformer.from_crs(water_city.CRS, "OGC:CRS84", always_xy=True)


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
FIRST = list({case["process"]: name for name, case in reversed(CASES.items())}.values())


def layer(case, name):
    return re.sub(r"[^a-z0-9]", "_", f"{case}_{name}")


def placed(text):
    """A shape in the city from plane metres."""
    if text is None:
        return None
    return shapely.transform(shapely.from_wkt(text), lambda xyz: xyz + np.array([EAST, NORTH, 0.0][: xyz.shape[1]]),
                             include_z=shapely.from_wkt(text).has_z)  # fmt: skip


def geojson(rows, form):
    features = []
    for name, text, values in rows:
        shape = placed(text)
        if shape is not None and form == "crs84":
            shape = shapely.transform(
                shape, lambda xyz: np.column_stack([*TO_84.transform(xyz[:, 0], xyz[:, 1]), *xyz[:, 2:].T]),
                include_z=shape.has_z,
            )  # fmt: skip
        geometry = None if shape is None else json.loads(shapely.to_geojson(shape))
        features.append({"type": "Feature", "id": name, "geometry": geometry, "properties": values})
    return {"type": "FeatureCollection", "features": features} | ({"crs": "city"} if form == "city" else {})


def inputs_of(name, form):
    """Inputs of a case as they are sent."""
    case = CASES[name]
    made = dict(case["inputs"]) | (case["stored"] if form == "stored" else {})
    for key, value in list(made.items()):
        if isinstance(value, dict) and "rows" in value:
            stored = {"collection": layer(name, key), "filter": f"in_case = '{name}'"}
            made[key] = stored if form == "stored" else geojson(value["rows"], form)
        elif key == "observations" and form == "stored":
            made[key] = {"collection": layer(name, key)}
    return {key: value for key, value in made.items() if value is not None}


def layers():
    """A layer for every input that is features, beside each feature another one that the filter must leave out."""
    kinds = {"Point": "Point", "LineString": "LineString", "Polygon": "Polygon"}
    for name, case in CASES.items():
        for key, value in case["inputs"].items():
            if isinstance(value, dict) and "rows" in value:
                rows = value["rows"]
                shape = placed(rows[0][1])
                kind = "none" if shape is None else kinds[shape.geom_type] + ("Z" if shape.has_z else "")
                yield layer(name, key), kind, {
                    mark + own: (on_axis(placed(text), values), values | {"in_case": mark or name})
                    for mark in ("", "beside ") for own, text, values in rows
                }  # fmt: skip
            elif key == "observations":
                yield layer(name, key), "none", {str(k): (None, observed(row)) for k, row in enumerate(value)}
    own = {"reservoir_code": "SK22", "flood_limit_level_m": 106.0, "check_level_m": 110.0}
    yield "reservoir", "Polygon", {"R22": (placed("POLYGON ((0 0, 9 0, 9 9, 0 0))"), own)}
    curve = [("SK22", z, v) for z, v in ((110.0, 300.0), (90.0, 0.0), (100.0, 100.0))] + [("SK9", 95.0, 7.0)]
    names = ("reservoir_code", "level_m", "storage_1e4m3")
    yield (
        "reservoir_curve",
        "none",
        {str(k): (None, dict(zip(names, each, strict=True))) for k, each in enumerate(curve)},
    )


def on_axis(shape, values):
    """A pipe as a build stores it: its z on the axis."""
    up = {"crown": -values.get("od_mm", 0) / 2000, "invert": values.get("dn_mm", 0) / 2000}.get(values.get("z_ref"), 0)
    return shape if up == 0 else shapely.transform(shape, lambda xyz: xyz + np.array([0, 0, up]), include_z=True)


def observed(row):
    return row | {"time": dt.datetime.fromisoformat(row["time"]).astimezone(dt.UTC), "quality": "disorder"}


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hand")
    water_city.make(folder, None, layers()).close()
    opened = water_city.twin.open(folder)
    with opened.store.writing() as batch:
        for name, ground in TOLD["grounds"].items():
            batch.put_asset(water_city.raster(folder, name, ground["z"], ground["cell_m"]))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(city):
    settings = Settings(access_log=False, warm_up=False, jobs=Limits(workers=1))
    with TestClient(create_app(city, settings), base_url="http://city.test") as session:
        yield session


def at(found, path):
    """What a path leads to."""
    for part in re.findall(r"[^.\[\]]+(?:=[^\]]*)?|\[[^\]]*\]", path):
        if part == "[*]":
            return ("all", found, path.split("[*]", 1)[1].strip("."))
        if part.startswith("["):
            key, mark, value = part[1:-1].partition("=")
            if not mark:
                found = found[int(key)]
                continue
            chosen = [each for each in found if at(each, key) == value]
            assert len(chosen) == 1, f"{path}: {len(chosen)} of {found}"
            found = chosen[0]
        else:
            found = found[part]
    return found


def bare(name):
    """The id of a link or valve without the layer it is of."""
    return name.rpartition("/")[2] if isinstance(name, str) else name


def check(found, expected, files=None):
    """Every number that is expected; cells of rasters where the files are at hand."""
    for path, value in expected.items():
        if path.startswith("cell "):
            if files is None:
                continue
            _, output, row, column = path.split()
            with rasterio.open(files(output)) as raster:
                have = float(raster.read(1)[int(row), int(column)])
        else:
            have = at(found, path)
        if isinstance(have, tuple):
            have = sorted(bare(at(each, have[2]) if have[2] else each) for each in have[1])
            number = value if value and isinstance(value[0], list) else None
            if number is None:
                assert have == sorted(value), path
            else:
                assert have == pytest.approx(number[0], abs=number[1]), path
        elif isinstance(value, list):
            assert have == pytest.approx(value[0], abs=value[1]), path
        else:
            assert have == value, path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_in_python(city, name, form):
    case = CASES[name]
    if case["error"]:
        with pytest.raises(InvalidInput, match=rf"^{case['error']}"):
            city.run(case["process"], **inputs_of(name, form))
        return
    found = city.run(case["process"], **inputs_of(name, form))
    check(found, case["expected"], lambda output: found[output].path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_over_http(client, name, form):
    case = CASES[name]
    answer = client.post(f"/processes/{case['process']}/execution", json={"inputs": inputs_of(name, form)})
    if case["error"]:
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(case["error"])
        return
    assert answer.status_code == 200, answer.text
    check(answer.json(), case["expected"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FIRST)
def test_as_a_job(client, name, form):
    case = CASES[name]
    answer = client.post(
        f"/processes/{case['process']}/execution", json={"inputs": inputs_of(name, form)},
        headers={"Prefer": "respond-async"},
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    job = answer.headers["location"]
    assert awaited(client, job)["status"] == "successful"
    check(client.get(f"{job}/results").json(), case["expected"])


@pytest.mark.parametrize("name", FIRST)
def test_as_a_command(city, name, capsys, tmp_path):
    case = CASES[name]
    given = inputs_of(name, FORMS[FIRST.index(name) % 3])
    path = tmp_path / "inputs.json"
    path.write_text(json.dumps(given, ensure_ascii=False), "utf8")
    command(city.folder, case["process"], None, input_file=str(path), files=tmp_path / "files")
    found = json.loads(capsys.readouterr().out)
    check(found, case["expected"])
