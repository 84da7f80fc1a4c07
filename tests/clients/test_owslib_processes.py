"""OWSLib's client of OGC API Processes against the real server process."""

import time
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from owslib.ogcapi.processes import Processes

pytestmark = pytest.mark.client


@pytest.fixture
def processes(town_url):
    return Processes(town_url)


def test_owslib_lists_and_describes(processes):
    listed = {each["id"]: each for each in processes.processes()}
    assert {"buffer-query", "crs-audit"} <= set(listed)
    for key, summary in listed.items():
        described = processes.process(key)
        assert described["title"] == summary["title"]
        assert described["inputs"] is not None
    assert processes.process("buffer-query")["inputs"]["distance_m"]["schema"]["maximum"] == 100_000


def test_owslib_executes_at_once(processes, town):
    buildings = town["building"].query()
    centre = buildings.geometry.iloc[0].centroid
    geometry = {"type": "Point", "coordinates": [centre.x, centre.y]}
    inputs = {"geometry": geometry, "distance_m": 100, "layer": "building", "crs": town.crs}
    document = processes.execute("buffer-query", inputs)
    expected = set(buildings.index[buildings.distance(centre) <= 100])
    assert document["n_hits"] == len(expected) > 0
    features = document["features"]["value"]["features"]  # objects are qualified in a results document
    assert {each["id"] for each in features} == expected
    assert processes.execute("buffer-query", inputs, response="raw", outputs={"n_hits": {}}) == len(expected)


def test_owslib_executes_as_a_job_and_asks_for_it(processes):
    status = processes.execute("echo", {"text": "later", "pause_s": 0.5}, async_=True)
    assert status["status"] == "accepted"
    location = processes.response_headers["location"]
    path = location.removeprefix(processes.url).strip("/")
    end = time.monotonic() + 60
    while (found := processes._request(path=path))["status"] in {"accepted", "running"} and time.monotonic() < end:
        time.sleep(0.05)
    assert (found["status"], found["progress"]) == ("successful", 100)
    assert processes._request(path=f"{path}/results") == {"text": "later"}
    assert path.split("/")[-1] in {each["jobID"] for each in processes._request(path="jobs")["jobs"]}
    assert processes._request(method="DELETE", path=path)["status"] == "dismissed"


def test_owslib_hears_what_is_wrong(processes):
    with pytest.raises(RuntimeError, match="distance_m"):
        processes.execute("buffer-query", {"distance_m": -1})
