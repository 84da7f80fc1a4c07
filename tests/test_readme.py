"""README and docs are true: their commands run, their links lead somewhere, their tables name what exists."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf8")
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "README.zh.md",
        ROOT / "CHANGELOG.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("*/README.md"),
    ]
)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def shell_lines():
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory like a checkout, with the first command of the second block already run in it."""
    made = tmp_path_factory.mktemp("readme")
    (made / "sample_data").symlink_to(ROOT / "sample_data")
    return made


def run(command, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        shell=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_make_targets_exist():
    named = [line.split()[1] for line in shell_lines() if line.startswith("make ")]
    assert named == ["demo", "test"]
    for target in named:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
        assert "citytwin demo" in done.stdout if target == "demo" else "pytest" in done.stdout


@pytest.mark.slow
def test_the_commands_and_the_script_run_as_printed(folder):
    commands = [line for line in shell_lines() if line.startswith("citytwin ")]
    assert [line.split()[1] for line in commands] == [
        "build", "info", "serve", "export", "verify", "supervise", "run", "report",
    ]  # fmt: skip
    built = run(commands[0], folder)
    assert built.returncode == 1, "the sample town holds one model that says no place"
    assert "IFC_NO_GEOREFERENCE" in built.stdout
    assert list((folder / "mycity" / "reports").glob("*.json"))
    shown = run(commands[1], folder)
    assert shown.returncode == 0
    assert "building" in shown.stdout
    [script] = blocks("python")
    (folder / "script.py").write_text(script, "utf8")
    told = run("python script.py", folder)
    assert told.returncode == 0, told.stderr
    count, height = told.stdout.split()
    assert int(count) > 0
    assert -5 < float(height) < 120
    for command in commands[3:]:
        done = run(command, folder)
        assert done.returncode == 0, done.stdout + done.stderr
        if " run " in command:
            assert f"{json.loads(done.stdout)['peak_m3s']:.4f} m3/s" in README
    assert list((folder / "tiles-out").rglob("*.glb"))
    assert "crane-vertical-gap" in (folder / "report.html").read_text("utf8")

    free = commands[2].replace("--port 8000", "--port 0").split()
    executable = Path(sys.executable).with_name(free[0])
    with subprocess.Popen([executable, *free[1:]], cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline().startswith("Listening on http://")
        finally:
            server.terminate()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_example_of_city_toml_is_read(tmp_path):
    from ingest import city_toml

    example, *more = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "city-toml.md").read_text("utf8"), re.DOTALL)
    for each in (example, *more):
        (tmp_path / "city.toml").write_text(each, "utf8")
        assert city_toml.load(tmp_path)
    (tmp_path / "city.toml").write_text(example, "utf8")
    read = city_toml.load(tmp_path)
    assert read.name == "linhai"
    assert read.hints_for(tmp_path / "pipes" / "a.shp").columns["od_mm"] == "管外径"
    assert read.skipped(tmp_path / "drafts" / "old" / "a.gpkg")
