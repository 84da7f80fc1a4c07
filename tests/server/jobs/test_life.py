"""Jobs live through what servers and worker processes go through: kill -9, crashes, dismissal, several servers."""

import sqlite3
import time
from pathlib import Path

import httpx
import pytest
import rasterio
from lxml import html

from server.jobs.limits import Limits
from server.jobs.slots import Runner, Slots
from server.jobs.store import JobStore
from tests.server.jobs.conftest import awaited, execute, gone, in_process, is_alive, noted


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_progress_grows_and_times_are_told(client):
    job = execute(client, "echo", {"text": "x", "pause_s": 1.2})
    running = awaited(client, job, {"running"})
    assert "finished" not in running
    seen = [running["progress"]]
    while (found := client.get(job).json())["status"] == "running":
        seen.append(found["progress"])
    assert found["status"] == "successful"
    assert found["progress"] == 100
    assert seen == sorted(seen)
    assert any(20 <= each < 100 for each in seen)
    assert found["created"] <= found["started"] < found["finished"] <= found["updated"]


def test_the_page_of_results_leads_to_outputs_of_any_name(client):
    """`features` was read as a collection's: the page of such a job was an error."""
    job = execute(client, "echo", {"text": "x", "features": {"type": "FeatureCollection", "features": []}})
    assert awaited(client, job)["status"] == "successful"
    page = client.get(f"{job}/results", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "任务 · Jobs" not in page.text  # the way back is in the reader's language
    found = html.fromstring(page.text).xpath("//main//a/@href")
    assert {f"{job}/results/features", f"{job}/results/text"} <= set(found)


def test_a_dismissed_job_is_stopped_though_it_tells_no_progress(client, tmp_path):
    note = tmp_path / "note"
    job = execute(client, "test-hold", {"note": str(note), "seconds": 60})
    [began] = noted(note, 1)
    pid = int(began.split()[1])
    assert is_alive(pid)
    said = client.delete(job)
    assert said.status_code == 200
    assert said.json()["status"] == "dismissed"
    assert client.get(job).json()["status"] == "dismissed"
    assert gone(pid)
    assert note.read_text().splitlines() == [began]  # it never came to its end
    assert client.get(f"{job}/results").status_code == 404
    assert client.delete(job).status_code == 200  # over: now it is removed
    assert client.get(job).status_code == 404


def test_a_waiting_job_that_is_dismissed_never_begins(copy, extra, tmp_path):
    with in_process(copy, workers=1) as client:
        first, second = tmp_path / "first", tmp_path / "second"
        running = execute(client, "test-hold", {"note": str(first), "seconds": 1})
        noted(first, 1)
        waiting = execute(client, "test-hold", {"note": str(second), "seconds": 1})
        assert client.delete(waiting).json()["status"] == "dismissed"
        assert awaited(client, running)["status"] == "successful"
        last = execute(client, "echo", {"text": "after"})
        assert awaited(client, last)["status"] == "successful"
        assert not second.exists()


@pytest.mark.parametrize(
    ("how", "words", "status"),
    [("segfault", "SIGSEGV", 500), ("exit", "exit code 3", 500), ("bug", "log says why", 500)],
)
def test_a_worker_that_dies_fails_its_job_alone(client, how, words, status):
    job = execute(client, "test-crash", {"how": how})
    failed = awaited(client, job)
    assert failed["status"] == "failed"
    assert words in failed["message"]
    assert "secret" not in failed["message"]
    problem = client.get(f"{job}/results")
    assert problem.status_code == status
    assert problem.headers["content-type"] == "application/problem+json"
    assert words in problem.json()["detail"]
    after = client.post("/processes/echo/execution", json={"inputs": {"text": "still here"}})
    assert after.json() == {"text": "still here"}


def test_memory_and_size_are_bounded(copy, extra):
    with in_process(copy, workers=1, memory_bytes=2_000_000_000, result_bytes=100_000) as client:
        memory = execute(client, "test-crash", {"how": "memory"})
        assert "memory" in awaited(client, memory)["message"]
        large = execute(client, "test-grid", {"size": 300})
        assert "at most 100000 are kept" in awaited(client, large)["message"]
        assert awaited(client, execute(client, "echo", {"text": "x"}))["status"] == "successful"


def test_time_is_bounded(copy, extra, tmp_path):
    note = tmp_path / "note"
    with in_process(copy, workers=1, seconds=3.0) as client:
        slow = execute(client, "test-hold", {"note": str(note), "seconds": 120})
        assert "longer than the 3 s" in awaited(client, slow)["message"]
        assert gone(int(noted(note, 1)[0].split()[1]))


def test_inputs_are_forgotten_when_a_job_is_over(copy, extra):
    secret = "confidential " * 10
    with in_process(copy, workers=1) as client:
        jobs = [execute(client, "echo", inputs | {"text": secret}) for inputs in ({}, {"fail": True}, {"pause_s": 60})]
        client.delete(jobs[2])
        for job in jobs[:2]:
            awaited(client, job)
        client.delete(jobs[0])
        with sqlite3.connect(copy / "jobs" / "jobs.sqlite") as store:
            kept = str(store.execute("SELECT * FROM job").fetchall())
        store.close()
        assert "form" in kept
        assert "confidential" not in kept
        assert [each.name for each in (copy / "jobs" / "results").iterdir()] == []


def test_what_is_kept_is_bounded(copy, extra):
    with in_process(copy, workers=1) as client:
        jobs = [execute(client, "echo", {"text": "x" * 1000}) for _ in range(5)]
        for job in jobs:
            awaited(client, job)
        store = JobStore(copy)
        assert store.tidy(3600.0, 2500, 100) == 3  # 1002 bytes each
        assert [client.get(job).status_code for job in jobs] == [404, 404, 404, 200, 200]
        assert store.tidy(3600.0, 10**9, 1) == 1
        assert len(list((copy / "jobs" / "results").iterdir())) == 1
        assert store.tidy(0.0, 10**9, 100) == 1
        assert client.get("/jobs").json()["jobs"] == []
        store.close()


def test_a_folder_that_cannot_be_written_is_503(copy, extra):
    (copy / "jobs").write_text("in the way")
    with in_process(copy, workers=1) as client:
        refused = client.post("/processes/echo/execution", json={})
        assert refused.status_code == 503
        assert "log says why" in refused.json()["detail"]


def test_rasters_are_files_by_reference_with_ranges(client):
    job = execute(client, "test-grid", {"size": 64}, outputs={"raster": {"transmissionMode": "reference"}, "sum": {}})
    awaited(client, job)
    document = client.get(f"{job}/results").json()
    assert document["sum"] == 64 * 64 * (64 * 64 - 1) / 2
    assert document["raster"]["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    with rasterio.MemoryFile(client.get(document["raster"]["href"]).content) as file, file.open() as raster:
        assert raster.read(1).sum(dtype=float) == document["sum"]
    head = client.get(document["raster"]["href"], headers={"Range": "bytes=0-3"})
    assert (head.status_code, head.content[:2]) == (206, b"II")


def test_a_full_queue_is_503_with_the_time_to_try_again(copy, extra, tmp_path):
    with in_process(copy, workers=1, queue=2) as client:
        note = tmp_path / "note"
        running = execute(client, "test-hold", {"note": str(note), "seconds": 60})
        noted(note, 1)
        waiting = [execute(client, "echo", {}) for _ in range(2)]
        refused = client.post("/processes/echo/execution", json={}, headers={"Prefer": "respond-async"})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert len(client.get("/jobs").json()["jobs"]) == 3
        client.delete(running)
        assert {awaited(client, job)["status"] for job in waiting} == {"successful"}


def test_waiting_ends_with_a_problem_or_with_a_job(copy, extra):
    with in_process(copy, workers=1, sync_s=0.5) as client:
        late = client.post("/processes/echo/execution", json={"inputs": {"pause_s": 30}})
        assert late.status_code == 503
        assert "respond-async" in late.json()["detail"]
        assert [each["status"] for each in client.get("/jobs").json()["jobs"]] == ["dismissed"]
        told = client.post(
            "/processes/echo/execution", json={"inputs": {"pause_s": 30}}, headers={"Prefer": "respond-async, wait=1"}
        )
        assert told.status_code == 201
        assert told.headers["preference-applied"] == "respond-async, wait=1"
        assert client.delete(told.headers["location"]).status_code == 200


def test_a_killed_worker_process_gets_no_other_job_even_while_it_dies(copy, monkeypatch):
    """It was given one now and then: between the signal and its end the system calls it alive."""
    slots = Slots(copy, JobStore(copy), Limits())
    runner = Runner(copy, Limits())
    monkeypatch.setattr(runner.process, "poll", lambda: None)
    slots._runners["a"] = runner
    assert runner.is_usable
    slots.kill("b")
    assert runner.is_usable
    slots.kill("a")
    assert not runner.is_usable
    monkeypatch.undo()
    assert runner.end() == -9


def test_jobs_that_follow_dismissed_ones_are_run(copy, extra, tmp_path):
    with in_process(copy, workers=1) as client:
        for turn in range(5):
            note = tmp_path / f"note{turn}"
            job = execute(client, "test-hold", {"note": str(note), "seconds": 60})
            following = execute(client, "echo", {"text": f"after {turn}"})
            noted(note, 1)
            client.delete(job)
            assert awaited(client, following)["status"] == "successful"


@pytest.mark.slow
def test_jobs_survive_kill_9_of_the_server(start, tmp_path, copy):
    """One was running, two waited, one was done: the first is run again, no other twice, results are still there."""
    server = start()
    done = execute(server.client, "echo", {"text": "before"}).removeprefix(server.url.rstrip("/"))
    awaited(server.client, done)
    notes = [tmp_path / f"note{i}" for i in range(4)]
    jobs = [execute(server.client, "test-hold", {"note": str(note), "seconds": 4}) for note in notes]
    paths = [job.removeprefix(server.url.rstrip("/")) for job in jobs]
    pids = [int(noted(note, 1)[0].split()[1]) for note in notes[:2]]  # two run at a time
    server.kill()
    assert all(gone(pid) for pid in pids)  # nobody works for a server that is no more
    assert [len(note.read_text().splitlines()) for note in notes[:2]] == [1, 1]
    again = start()
    assert again.client.get(f"{done}/results").json() == {"text": "before"}
    for path in paths:
        assert awaited(again.client, path)["status"] == "successful"
    ends = [[line.split()[0] for line in note.read_text().splitlines()] for note in notes]
    assert ends == [["begin", "begin", "end"], ["begin", "begin", "end"], ["begin", "end"], ["begin", "end"]]


@pytest.mark.slow
def test_a_job_that_takes_the_server_with_it_is_not_tried_for_ever(start, tmp_path, copy):
    note = tmp_path / "note"
    server = start()
    path = execute(server.client, "test-hold", {"note": str(note), "seconds": 60}).removeprefix(server.url.rstrip("/"))
    noted(note, 1)
    server.kill()
    server = start()
    noted(note, 2)
    server.kill()
    server = start()
    failed = awaited(server.client, path)
    assert failed["status"] == "failed"
    assert "stopped" in failed["message"]
    assert len(note.read_text().splitlines()) == 2


@pytest.mark.slow
def test_an_orderly_end_gives_the_job_back_at_once(start, tmp_path):
    note = tmp_path / "note"
    server = start()
    path = execute(server.client, "test-hold", {"note": str(note), "seconds": 3}).removeprefix(server.url.rstrip("/"))
    pid = int(noted(note, 1)[0].split()[1])
    server.end()
    assert gone(pid)
    again = start()
    assert awaited(again.client, path)["status"] == "successful"
    assert [line.split()[0] for line in note.read_text().splitlines()] == ["begin", "begin", "end"]


@pytest.mark.slow
def test_servers_of_one_twin_share_the_queue_and_run_each_job_once(start, tmp_path, copy):
    servers = [start(), start()]
    notes = [tmp_path / f"note{i}" for i in range(10)]
    paths = [
        execute(servers[i % 2].client, "test-hold", {"note": str(note), "seconds": 0.2}).removeprefix(
            servers[i % 2].url.rstrip("/")
        )
        for i, note in enumerate(notes)
    ]
    for i, path in enumerate(paths):
        assert awaited(servers[(i + 1) % 2].client, path)["status"] == "successful"  # asked of the other one
    lines = [note.read_text().splitlines() for note in notes]
    assert all([line.split()[0] for line in each] == ["begin", "end"] for each in lines)
    with sqlite3.connect(copy / "jobs" / "jobs.sqlite") as store:
        times = store.execute("SELECT started, finished FROM job").fetchall()
    store.close()
    for begun, _ in times:  # never more at a time than one server alone would run
        assert sum(start <= begun < end for start, end in times) <= 2
    note = tmp_path / "long"
    job = execute(servers[0].client, "test-hold", {"note": str(note), "seconds": 60})
    pid = int(noted(note, 1)[0].split()[1])
    runs_it, other = servers if _parent(pid) == servers[0].process.pid else servers[::-1]
    path = job.removeprefix(servers[0].url.rstrip("/"))
    assert other.client.delete(path).status_code == 200  # by the server that does not run it
    assert gone(pid)
    assert runs_it.client.get(path).json()["status"] == "dismissed"


@pytest.mark.slow
def test_nobody_works_for_who_has_hung_up(start):
    server = start()
    execution = "/processes/echo/execution"
    server.client.post(execution, json={}).raise_for_status()  # the first answer of a server takes its time
    with pytest.raises(httpx.ReadTimeout):
        server.client.post(execution, json={"inputs": {"pause_s": 60}}, timeout=3.0)
    end = time.monotonic() + 40.0  # less than the 60 s after which it would be dismissed anyway
    [job, _] = server.client.get("/jobs").json()["jobs"]
    assert awaited(server.client, f"/jobs/{job['jobID']}", {"dismissed"}, end - time.monotonic())


@pytest.mark.slow
def test_several_workers_of_one_server(start):
    server = start(workers=2)
    jobs = [execute(server.client, "echo", {"number": i}) for i in range(12)]
    for i, job in enumerate(jobs):
        assert awaited(server.client, job)["status"] == "successful"
        assert server.client.get(f"{job}/results/number").json() == i
