"""Processes that change the city: only who may edit may ask for it; everybody may ask for the answer alone."""

import pytest
from starlette.testclient import TestClient

import twin
from server.app import create_app
from server.jobs.limits import Limits
from server.settings import Settings
from twin import analysis
from twin.analysis.process import Process
from twin.analysis.raster_out import KEEP_AS

PATH = "/processes/supervise-construction/execution"


@pytest.fixture
def ask(copy):
    """Asks a server of a copy, from an address, under a setting."""

    def ask(inputs, *, edit="local", client="127.0.0.1"):
        settings = Settings(access_log=False, warm_up=False, jobs=Limits(workers=1), edit=edit)
        with (
            twin.open(copy) as city,
            TestClient(
                create_app(city, settings), base_url="http://127.0.0.1:8000", client=(client, 40_000)
            ) as session,
        ):
            answer = session.post(PATH, json={"inputs": inputs})
            return answer.status_code, answer.json(), "finding" in city

    return ask


def test_a_stranger_may_ask_but_not_keep(ask):
    status, _, is_kept = ask({"checks": ["crane-conflict"]}, client="203.0.113.7")
    assert (status, is_kept) == (200, False)
    status, problem, is_kept = ask({"keep": True}, client="203.0.113.7")
    assert (status, is_kept) == (403, False)
    assert "this machine alone" in problem["detail"]
    assert ask({"keep": False, "checks": ["crane-conflict"]}, client="203.0.113.7")[0] == 200


def test_who_works_at_the_machine_may_keep(ask):
    status, answer, is_kept = ask({"keep": True})
    assert (status, is_kept) == (200, True), answer
    assert answer["stored"]["opened"] > 0


def test_a_read_only_server_keeps_nothing(ask):
    assert ask({"keep": True}, edit="nobody")[0] == 403
    assert ask({"keep": True}, edit="anyone", client="203.0.113.7")[0] == 200


def test_every_raster_that_may_become_a_layer_is_guarded():
    title = next(iter(analysis.registry().values())).title
    process = Process("x", title, title, {"keep_as": KEEP_AS}, {}, lambda _: {})
    assert process.writing({"keep_as": "depth"}) == "keep_as"
    assert process.writing({}) is None
    for each in analysis.registry().values():
        if "keep_as" in each.inputs:
            assert each.writing({"keep_as": "x"}) == "keep_as"
