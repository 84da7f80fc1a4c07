"""PDAL stages that a source asks for, run on its file before it is read.

PDAL (https://pdal.io) is not installed with CityTwin: the Python package `pdal` or the program on PATH is used, in a
process of its own. Only filters are let in, and none that runs code.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ingest.scratch import Scratch
from layers.errors import InvalidInput

TIMEOUT_S = 3600.0
RUNS_CODE = {"filters.python", "filters.julia", "filters.matlab"}
_IN_PYTHON = "import sys, pdal; pdal.Pipeline(sys.stdin.read()).execute()"


def run(path: Path, stages: tuple[Mapping[str, Any], ...], name: str, scratch: Scratch) -> Path:
    """The file after the stages, as LAS 1.4 in the scratch folder. Raises InvalidInput without PDAL, or if it fails."""
    for stage in stages:
        kind = str(stage.get("type", ""))
        if not kind.startswith("filters.") or kind in RUNS_CODE:
            problem = f"The pipeline of {name} has the stage {kind!r}."
            raise InvalidInput(problem, "Only PDAL's filters that run no code are let in.", code="PDAL_STAGE")
    made = scratch.folder / "filtered.las"
    writer = {"type": "writers.las", "filename": str(made), "minor_version": 4, "extra_dims": "all", "forward": "all"}
    text = json.dumps({"pipeline": [str(path.resolve()), *(dict(stage) for stage in stages), writer]})
    try:
        done = subprocess.run(
            _command(name), input=text, text=True, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        problem = f"The pipeline of {name} took longer than {TIMEOUT_S:g} s."
        raise InvalidInput(problem, "Run PDAL first, and give its result.", code="PDAL_FAILED") from error
    if done.returncode or not made.exists():
        said = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise InvalidInput(f"PDAL failed on {name}: {said}.", "Correct `pipeline` in city.toml.", code="PDAL_FAILED")
    return made


def _command(name: str) -> list[str]:
    if importlib.util.find_spec("pdal") is not None:
        return [sys.executable, "-c", _IN_PYTHON]
    if (program := shutil.which("pdal")) is not None:
        return [program, "pipeline", "--stdin"]
    problem = f"{name} asks for a PDAL pipeline, but PDAL is not installed."
    hint = "Install it (conda install -c conda-forge python-pdal, or the pdal program), or take out `pipeline`."
    raise InvalidInput(problem, hint, code="PDAL_MISSING")
