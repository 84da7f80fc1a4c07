"""The abstract tests of OGC API Processes part 1 (18-062r2, annex A), each by its identifier.

`COVERED` maps an identifier to the tests that carry it; the last test compares it with the list of the standard for
the conformance classes that the server declares.
"""

import base64
import email
import json
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from tests.server.jobs.conftest import awaited, execute
from tests.server.jobs.schemas import SCHEMAS

TESTS = json.loads(Path(__file__).with_name("abstract_tests.json").read_text("utf8"))
EXCEPTION = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
RELATION = "http://www.opengis.net/def/rel/ogc/1.0/"
COVERED: dict[str, list[str]] = {}

ALL = {
    "text": "文字 and words", "number": 2.5, "flag": True, "date": "2026-01-31", "list": [1, 2.5],
    "bbox": {"bbox": [120.9, 28.0, 121.1, 28.2]}, "object": {"a": {"b": [1]}}, "either": "plain",
    "bytes": base64.b64encode(bytes(range(256))).decode(),
    "features": {"type": "Point", "coordinates": [121.0, 28.1]},
}  # fmt: skip


def ats(*identifiers):
    """Marks a test with the abstract tests that it carries out."""

    def mark(function):
        for each in identifiers:
            COVERED.setdefault(each, []).append(function.__name__)
        return function

    return mark


@cache
def _validator(name):
    return jsonschema.Draft4Validator({"$ref": f"#/schemas/{name}"} | {"schemas": SCHEMAS})


def valid(name, document):
    errors = [
        f"{'/'.join(map(str, each.path))}: {each.message[:300]}" for each in _validator(name).iter_errors(document)
    ]
    assert not errors, errors[:3]
    return document


def run(client, inputs, status=200, process="echo", prefer=None, accept="*/*", **more):
    headers = {"Accept": accept} | ({"Prefer": prefer} if prefer else {})
    response = client.post(f"/processes/{process}/execution", json={"inputs": inputs} | more, headers=headers)
    assert response.status_code == status, response.text[:500]
    return response


@ats("core/landingpage-op", "core/landingpage-success")
def test_landing_page(client):
    links = valid("landingPage", client.get("/", headers={"Accept": "application/json"}).json())["links"]
    found = {link["rel"]: link["href"].removeprefix("http://city.test") for link in links}
    for relation in ("service-desc", RELATION + "processes", RELATION + "job-list"):
        assert client.get(found[relation]).status_code == 200
    assert {"conformance", RELATION + "conformance"} & set(found)


@ats("core/conformance-op", "core/conformance-success")
def test_conformance(client):
    document = valid("confClasses", client.get("/conformance").json())
    declared = {each.rsplit("/", 1)[1] for each in document["conformsTo"] if "ogcapi-processes-1/1.0/conf" in each}
    assert declared == {"core", "ogc-process-description", "json", "oas30", "job-list", "dismiss"}


@ats("core/api-definition-op", "core/api-definition-success", "oas30/oas-definition-1", "oas30/oas-definition-2")
def test_api_definition(client):
    response = client.get("/api")
    assert response.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    document = response.json()
    assert document["openapi"].startswith("3.0")
    ids = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(ids) == len(set(ids))


@ats(
    "oas30/completeness", "oas30/exceptions-codes", "oas30/oas-impl", "oas30/security", "core/pl-limit-definition",
    "job-list/limit-definition", "job-list/type-definition", "job-list/processID-definition",
    "job-list/status-definition", "job-list/datetime-definition", "job-list/duration-definition",
)  # fmt: skip
def test_the_definition_has_each_operation_with_its_parameters_and_statuses(client):
    paths = client.get("/api").json()["paths"]
    expected = {
        ("/processes", "get"): ({"limit"}, {"200"}),
        ("/processes/{processId}", "get"): ({}, {"200", "404"}),
        ("/processes/{processId}/execution", "post"): ({"Prefer"}, {"200", "201", "204", "400", "404", "413", "503"}),
        ("/jobs", "get"): (
            {"limit", "type", "processID", "status", "datetime", "minDuration", "maxDuration"}, {"200"}),
        ("/jobs/{jobId}", "get"): ({}, {"200", "404"}),
        ("/jobs/{jobId}", "delete"): ({}, {"200", "404"}),
        ("/jobs/{jobId}/results", "get"): ({}, {"200", "204", "400", "404", "500"}),
        ("/jobs/{jobId}/results/{outputId}", "get"): ({}, {"200", "404"}),
    }  # fmt: skip
    for (path, method), (names, statuses) in expected.items():
        operation = paths[path][method]
        given = {each["name"]: each for each in operation["parameters"] if "name" in each}
        assert set(names) <= set(given), path
        assert statuses <= set(operation["responses"]), path
        assert "default" in operation["responses"]
        for each in given.values():
            if each["in"] == "query":
                assert (each["style"], each["explode"], each["required"]) == ("form", False, False)
    limits = {path: next(each for each in paths[path]["get"]["parameters"] if each.get("name") == "limit")
              for path in ("/processes", "/jobs")}  # fmt: skip
    assert limits["/jobs"]["schema"] | {"x": 0} == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1000,
        "default": 10,
        "x": 0,
    }
    assert {"minimum": 1, "maximum": 1000}.items() <= limits["/processes"]["schema"].items()


@ats("core/process-list", "core/process-list-success", "core/pl-limit-response", "core/pl-links", "json/definition")
def test_process_list_and_its_pages(client):
    document = valid("processList", client.get("/processes").json())
    ids = [each["id"] for each in document["processes"]]
    assert {"buffer-query", "crs-audit", "echo", "test-hold"} <= set(ids)
    assert {"self", "alternate"} <= {link["rel"] for link in document["links"]}
    seen, address = [], "/processes?limit=2"
    while address:
        response = client.get(address)
        assert response.headers["content-type"] == "application/json"
        page = valid("processList", response.json())
        assert len(page["processes"]) <= 2
        seen += [each["id"] for each in page["processes"]]
        address = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert seen == ids
    last = next(link["href"] for link in page["links"] if link["rel"] == "prev")
    assert [each["id"] for each in client.get(last).json()["processes"]]


@ats(
    "core/process", "core/process-success", "ogc-process-description/json-encoding",
    "ogc-process-description/inputs-def", "ogc-process-description/input-def",
    "ogc-process-description/outputs-def", "ogc-process-description/output-def",
    "ogc-process-description/input-mixed-type", "ogc-process-description/output-mixed-type",
)  # fmt: skip
@pytest.mark.parametrize("language", ["zh", "en"])
def test_process_descriptions(client, language):
    for each in client.get("/processes").json()["processes"]:
        document = valid("process", client.get(f"/processes/{each['id']}?lang={language}").json())
        summary = client.get(f"/processes?lang={language}").json()["processes"]
        assert {key: document[key] for key in each} in summary
        assert set(document["jobControlOptions"]) == {"sync-execute", "async-execute", "dismiss"}
        for parameter in (*document["inputs"].values(), *document["outputs"].values()):
            valid("schema", parameter["schema"])
            assert parameter["title"]
    distance = client.get("/processes/buffer-query").json()["inputs"]["distance_m"]
    assert distance["unit"] == "m"
    assert distance["metadata"] == [
        {"title": "m", "role": "http://www.opengis.net/def/uom/UCUM", "href": "http://www.opengis.net/def/uom/UCUM/m"}
    ]
    mixed = client.get("/processes/echo").json()["inputs"]["either"]["schema"]["oneOf"]
    assert mixed[0]["contentMediaType"] == "text/plain"  # the first one is the default
    assert client.get("/processes/echo").json()["inputs"]["list"]["maxOccurs"] == 1000
    assert client.get("/processes/test-grid").json()["inputs"]["size"]["schema"] == {
        "type": "integer",
        "nullable": True,
    }


@ats("core/process-exception-no-such-process")
@pytest.mark.parametrize("path", ["/processes/none", "/processes/none/execution"])
def test_no_such_process(client, path):
    response = client.post(path, json={}) if path.endswith("execution") else client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert valid("exception", response.json())["type"] == EXCEPTION + "no-such-process"


@ats("core/job-exception-no-such-job", "core/job-results-failed")
@pytest.mark.parametrize("path", ["", "/results", "/results/text"])
@pytest.mark.parametrize("job", ["none", "0e0d1a9c-3f6b-4a55-9d0c-8f0f4f1f2c11"])
def test_no_such_job(client, path, job):
    response = client.get(f"/jobs/{job}{path}")
    assert response.status_code == 404
    assert valid("exception", response.json())["type"] == EXCEPTION + "no-such-job"
    assert client.delete(f"/jobs/{job}").json()["type"] == EXCEPTION + "no-such-job"


@ats(
    "core/job-creation-op", "core/job-creation-request", "core/job-creation-inputs", "core/job-creation-input-inline",
    "core/job-creation-input-inline-object", "core/job-creation-input-inline-mixed", "core/job-creation-input-array",
    "core/job-creation-input-inline-bbox", "core/job-creation-input-inline-binary", "core/http",
)  # fmt: skip
@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("text", "a", "a"), ("text", {"value": "a"}, "a"), ("number", 3, 3), ("flag", False, False),
        ("date", "2026-02-28", "2026-02-28"),
        ("list", [1, 2], [1, 2]), ("list", [1], [1]), ("list", 1, [1]), ("list", [{"value": 1}, 2], [1, 2]),
        ("bbox", {"bbox": [1, 2, 3, 4]}, {"bbox": [1, 2, 3, 4]}),
        ("bbox", {"bbox": [1, 2, 0, 3, 4, 9], "crs": "http://www.opengis.net/def/crs/OGC/0/CRS84h"},
         {"bbox": [1, 2, 0, 3, 4, 9], "crs": "http://www.opengis.net/def/crs/OGC/0/CRS84h"}),
        ("object", {"value": {"a": [1]}, "mediaType": "application/json"}, {"a": [1]}),
        ("object", {"value": {"value": 1}}, {"value": 1}),
        ("either", {"value": "a", "mediaType": "text/plain"}, "a"),
        ("either", {"value": {"type": "Point", "coordinates": [1, 2]}, "mediaType": "application/geo+json"},
         {"type": "Point", "coordinates": [1, 2]}),
    ],
)  # fmt: skip
def test_inputs_inline(client, name, given, expected):
    assert run(client, {name: given}).json() == {name: expected}


@ats("core/job-creation-input-inline-binary")
def test_a_binary_input_is_base64_and_comes_back_as_bytes(client):
    response = run(client, {"bytes": ALL["bytes"]}, outputs={"bytes": {}}, response="raw")
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.content == bytes(range(256))
    assert "bytes" in run(client, {"bytes": "!!"}, 400).json()["detail"]


@ats("core/job-creation-input-ref")
def test_inputs_by_reference(client):
    job = execute(client, "echo", {"number": 41.5, "object": {"value": {"a": 1}}})
    awaited(client, job)
    assert run(client, {"number": {"href": f"{job}/results/number"}}).json() == {"number": 41.5}
    items = "http://city.test/collections/well/items?limit=2"
    found = run(client, {"features": {"href": items, "type": "application/geo+json"}}).json()["features"]
    assert [each["id"] for each in found["features"]] == ["w0", "w1"]
    wrong = run(client, {"number": {"href": f"{job}/results/object"}}, 400).json()
    assert "number" in wrong["detail"]  # validated as if it had been inline


@ats("core/job-creation-input-validation")
@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"number": "a"}, "number"), ({"list": [1, "a"]}, "list/1"), ({"bbox": {"bbox": [1, 2, 3]}}, "bbox"),
        ({"date": "tomorrow"}, "date"), ({"nothing": 1}, "nothing"), ({"pause_s": -1}, "pause_s"),
        ({"features": {"type": "Cube"}}, "features"), ({"features": {"collection": "well", "a": 1}}, "features"),
        ({"either": 3}, "either"), ({"number": None}, "number"), ({"list": list(range(1001))}, "list"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefer", [None, "respond-async"])
def test_inputs_are_checked_before_a_job_is_made(client, inputs, named, prefer):
    response = run(client, inputs, 400, prefer=prefer)
    assert valid("exception", response.json())["type"] == EXCEPTION + "invalid-parameter-value"
    assert named in response.json()["detail"]


@ats(
    "core/job-creation-default-execution-mode",
    "core/job-creation-auto-execution-mode",
    "core/job-creation-success-async",
)
@pytest.mark.parametrize(
    ("prefer", "status", "applied"),
    [
        (None, 200, None), ("respond-sync", 200, "respond-sync"), ("handling=strict", 200, None),
        ("respond-async", 201, "respond-async"), ("RESPOND-ASYNC", 201, "respond-async"),
        ("respond-async, wait=30", 200, "wait=30"), ("wait=30", 200, "wait=30"), ("wait=0", 201, "wait=0"),
        ("return=minimal; foo=1, respond-async", 201, "respond-async"), ("wait=x, ;;,=", 200, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("process", ["echo", "buffer-query"])
def test_execution_mode(client, prefer, status, applied, process):
    inputs = {"text": "a"}
    if process == "buffer-query":
        inputs = {"layer": "well", "distance_m": 1, "geometry": {"type": "Point", "coordinates": [121.0, 28.1]}}
    response = run(client, inputs, status, process, prefer=prefer)
    assert response.headers.get("preference-applied") == applied
    if status == 201:
        job = valid("statusInfo", response.json())
        assert response.headers["location"] == f"http://city.test/jobs/{job['jobID']}"
        assert awaited(client, response.headers["location"])["status"] == "successful"


def _parts(response):
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + response.content)
    assert message.get_content_type() == "multipart/related"
    return {part["Content-ID"]: part for part in message.get_payload()}


def _linked(response):
    found = re.findall(r'<([^>]+)>; rel="([^"]+)"; type="[^"]*"(?:; title="([^"]+)")?', response.headers["link"])
    return {title: href for href, relation, title in found if relation != "monitor"}


def _executed(client, mode, inputs, **more):
    """The results, at once or of a job."""
    if mode == "sync":
        return client.post("/processes/echo/execution", json={"inputs": inputs} | more)
    job = execute(client, "echo", inputs, **more)
    assert awaited(client, job)["status"] == "successful"
    return client.get(f"{job}/results")


MODES = pytest.mark.parametrize("mode", ["sync", "async"])


@ats("core/job-creation-sync-raw-value-one", "core/job-results-async-raw-value-one")
@MODES
@pytest.mark.parametrize(
    ("name", "kind"),
    [("text", "application/json"), ("object", "application/json"), ("features", "application/geo+json"),
     ("bytes", "application/octet-stream")],
)  # fmt: skip
def test_raw_value_one(client, mode, name, kind):
    response = _executed(client, mode, ALL, response="raw", outputs={name: {}})
    assert response.status_code == 200
    assert response.headers["content-type"] == kind
    if name == "bytes":
        assert response.content == bytes(range(256))
    elif name == "features":
        [feature] = response.json()["features"]
        assert feature["geometry"]["coordinates"] == pytest.approx([121.0, 28.1], abs=1e-9)
    else:
        assert response.json() == ALL[name]


@ats(
    "core/job-creation-sync-raw-value-multi",
    "core/job-results-async-raw-value-multi",
    "core/job-creation-default-outputs",
)
@MODES
@pytest.mark.parametrize("outputs", [None, ["text", "bytes"]])
def test_raw_value_multi(client, mode, outputs):
    more = {"outputs": {name: {"transmissionMode": "value"} for name in outputs}} if outputs else {}
    response = _executed(client, mode, ALL, response="raw", **more)
    parts = _parts(response)
    assert set(parts) == set(outputs or ALL)  # without `outputs` all of them are wanted
    assert json.loads(parts["text"].get_payload(decode=True)) == ALL["text"]
    assert parts["bytes"].get_content_type() == "application/octet-stream"
    assert parts["bytes"].get_payload(decode=True) == bytes(range(256))


@ats("core/job-creation-sync-raw-ref", "core/job-results-async-raw-ref")
@MODES
@pytest.mark.parametrize("outputs", [["text"], ["text", "bytes"]])
def test_raw_ref(client, mode, outputs):
    response = _executed(
        client, mode, ALL, response="raw", outputs={name: {"transmissionMode": "reference"} for name in outputs}
    )
    assert response.status_code == 204
    assert not response.content
    links = _linked(response)
    assert set(links) == set(outputs)
    assert client.get(links["text"]).json() == ALL["text"]
    if "bytes" in links:
        assert client.get(links["bytes"]).content == bytes(range(256))


@ats("core/job-creation-sync-raw-mixed-multi", "core/job-results-async-raw-mixed-multi")
@MODES
def test_raw_mixed_multi(client, mode):
    wishes = {"text": {"transmissionMode": "reference"}, "number": {"transmissionMode": "value"}}
    parts = _parts(_executed(client, mode, ALL, response="raw", outputs=wishes))
    assert json.loads(parts["number"].get_payload(decode=True)) == ALL["number"]
    assert not parts["text"].get_payload(decode=True).strip()
    assert client.get(parts["text"]["Content-Location"]).json() == ALL["text"]


@ats("core/job-creation-sync-document", "core/job-results-async-document")
@MODES
def test_document(client, mode):
    response = _executed(client, mode, ALL, response="document", outputs={
        **{name: {} for name in ALL}, "object": {"transmissionMode": "reference"}})  # fmt: skip
    assert response.headers["content-type"] == "application/json"
    document = valid("results", response.json())
    assert {name: document[name] for name in ("text", "number", "flag", "date", "list", "either")} == {
        name: ALL[name] for name in ("text", "number", "flag", "date", "list", "either")
    }
    assert document["bbox"]["value"] == ALL["bbox"]
    assert document["features"]["mediaType"] == "application/geo+json"
    assert base64.b64decode(document["bytes"]["value"]) == bytes(range(256))
    assert client.get(document["object"]["href"]).json() == ALL["object"]


@ats("core/job-results-sync")
def test_a_job_that_was_waited_for_is_linked(client):
    response = run(client, {"text": "a"})
    job = re.match(r'<([^>]+)>; rel="monitor"', response.headers["link"]).group(1)
    assert client.get(job).json()["status"] == "successful"
    assert client.get(f"{job}/results").json() == response.json()


@ats("core/job-op", "core/job-success", "core/job-results", "job-list/processID-mandatory")
def test_status_and_results(client):
    job = execute(client, "echo", ALL)
    status = valid("statusInfo", awaited(client, job))
    assert status["processID"] == "echo"
    assert status["type"] == "process"
    results = next(link["href"] for link in status["links"] if link["rel"] == RELATION + "results")
    response = client.get(results)
    assert response.status_code == 200
    assert response.json()["text"] == ALL["text"]


@ats("core/job-results-exception-results-not-ready")
def test_results_not_ready(client):
    job = execute(client, "echo", {"pause_s": 20})
    response = client.get(f"{job}/results")
    assert response.status_code == 404
    assert valid("exception", response.json())["type"] == EXCEPTION + "result-not-ready"
    client.delete(job)


@ats("core/job-results-failed")
def test_results_of_a_failed_job(client):
    job = execute(client, "echo", {"fail": True})
    status = valid("statusInfo", awaited(client, job))
    assert status["status"] == "failed"
    response = client.get(f"{job}/results")
    assert response.status_code == 400
    problem = valid("exception", response.json())
    assert problem["type"] == EXCEPTION + "invalid-parameter-value"
    assert "fail is true" in problem["detail"]
    at_once = run(client, {"fail": True}, 400).json()
    assert at_once == problem


@ats("dismiss/job-dismiss-op", "dismiss/job-dismiss-success")
def test_dismissal(client):
    job = execute(client, "echo", {"pause_s": 20})
    response = client.delete(job)
    assert response.status_code == 200
    assert valid("statusInfo", response.json())["status"] == "dismissed"
    assert valid("statusInfo", client.get(job).json())["status"] == "dismissed"
    done = execute(client, "echo", {"text": "a"})
    awaited(client, done)
    assert valid("statusInfo", client.delete(done).json())["status"] == "dismissed"
    assert client.get(done).status_code == 404


@pytest.fixture(scope="module")
def some_jobs(client):
    """Addresses of jobs of three processes in four states, and the moment before they were made."""
    before = datetime.now(UTC)
    jobs = [execute(client, "echo", {"number": i}) for i in range(4)]
    jobs += [execute(client, "echo", {"pause_s": 2.3}), execute(client, "echo", {"fail": True})]
    jobs.append(execute(client, "crs-audit", {"layer": "well"}))
    inputs = {"layer": "well", "distance_m": 1, "geometry": {"type": "Point", "coordinates": [121.0, 28.1]}}
    jobs.append(execute(client, "buffer-query", inputs))
    for job in jobs:
        awaited(client, job)
    dismissed = execute(client, "echo", {"pause_s": 20})
    client.delete(dismissed)
    return [*jobs, dismissed], before


def _all(client, query=""):
    found, address = [], f"/jobs?limit=1000{query}"
    while address:
        document = valid("jobList", client.get(address).json())
        found += document["jobs"]
        address = next((link["href"] for link in document["links"] if link["rel"] == "next"), None)
    return found


@ats("job-list/job-list-op", "job-list/job-list-success", "job-list/links", "job-list/limit-response")
def test_job_list_and_its_pages(client, some_jobs):
    everything = [each["jobID"] for each in _all(client)]
    assert [job.rsplit("/", 1)[1] for job in some_jobs[0]] == everything[: len(some_jobs[0])][::-1]  # newest first
    first = client.get("/jobs").json()
    assert len(first["jobs"]) == min(10, len(everything))
    assert {"self", "alternate"} <= {link["rel"] for link in first["links"]}
    seen, address = [], "/jobs?limit=3"
    while address:
        page = client.get(address).json()
        assert len(page["jobs"]) <= 3
        seen += [each["jobID"] for each in page["jobs"]]
        address = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert seen == everything


@ats("job-list/processID-response", "job-list/status-response", "job-list/type-response")
@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ("processID=crs-audit", lambda job: job["processID"] == "crs-audit"),
        ("processID=crs-audit,buffer-query", lambda job: job["processID"] in {"crs-audit", "buffer-query"}),
        ("status=failed", lambda job: job["status"] == "failed"),
        ("status=failed,dismissed", lambda job: job["status"] in {"failed", "dismissed"}),
        ("processID=echo&status=successful", lambda job: (job["processID"], job["status"]) == ("echo", "successful")),
        ("processID=none", lambda job: False), ("type=process", lambda job: True), ("type=other", lambda job: False),
    ],
)  # fmt: skip
def test_job_list_filters(client, some_jobs, query, holds):
    expected = [each["jobID"] for each in _all(client) if holds(each)]
    assert [each["jobID"] for each in _all(client, f"&{query}")] == expected
    assert expected or "none" in query or "other" in query


@ats("job-list/datetime-response")
def test_job_list_by_time(client, some_jobs):
    jobs, before = some_jobs
    ids = {job.rsplit("/", 1)[1] for job in jobs}
    start = before.isoformat().replace("+00:00", "Z")
    assert {each["jobID"] for each in _all(client, f"&datetime={start}/..")} == ids
    assert not ids & {each["jobID"] for each in _all(client, f"&datetime=../{start}")}
    one = client.get(jobs[2]).json()
    assert one["jobID"] in {each["jobID"] for each in _all(client, f"&datetime={one['created']}")}
    day = f"&datetime={before:%Y-%m-%d}/{datetime.now(UTC):%Y-%m-%d}"  # days are whole
    assert ids <= {each["jobID"] for each in _all(client, day)}
    assert not _all(client, "&datetime=2001-01-01")


@ats("job-list/duration-response")
@pytest.mark.parametrize(
    ("query", "least", "most"),
    [("minDuration=2", 2, 1e9), ("maxDuration=1", 0, 1), ("minDuration=1&maxDuration=10", 1, 10)],
)
def test_job_list_by_duration(client, some_jobs, query, least, most):
    def lasted(job):
        times = [datetime.fromisoformat(job[name]).timestamp() for name in ("started", "finished")]
        return times[1] - times[0]

    over = [each for each in _all(client) if "started" in each and "finished" in each]
    found = _all(client, f"&{query}")
    sure = {each["jobID"] for each in over if least + 0.01 <= lasted(each) <= most - 0.01}  # times are told to 1 ms
    assert sure <= {each["jobID"] for each in found}
    assert all(least - 0.01 <= lasted(each) <= most + 0.01 for each in found)
    assert sure


def test_every_abstract_test_of_the_declared_classes_is_carried_out():
    wanted = {f"{name}/{each}" for name, tests in TESTS.items() for each in tests}
    assert wanted - set(COVERED) == set()
    assert set(COVERED) - wanted == set()
