"""What an execution costs: at once, waited for, as a job; the town and 100,000 buildings. Peer: pygeoapi's hello-world.

The peer's process does nothing at all, kept by its TinyDB manager as jobs; ours is a buffer query, and an echo that
goes through the queue and a worker process.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from tests.bench.test_server import wait_for
from tests.clients.conftest import ROOT, built, served

pytestmark = pytest.mark.bench

TIMES, JOBS, CLIENTS = 300, 200, 4
PATIENCE_S = 120.0


@pytest.fixture(scope="module", params=["town", 100_000], ids=str)
def city(request, tmp_path_factory):
    """Name and address."""
    folder = tmp_path_factory.mktemp("bench")
    source = ROOT / "sample_data" / "town"
    if request.param != "town":
        source = folder / "source"
        script = [sys.executable, str(ROOT / "sample_data" / "make_town.py"), "--buildings", str(request.param)]
        subprocess.run([*script, "--out", str(source)], cwd=ROOT, check=True, capture_output=True)
    built(source, folder / "twin", {0, 1})
    with served(folder / "twin", folder / "log.txt") as address:
        yield str(request.param), address


@contextlib.contextmanager
def peer_serving(folder):
    """Address of pygeoapi with its hello-world process and a job manager."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    text = {"en": "peer"}
    config = {
        "server": {"bind": {"host": "127.0.0.1", "port": port}, "url": address, "mimetype": "application/json",
                   "encoding": "utf-8", "languages": ["en-US"], "limits": {"default_items": 10, "max_items": 1000},
                   "map": {"url": "https://tile.invalid/{z}/{x}/{y}", "attribution": "none"},
                   "manager": {"name": "TinyDB", "connection": str(folder / "jobs.db"), "output_dir": str(folder)}},
        "logging": {"level": "ERROR"},
        "metadata": {"identification": {"title": text, "description": text, "keywords": {"en": ["peer"]},
                                        "keywords_type": "theme", "terms_of_service": "none", "url": address},
                     "license": {"name": "none"}, "provider": {"name": "peer", "url": address},
                     "contact": {"name": "peer"}},
        "resources": {"hello-world": {"type": "process", "processor": {"name": "HelloWorld"}}},
    }  # fmt: skip
    (folder / "peer.yml").write_text(json.dumps(config), encoding="utf-8")
    (folder / "openapi.yml").write_text('{"openapi": "3.0.2", "info": {"title": "peer"}, "paths": {}}')
    environment = {**os.environ, "PYGEOAPI_CONFIG": str(folder / "peer.yml"),
                   "PYGEOAPI_OPENAPI": str(folder / "openapi.yml")}  # fmt: skip
    command = [sys.executable, "-m", "uvicorn", "pygeoapi.starlette_app:APP", "--port", str(port)]
    with (
        (folder / "peer.txt").open("w") as log,
        subprocess.Popen([*command, "--log-level", "error"], env=environment, stderr=log) as server,
    ):
        try:
            wait_for(address.rstrip("/"), server, folder / "peer.txt")
            yield address
        finally:
            server.terminate()


def at_once(what, address, process, body):
    """Prints p50 and p99 of executions one after the other; the last answer."""
    seconds = []
    with httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
        for _ in range(TIMES + 5):
            begin = time.perf_counter()
            answer = client.post(f"/processes/{process}/execution", json=body).raise_for_status()
            seconds.append(time.perf_counter() - begin)
    p50, p99 = np.percentile(np.array(seconds[5:]) * 1e3, [50, 99])
    print(f"\n{what:<62} p50 {p50:7.1f} ms  p99 {p99:7.1f} ms", end="")  # noqa: T201
    return answer, p50


def as_jobs(what, address, process, body):
    """Prints jobs a second, from the first request to the last result."""

    def submit(n):
        with httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
            made = []
            while len(made) < n:
                answer = client.post(f"/processes/{process}/execution", json=body, headers={"Prefer": "respond-async"})
                if answer.status_code == 503:  # the queue is full: that is its answer
                    time.sleep(0.05)
                    continue
                made.append(answer.raise_for_status().headers["location"])
            return made

    begin = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        jobs = [job for made in pool.map(submit, [JOBS // CLIENTS] * CLIENTS) for job in made]
    assert len(set(jobs)) == JOBS
    with httpx.Client(timeout=PATIENCE_S) as client:
        waiting = list(jobs)
        while waiting and time.perf_counter() - begin < PATIENCE_S:
            status = client.get(f"{waiting[-1]}?f=json").json()["status"]
            assert status in {"accepted", "running", "successful"}
            if status == "successful":
                waiting.pop()
            else:
                time.sleep(0.01)
        rate = JOBS / (time.perf_counter() - begin)
        assert client.get(f"{jobs[0]}/results?f=json").status_code == 200
    print(f"\n{what:<62} {rate:7.1f} jobs/s", end="")  # noqa: T201
    assert not waiting
    return rate


def test_executions(city, tmp_path):
    name, address = city
    config = httpx.get(f"{address}viewer/config.json", timeout=PATIENCE_S).json()
    centre = {"type": "Point", "coordinates": [config["origin"]["lon"], config["origin"]["lat"]]}
    inputs = {"geometry": centre, "distance_m": 150, "layer": "building"}
    answer, _ = at_once(f"{name}: buffer-query at once", address, "buffer-query", {"inputs": inputs})
    print(f", {answer.json()['n_hits']} hits", end="")  # noqa: T201
    assert answer.json()["n_hits"] > 0
    wait = {"inputs": {"text": "hello"}}
    at_once(f"{name}: echo, waited for through queue and worker process", address, "echo", wait)
    ours = as_jobs(f"{name}: echo as jobs", address, "echo", wait)
    if name == "town":
        with peer_serving(tmp_path) as peer:
            hello = {"inputs": {"name": "peer"}}
            at_once("pygeoapi: hello-world at once, kept in TinyDB", peer, "hello-world", hello)
            theirs = as_jobs("pygeoapi: hello-world as jobs", peer, "hello-world", hello)
        print(f"\n{ours / theirs:.1f} times the peer's jobs/s")  # noqa: T201
