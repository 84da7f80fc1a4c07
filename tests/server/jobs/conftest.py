"""Servers of a small city with analyses of a package of its own beside ours."""

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

import twin
from server.app import create_app
from server.jobs.limits import Limits
from server.settings import Settings
from tests.stores import copy_twin
from twin import analysis

ROOT = Path(__file__).resolve().parents[3]
NAMES = {"hold": "HOLD", "crash": "CRASH", "grid": "GRID"}
PATIENCE_S = 60.0


@pytest.fixture(scope="session")
def extra_path(tmp_path_factory) -> Path:
    """A folder for PYTHONPATH with a distribution that registers analyses."""
    folder = tmp_path_factory.mktemp("extra")
    shutil.copyfile(Path(__file__).with_name("extra.py"), folder / "citytwin_extra.py")
    facts = folder / "citytwin_extra-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: citytwin-extra\nVersion: 1.0\n")
    entries = "\n".join(f"{name} = citytwin_extra:{value}" for name, value in NAMES.items())
    (facts / "entry_points.txt").write_text(f"[{analysis.ENTRY_POINTS}]\n{entries}\n")
    return folder


@pytest.fixture(scope="session")
def extra(extra_path):
    """The same analyses in this process and in those it starts."""
    before = os.environ.get("PYTHONPATH")
    sys.path.insert(0, str(extra_path))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(extra_path), before]))
    importlib.invalidate_caches()
    analysis.registry.cache_clear()
    yield extra_path
    sys.path.remove(str(extra_path))
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before
    analysis.registry.cache_clear()


@pytest.fixture(scope="session")
def client(extra, city):
    """A server in this process; its jobs run in worker processes."""
    settings = Settings(access_log=False, warm_up=False, jobs=Limits(workers=2))
    with TestClient(create_app(city, settings), base_url="http://city.test") as session:
        yield session


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    """A copy of the city without jobs."""
    return copy_twin(folder, tmp_path / "twin")


@contextlib.contextmanager
def in_process(folder, **limits):
    """A server in this process with limits of its own."""
    settings = Settings(access_log=False, warm_up=False, jobs=Limits(**limits))
    with twin.open(folder) as city, TestClient(create_app(city, settings), base_url="http://city.test") as session:
        yield session


class Server:
    """A real server process in a session of its own."""

    def __init__(self, folder, log, workers=1):
        command = [sys.executable, "-u", "-m", "server.cli", "serve", str(folder), "--port", "0"]
        with log.open("a") as stderr:
            self.process = subprocess.Popen(
                [*command, "--workers", str(workers)], cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True,
                start_new_session=True,
            )  # fmt: skip
        self.url = self.process.stdout.readline().split()[-1]
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE_S)

    def kill(self):
        """kill -9 of every server process, not of the workers it started: they must find out by themselves."""
        self.process.kill()
        self.end()

    def end(self):
        """End it and what is left."""
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)


@pytest.fixture
def start(extra, copy, tmp_path):
    """Starts servers of the copied city; all are ended with the test."""
    servers = []

    def start(workers=1):
        servers.append(Server(copy, tmp_path / "log.txt", workers))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


def execute(client, process, inputs, **more):
    """Address of a new job."""
    headers = {"Prefer": "respond-async"} | more.pop("headers", {})
    response = client.post(f"/processes/{process}/execution", json={"inputs": inputs} | more, headers=headers)
    assert response.status_code == 201, response.text
    return response.headers["location"]


def awaited(client, job, statuses=("successful", "failed", "dismissed"), patience_s=PATIENCE_S):
    """Status of a job once it is one of these."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        found = client.get(job).json()
        if found["status"] in statuses:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{job} is still {found}")


def is_alive(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pid, patience_s=10.0):
    """Whether a process goes within that time."""
    end = time.monotonic() + patience_s
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_alive(pid)


def noted(note, n_lines, patience_s=PATIENCE_S):
    """Lines of a note once there are so many."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        lines = note.read_text().splitlines() if note.exists() else []
        if len(lines) >= n_lines:
            return lines
        time.sleep(0.02)
    raise AssertionError(f"{note} has {lines}")
