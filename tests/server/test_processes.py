"""Processes and jobs beyond the abstract tests: limits, scope, references to elsewhere, plain answers, pages."""

import json

import httpx
import pytest
from starlette.testclient import TestClient

import twin
from layers.catalogue import Title
from layers.errors import InvalidInput
from server import processes
from server.app import create_app
from server.jobs.limits import Limits
from server.settings import Settings
from tests.server.jobs.conftest import awaited
from tests.stores import copy_twin
from twin import analysis
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import Progress
from twin.scope import Scope

NEAR = {"layer": "well", "distance_m": 8, "crs": "EPSG:4549",
        "geometry": {"type": "Point", "coordinates": [598_000, 3_110_000]}}  # fmt: skip


def execute(client, process, status=200, prefer=None, **body) -> httpx.Response:
    headers = {"Prefer": prefer} if prefer else {}
    response = client.post(f"/processes/{process}/execution", json=body, headers=headers)
    assert response.status_code == status, response.text[:500]
    return response


def test_without_a_form_the_answer_is_the_same_object_as_of_the_command(client, city):
    answer = execute(client, "buffer-query", inputs=NEAR)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(city.run("buffer-query", **NEAR)))
    job = execute(client, "buffer-query", 201, "respond-async", inputs=NEAR).headers["location"]
    assert awaited(client, job)["status"] == "successful"
    assert client.get(f"{job}/results").json() == answer.json()


def test_several_parts_where_accept_names_them(client):
    response = client.post(
        "/processes/buffer-query/execution", json={"inputs": NEAR}, headers={"Accept": "multipart/related"}
    )
    assert response.headers["content-type"].startswith("multipart/related")
    assert response.content.count(b"Content-ID: ") == 7


def test_one_named_output_is_itself_and_as_text_where_that_is_asked(client):
    assert execute(client, "buffer-query", inputs=NEAR, outputs={"n_hits": {}}).content == b"2"
    wish = {"format": {"mediaType": "text/plain"}}
    text = execute(client, "echo", inputs={"text": "字"}, outputs={"text": wish})
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.text == "字"
    linked = execute(
        client, "echo", 204, inputs={"text": "字"}, outputs={"text": wish | {"transmissionMode": "reference"}}
    )
    address = linked.headers["link"].split(", <")[1].split(">")[0]
    assert client.get(address).text == "字"
    assert client.get(address).headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"outputs": {"heights": {}}}, "heights"), ({"outputs": []}, "outputs"), ({"outputs": {"n_hits": 1}}, "n_hits"),
        ({"outputs": {"n_hits": {"transmissionMode": "post"}}}, "transmissionMode"),
        ({"outputs": {"n_hits": {"format": {"mediaType": "image/png"}}}}, "image/png"),
        ({"response": "xml"}, "response"), ({"subscriber": {"successUri": "http://127.0.0.1/x"}}, "subscriber"),
    ],
)  # fmt: skip
def test_forms_that_are_not_offered_are_400_and_named(client, body, named):
    assert named in execute(client, "buffer-query", 400, inputs=NEAR, **body).json()["detail"]


@pytest.mark.parametrize(
    "href",
    ["http://169.254.169.254/latest/meta-data", "https://city.test/collections", "//evil.test/x", "file:///etc/passwd",
     "http://city.test.evil.test/x", "http://city.test@evil.test/", 7, "collections/well/items"],
)  # fmt: skip
def test_no_other_address_is_asked(client, href):
    said = execute(client, "echo", 400, inputs={"features": {"href": href}}).json()["detail"]
    assert "features: href=" in said
    assert "not an address of this server" in said


def test_own_addresses_have_their_limits(client, city):
    wrong = {"features": {"href": "/collections/nothing/items"}}
    assert "answers 404" in execute(client, "echo", 400, inputs=wrong).json()["detail"]
    page = {"features": {"href": "/collections?f=html"}}
    assert "not JSON" in execute(client, "echo", 400, inputs=page).json()["detail"]
    size = len(client.get("/collections/building/items?limit=1").content)
    limits = Settings(access_log=False, warm_up=False, jobs=Limits(href_bytes=size * 3 // 2))
    with TestClient(create_app(city, limits), base_url="http://city.test") as strict:
        links = {"object": {"href": "/collections/building/items?limit=1"}}
        assert execute(strict, "echo", inputs=links).json()["object"]["numberReturned"] == 1
        for large in (links | {"features": links["object"]}, {"features": {"href": "/collections/building/items"}}):
            said = execute(strict, "echo", 400, inputs=large).json()["detail"]
            assert "features: " in said
            assert str(size * 3 // 2) in said
    many = {"list": [{"href": "/health"}] * 11}
    assert "at most 10" in execute(client, "echo", 400, inputs=many).json()["detail"]


def test_features_of_a_layer_as_input(client, city):
    wanted = {"collection": "building", "filter": "height_m > 20 AND floors < 9", "crs": "city"}
    found = execute(client, "echo", inputs={"features": wanted}).json()["features"]["features"]
    table = city["building"].query()
    expected = table[(table["height_m"] > 20) & (table["floors"] < 9)]
    assert {each["id"] for each in found} == set(expected.index)
    assert {each["properties"]["height_m"] for each in found} == set(expected["height_m"])
    west, south, east, north = table.iloc[5].geometry.bounds
    box = {"collection": "building", "bbox": [west + 1, south + 1, east - 1, north - 1], "crs": "city"}
    found = execute(client, "echo", inputs={"features": box}).json()["features"]["features"]
    assert [each["id"] for each in found] == [table.index[5]]
    moved = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [598_000.0, 3_110_000.0]},
             "properties": {"a": 1}, "id": 7, "crs": "EPSG:4549"}  # fmt: skip
    [feature] = execute(client, "echo", inputs={"features": moved}).json()["features"]["features"]
    assert (feature["id"], feature["properties"]) == ("7", {"a": 1})
    assert feature["geometry"]["coordinates"] == pytest.approx([121.98, 28.1], abs=1.0)


@pytest.mark.parametrize(
    ("features", "named"),
    [
        ({"collection": "nothing"}, "nothing"), ({"collection": "well", "filter": "depth >"}, "CQL2"),
        ({"collection": "well", "bbox": [3, 2, 1, 4]}, "bbox"), ({"collection": "well", "crs": "EPSG:0"}, "EPSG:0"),
        ({"type": "FeatureCollection"}, "features"), ({"type": "Point", "coordinates": ["a", 1]}, "features/0"),
        ({"type": "Point", "coordinates": [1e9, 1e9]}, "does not fit"),
        ({"type": "FeatureCollection", "features": [{"properties": {"a": 1}}, {"properties": {"a": "x"}}]}, "types"),
    ],
)  # fmt: skip
def test_features_that_cannot_be_are_named(client, features, named):
    response = client.post("/processes/echo/execution", json={"inputs": {"features": features}})
    assert response.status_code in {400, 404}
    assert named in response.json()["detail"]


def test_jobs_are_seen_by_who_may_see_the_same(city):
    settings = [
        Settings(scope=scope, access_log=False, warm_up=False)
        for scope in (Scope("public", frozenset({"well"})), Scope("public", frozenset({"well", "building"})))
    ]
    asked = {"inputs": NEAR | {"layer": "building"}}
    with (
        TestClient(create_app(city, settings[0]), base_url="http://city.test") as few,
        TestClient(create_app(city, settings[1]), base_url="http://city.test") as more,
    ):
        hidden = execute(few, "buffer-query", 404, "wait=30", **asked)
        assert "building" not in hidden.text.replace("'building'", "")
        job = execute(more, "buffer-query", 201, "respond-async", **asked).headers["location"]
        assert awaited(more, job)["status"] == "successful"
        assert more.get(f"{job}/results").status_code == 200
        for path in (job, f"{job}/results", f"{job}/results/n_hits"):
            assert few.get(path).status_code == 404
        assert few.delete(job).status_code == 404
        ids = {each["jobID"] for each in few.get("/jobs?limit=1000").json()["jobs"]}
        assert job.rsplit("/", 1)[1] not in ids
        assert more.get(job).json()["status"] == "successful"


def test_answers_have_validators_ranges_and_heads(client):
    job = execute(client, "echo", 201, "respond-async", inputs={"text": "0123456789"}).headers["location"]
    assert awaited(client, job)["status"] == "successful"
    for path in ("/processes", "/processes/echo", job, f"{job}/results", f"{job}/results/text"):
        first = client.get(path)
        assert client.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
        head = client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == first.headers["content-length"]
        assert "Accept" in first.headers["vary"]
    part = client.get(f"{job}/results/text", headers={"Range": "bytes=3-5"})
    assert (part.status_code, part.content) == (206, b"234")
    assert client.options(job).headers["allow"].replace(" ", "").split(",") >= ["DELETE"]
    assert "DELETE" in client.options(job).headers["allow"]
    for path in ("/processes", "/processes/echo", "/jobs", job, f"{job}/results"):
        page = client.get(path, headers={"Accept": "text/html"})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "<html" in page.text
    exposed = client.get("/jobs").headers["access-control-expose-headers"]
    assert {"Location", "Preference-Applied", "Link"} <= {each.strip() for each in exposed.split(",")}


@pytest.mark.parametrize(
    ("query", "named"),
    [("limit=0", "limit"), ("limit=x", "limit"), ("status=done", "done"), ("minDuration=-1", "minDuration"),
     ("minDuration=5&maxDuration=1", "minDuration"), ("datetime=today", "today"), ("datetime=..", "datetime"),
     ("datetime=2026-02-01/2026-01-01", "ends before"), ("cursor=x", "cursor"), ("process=echo", "process"),
     ("datetime=0001-01-01", "datetime"), ("limit=1&limit=2", "limit")],
)  # fmt: skip
def test_wrong_parameters_of_the_job_list_are_named(client, query, named):
    response = client.get(f"/jobs?{query}")
    if query == "datetime=0001-01-01":  # before 1970 is a time like any other
        assert response.status_code == 200
        assert response.json()["jobs"] == []
        return
    assert response.status_code == 400
    assert named in response.json()["detail"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"inputs": 3}', b"", b'{"inputs": {"nonsense": 1}}', b"\xff"])
def test_a_body_that_is_none_is_400(client, body):
    response = client.post("/processes/buffer-query/execution", content=body)
    assert response.status_code == 400


def test_schemas_leave_in_the_words_of_the_standard():
    given = {"type": ["number", "null"], "exclusiveMinimum": 0, "x-unit": "m", "const": 3, "examples": [3]}
    assert processes.openapi_schema(given) == {
        "type": "number", "nullable": True, "minimum": 0, "exclusiveMinimum": True, "enum": [3]
    }  # fmt: skip
    nested = {"type": "object", "properties": {"a": {"type": ["string", "integer"]}}, "additionalProperties": False}
    assert processes.openapi_schema(nested)["properties"]["a"] == {"oneOf": [{"type": "string"}, {"type": "integer"}]}
    assert processes.openapi_schema(nested)["additionalProperties"] is False


def test_progress_of_parts_is_of_the_whole():
    told = []
    progress = Progress(lambda percent, message: told.append((percent, message)))
    first, second = progress.part(0, 40), progress.part(40, 100)
    first(50, "a")
    assert list(second.over("xyz", 3, "b")) == ["x", "y", "z"]
    second.part(50, 100)(200)
    assert told == [(20.0, "a"), (60.0, "b"), (80.0, "b"), (100.0, "b"), (100.0, "")]


def test_a_process_without_progress_and_one_with(city):
    def plain(city, *, a):
        return {"a": a}

    def telling(city, *, a=0, progress):
        progress(10, "x")
        return {"a": a}

    told = []
    for function, inputs in ((plain, {"a": [3]}), (telling, {})):
        made = Process(
            "x", Title("x", "x"), Title("x", "x"),
            {"a": Parameter(Title("a", "a"), {"type": "integer"}, required=False, max_occurs=2)}, {}, function,
        )  # fmt: skip
        assert made.run(city, inputs, progress=Progress(lambda *said: told.append(said))) == {"a": inputs.get("a", 0)}
    assert told == [(10.0, "x")]
    with pytest.raises(InvalidInput, match="a: "):
        made.run(city, {"a": [1, 2, 3]})


def test_files_of_a_process_run_by_a_script(city, tmp_path):
    made = analysis.run("echo", city, {"bytes": "aGk="}, progress=Progress(folder=tmp_path))
    assert made["bytes"].path == tmp_path / "bytes.bin"
    assert city.run("echo", bytes="aGk=")["bytes"].path.read_bytes() == b"hi"


def test_nothing_is_written_before_there_is_a_job(folder, tmp_path):
    copy = copy_twin(folder, tmp_path / "twin")
    with twin.open(copy) as city, TestClient(create_app(city, Settings(access_log=False, warm_up=False))) as client:
        assert client.get("/jobs").json()["jobs"] == []
        assert client.post("/processes/buffer-query/execution", json={"inputs": NEAR}).json()["n_hits"] == 2
        assert not (copy / "jobs").exists()


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ('{"inputs": {"distance_m": NaN, "layer": "building"}}', "inputs/distance_m"),
        (
            '{"inputs": {"geometry": {"type": "Point", "coordinates": [121, -Infinity]}}}',
            "inputs/geometry/coordinates/1",
        ),
        ('{"inputs": {"distance_m": 1e999}}', "inputs/distance_m"),
    ],
    ids=["nan", "infinity", "too-large"],
)
def test_numbers_that_json_has_no_word_for_are_named(client, body, where):
    answer = client.post(
        "/processes/buffer-query/execution", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"{where} is no finite number")


@pytest.mark.parametrize(("name", "value", "status"), [("datetime", "yesterday", 400), ("checks", ["nothing"], 404)])
def test_a_supervision_names_the_input_that_is_wrong(client, name, value, status):
    answer = client.post("/processes/supervise-one-map/execution", json={"inputs": {name: value}})
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(name)
