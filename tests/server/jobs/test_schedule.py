"""Supervisions by schedule: when they are due, once for all servers, and what is wrong in the file is told."""

import datetime as dt
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from layers.errors import InvalidInput, NotFound
from server.jobs import schedule
from server.jobs.schedule import Plan, Schedule
from server.jobs.store import JobStore
from tests.server.jobs.conftest import PATIENCE_S, awaited, in_process

CHINA = dt.timezone(dt.timedelta(hours=8))


def at(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=CHINA)


def plan(every_h, minutes=None):
    start = None if minutes is None else dt.timedelta(minutes=minutes)
    return Plan("supervise-water", dt.timedelta(hours=every_h), start, CHINA)


@pytest.mark.parametrize(
    ("asked", "last", "now", "due"),
    [
        (plan(24), None, "2026-05-01T12:00", True),
        (plan(24), "2026-05-01T12:00", "2026-05-02T11:59", False),
        (plan(24), "2026-05-01T12:00", "2026-05-02T12:00", True),
        (plan(24, 120), None, "2026-05-01T12:00", False),  # the first time at two o'clock
        (plan(24, 120), "2026-05-01T12:00", "2026-05-02T01:59", False),
        (plan(24, 120), "2026-05-01T12:00", "2026-05-02T02:00", True),
        (plan(24, 120), "2026-05-02T02:00", "2026-05-02T23:00", False),
        (plan(24, 120), "2026-05-02T02:00", "2026-05-09T01:00", True),  # the server was down for a week: once
        (plan(6, 60), "2026-05-01T13:00", "2026-05-01T18:59", False),
        (plan(6, 60), "2026-05-01T13:00", "2026-05-01T19:00", True),
        (plan(6, 60), "2026-05-01T19:00", "2026-05-02T00:59", False),
        (plan(6, 60), "2026-05-01T19:00", "2026-05-02T01:00", True),
    ],
)
def test_when_a_plan_is_due(asked, last, now, due):
    assert asked.is_due(None if last is None else at(last), at(now)) is due


FILE = """
[[schedule]]
supervision = "construction"
every_h = 24
at = "02:30"
checks = ["x"]

[[schedule]]
supervision = "water"
every_h = 0.5
zone = "-03:00"
bbox = [121.0, 28.1, 121.1, 28.2]
"""


def test_the_file_is_read(tmp_path):
    assert schedule.read(tmp_path) == []
    (tmp_path / schedule.FILE).write_text(FILE)
    first, second = schedule.read(tmp_path)
    assert (first.process, first.at) == ("supervise-construction", dt.timedelta(hours=2, minutes=30))
    assert first.inputs == {"checks": ["x"], "keep": True}
    assert second.zone == dt.timezone(dt.timedelta(hours=-3))
    assert first.key != second.key


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("[[schedule]", InvalidInput, "supervision.toml cannot be read"),
        ("[other]\na = 1", InvalidInput, "nothing but"),
        ('[[schedule]]\nsupervision = "water"', InvalidInput, "every_h"),
        ('[[schedule]]\nsupervision = "moon"\nevery_h = 1', NotFound, "supervise-moon"),
        ('[[schedule]]\nsupervision = "water"\nevery_h = 0', InvalidInput, "every_h = 0"),
        ('[[schedule]]\nsupervision = "water"\nevery_h = 1\nat = "25:00"', InvalidInput, "25:00"),
        ('[[schedule]]\nsupervision = "water"\nevery_h = 1\nhour = 2', InvalidInput, "hour is not known"),
        ('[[schedule]]\nsupervision = "water"\nevery_h = 1\nbbox = [1, 2]', InvalidInput, "bbox"),
    ],
    ids=["toml", "table", "no every", "supervision", "zero", "at", "key", "bbox"],
)
def test_what_is_wrong_is_named(tmp_path, text, error, says):
    (tmp_path / schedule.FILE).write_text(text)
    with pytest.raises(error, match=says):
        schedule.read(tmp_path)


def test_of_several_servers_one_runs_it(tmp_path):
    (tmp_path / schedule.FILE).write_text('[[schedule]]\nsupervision = "water"\nevery_h = 24\n')
    asked = []

    def submit(process, asks):
        asked.append((process, asks))

    servers = [Schedule(tmp_path, JobStore(tmp_path), submit) for _ in range(8)]
    now = at("2026-05-01T12:00")
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda server: server.look(now), servers)) == 1
        assert sum(pool.map(lambda server: server.look(now + dt.timedelta(hours=23)), servers)) == 0
        assert sum(pool.map(lambda server: server.look(now + dt.timedelta(hours=24)), servers)) == 1
    assert [process for process, _ in asked] == ["supervise-water"] * 2
    assert asked[0][1]["inputs"] == {"keep": True}


def test_a_scheduled_run_is_a_job_whose_findings_are_kept(copy, monkeypatch):
    monkeypatch.setattr(schedule, "LOOK_EVERY_S", 0.1)
    (copy / schedule.FILE).write_text('[[schedule]]\nsupervision = "construction"\nevery_h = 24\n')
    with in_process(copy) as client:
        end = time.monotonic() + PATIENCE_S
        while not (listed := client.get("/jobs").json()["jobs"]) and time.monotonic() < end:
            time.sleep(0.05)
        (job,) = listed
        assert job["processID"] == "supervise-construction"
        done = awaited(client, f"/jobs/{job['jobID']}")
        assert done["status"] == "successful", done
        assert client.get(f"/jobs/{job['jobID']}/results/stored").json()["opened"] > 0
        assert client.get("/collections/finding/items").json()["numberMatched"] > 0
