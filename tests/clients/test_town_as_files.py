"""The whole town exported: read back by our own reader, by Khronos' validator and, where it is installed, Cesium's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiles.conftest import gltf_validator, tiles_validator
from tiles.verify import verify

pytestmark = [pytest.mark.client, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
__all__ = ["gltf_validator", "tiles_validator"]


@pytest.fixture(scope="module")
def exported(town_twin, tmp_path_factory):
    """Folder with the tiles of every layer and cloud in all forms, and the terrain."""
    out = tmp_path_factory.mktemp("export") / "out"
    command = [
        sys.executable,
        "-m",
        "server.cli",
        "export",
        str(town_twin),
        str(out),
        "--only",
        "3dtiles,points,terrain",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_our_own_reader_finds_nothing(exported):
    report = verify(exported)
    assert [issue for issue in report.to_dict()["issues"] if issue["severity"] != "info"] == []
    assert report.is_complete
    assert report.checked["glTF"] > 100
    assert report.checked["terrain"] > 100


def test_khronos_validator_has_no_complaint_about_any_kind_of_tile(exported, gltf_validator):
    """One content of each layer and form; the biggest, since it has most to get wrong."""
    kinds = {}
    for path in exported.rglob("*.glb"):
        layer, _, *form = path.relative_to(exported / "collections").parts[:3]
        key = layer, form[0] if form[0] in {"compat", "explicit"} else "compact"
        if key not in kinds or path.stat().st_size > kinds[key].stat().st_size:
            kinds[key] = path
    assert len(kinds) > 30
    said = {}
    for key, path in kinds.items():
        issues = gltf_validator(path.read_bytes())["issues"]
        if issues["numErrors"] or issues["numWarnings"]:
            said[key] = issues["messages"][:3]
    assert said == {}


def test_cesiums_validator_has_no_complaint_about_any_tileset(exported, tiles_validator):
    roots = [path for path in exported.rglob("tileset.json") if "schema" in json.loads(path.read_text("utf8"))]
    assert len(roots) > 30
    assert {str(path.relative_to(exported)): said for path in roots if (said := tiles_validator(path))} == {}
