"""Limits, CORS, security headers and the methods a path has."""

import logging
import re

import httpx
import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import Settings


@pytest.mark.parametrize(
    "path", ["/", "/collections/building/items", "/nowhere", "/collections/building/items?limit=x"]
)
def test_every_answer_may_be_read_from_anywhere_and_carries_the_security_headers(client, path):
    headers = client.get(path).headers
    assert headers["access-control-allow-origin"] == "*"
    assert headers["x-content-type-options"] == "nosniff"
    exposed = headers["access-control-expose-headers"].lower()
    for name in ("content-crs", "content-bbox", "content-datetime", "citytwin-note", "ogc-numberreturned",
                 "content-disposition", "content-language"):  # fmt: skip
        assert name in exposed


@pytest.mark.parametrize("path", ["/collections/building/items", "/collections/building/items/b01", "/collections"])
def test_options_tell_a_stranger_that_nothing_can_be_edited(client, path):
    response = client.options(path)
    assert response.status_code in {200, 204}
    assert {each.strip() for each in response.headers["allow"].split(",")} == {"GET", "HEAD", "OPTIONS"}


def test_a_preflight_is_answered(client):
    asked = {
        "Origin": "https://a.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "range",
    }
    headers = client.options("/collections", headers=asked).headers
    assert headers["access-control-allow-origin"] == "*"
    assert "Range" in headers["access-control-allow-headers"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_writing_where_nothing_is_written_is_a_405_problem(client, method):
    response = client.request(method, "/collections/building")
    assert response.status_code == 405
    assert response.headers["content-type"] == "application/problem+json"
    assert "GET" in response.headers["allow"]


def test_head_has_the_headers_of_get(client):
    assert client.head("/collections/building/items?limit=1").headers["ogc-numbermatched"] == "37"


def test_an_endless_address_is_refused(client):
    response = client.get("/collections/building/items?name=" + "x" * 20_000)
    assert response.status_code == 414
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("declared", [True, False])
def test_a_huge_body_is_refused(client, declared):
    body = b'{"inputs": {"a": "' + b"x" * 2_100_000 + b'"}}'
    content = body if declared else (body[i : i + 65_536] for i in range(0, len(body), 65_536))
    response = client.post("/processes/buffer-query/execution", content=content)
    assert response.status_code == 413


def test_pages_are_compressed_for_those_who_ask(client):
    plain = client.get("/collections/building/items", headers={"Accept-Encoding": "identity"})
    packed = client.get("/collections/building/items", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json()["features"] == plain.json()["features"]


def test_a_failure_of_ours_is_a_problem_without_the_trace(city, monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError("secret detail")

    with TestClient(
        create_app(city, Settings(access_log=False, warm_up=False)), raise_server_exceptions=False
    ) as client:
        monkeypatch.setattr(type(city.store), "query", fail)
        response = client.get("/collections/building/items/b01")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["access-control-allow-origin"] == "*"
    assert "secret detail" in caplog.text


def test_the_access_log_has_one_line_a_request_and_no_line_breaks_from_outside(city, caplog):
    with (
        TestClient(create_app(city, Settings(warm_up=False))) as client,
        caplog.at_level(logging.INFO, "citytwin.access"),
    ):
        logging.getLogger("citytwin.access").addHandler(caplog.handler)
        client.get("/collections/x%0Aforged%20line")
        client.get("/health")
        logging.getLogger("citytwin.access").removeHandler(caplog.handler)
    lines = [record.getMessage() for record in caplog.records if record.name == "citytwin.access"]
    assert len(lines) == 2
    assert "\n" not in lines[0]
    assert "GET /health 200" in lines[1]


def test_health(get):
    assert get("/health").json()["status"] == "ok"


def test_a_scope_hides_a_layer_on_every_path(city):
    from twin.scope import Scope

    hidden = Settings(scope=Scope("public", frozenset({"well", "pipe_water"})), access_log=False, warm_up=False)
    with TestClient(create_app(city, hidden), base_url="http://city.test") as client:
        for path in (
            "/collections/building", "/collections/building/items", "/collections/building/items/b01",
            "/collections/building/schema", "/collections/building/queryables", "/collections/building/tilejson.json",
            "/collections/building/3dtiles/tileset.json", "/collections/building/tiles/WebMercatorQuad/0/0/0",
        ):  # fmt: skip
            response: httpx.Response = client.get(path)
            assert response.status_code == 404, path
        for path in ("/collections", "/api", "/qgis/city.qgs", "/viewer/config.json", "/tiles/tilejson.json"):
            text = client.get(path).text
            assert not re.search(r'["\'/]building["\'/?#]', text), path  # analyses may be named after what they ask of
        body = {
            "inputs": {
                "layer": "building",
                "geometry": {"type": "Point", "coordinates": [121, 28.1]},
                "distance_m": 1e4,
            }
        }
        assert client.post("/processes/buffer-query/execution", json=body).status_code == 404


@pytest.mark.parametrize("levels", [12, 25, 30, 60, 99, 400])
@pytest.mark.parametrize(
    ("opening", "middle", "closing"),
    [("NOT ", "height_m=1", ""), ("not%09", "height_m=1", ""), ("(", "height_m=1", ")"),
     ("CASEI(", "name", ")"), ("", "height_m=1", "^1"), ("height_m=", "1", "-1"), ("- ", "1=1", ""),
     ("NOT (", "height_m=1", ")"), ("height_m=1 AND (", "height_m=2", ")")],
)  # fmt: skip
def test_a_nested_filter_is_answered_or_refused_but_never_breaks(client, opening, middle, closing, levels):
    text = opening * levels + middle + closing * levels + ("='x'" if "CASEI" in opening else "")
    response = client.get(f"/collections/building/items?filter={text}")
    assert response.status_code in {200, 400}, response.text
    assert response.status_code == 200 or response.json()["detail"]


NOT_THERE = [
    "/nowhere", "/collections/nope", "/collections/nope/items", "/collections/building/items/nope",
    "/terrain/99/0/0.terrain", "/collections/building/tiles/WebMercatorQuad/30/0/0", "/collections/../../etc/passwd",
    "/collections/%2e%2e/%2e%2e/etc/passwd", "/viewer/..%2fogc.py", "/collections/building/points.copc.laz",
    "/collections/building/3dtiles/%2e%2e/%2e%2e/city.gpkg",
]  # fmt: skip


@pytest.mark.parametrize("path", NOT_THERE)
def test_what_is_not_there_is_a_404_problem(client, path):
    response = client.get(path)
    assert response.status_code in {404, 503} if path.startswith("/viewer") else response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code
