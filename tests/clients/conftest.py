"""The sample town, built by the command and served by a real process, for software that we did not write."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import twin

ROOT = Path(__file__).resolve().parents[2]
QGIS_SCRIPT = Path(__file__).with_name("qgis_project.py")


@pytest.fixture(scope="session")
def town_twin(tmp_path_factory) -> Path:
    """Folder of the built town; CITYTWIN_TEST_TWIN names one that is already built."""
    ready = os.environ.get("CITYTWIN_TEST_TWIN")
    if ready:
        return Path(ready)
    folder = tmp_path_factory.mktemp("town") / "twin"
    # 1: the town holds files that must be parked, and they are named
    built(ROOT / "sample_data" / "town", folder, {0, 1})
    return folder


def built(source, folder, codes):
    """Builds a twin by the command."""
    command = [sys.executable, "-m", "server.cli", "build", str(source), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in codes, done.stdout[-2000:] + done.stderr[-3000:]


@contextlib.contextmanager
def served(folder, log, *options):
    """Address of a twin served by a real process, with a slash at the end. `options` of `citytwin serve`."""
    command = [sys.executable, "-u", "-m", "server.cli", "serve", str(folder), "--port", "0", *options]
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True) as server,
    ):
        line = server.stdout.readline()
        try:
            assert line.startswith("Listening on http://"), log.read_text()[-3000:]
            yield line.split()[-1]
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def town_log(tmp_path_factory) -> Path:
    """Where the server writes its access log."""
    return tmp_path_factory.mktemp("served") / "stderr.txt"


@pytest.fixture(scope="session")
def town_url(town_twin, town_log):
    """Address of the served town, with a slash at the end."""
    with served(town_twin, town_log) as address:
        yield address


def asked_qgis(python, address, folder, layer_id, scenes):
    """What QGIS says of the project at `address`, by `qgis_project.py`; pictures go to `folder`."""
    path = folder / "city.qgs"
    path.write_bytes(httpx.get(f"{address}qgis/city.qgs?lang=en", timeout=60).raise_for_status().content)
    command = [python, str(QGIS_SCRIPT), str(path), layer_id, str(folder / "drawn"), scenes]
    # a home of its own: no settings and no cache of whoever runs the test
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PROJ_DATA", "PROJ_LIB", "GDAL_DATA"):
        environment.pop(name, None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[-1])


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
