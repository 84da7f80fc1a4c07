"""The sample town, built by the command and served by a real process, for software that we did not write."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import twin

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def town_twin(tmp_path_factory) -> Path:
    """Folder of the built town; CITYTWIN_TEST_TWIN names one that is already built."""
    ready = os.environ.get("CITYTWIN_TEST_TWIN")
    if ready:
        return Path(ready)
    folder = tmp_path_factory.mktemp("town") / "twin"
    command = [sys.executable, "-m", "server.cli", "build", str(ROOT / "sample_data" / "town"), str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    # 1: the town holds files that must be parked, and they are named
    assert built.returncode in {0, 1}, built.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def town_log(tmp_path_factory) -> Path:
    """Where the server writes its access log."""
    return tmp_path_factory.mktemp("served") / "stderr.txt"


@pytest.fixture(scope="session")
def town_url(town_twin, town_log):
    """Address of the served town, with a slash at the end."""
    command = [sys.executable, "-u", "-m", "server.cli", "serve", str(town_twin), "--port", "0"]
    with (
        town_log.open("w") as stderr,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True) as server,
    ):
        line = server.stdout.readline()
        try:
            assert line.startswith("Listening on http://"), town_log.read_text()[-3000:]
            yield line.split()[-1]
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def town(town_twin):
    """The same city, opened in this process: the counts that the clients must arrive at."""
    with twin.open(town_twin) as city:
        yield city


@pytest.fixture(scope="session")
def qgis_python() -> str:
    """Debian's interpreter, if it has PyQGIS 3.40; the test is skipped where it has not."""
    python = shutil.which("python3", path="/usr/bin")
    probe = "import qgis.core; print(qgis.core.Qgis.QGIS_VERSION)"
    if python:
        found = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
        if found.returncode == 0 and found.stdout.startswith("3.4"):
            return python
    pytest.skip("Debian's python3 has no PyQGIS 3.40 (apt install python3-qgis from bookworm-backports)")
